"""The benchmarks of denoising run and measure what they say."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks import correlate, denoise, tracklet_truth


def test_denoise_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(denoise, "ON_PAPER", denoise.ON_PAPER[:1])
    monkeypatch.setattr(denoise, "ON_RECOMMENDED", denoise.ON_RECOMMENDED[:1])
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 8)
    features = np.eye(30)[people] + 0.05 * rng.normal(size=(240, 30))
    np.savez(tmp_path / "few.npz", features=features, identity=people, camera=np.tile([0, 1], 120))
    arguments = f"--people 40 --presets light --seeds 0 --labelled {tmp_path}/few.npz"
    files = ["--json", str(tmp_path / "d.json"), "--markdown", str(tmp_path / "d.md")]
    denoise.main([*arguments.split(), *files])
    rows = json.loads((tmp_path / "d.json").read_text())["rows"]
    assert {row["data"] for row in rows} == {"few light", "A0 light"}
    figure = {(row["data"], row["method"]): row.get("pair_f") for row in rows}
    assert figure["A0 light", "paper, finished"] > figure["A0 light", "paper, tracklets"]
    assert figure["A0 light", "recommended, finished"] > 0.9
    assert (tmp_path / "d.md").read_text().startswith("| method | few light | A0 light |")


def test_people_walk_together_a_dozen_at_a_time():
    frames = denoise._walking_together(np.repeat(np.arange(14), 3), np.zeros(42, int))
    assert frames[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert frames[-3:].tolist() == [1000, 1001, 1002]


@pytest.mark.parametrize("method", [name for name in correlate.METHODS if "FAISS" not in name])
def test_every_method_finds_the_same_identities(method, tmp_path, monkeypatch):
    monkeypatch.setattr(correlate, "WIDTH", 16)
    file = correlate.make_centroids(1200, tmp_path)
    vectors = np.load(file)
    wanted = correlate._numpy_band(vectors) if "band" in method else correlate._numpy_all(vectors)
    found = correlate.METHODS[method](vectors)
    assert 1 < len(np.unique(wanted)) < 1200
    pairs = set(zip(found.tolist(), wanted.tolist(), strict=True))
    assert len(pairs) == len(np.unique(wanted)) == len(np.unique(found))


def test_truth_of_tracklets(tmp_path):
    table = {"path": ["a.jpg", "b.jpg"], "frame": [1, 1], "x_left": [10, 200], "x_top": [20, 20]}
    table |= {"x_width": [30, 30], "x_height": [60, 60]}
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "tracklets.parquet")
    (tmp_path / "gt.txt").write_text("1,7,11,21,30,60,1,-1,-1,-1\n")
    paths = ["--tracklets", str(tmp_path), "--gt", str(tmp_path / "gt.txt")]
    tracklet_truth.main([*paths, "--output", str(tmp_path / "truth.csv")])
    assert (tmp_path / "truth.csv").read_text().split() == ["path,identity", "a.jpg,7", "b.jpg,-1"]
