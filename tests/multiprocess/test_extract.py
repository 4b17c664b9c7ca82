"""Two processes that share the shards of the task extract leave the files that one process leaves."""

import contextlib
import json

import numpy as np
import pytest
from PIL import Image

from cion_jax import bridge
from cion_jax.core.target_lock import lock_target
from tests.parity import weights
from tests.resume import launch

MODEL, SIZE = "resnet18", (32, 16)
FILES = ["images.parquet", "manifest.json", "skipped.csv"]
SHARDS = 5  # of three images, the last of one: a process has three, the other two


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Thirteen pictures, the fifth damaged."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    for number in range(13):
        pixels = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "04.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    about = {
        "model": MODEL,
        "input_size": str(list(SIZE)),
        "mean": "[0.5, 0.5, 0.5]",
        "std": "[0.2, 0.2, 0.2]",
    }
    bridge.save_file(path, weights.state_dict(MODEL), about)
    return path


def extracted(people, backbone, target, processes):
    """The target, and what each process said."""
    with started(people, backbone, target, processes) as runs:
        return target, [run.succeed() for run in runs]


@contextlib.contextmanager
def started(people, backbone, target, processes):
    """The processes of a run."""
    settings = {"source": people, "weights": backbone, "target": target, "shard_rows": 3, "batch_size": 2}
    port = launch.free_port()
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                launch.Run(
                    target.parent / f"work-{target.name}",
                    None,
                    config=launch.ROOT / "configs/extract.py",
                    cluster=(processes, number, port) if processes > 1 else None,
                    settings=settings,
                )
            )
            for number in range(processes)
        ]
        yield runs


@pytest.fixture(scope="module")
def targets(people, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    one, _ = extracted(people, backbone, folder / "one", 1)
    two, _ = extracted(people, backbone, folder / "two", 2)
    return one, two


def test_the_features_are_the_same(targets):
    one, two = (sorted(file.name for file in target.iterdir()) for target in targets)
    shards = [
        name.format(k) for name in ("features-{:05}.npy", "unreadable-{:05}.json") for k in range(SHARDS)
    ]
    assert one == two == sorted(FILES + shards)
    for name in one:
        assert (targets[0] / name).read_bytes() == (targets[1] / name).read_bytes(), f"{name} differs"


def test_the_damaged_image_is_listed(targets):
    assert "04.png" in (targets[1] / "skipped.csv").read_text()
    assert [row for row, _ in json.loads((targets[1] / "unreadable-00001.json").read_text())] == [1]


def test_lost_shards_are_shared_out_again(targets, people, backbone):
    """Of the shards 1 and 4 each process does one; what was there stays."""
    one, two = targets
    for number in (1, 4):
        (two / f"features-{number:05}.npy").unlink()
    kept = (two / "features-00000.npy").stat().st_mtime_ns
    _, said = extracted(people, backbone, two, 2)
    assert "2 shards of 3 images to do" in said[0]
    assert (two / "features-00000.npy").stat().st_mtime_ns == kept
    for number in range(SHARDS):
        name = f"features-{number:05}.npy"
        assert (two / name).read_bytes() == (one / name).read_bytes(), f"{name} differs"


def test_all_processes_end_where_another_run_writes_the_target(people, backbone, tmp_path):
    with lock_target(tmp_path / "out", "denoise"), started(people, backbone, tmp_path / "out", 2) as runs:
        for code, said in [run.end() for run in runs]:
            assert code == 2, said[-3000:]
            assert "out is being written by task denoise" in said
    assert not (tmp_path / "out").exists()
