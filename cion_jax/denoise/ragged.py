"""Tracklets as groups of rows: their order, and their places in a larger array."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_CHUNK_ROWS = 65_536  # images in float64 at a time: 134 MB at 256 numbers


class Tracklets(NamedTuple):
    """Rows grouped into tracklets, tracklets in the order of their first rows.

    Attributes:
      of_row: int64 [n], the tracklet of every row.
      rows: int64 [n], all rows, those of a tracklet side by side and in order.
      starts: int64 [t + 1]; tracklet k has rows[starts[k]:starts[k + 1]].
      video: int64 [t], the video of every tracklet; videos count from 0 by first appearance, all 0 without videos.
    """

    of_row: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    video: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """int64 [t], images of every tracklet."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1


def group(tracklets: np.ndarray, videos: np.ndarray | None = None) -> Tracklets:
    """Groups rows by tracklet id, or by (video, tracklet) where videos are given.

    Raises:
      ValueError: the rows of a video are not contiguous.
    """
    video_of_row = np.zeros(len(tracklets), np.int64) if videos is None else _contiguous(videos)
    _, names = np.unique(tracklets, return_inverse=True)
    key = video_of_row * (int(names.max(initial=0)) + 1) + names
    _, first, inverse, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    by_first_row = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[by_first_row] = np.arange(len(first))
    of_row = rank[inverse]
    return Tracklets(
        of_row=of_row,
        rows=np.argsort(of_row, kind="stable"),
        starts=np.concatenate([[0], np.cumsum(counts[by_first_row])]).astype(np.int64),
        video=video_of_row[first[by_first_row]],
    )


def chunks(starts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) of whole groups that hold some 65,536 rows each, or one group that is larger.

    Args:
      starts: int64 [groups + 1], as in Tracklets.
    """
    first, count = 0, len(starts) - 1
    while first < count:
        last = int(np.searchsorted(starts, starts[first] + _CHUNK_ROWS, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last


def _contiguous(videos: np.ndarray) -> np.ndarray:
    """Videos numbered from 0 in the order in which they come."""
    changes = np.flatnonzero(np.diff(videos)) + 1
    starts = np.concatenate([[0], changes]) if len(videos) else np.zeros(0, np.int64)
    names, runs = np.unique(videos[starts], return_counts=True)
    if (runs > 1).any():
        name = names[runs > 1][0]
        at = starts[videos[starts] == name]
        raise ValueError(
            f"the rows of a video must be contiguous: video {name} starts at row {at[0]} and again at row {at[1]}; "
            "sort the rows by video, then by frame"
        )
    numbers = np.zeros(len(videos), np.int64)
    numbers[changes] = 1
    return np.cumsum(numbers)
