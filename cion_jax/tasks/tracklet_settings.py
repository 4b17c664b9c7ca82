"""Settings of the task `tracklets`: their limits, and what of them each part of the work needs."""

from typing import Any

from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.video import detectors, packages, tables
from cion_jax.video.crops import CropSettings
from cion_jax.video.detectors import DetectorSettings
from cion_jax.video.jobs import JobSettings
from cion_jax.video.tracking import NAMES as TRACKERS
from cion_jax.video.tracking import TrackerSettings

# Lowest and highest value of a setting; None: no limit.
_LIMITS = {
    "frame_step": (1, None),
    "crop_step": (1, None),
    "segment": (0, None),
    "min_length": (1, None),
    "min_height": (1, None),
    "margin": (0, 1),
    "quality": (1, 100),
    "max_bad_frames": (0, None),
    "workers": (0, None),
    "threads": (0, None),
    "detector.nms_iou": (0, 1),
    "detector.maximum": (0, None),
    "detector.smallest": (16, None),
    "detector.batch": (0, None),
    "tracker.start": (0, 1),
    "tracker.high": (0, 1),
    "tracker.min_iou": (0, 1),
    "tracker.patience": (0, None),
    "tracker.min_hits": (1, None),
}
# What of the detector decides where and how fast it runs, not what it finds.
_NOT_OF_RESULTS = ("file", "threads", "device", "batch")
_CORES_A_WORKER = 2


def check(config: ConfigDict) -> None:
    """Checks the values of settings.

    Raises:
      UserError: a value cannot be used; the message names its key.
    """
    choices = {
        "tracker.name": TRACKERS,
        "table": tables.KINDS,
        "on_early_end": ("skip", "keep"),
    }
    for key, allowed in choices.items():
        if _value(config, key) not in allowed:
            raise UserError(f"{key}={_value(config, key)!r} must be one of {', '.join(allowed)}")
    size = tuple(config.detector.input_size)
    if len(size) != 2 or not all(isinstance(n, int) for n in size) or (any(size) and min(size) < 32):
        raise UserError(f"detector.input_size={size} must be (height, width) from 32 on, or (0, 0)")
    for key, (low, high) in _LIMITS.items():
        value = _value(config, key)
        if value < low or (high is not None and value > high):
            raise UserError(f"{key}={value} must be {low} {'or more' if high is None else f'to {high}'}")
    if config.detector.confidence != -1 and not 0 <= config.detector.confidence <= 1:
        raise UserError(
            f"detector.confidence={config.detector.confidence} must be 0 to 1, or -1 for the default"
        )


def share_cores(config: ConfigDict, videos: int) -> tuple[int, int]:
    """Number of worker processes, and of threads in each, for a number of videos."""
    cores = packages.count_cores()
    workers = config.workers or max(cores // _CORES_A_WORKER, 1)
    workers = max(min(workers, videos), 1)
    return workers, config.threads or max(cores // workers, 1)


def job_settings(config: ConfigDict, threads: int) -> JobSettings:
    """What a worker process needs to know."""
    detector = None if config.tracks else _detector_settings(config)._replace(threads=threads)
    crops = CropSettings(
        config.min_length, config.min_height, config.margin, config.quality, config.crop_step
    )
    return JobSettings(
        detector,
        _tracker_settings(config),
        crops,
        confidence=_confidence_of_files(config),
        frame_step=config.frame_step,
        segment=config.segment,
        max_bad_frames=config.max_bad_frames,
        keeps_early=config.on_early_end == "keep",
        threads=threads,
    )


def ledger_settings(config: ConfigDict) -> dict[str, Any]:
    """Everything that the crops of all videos of a target must agree on.

    Not among them: `quality`, which each video notes for itself; `on_early_end` and `max_bad_frames`, which matter to
    damaged videos only.
    """
    if config.tracks:
        detector = {"kind": "tracks", "confidence": _confidence_of_files(config)}
    else:
        chosen = _detector_settings(config)
        detector = {**chosen._asdict(), **detectors.about(chosen)}
        detector = {key: value for key, value in detector.items() if key not in _NOT_OF_RESULTS}
    return {
        "detector": detector,
        "tracker": _tracker_settings(config)._asdict(),
        **{
            key: config[key]
            for key in ("frame_step", "crop_step", "segment", "min_length", "min_height", "margin")
        },
    }


def _detector_settings(config: ConfigDict) -> DetectorSettings:
    values = config.detector.to_dict()
    return detectors.with_confidence(
        DetectorSettings(**{**values, "input_size": tuple(values["input_size"])})
    )


def _tracker_settings(config: ConfigDict) -> TrackerSettings:
    return TrackerSettings(**config.tracker.to_dict())


def _confidence_of_files(config: ConfigDict) -> float:
    """Scores in files are those of networks."""
    given = config.detector.confidence
    return given if given >= 0 else detectors.NETWORK_CONFIDENCE


def _value(config: ConfigDict, key: str) -> Any:
    value = config
    for part in key.split("."):
        value = value[part]
    return value
