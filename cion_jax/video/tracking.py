"""Joining the boxes of successive frames: ByteTrack and SORT of the library `trackers` (Apache-2.0)."""

from typing import NamedTuple

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.video.detectors import Detections
from cion_jax.video.packages import require

NAMES = ("bytetrack", "sort")
NOBODY = -1
_DEFAULT_RATE = 25.0  # frames a second where a video does not say


class TrackerSettings(NamedTuple):
    """How boxes are joined.

    Attributes:
      name: "bytetrack" (boxes of low score continue tracks, too) or "sort".
      start: score that a box needs to begin a track.
      high: ByteTrack: score of the boxes that are joined first.
      min_iou: overlap that a box must have with where a track is expected.
      patience: seconds for which a track that is not seen is kept.
      min_hits: boxes after which a track counts as one; those before are nobody's.
    """

    name: str = "bytetrack"
    start: float = 0.7
    high: float = 0.6
    min_iou: float = 0.3
    patience: float = 1.0
    min_hits: int = 2


class Tracker:
    """Follows people through one video. Tracks are numbered from 0 by the first box that counts.

    Args:
      settings: how.
      rate: frames a second, of those that it will see; None where unknown.

    Raises:
      UserError: an unknown name, or a package that is missing.
    """

    def __init__(self, settings: TrackerSettings, rate: float | None):
        if settings.name not in NAMES:
            raise UserError(f"tracker.name={settings.name!r} is none of {', '.join(NAMES)}")
        library, self._supervision = require("trackers"), require("supervision")
        # At a rate of 30 the library takes the buffer as a number of frames.
        common = {
            "lost_track_buffer": max(round(settings.patience * (rate or _DEFAULT_RATE)), 1),
            "frame_rate": 30.0,
            "track_activation_threshold": settings.start,
            "minimum_consecutive_frames": settings.min_hits,
            "minimum_iou_threshold": settings.min_iou,
        }
        if settings.name == "sort":
            self._tracker = library.SORTTracker(**common)
        else:
            self._tracker = library.ByteTrackTracker(**common, high_conf_det_threshold=settings.high)
        self._numbers: dict[int, int] = {}

    def update(self, found: Detections) -> np.ndarray:
        """Takes the boxes of the next frame and gives each its track, int64 [k]; -1 where it has none."""
        count = len(found.boxes)
        given = self._supervision.Detections(
            xyxy=found.boxes.astype(np.float32).reshape(count, 4),
            confidence=found.scores.astype(np.float32),
            class_id=np.zeros(count, int),
            data={"row": np.arange(count)},  # the library returns some of them, in another order
        )
        tracked = self._tracker.update(given)
        identities = np.full(count, NOBODY, np.int64)
        if not count or not len(tracked):
            return identities
        for row, number in sorted(zip(tracked.data["row"], tracked.tracker_id, strict=True)):
            if number >= 0:
                # The library counts through all trackers of the process.
                identities[row] = self._numbers.setdefault(int(number), len(self._numbers))
        return identities
