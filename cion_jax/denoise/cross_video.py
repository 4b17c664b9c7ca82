"""Level 3: links tracklets of neighbouring videos and closes over the links (CION, section 3.2)."""

import numpy as np

from cion_jax.denoise import near

_BLOCK_ROWS = 65_536  # sums looked at in one go


def link_tracklets(
    sums: np.ndarray, counts: np.ndarray, *, half_width: int | None = 1000, sigma_drm: float = 0.18
) -> np.ndarray:
    """Identities of tracklets: the connected components of "near enough within the sliding range" (CION, Eq. 6).

    Args:
      sums: floating point [t, d], the sum of the unit features of every tracklet, in the order of videos; may be
        memory-mapped.
      counts: integers [t], images of every tracklet; those without any take no place in the range.
      half_width: how many tracklets ahead and behind each one is compared with; None for all.
      sigma_drm: cosine distance up to which centroids are linked.

    Returns:
      int64 [t]: identities numbered from 0 by their first tracklet, -1 where the count is 0.

    Raises:
      ValueError: shapes that do not fit, negative counts, or a sum that is not finite; the message names it.
    """
    sums, counts = _checked(sums, counts, half_width)
    alive = np.flatnonzero(counts > 0)
    vectors = sums if len(alive) == len(sums) else sums[alive]
    width = len(alive) if half_width is None else half_width
    ends = np.minimum(np.arange(len(alive)) + width + 1, len(alive))
    identities = np.full(len(sums), -1, np.int64)
    identities[alive] = near.components(vectors, ends, sigma_drm)
    return identities


def _checked(sums, counts, half_width) -> tuple[np.ndarray, np.ndarray]:
    sums, counts = np.asanyarray(sums), np.asarray(counts)
    if sums.ndim != 2 or not np.issubdtype(sums.dtype, np.floating):
        raise ValueError(f"sums must be floating point [t, d], not {sums.dtype} of shape {sums.shape}")
    if counts.shape != sums.shape[:1] or (len(counts) and not np.issubdtype(counts.dtype, np.integer)):
        raise ValueError(f"counts must be integers [{len(sums)}], not {counts.dtype} of shape {counts.shape}")
    if (counts < 0).any():
        raise ValueError(f"tracklet {np.flatnonzero(counts < 0)[0]} has a negative count")
    for start in range(0, len(sums), _BLOCK_ROWS):
        bad = ~np.isfinite(sums[start : start + _BLOCK_ROWS]).all(axis=1)
        if bad.any():
            raise ValueError(f"the sum of tracklet {start + np.flatnonzero(bad)[0]} holds NaN or infinity")
    if half_width is not None and half_width < 0:
        raise ValueError(f"half_width={half_width} must be None or not negative")
    return sums, counts
