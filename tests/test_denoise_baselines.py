"""The baselines of the noise benchmark run, and find what is easy to find."""

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import denoise_baselines
from cion_jax.data.synthetic_tracklets import World, generate

HAS_SCIKIT = importlib.util.find_spec("sklearn") is not None


@pytest.fixture(scope="module")
def rows():
    made = generate(World(people=20, width=32, images=(4, 12)), "light")
    found = denoise_baselines.baselines(
        made.features, made.tracklets, made.identities, distances=(0.2, 0.3), sizes=(5,)
    )
    return made, found


def test_every_method_has_its_best_setting(rows):
    made, found = rows
    names = [row.name for row in found]
    assert {"raw tracklets", "agglomerative, average on images", "DBSCAN on tracklets"} <= set(names)
    for name in set(names):
        mine = [row for row in found if row.name == name]
        if mine[0].quality is None:
            assert mine[0].note == denoise_baselines.SCIKIT and not HAS_SCIKIT
        elif mine[0].setting:
            (best,) = [row for row in mine if row.best]
            assert best.quality["pair_f"] == max(row.quality["pair_f"] for row in mine)
    for row in found:
        assert row.quality is None or (len(row.labels) == len(made.kinds) and row.seconds >= 0)


def test_clustering_beats_raw_tracklets_and_the_truth_beats_both(rows):
    best = {
        row.name: row.quality["pair_f"] for row in rows[1] if row.quality and (row.best or not row.setting)
    }
    assert best["agglomerative, average on images"] > best["raw tracklets"] + 0.2
    bound = best["whole tracklets, joined by the truth"]
    assert bound > 0.9 and bound >= best["agglomerative, average on tracklets"]


def test_components_are_those_of_a_graph():
    angles = np.radians([0, 20, 40, 90, 100, 180])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ((_, labels, _),) = denoise_baselines.components(points, (1 - np.cos(np.radians(21)),), block=2)
    assert labels.tolist() == [0, 0, 0, 1, 1, 2]


def test_what_is_too_large_is_left_out():
    features, ids = np.eye(6), np.arange(6)
    found = denoise_baselines.baselines(features, ids, ids, most_held=5, most_blocked=5)
    assert [row.name for row in found if row.quality] == [
        "raw tracklets",
        "whole tracklets, joined by the truth",
    ]
    assert all("6 points" in row.note for row in found[2:])


def test_no_images_are_a_mistake():
    with pytest.raises(ValueError, match="no images"):
        denoise_baselines.baselines(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, int))


def test_the_command_prints_a_table(tmp_path, capsys):
    file = tmp_path / "rows.json"
    denoise_baselines.main(["--people", "8", "--preset", "light", "--json", str(file)])
    assert "(best by truth)" in capsys.readouterr().out
    assert len(json.loads(file.read_text())["rows"]) > 10
