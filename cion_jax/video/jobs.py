"""The work on one video, from its file to a folder with crops, table and tracks: what a worker process does."""

import errno
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically
from cion_jax.video import cutting, detectors, following, motchallenge, packages, reading, tables
from cion_jax.video.crops import CropFolder, CropSettings
from cion_jax.video.detectors import DetectorSettings
from cion_jax.video.listing import Video
from cion_jax.video.reading import Frame
from cion_jax.video.tracking import Tracker, TrackerSettings

CROPS, TABLE, TRACKS = "crops", "table.parquet", "tracks.txt"
# Of a full or read-only disk: no other video could be written either.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class JobSettings(NamedTuple):
    """How videos are cut.

    Attributes:
      detector: None where people are read from files.
      tracker: how boxes are joined.
      crops: which boxes become crops.
      confidence: boxes of files below this score are left out.
      frame_step, segment, max_bad_frames: as in configs/tracklets.py.
      keeps_early: whether what comes before an early end is kept.
      threads: of one process; 0: one per core.
    """

    detector: DetectorSettings | None
    tracker: TrackerSettings
    crops: CropSettings
    confidence: float
    frame_step: int
    segment: int
    max_bad_frames: int
    keeps_early: bool
    threads: int


class Job(NamedTuple):
    """One video.

    Attributes:
      video: the video.
      tracks: the file with its people; None: they are detected.
      folder: takes `CROPS`, `TABLE` and `TRACKS`; does not exist. None: everything is done but nothing is written.
      limit: frames after which to stop; 0: all.
    """

    video: Video
    tracks: Path | None
    folder: Path | None
    limit: int = 0


class Result(NamedTuple):
    """What became of a video.

    Attributes:
      skipped: why nothing is kept; "" if something is.
      is_lasting: whether the reason lies in the video, so that another try would end in the same way.
      facts: for the ledger: frames, segments, boxes, crops, problem, early, bad_frames, bad_allowed, quality.
      encoded, written: number and bytes of all JPEG files made, those of short tracklets included.
      seconds: that the job took.
      hint: why the detector may have found nobody.
    """

    skipped: str
    is_lasting: bool
    facts: dict[str, Any]
    encoded: int = 0
    written: int = 0
    seconds: float = 0.0
    hint: str = ""


class Cutter:
    """Does jobs one after another; holds the detector.

    Raises:
      UserError: settings or files of the detector that cannot be used, a missing package.
    """

    def __init__(self, settings: JobSettings):
        packages.require("cv2")
        packages.limit_threads(settings.threads)
        self._settings = settings
        self._threads = settings.threads or packages.count_cores()
        self._detector = None
        if settings.detector:
            self._detector = detectors.open_detector(settings.detector)
            Tracker(
                settings.tracker, None
            )  # a missing package shows now; its import is no part of the first job

    def __call__(self, job: Job, advance: Callable[[], None]) -> Result:
        """Cuts one video.

        No video ends the run: whatever goes wrong with one is its reason to be skipped.

        Args:
          job: which.
          advance: called after every frame.

        Raises:
          OSError: the disk is full or cannot be written.
        """
        try:
            return self._cut(job, advance)
        except reading.VideoError as error:
            return Result(str(error), not isinstance(error, reading.UnreachableError), {"early": False})
        except OSError as error:
            if is_full(error):
                raise
            return Result(error.strerror or str(error), False, {})
        except UserError as error:  # of its tracks or seqinfo.ini
            return Result(str(error), False, {})
        except Exception as error:  # what OpenCV and codecs raise has no common type
            return Result(f"{type(error).__name__}: {error}", False, {})

    def _cut(self, job: Job, advance: Callable[[], None]) -> Result:
        settings, bad, start = self._settings, [], time.perf_counter()
        about = reading.info(job.video)
        follow = self._follower(job, about.rate and about.rate / settings.frame_step)
        crops = CropFolder(
            job.folder and job.folder / CROPS,
            settings.crops,
            has_segments=settings.segment > 0,
            threads=self._threads,
        )
        frames: Iterator[Frame] = reading.frames(
            job.video, settings.frame_step, tolerated=settings.max_bad_frames, bad=bad
        )
        frames = itertools.islice(frames, job.limit) if job.limit else frames
        try:
            cut = cutting.cut_video(frames, follow, crops, segment=settings.segment, advance=advance)
            rows = crops.finish()
        finally:
            crops.cancel()
        facts = {
            "frames": cut.frames,
            "segments": cut.segments,
            "boxes": cut.boxes,
            "crops": len(rows["path"]),
            "early": bool(cut.problem),
            "bad_frames": len(bad),
            "bad_allowed": settings.max_bad_frames,
            "quality": settings.crops.quality,
        }
        if cut.problem and (not settings.keeps_early or not cut.frames):
            facts["early"] = cut.frames > 0  # without a frame there is nothing that could be kept
            return Result(cut.problem, True, facts)
        if job.folder is not None:
            job.folder.mkdir(parents=True, exist_ok=True)
            tables.write_rows(job.folder / TABLE, rows)
            write_atomically(job.folder / TRACKS, motchallenge.text(cut.tracks))
        facts["problem"] = "" if job.limit else self._problem(job, cut, follow.last, bad)
        hint = self._detector.hint if self._detector is not None else ""
        seconds = time.perf_counter() - start
        return Result("", True, facts, crops.encoded, crops.written, seconds, hint)

    def _follower(self, job: Job, rate: float | None) -> following.Follower:
        def new_tracker() -> Tracker:
            return Tracker(self._settings.tracker, rate)

        if self._detector is None:
            return following.given(job.tracks, self._settings.confidence, new_tracker)
        return following.detected(self._detector, new_tracker)

    def _problem(self, job: Job, cut: cutting.Cut, last: int, bad: list[int]) -> str:
        """What a user should know of a video that is kept; "" if nothing."""
        found = []
        if cut.problem:
            found.append(f"{cut.problem}; what came before is kept")
        elif last >= cut.last + self._settings.frame_step:
            found.append(f"{job.tracks} goes on to frame {last:,}, but the video ends at {cut.last:,}")
        if bad:
            found.append(
                f"{len(bad):,} frames cannot be decoded (the first is {bad[0]:,}); the others are kept"
            )
        return "; ".join(found)


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk is full or cannot be written at all."""
    return error.errno in _FULL
