"""Extraction on one device and on eight, with a padded last batch, and by two processes."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.core.mesh import make_mesh
from cion_jax.evaluation.features import extract

TOTAL, ROWS = 37, 16


def images(total=TOTAL):
    return np.random.default_rng(0).integers(0, 256, (total, 6, 4, 3), dtype=np.uint8)


def batches(pictures, rows=ROWS):
    """Rows in order, the last batch filled up with garbage."""
    for start in range(0, len(pictures), rows):
        part = pictures[start : start + rows]
        image = np.full((rows, *pictures.shape[1:]), 255, np.uint8)
        image[: len(part)] = part
        yield {
            "image": image,
            "size": np.tile(np.array([[6, 4]], np.int32), (rows, 1)),
            "valid": np.arange(rows) < len(part),
            "record": np.arange(start, start + rows) * 10,
        }


@jax.jit
def model(weights, image, size):
    flat = image.reshape(len(image), -1).astype(jnp.float32) / 255
    return (flat @ weights + size.sum(1, keepdims=True)).astype(jnp.bfloat16)


WEIGHTS = np.linspace(-1, 1, 72 * 5, dtype=np.float32).reshape(72, 5)


def expected(pictures):
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255 @ WEIGHTS + 10


@pytest.mark.parametrize("fsdp", [None, 1, 2])
def test_rows_come_back_in_order_without_the_padding(fsdp):
    mesh = None if fsdp is None else make_mesh(fsdp)
    result = extract(partial(model, WEIGHTS), batches(images()), total=TOTAL, mesh=mesh)
    assert result.shape == (TOTAL, 5)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected(images()), rtol=1e-2, atol=1e-2)


def test_every_device_gets_its_share_whatever_layout_the_model_returns():
    mesh = make_mesh()
    seen = []

    def replicating(image, size):
        seen.append(len(image.sharding.device_set))
        return jax.device_put(model(WEIGHTS, image, size), jax.NamedSharding(mesh, jax.P()))

    result = extract(replicating, batches(images()), total=TOTAL, mesh=mesh)
    assert seen == [len(jax.devices())] * 3
    np.testing.assert_allclose(result, expected(images()), rtol=1e-2, atol=1e-2)


def test_the_next_batch_is_decoded_before_the_last_one_is_fetched():
    events = []

    class Slow:
        def __init__(self, number):
            self.number = number

        def __array__(self, dtype=None, copy=None):
            events.append(f"fetch {self.number}")
            return np.zeros((ROWS, 2), dtype)

    def source():
        for number, batch in enumerate(batches(images())):
            events.append(f"decode {number}")
            yield batch

    extract(lambda image, size: Slow(sum("decode" in e for e in events) - 1), source(), total=TOTAL)
    assert events == ["decode 0", "decode 1", "fetch 0", "decode 2", "fetch 1", "fetch 2"]


def test_the_first_record_that_is_not_finite_is_named():
    def broken(image, size):
        mean = image.astype(jnp.float32).mean((1, 2, 3))
        return jnp.where(mean == 0, jnp.nan, mean)[:, None]

    pictures = images()
    pictures[[20, 30]] = 0
    with pytest.raises(UserError, match="record 200 "):
        extract(jax.jit(broken), batches(pictures), total=TOTAL)

    def padding(image, size):
        mean = image.astype(jnp.float32).mean((1, 2, 3))
        return jnp.where(mean == 255, jnp.nan, mean)[:, None]

    assert np.isfinite(extract(jax.jit(padding), batches(images()), total=TOTAL)).all()


def test_wrong_counts_raise():
    with pytest.raises(ValueError, match="37 valid rows where 36"):
        extract(partial(model, WEIGHTS), batches(images()), total=36)
    with pytest.raises(ValueError, match="no batch"):
        extract(partial(model, WEIGHTS), [], total=0)
    with pytest.raises(ValueError, match="do not divide by the 8 devices"):
        extract(partial(model, WEIGHTS), batches(images(), 12), total=TOTAL, mesh=make_mesh())


WORKER = """
import sys
from functools import partial
import jax, numpy as np
jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, int(sys.argv[1]))
sys.path.insert(0, sys.argv[3])
from test_features import WEIGHTS, batches, expected, images, model
from cion_jax.core.mesh import make_mesh
from cion_jax.evaluation.features import extract

def part(batch):
    half = len(batch["valid"]) // 2
    return {k: v[jax.process_index() * half :][:half] for k, v in batch.items()}

mesh = make_mesh()
assert mesh.size == 4
result = extract(partial(model, WEIGHTS), map(part, batches(images())), total=37, mesh=mesh)
np.testing.assert_allclose(result, expected(images()), rtol=1e-2, atol=1e-2)
print("fine")
"""


def test_two_processes_return_all_rows(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    here = str(Path(__file__).parent)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(i), port, here],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, output in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, output
        assert "fine" in output
