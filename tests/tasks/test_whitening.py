"""Features whitened by what varies within tracklets."""

import tracemalloc

import numpy as np
import pytest
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.tasks import feature_shards, whitening
from tests.tasks.two_runs import try_during

WIDTH = 8


def world(seed=0, tracklets=40, images=9):
    """Features in which people differ in five directions and the images of a person, far more, in two others."""
    rng = np.random.default_rng(seed)
    person = rng.normal(size=(tracklets, WIDTH)) * ([0.3] * 5 + [0] * 3)
    tracklet = np.repeat(np.arange(tracklets), images)
    noise = rng.normal(size=(len(tracklet), WIDTH)) * ([0.05] * 5 + [1, 1, 0.05])
    return person[tracklet] + noise + 3.0, tracklet


def spread(features, tracklet):
    """Covariance within tracklets."""
    means = np.stack([features[tracklet == k].mean(axis=0) for k in np.unique(tracklet)])
    rest = features - means[np.searchsorted(np.unique(tracklet), tracklet)]
    return rest.T @ rest / len(rest)


def test_images_of_a_tracklet_vary_alike_in_all_directions():
    features, tracklet = world()
    mean, matrix = whitening.whitening(lambda: iter([(features, tracklet)]), 0.0, tracklets=40)
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(spread((features - mean) @ matrix, tracklet), np.eye(WIDTH), atol=1e-5)


def test_blocks_do_not_matter():
    features, tracklet = world()
    parts = [slice(k, k + 50) for k in range(0, len(features), 50)]
    whole = whitening.whitening(lambda: iter([(features, tracklet)]), 0.1, tracklets=40)
    pieces = whitening.whitening(lambda: ((features[p], tracklet[p]) for p in parts), 0.1, tracklets=40)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)


def test_sums_of_tracklets_are_held_once(monkeypatch):
    """They are the largest array by far; growing it block by block copied all of it for every block."""
    monkeypatch.setattr(whitening, "_ROWS", 500)
    tracklets, blocks = 20_000, 40
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2 * tracklets // blocks, WIDTH))
    part = len(rows) // 2

    def parts():
        return ((rows, np.tile(np.arange(k * part, (k + 1) * part), 2)) for k in range(blocks))

    tracemalloc.start()
    whitening.whitening(parts, 0.1, tracklets=tracklets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * tracklets * WIDTH * 8, f"{peak / tracklets / WIDTH / 8:.2f} times the sums"


def test_shrinkage_one_only_centres():
    features, tracklet = world()
    _, matrix = whitening.whitening(lambda: iter([(features, tracklet)]), 1.0, tracklets=40)
    np.testing.assert_allclose(matrix / matrix[0, 0], np.eye(WIDTH), atol=1e-9)


def test_without_two_images_of_a_tracklet_there_is_nothing_to_learn():
    features, _ = world()
    with pytest.raises(UserError, match="no tracklet has two images"):
        alone = np.arange(len(features))
        whitening.whitening(lambda: iter([(features, alone)]), 0.1, tracklets=len(alone))


BAD = 7  # an image without features


@pytest.fixture
def stored(tmp_path):
    """The world as shards, one image unreadable."""
    features, tracklet = world()
    count = len(features)
    columns = {"tracklet": tracklet, "video": tracklet * 0, "frame": np.arange(count)}
    about = {"images": count, "shard_rows": 100, "width": WIDTH, "dtype": "float32"}
    paths = [f"{k}.jpg" for k in range(count)]
    feature_shards.begin(tmp_path / "in", about, paths, columns)
    for number, first, last in feature_shards.missing(tmp_path / "in"):
        part = features[first:last].astype(np.float32)
        reasons = [(BAD - first, "torn")] if first <= BAD < last else []
        part[[row for row, _ in reasons]] = 0
        feature_shards.write_shard(tmp_path / "in", number, part, reasons)
    return tmp_path / "in"


def test_shards_are_whitened_and_unreadable_rows_stay_out(stored, tmp_path):
    features, tracklet = world()
    count, bad = len(features), BAD
    config = ConfigDict({"source": str(stored), "target": str(tmp_path / "out"), "shrinkage": 0.01})
    whitening.run(config, tmp_path)
    found = feature_shards.Stored(tmp_path / "out")[:]
    assert feature_shards.unreadable(tmp_path / "out") == [(bad, "torn")]
    np.testing.assert_array_equal(found[bad], np.zeros(WIDTH))
    good = np.arange(count) != bad
    np.testing.assert_allclose(np.linalg.norm(found[good], axis=1), 1, rtol=1e-5)

    def nearest_is_of_the_tracklet(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        alike = unit @ unit.T - 2 * np.eye(len(unit))
        return (tracklet[good][alike.argmax(axis=1)] == tracklet[good]).mean()

    assert nearest_is_of_the_tracklet(features[good]) < 0.5
    assert nearest_is_of_the_tracklet(found[good]) > 0.8
    assert feature_shards.manifest(tmp_path / "out")["whitened"] == 0.01
    config.shrinkage = 1.5
    with pytest.raises(UserError, match="between 0 and 1"):
        whitening.run(config, tmp_path)


def test_a_second_run_on_the_target_is_refused(stored, tmp_path, monkeypatch):
    config = ConfigDict({"source": str(stored), "target": str(tmp_path / "out"), "shrinkage": 0.01})
    second = lambda: whitening.run(config, tmp_path)  # noqa: E731
    refusals = try_during(monkeypatch, feature_shards, "write_shard", second)
    whitening.run(config, tmp_path)
    assert "out is being written by task whitening" in refusals[0]
    assert not feature_shards.missing(tmp_path / "out")
