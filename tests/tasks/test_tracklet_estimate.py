"""The dry run; as the command line calls it, see test_tracklets.py."""

from cion_jax.tasks import tracklet_estimate


def test_the_sample_is_spread_over_the_list():
    assert tracklet_estimate.choose(range(100), 4) == [12, 37, 62, 87]
    assert tracklet_estimate.choose(range(3), 8) == [0, 1, 2]


def test_time_and_space_are_those_of_all_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(tracklet_estimate.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    lines = tracklet_estimate._project(360_000, 50, 2, 8000, tmp_path / "absent/target")
    assert (
        "360,000 frames, 2:00:00 on this machine" in lines[0] and "720,000 crops, 7.2 GB on disk" in lines[0]
    )
    assert "1.0 GB are free" in lines[0] and "too small" in lines[1]
