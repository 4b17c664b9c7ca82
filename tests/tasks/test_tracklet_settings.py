"""Settings of the task `tracklets`."""

import pytest

from cion_jax.core.errors import UserError
from cion_jax.tasks import tracklet_settings
from cion_jax.video.detectors import DetectorSettings, with_confidence
from cion_jax.video.tracking import TrackerSettings
from configs import tracklets as settings


def config_of(**values):
    config = settings.get_config()
    config.update_from_flattened_dict(values)
    return config


@pytest.mark.parametrize(
    ("cores", "values", "videos", "expected"),
    [
        (2, {}, 9, (1, 2)),
        (16, {}, 100, (8, 2)),
        (16, {}, 1, (1, 16)),
        (16, {"workers": 4}, 100, (4, 4)),
        (16, {"workers": 4, "threads": 1}, 100, (4, 1)),
        (1, {"workers": 3}, 2, (2, 1)),
    ],
)
def test_cores_are_shared(monkeypatch, cores, values, videos, expected):
    monkeypatch.setattr(tracklet_settings.packages, "count_cores", lambda: cores)
    assert tracklet_settings.share_cores(config_of(**values), videos) == expected


def test_what_does_not_force_all_videos_anew():
    before = tracklet_settings.ledger_settings(config_of())
    same = {"quality": 50, "on_early_end": "keep", "max_bad_frames": 3, "workers": 4, "threads": 2}
    same |= {"detector.batch": 1, "detector.device": "GPU"}
    assert tracklet_settings.ledger_settings(config_of(**same)) == before
    for key, value in {
        "crop_step": 2,
        "margin": 0.1,
        "tracker.high": 0.5,
        "detector.confidence": 0.3,
    }.items():
        assert tracklet_settings.ledger_settings(config_of(**{key: value})) != before, key


def test_defaults_of_the_task_are_those_of_the_library():
    config = config_of()
    found = tracklet_settings.job_settings(config, 1)
    assert found.tracker == TrackerSettings()
    assert found.detector == with_confidence(DetectorSettings(threads=1))
    assert found.detector.confidence < found.tracker.high < found.tracker.start, (
        "ByteTrack without doubtful boxes"
    )


@pytest.mark.parametrize("confidence", [-0.5, 1.5])
def test_confidence(confidence):
    with pytest.raises(UserError, match="0 to 1, or -1"):
        tracklet_settings.check(config_of(**{"detector.confidence": confidence}))
