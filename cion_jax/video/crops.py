"""Cutting people out of frames and keeping them as JPEG files, tracklet by tracklet."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cion_jax.video import boxes as geometry
from cion_jax.video.growing import GrowingTable
from cion_jax.video.overlap import Background
from cion_jax.video.packages import require
from cion_jax.video.reading import Frame

_LEAST_WIDTH = 4  # pixels; what is narrower lies at the edge of the frame
_WAITING = 64  # crops that wait for their JPEG file; each keeps its frame in memory


class CropSettings(NamedTuple):
    """Which boxes become crops, and how.

    Attributes:
      min_length: tracklets of fewer boxes that could become crops are left out, whatever `step` is.
      min_height: pixels; boxes of which less lies in the frame are left out.
      margin: what is added on each side, as a share of the box's width and height.
      quality: of the JPEG files, 1 to 100.
      step: the first crop of a tracklet and every step-th after it become files.
    """

    min_length: int = 5
    min_height: int = 48
    margin: float = 0.0
    quality: int = 95
    step: int = 1


# Of a crop: the segment and tracklet it belongs to (numbers within the video), its frame, the box as it was cut, and
# the detector's score.
COLUMNS = ("segment", "tracklet", "frame", "left", "top", "width", "height", "score")
Columns = dict[str, Any]  # arrays of one length by name; "path" is a list


def cut(image: np.ndarray, box: np.ndarray, margin: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that a box touches, and the box with its margin, clipped to the image.

    Args:
      image: uint8 [height, width, 3].
      box: [4], left, top, right, bottom.
      margin: as in `CropSettings`.

    Returns:
      uint8 [h, w, 3], empty if the box lies outside, and float64 [4].
    """
    height, width = image.shape[:2]
    box = geometry.clip(geometry.widen(np.asarray(box, np.float64)[None], margin), height, width)[0]
    low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    return image[low[1] : high[1], low[0] : high[0]], box


def encode(crop: np.ndarray, quality: int) -> bytes:
    """uint8 [height, width, 3] RGB as JPEG."""
    cv2 = require("cv2")
    is_good, data = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_good:
        raise ValueError(f"OpenCV could not encode an image of shape {crop.shape}")
    return data.tobytes()


class CropFolder:
    """Writes the crops of one video into TRACKLET/FRAME.jpg, with SEGMENT/ before it where there are segments.

    Tracklets are numbered from 0 by their first crop. Files are encoded and written by threads; what comes out does not
    depend on their number. Call `finish` at the end, or `cancel`.

    Args:
      folder: does not exist yet, or is empty. None: crops are encoded and counted, but nothing is written.
      settings: which boxes, and how.
      has_segments: whether tracklets lie in a folder for their segment.
      threads: that encode and write.

    Attributes:
      encoded, written: number and bytes of all files, those of short tracklets included; exact after `finish`.
    """

    def __init__(self, folder: Path | None, settings: CropSettings, *, has_segments: bool, threads: int = 1):
        self._folder, self._settings, self._has_segments = folder, settings, has_segments
        self._numbers: dict[tuple[int, int], int] = {}
        self._lengths: list[int] = []
        self._rows = GrowingTable(len(COLUMNS))
        self._background = Background(threads, _WAITING)
        self._sizes: list[int] = []

    @property
    def encoded(self) -> int:
        return len(self._sizes)

    @property
    def written(self) -> int:
        return sum(self._sizes)

    def add(self, frame: Frame, segment: int, identity: int, box: np.ndarray, score: float) -> None:
        """Cuts one person out, if there is enough of it in the frame and it is the turn of this crop.

        Raises:
          OSError: an earlier crop could not be written.
        """
        height, width = frame.image.shape[:2]
        left, top, right, bottom = geometry.clip(np.asarray(box, np.float64)[None], height, width)[0]
        if bottom - top < max(self._settings.min_height, 1) or right - left < _LEAST_WIDTH:
            return
        tracklet = self._numbers.setdefault((segment, identity), len(self._numbers))
        if tracklet == len(self._lengths):
            self._lengths.append(0)
            if self._folder is not None:
                (self._folder / self._of_tracklet(segment, tracklet)).mkdir(parents=True, exist_ok=True)
        place = self._lengths[tracklet]
        self._lengths[tracklet] += 1
        if place % self._settings.step:
            return
        crop, cut_box = cut(frame.image, box, self._settings.margin)
        self._background.call(self._write, self._path(segment, tracklet, frame.number), crop)
        left, top, right, bottom = cut_box
        self._rows.append(segment, tracklet, frame.number, left, top, right - left, bottom - top, score)

    def _write(self, path: str, crop: np.ndarray) -> None:
        data = encode(crop, self._settings.quality)
        self._sizes.append(len(data))
        if self._folder is not None:
            (self._folder / path).write_bytes(data)

    def cancel(self) -> None:
        """Ends the threads without an error; the folder is left as it is."""
        self._background.cancel()

    def finish(self) -> Columns:
        """Removes tracklets that are too short; "path" (within the folder) and `COLUMNS` of the others.

        Rows are ordered by tracklet, then frame.

        Raises:
          OSError: a crop could not be written.
        """
        self._background.finish()
        found = dict(zip(COLUMNS, self._rows.rows().T, strict=True))
        found |= {name: found[name].astype(np.int64) for name in COLUMNS[:3]}
        is_long = np.array(self._lengths, np.int64) >= self._settings.min_length
        for (segment, _), tracklet in self._numbers.items():
            if self._folder is not None and not is_long[tracklet]:
                shutil.rmtree(self._folder / self._of_tracklet(segment, tracklet))
        order = np.lexsort((found["frame"], found["tracklet"]))
        order = order[is_long[found["tracklet"][order]]]
        found = {name: values[order] for name, values in found.items()}
        keys = zip(*(found[name].tolist() for name in COLUMNS[:3]), strict=True)
        return {"path": [self._path(*key) for key in keys], **found}

    def _path(self, segment: int, tracklet: int, frame: int) -> str:
        return f"{self._of_tracklet(segment, tracklet)}/{frame:07}.jpg"

    def _of_tracklet(self, segment: int, tracklet: int) -> str:
        number = f"{tracklet:06}"
        return f"{segment:04}/{number}" if self._has_segments else number
