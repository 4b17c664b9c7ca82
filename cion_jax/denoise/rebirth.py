"""Makes new tracklets of images that nobody took: an option beyond the paper, after level 2.

A person who was only ever seen inside another's tracklet (after a switch of identity) has no tracklet of their own, so
level 2 throws their images away. Those that are alike within a video become one.
"""

import numpy as np

from cion_jax.denoise import near, rows
from cion_jax.denoise.watching import Watch, unwatched


def new_tracklets(
    features: np.ndarray,
    out: np.ndarray,
    videos: np.ndarray,
    sigma: float,
    *,
    min_images: int = 3,
    watch: Watch = unwatched,
) -> np.ndarray:
    """Groups among rejected images.

    Args:
      features: floating point [n, d].
      out: int64 [e], ascending: the rejected rows.
      videos: int64 [n], the rows of a video side by side.
      sigma: images within this cosine distance are linked, inside one video.
      min_images: smaller groups are left out.
      watch: who is told how far it is.

    Returns:
      int64 [e]: groups numbered from 0 by first appearance, -1 for images left out.
    """
    if not len(out):
        return np.zeros(0, np.int64)
    unit = rows.unit(features[out], names=out)
    _, video = np.unique(videos[out], return_inverse=True)
    changes = np.flatnonzero(np.diff(video)) + 1
    stops = np.concatenate([changes, [len(out)]])
    ends = stops[np.searchsorted(stops, np.arange(len(out)), side="right")]
    group = near.components(unit, ends, sigma, watch=watch, label="rebirth")
    return rows.first_appearance(np.where(np.bincount(group)[group] >= min_images, group, -1))
