"""The noise of a labelling (CION, Eq. 1-3): images far from their identity, identities close to one another."""

from typing import NamedTuple

import numpy as np

from cion_jax.denoise import near, rows, sums
from cion_jax.denoise.rows import checked_features, checked_ids


class Noise(NamedTuple):
    """See `noise`."""

    consistency: int
    discrimination: int
    total: float


def noise(
    features: np.ndarray, labels: np.ndarray, *, sigma_cst: float = 0.2, sigma_drm: float = 0.18
) -> Noise:
    """Counts what is wrong with a labelling, as far as distances tell.

    Args:
      features: floating point [n, d]; may be memory-mapped.
      labels: integers [n]; rows with -1 are left out.
      sigma_cst: an image this far from the mean of its identity, itself included, is inconsistent (Eq. 1).
      sigma_drm: two identities whose means are this near or nearer are not told apart (Eq. 2).

    Returns:
      consistency: number of inconsistent images, over all identities; discrimination: number of ordered pairs of
      identities that are not told apart; total: their sum per identity (Eq. 3), 0 without identities.
    """
    features = checked_features(features)
    labels = rows.first_appearance(checked_ids("labels", labels, len(features)))
    count = int(labels.max(initial=-1)) + 1
    if count == 0:
        return Noise(0, 0, 0.0)
    means = sums.of_labels(features, labels, count)
    inconsistent = sum(
        int((sums.distances_to(unit, means, labels[part]) >= sigma_cst).sum())
        for part, unit in sums.unit_blocks(features, labels)
    )
    pairs = sum(len(i) for i, _ in near.near_pairs(means, np.full(count, count), sigma_drm))
    return Noise(inconsistent, 2 * pairs, (inconsistent + 2 * pairs) / count)
