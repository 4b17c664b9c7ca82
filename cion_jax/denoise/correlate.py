"""The three levels in a row: from tracklets to identities across videos (CION, section 3.2)."""

import numpy as np

from cion_jax.denoise.progressive import run
from cion_jax.denoise.settings import paper


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
    settings = paper(sigma_cst=sigma_cst, sigma_drm=sigma_drm, half_width=half_width)
    return run(features, tracklets, videos, settings=settings).labels
