"""Who is where in a frame: found and tracked here, or read from a MOTChallenge file."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.video import motchallenge
from cion_jax.video.detectors import FRAMES_AHEAD, Detections, Detector, detect_ahead
from cion_jax.video.file_names import file_name
from cion_jax.video.listing import Video
from cion_jax.video.overlap import run_ahead
from cion_jax.video.reading import Frame
from cion_jax.video.tracking import Tracker


class Followed(NamedTuple):
    """The people of a frame: boxes [k, 4] (left, top, right, bottom), scores [k], identities int64 [k] (-1: nobody)."""

    boxes: np.ndarray
    scores: np.ndarray
    identities: np.ndarray


class Follower(Protocol):
    """Frames of one video in order -> their people.

    `ahead` hands through the frames and may begin to work on them; then each is given to the follower itself. `start`
    begins a new segment, in which nobody is known. `last` is the number of the last frame in which it has somebody, 0
    where it does not know beforehand.
    """

    last: int

    def ahead(self, frames: Iterable[Frame]) -> Iterator[Frame]: ...

    def start(self) -> None: ...

    def __call__(self, frame: Frame) -> Followed: ...


class DetectAndTrack:
    """Joins detections with a tracker, which is new in every segment.

    Args:
      detect: frames in order -> each with its people, in the same order; it may work ahead.
      new_tracker: makes a tracker.
      last: as in `Follower`.
    """

    def __init__(
        self,
        detect: Callable[[Iterable[Frame]], Iterator[tuple[Frame, Detections]]],
        new_tracker: Callable[[], Tracker],
        last: int = 0,
    ):
        self._detect, self._new_tracker, self.last = detect, new_tracker, last
        self._found: dict[int, Detections] = {}

    def ahead(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame, found in self._detect(frames):
            self._found[frame.number] = found
            yield frame

    def start(self) -> None:
        self._tracker = self._new_tracker()

    def __call__(self, frame: Frame) -> Followed:
        found = self._found.pop(frame.number)
        return Followed(*found, self._tracker.update(found))


class GivenTracks:
    """The tracks of a file."""

    def __init__(self, rows: motchallenge.Rows):
        self._rows = rows
        self.last = int(rows.frame.max(initial=0))

    def ahead(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        yield from run_ahead(frames, FRAMES_AHEAD)

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

    def detect(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Detections]]:
        for frame in run_ahead(frames, FRAMES_AHEAD):
            own = rows.at(frame.number)
            keep = own.scores >= confidence
            scores = np.clip(own.scores[keep], 0, 1).astype(np.float32)
            yield frame, Detections(own.boxes[keep].astype(np.float32), scores)

    return DetectAndTrack(detect, new_tracker, int(rows.frame.max(initial=0)))


def detected(detector: Detector, new_tracker: Callable[[], Tracker]) -> Follower:
    """Follows what a detector finds."""
    return DetectAndTrack(lambda frames: detect_ahead(detector, frames), new_tracker)


def file_of(tracks: Path, video: Video) -> Path | None:
    """The file that belongs to a video: `tracks` itself, or the one of its name in that folder.

    In a folder, for the video a/b.avi: a/b.avi.txt, a/b.txt, a/b/gt/gt.txt, a/b/det/det.txt, the first that exists. For
    a very long name, the file that this task made of it.
    """
    if tracks.is_file():
        return tracks
    bare = tracks / (video.name if video.path.is_dir() else str(Path(video.name).with_suffix("")))
    choices = (
        tracks / f"{video.name}.txt",
        bare.parent / f"{bare.name}.txt",
        bare / "gt" / "gt.txt",
        bare / "det" / "det.txt",
        tracks / f"{file_name(video.name)}.txt",
    )
    # Not Path.is_file, which raises where a name becomes too long.
    return next((file for file in choices if os.path.isfile(file)), None)  # noqa: PTH113
