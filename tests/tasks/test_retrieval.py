"""Evaluation of a run: features kept for the outputs, baselines within memory, kept and computed once."""

import io
import json
import tracemalloc
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cion_jax.core import mesh as meshes
from cion_jax.tasks import retrieval
from cion_jax.tasks.sources import EvaluationData
from configs import base


class Records:
    """`count` records of one picture; identities and cameras in turn."""

    def __init__(self, count, size, fingerprint="abc"):
        pixels = np.random.default_rng(count).integers(0, 256, (*size, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        self._record = types.SimpleNamespace(image=file.getvalue(), path="people/one.jpg")
        self.fingerprint = fingerprint
        numbers = np.arange(count)
        self.columns = {
            "identity": numbers % 5,
            "camera": numbers % 2,
            "height": np.full(count, size[0]),
            "width": np.full(count, size[1]),
        }

    def __len__(self):
        return len(self.columns["identity"])

    def __getitems__(self, indices):
        return [self._record] * len(indices)


class NoPreemption:
    def reached(self):
        return False


def evaluator(queries=10, gallery=20, size=(64, 32), fingerprint="abc"):
    config = base.get_config()
    config.crops.global_size = size
    config.model.name = "resnet18"
    config.data.threads = 1
    data = EvaluationData(Records(queries, size), Records(gallery, size, fingerprint), "people")
    apply = lambda variables, images: variables["scale"] * images.mean(axis=(1, 2))  # noqa: E731
    return retrieval.Retrieval(data, config, meshes.make_mesh(1, jax.devices()[:1]), apply, NoPreemption())


SCALE = {"scale": jnp.float32(2.0)}


def test_outputs_get_the_features_of_the_last_evaluation(monkeypatch):
    found, calls = evaluator(), []
    features = found.features
    monkeypatch.setattr(found, "features", lambda variables: calls.append(1) or features(variables))
    found.figures(SCALE, step=7)
    kept = found.features_at(7, SCALE)
    assert len(calls) == 1, "features of the evaluation after the last step are computed again"
    np.testing.assert_array_equal(kept[1], features(SCALE)[1])
    found.features_at(8, SCALE)
    assert len(calls) == 2, "features of another step are not those of the evaluation"


@pytest.mark.parametrize("images", [1500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_baselines_hold_features_but_no_images(monkeypatch, images):
    """Three float32 copies of a gallery of 256x128 took 1.2 MB an image: 23 GB for 20,000."""
    cheap = {"mean": lambda x: x.mean(axis=(1, 2)).astype(np.float32) + 1.0}
    monkeypatch.setattr(retrieval, "BASELINES", cheap)
    found = evaluator(gallery=images, size=(256, 128))
    found._baseline_features("warm-up", found.data.query)
    tracemalloc.start()
    features = found._baseline_features("gallery", found.data.gallery)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert features.shape == (images, 3)
    # Some batches of 128 canvases are on their way at any time, whatever the gallery's size.
    assert peak < 250 * 2**20, f"peak {peak / 2**20:.0f} MiB for {images} images"


def test_baselines_equal_those_of_all_images_at_once(tmp_path):
    found = evaluator()
    figures = found.baseline_figures(tmp_path)
    assert list(figures) == list(retrieval.BASELINES)
    with Image.open(io.BytesIO(found.data.gallery._record.image)) as image:
        gallery = np.repeat(np.asarray(image)[None], 20, axis=0)
    with Image.open(io.BytesIO(found.data.query._record.image)) as image:
        query = np.repeat(np.asarray(image)[None], 10, axis=0)
    for name, of in retrieval.BASELINES.items():
        assert figures[name] == found._rank(of(query), of(gallery)), name


def test_baselines_are_computed_once_and_anew_for_other_data(tmp_path, monkeypatch):
    first = evaluator().baseline_figures(tmp_path)
    monkeypatch.setattr(retrieval.Retrieval, "_baseline_features", lambda *_: pytest.fail("computed again"))
    assert evaluator().baseline_figures(tmp_path) == first
    with pytest.raises(pytest.fail.Exception):
        evaluator(fingerprint="def").baseline_figures(tmp_path)


def test_a_damaged_file_of_baselines_is_made_anew(tmp_path):
    (tmp_path / retrieval.BASELINES_FILE).write_text('{"data": ')
    figures = evaluator().baseline_figures(tmp_path)
    assert json.loads((tmp_path / retrieval.BASELINES_FILE).read_text())["figures"] == figures
