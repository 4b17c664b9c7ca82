"""The three levels in a row: from tracklets to identities across videos (CION, section 3.2)."""

import numpy as np

from cion_jax.denoise import rows, sums
from cion_jax.denoise.cross_video import link_tracklets
from cion_jax.denoise.single_video import labels_of, single_video


def correlate(
    features: np.ndarray,
    tracklets: np.ndarray,
    videos: np.ndarray,
    *,
    sigma_cst: float = 0.2,
    sigma_drm: float = 0.18,
    half_width: int | None = 1000,
) -> np.ndarray:
    """Identities across videos by progressive multi-level denoising, as the paper has it.

    Args:
      features, tracklets, videos, sigma_cst, sigma_drm: as for `denoise_videos`; the order of rows is the order of
        videos that the sliding range goes by.
      half_width: how many identities of level 2 ahead and behind each one is compared with; None for all.

    Returns:
      int64 [n]: identities numbered from 0 by first appearance, -1 for images that are out.

    Raises:
      ValueError: as `denoise_videos`, `link_tracklets`.
    """
    _, levels = single_video(features, tracklets, videos, sigma_cst=sigma_cst, sigma_drm=sigma_drm)
    return across(levels.tracklet, levels.identity, levels.sums, half_width=half_width, sigma_drm=sigma_drm)


def across(
    tracklet: np.ndarray,
    identity: np.ndarray,
    total: np.ndarray,
    *,
    half_width: int | None,
    sigma_drm: float,
) -> np.ndarray:
    """Level 3 on the outcome of level 2: rows' tracklets [n] (-1: none), their identities [t], sums [t, d]."""
    labels = labels_of(tracklet, identity)
    count = int(labels.max(initial=-1)) + 1
    if count == 0:
        return labels
    kept = labels >= 0
    # Identities of level 2 under the numbers that `labels` has given them.
    number = np.full(len(total), -1, np.int64)
    number[tracklet[kept]] = labels[kept]
    merged = np.zeros((count, total.shape[1]))
    sums.add(merged, total[number >= 0], number[number >= 0])
    identities = link_tracklets(
        merged, np.bincount(labels[kept], minlength=count), half_width=half_width, sigma_drm=sigma_drm
    )
    return rows.first_appearance(np.where(kept, identities[labels], -1))
