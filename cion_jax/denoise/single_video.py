"""Level 2: within each video, gives removed images to other tracklets and merges tracklets (CION, section 3.2)."""

from typing import NamedTuple

import numpy as np

from cion_jax.denoise import near, ragged, rows, sums
from cion_jax.denoise.ragged import Tracklets
from cion_jax.denoise.reallocate import nearest_tracklet
from cion_jax.denoise.single_tracklet import keep_rows
from cion_jax.denoise.watching import Watch, unwatched


class Cleaned(NamedTuple):
    """What level 1 and reallocation made of the tracklets.

    Attributes:
      keep: bool [n], what level 1 left in its tracklet.
      tracklet: int64 [n], the tracklet of every row after reallocation, -1 where none took it.
      sums: float64 [t, d], sums of unit features after reallocation.
    """

    keep: np.ndarray
    tracklet: np.ndarray
    sums: np.ndarray


def denoise_videos(
    features: np.ndarray,
    tracklets: np.ndarray,
    videos: np.ndarray,
    *,
    sigma_cst: float = 0.2,
    sigma_drm: float = 0.18,
) -> np.ndarray:
    """Identities within each video: levels 1 and 2 (CION, Eq. 4-6).

    Args:
      features: floating point [n, d], normalised here; may be memory-mapped.
      tracklets: integers [n]; (video, tracklet) names a tracklet, its rows stand in the order of frames.
      videos: integers [n], the rows of a video side by side.
      sigma_cst: an image this far from the others of its tracklet is removed; another tracklet of the video takes
        it if nearer than this.
      sigma_drm: tracklets whose centroids are this near or nearer are merged, and all that hang together by it.

    Returns:
      int64 [n]: identities numbered from 0 by first appearance, -1 for images that are out. No identity spans two
      videos.

    Raises:
      ValueError: a row that is zero or not finite, a video in several pieces, ids that do not fit the rows.
    """
    features = rows.checked_features(features)
    groups = grouped(features, tracklets, videos)
    cleaned = clean(features, groups, sigma_cst)
    return labels_of(cleaned.tracklet, merge(cleaned.sums, groups.video, sigma_drm))


def grouped(features: np.ndarray, tracklets: np.ndarray, videos: np.ndarray) -> Tracklets:
    """The tracklets of `features` [n, d], ids checked."""
    tracklets = rows.checked_ids("tracklets", tracklets, len(features))
    return ragged.group(tracklets, rows.checked_ids("videos", videos, len(features)))


def clean(features: np.ndarray, groups: Tracklets, sigma_cst: float, *, watch: Watch = unwatched) -> Cleaned:
    """Level 1 and reallocation, some 65,536 rows of whole videos at a time."""
    count = len(groups)
    keep = np.ones(len(features), bool)
    tracklet = groups.of_row.copy()
    total = np.zeros((count, features.shape[1]))
    video_starts = np.concatenate([np.flatnonzero(np.diff(groups.video, prepend=-1)), [count]])
    row_starts = groups.starts[video_starts]
    with watch("levels 1 and 2", len(features), "images") as counter:
        for first, last in ragged.chunks(row_starts):
            # The rows of a video are side by side, so whole videos are a slice of rows as well as of tracklets.
            part = slice(row_starts[first], row_starts[last])
            low, high = video_starts[first], video_starts[last]
            keep[part], tracklet[part], total[low:high] = _clean(
                rows.unit(features[part], first_row=int(part.start)),
                groups.of_row[part] - low,
                groups.video[low:high],
                sigma_cst,
            )
            tracklet[part] += np.where(tracklet[part] >= 0, low, 0)
            counter.advance(int(part.stop - part.start))
    return Cleaned(keep, tracklet, total)


def _clean(
    unit: np.ndarray, tracklet: np.ndarray, video: np.ndarray, sigma_cst: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level 1 and reallocation for whole videos: keep [n], tracklet or -1 [n], sums [t, d]."""
    by_tracklet = np.argsort(tracklet, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(tracklet, minlength=len(video)))])
    keep = np.empty(len(unit), bool)
    keep[by_tracklet] = keep_rows(unit[by_tracklet], starts, sigma_cst)
    total = np.zeros((len(video), unit.shape[1]))
    sums.add(total, unit[keep], tracklet[keep])
    out = np.flatnonzero(~keep)
    target = nearest_tracklet(unit[out], tracklet[out], video[tracklet[out]], total, video, sigma_cst)
    after = tracklet.copy()
    after[out] = target
    changed = np.isin(after, target[target >= 0])
    if changed.any():
        # Summed anew rather than added to, so that the order is that of rows.
        total[np.unique(after[changed])] = 0
        sums.add(total, unit[changed], after[changed])
    return keep, after, total


def merge(total: np.ndarray, video: np.ndarray, sigma_drm: float) -> np.ndarray:
    """Identities of tracklets from sums [t, d] and ascending videos [t]: the closure of "near" within each video."""
    return near.components(total, np.searchsorted(video, video, side="right"), sigma_drm)


def labels_of(tracklet: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Labels of rows from their tracklets (-1 for none) and the identities of tracklets, by first appearance."""
    if not len(identity):
        return np.full(len(tracklet), -1, np.int64)
    return rows.first_appearance(np.where(tracklet >= 0, identity[tracklet], -1))
