"""Gives images that level 1 removed to another tracklet of their video (CION, Eq. 5)."""

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.denoise import rows
from cion_jax.denoise.decisions import MARGIN, TIE

_SIDE = 512  # images and tracklets of a tile
_NOBODY = np.float32(4.0)  # further than any cosine distance


def nearest_tracklet(
    unit: np.ndarray,
    home: np.ndarray,
    videos: np.ndarray,
    sums: np.ndarray,
    video_of_tracklet: np.ndarray,
    sigma_cst: float,
) -> np.ndarray:
    """The tracklet that each removed image goes to.

    Args:
      unit: removed images, unit rows float64 [e, d], in the order of videos.
      home: int64 [e], the tracklet each was removed from, to which it does not return.
      videos: int64 [e], ascending.
      sums: float64 [t, d], sums of the unit features of every tracklet.
      video_of_tracklet: int64 [t], ascending.
      sigma_cst: cosine distance below which an image is accepted.

    Returns:
      int64 [e]: the nearest tracklet of the same video other than `home`, the earlier of two within 1e-6; -1 where
      the nearest is sigma_cst away or further. Decisions are those of float64.
    """
    target = np.full(len(unit), -1, np.int64)
    starts = np.searchsorted(video_of_tracklet, videos, side="left")
    ends = np.searchsorted(video_of_tracklet, videos, side="right")
    for first in range(0, len(unit), _SIDE):
        part = slice(first, min(first + _SIDE, len(unit)))
        best, place, rivals = _nearest(unit[part], home[part], starts[part], ends[part], sums)
        target[part] = np.where(best < sigma_cst, place, -1)
        close = (np.abs(best - sigma_cst) < MARGIN) | (rivals & (best < sigma_cst + MARGIN))
        for row in first + np.flatnonzero(close):
            among = slice(starts[row], ends[row])
            target[row] = _nearest_exactly(unit[row], sums[among], home[row] - starts[row], sigma_cst)
            target[row] += starts[row] if target[row] >= 0 else 0
    return target


def _nearest(unit, home, starts, ends, sums):
    """Distance and place of the nearest tracklet, and whether another is as near; over tiles of tracklets."""
    count = len(unit)
    pad = _SIDE - count
    x = np.pad(unit.astype(np.float32), ((0, pad), (0, 0)))
    home, starts, ends = (np.pad(ids, (0, pad)) for ids in (home, starts, ends))
    best, place = np.full(_SIDE, _NOBODY, np.float32), np.full(_SIDE, -1)
    rivals = np.zeros(_SIDE, bool)
    for column in range(int(starts[0]), int(ends[count - 1]), _SIDE):
        block = np.asarray(sums[column : column + _SIDE], np.float32)
        block = np.pad(block, ((0, _SIDE - len(block)), (0, 0)))
        near, where, again = (
            np.asarray(a)
            for a in _tile(
                x, block, *(np.int32(np.clip(ids - column, -1, _SIDE)) for ids in (home, starts, ends))
            )
        )
        equal = (np.abs(near - best) < TIE + 2 * MARGIN) & (near < _NOBODY)
        better = near < best
        rivals = np.where(better, again | equal, rivals | equal)
        place = np.where(better, where + column, place)
        best = np.minimum(best, near)
    return best[:count], place[:count], rivals[:count]


@jax.jit
def _tile(x, sums, home, start, end):
    """[e, d], [t, d], int32 [e] each -> least distance [e], where, whether another lies within the tie of it."""
    length = jnp.sqrt(jnp.sum(sums * sums, axis=1))
    cosine = jnp.einsum("ed,td->et", x, sums, precision=jax.lax.Precision.HIGHEST)
    distance = 1 - jnp.where(length > rows.NO_LENGTH, cosine / length, 0)
    place = jnp.arange(sums.shape[0])
    other = (place >= start[:, None]) & (place < end[:, None]) & (place != home[:, None])
    distance = jnp.where(other, distance, _NOBODY)
    least = distance.min(axis=1)
    near = other & (distance < (least + TIE + 2 * MARGIN)[:, None])
    return least, distance.argmin(axis=1), near.sum(axis=1) > 1


def _nearest_exactly(unit: np.ndarray, sums: np.ndarray, home: int, sigma_cst: float) -> int:
    """The same for one image [d] in float64, among the tracklets of its video [t, d]; -1 for none."""
    distance = 1 - np.einsum("td,d->t", rows.unit_or_zero(sums), unit)
    if 0 <= home < len(sums):
        distance[home] = np.inf
    least = distance.min(initial=np.inf)
    return int(np.flatnonzero(distance <= least + TIE)[0]) if least < sigma_cst else -1
