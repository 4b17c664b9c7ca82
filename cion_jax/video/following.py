"""Who is where in a frame: found and tracked here, or read from a MOTChallenge file."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.video import motchallenge
from cion_jax.video.detectors import Detections, Detector
from cion_jax.video.listing import Video
from cion_jax.video.reading import Frame
from cion_jax.video.tracking import Tracker


class Followed(NamedTuple):
    """The people of a frame: boxes [k, 4] (left, top, right, bottom), scores [k], identities int64 [k] (-1: nobody)."""

    boxes: np.ndarray
    scores: np.ndarray
    identities: np.ndarray


class Follower(Protocol):
    """Frames of one video in order -> their people. `start` begins a new segment, in which nobody is known.

    `last` is the number of the last frame that it knows somebody in, 0 where it does not know beforehand.
    """

    last: int

    def start(self) -> None: ...

    def __call__(self, frame: Frame) -> Followed: ...


class DetectAndTrack:
    """Finds people with a detector and joins them with a tracker, which is new in every segment."""

    def __init__(
        self, detect: Callable[[Frame], Detections], new_tracker: Callable[[], Tracker], last: int = 0
    ):
        self._detect, self._new_tracker, self.last = detect, new_tracker, last

    def start(self) -> None:
        self._tracker = self._new_tracker()

    def __call__(self, frame: Frame) -> Followed:
        found = self._detect(frame)
        return Followed(*found, self._tracker.update(found))


class GivenTracks:
    """Tells the tracks of a file."""

    def __init__(self, rows: motchallenge.Rows):
        self._rows = rows
        self.last = int(rows.frame.max(initial=0))

    def start(self) -> None:
        pass

    def __call__(self, frame: Frame) -> Followed:
        rows = self._rows.at(frame.number)
        return Followed(rows.boxes, rows.scores, rows.identity)


def given(path: Path, confidence: float, new_tracker: Callable[[], Tracker]) -> Follower:
    """Follows what a MOTChallenge file says: tracks as they are, detections (id -1 in every row) with a new tracker.

    Args:
      path: the file.
      confidence: detections of a lower score are left out; tracks are not touched.
      new_tracker: makes one, for detections.

    Raises:
      UserError: as `motchallenge.read`; a file in which only some rows have an id.
    """
    rows = motchallenge.read(path)
    without = rows.identity < 0
    if not without.any():
        return GivenTracks(rows)
    if not without.all():
        frame = rows.frame[without][0]
        raise UserError(f"{path} has rows without an id (the first in frame {frame}) among others with one")

    def detect(frame: Frame) -> Detections:
        own = rows.at(frame.number)
        keep = own.scores >= confidence
        scores = np.clip(own.scores[keep], 0, 1).astype(np.float32)
        return Detections(own.boxes[keep].astype(np.float32), scores)

    return DetectAndTrack(detect, new_tracker, int(rows.frame.max(initial=0)))


def detected(detector: Detector, new_tracker: Callable[[], Tracker]) -> Follower:
    """Follows what a detector finds."""
    return DetectAndTrack(lambda frame: detector(frame.image), new_tracker)


def file_of(tracks: Path, video: Video) -> Path | None:
    """The file that belongs to a video: `tracks` itself, or the one of its name in that folder.

    In a folder, for the video a/b.avi: a/b.avi.txt, a/b.txt, a/b/gt/gt.txt, a/b/det/det.txt, the first that exists.
    """
    if tracks.is_file():
        return tracks
    bare = tracks / (video.name if video.path.is_dir() else str(Path(video.name).with_suffix("")))
    choices = (
        tracks / f"{video.name}.txt",
        bare.parent / f"{bare.name}.txt",
        bare / "gt" / "gt.txt",
        bare / "det" / "det.txt",
    )
    return next((file for file in choices if file.is_file()), None)
