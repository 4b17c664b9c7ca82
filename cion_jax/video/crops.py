"""Cutting people out of frames and keeping them as JPEG files, tracklet by tracklet."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cion_jax.video import boxes as geometry
from cion_jax.video.packages import require
from cion_jax.video.reading import Frame

_LEAST_WIDTH = 4  # pixels; what is narrower lies at the edge of the frame


class CropSettings(NamedTuple):
    """Which boxes become crops, and how.

    Attributes:
      min_length: tracklets of fewer crops are left out.
      min_height: pixels; boxes of which less lies in the frame are left out.
      margin: what is added on each side, as a share of the box's width and height.
      quality: of the JPEG files, 1 to 100.
    """

    min_length: int = 5
    min_height: int = 48
    margin: float = 0.0
    quality: int = 95


class CropRow(NamedTuple):
    """A crop: path within the folder, segment, tracklet (its number in the video), frame, box as cut, score."""

    path: str
    segment: int
    tracklet: int
    frame: int
    left: float
    top: float
    width: float
    height: float
    score: float


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

    Tracklets are numbered from 0 by their first crop.

    Args:
      folder: does not exist yet, or is empty.
      settings: which boxes, and how.
      has_segments: whether tracklets lie in a folder for their segment.
    """

    def __init__(self, folder: Path, settings: CropSettings, *, has_segments: bool):
        self._folder, self._settings, self._has_segments = folder, settings, has_segments
        self._numbers: dict[tuple[int, int], int] = {}
        self._rows: dict[int, list[CropRow]] = {}

    def add(self, frame: Frame, segment: int, identity: int, box: np.ndarray, score: float) -> None:
        """Cuts one person out, if there is enough of it in the frame."""
        height, width = frame.image.shape[:2]
        left, top, right, bottom = geometry.clip(np.asarray(box, np.float64)[None], height, width)[0]
        if bottom - top < max(self._settings.min_height, 1) or right - left < _LEAST_WIDTH:
            return
        crop, cut_box = cut(frame.image, box, self._settings.margin)
        tracklet = self._numbers.setdefault((segment, identity), len(self._numbers))
        path = f"{self._of_tracklet(segment, tracklet)}/{frame.number:07}.jpg"
        file = self._folder / path
        rows = self._rows.setdefault(tracklet, [])
        if not rows:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(crop, self._settings.quality))
        left, top, right, bottom = (float(value) for value in cut_box)
        rows.append(
            CropRow(
                path, segment, tracklet, frame.number, left, top, right - left, bottom - top, float(score)
            )
        )

    def finish(self) -> list[CropRow]:
        """Removes tracklets that are too short; the rows of the others, ordered by tracklet, then frame."""
        kept = []
        for tracklet, rows in self._rows.items():
            if len(rows) >= self._settings.min_length:
                kept += sorted(rows, key=lambda row: row.frame)
            else:
                shutil.rmtree(self._folder / self._of_tracklet(rows[0].segment, tracklet))
        return kept

    def _of_tracklet(self, segment: int, tracklet: int) -> str:
        number = f"{tracklet:06}"
        return f"{segment:04}/{number}" if self._has_segments else number
