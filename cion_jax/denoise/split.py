"""Finds tracklets that changed from one person to another, and cuts them: an option beyond the paper, before level 1.

Level 1 does not see a switch half-way between people who look somewhat alike (the minority has to be further from the
mean than sigma_cst). A cut in time does: on either side of it the images agree, and across it they do not.
"""

import numpy as np

from cion_jax.denoise import rows
from cion_jax.denoise.ragged import Tracklets
from cion_jax.denoise.watching import Watch, unwatched

SHORTEST = 3  # images of a part
_WINDOWS = (3, 6, 12)  # images on either side that are compared: few for short visits, more against noise


def split_tracklets(
    features: np.ndarray, groups: Tracklets, sigma: float, *, watch: Watch = unwatched
) -> np.ndarray:
    """Cuts tracklets where the images before differ from those after.

    The means of the 3, then 6, then 12 images on either side of every place are compared. The place where they are
    furthest apart, if that is further than sigma, becomes a cut, and both parts are looked at again. Parts have three
    images or more.

    Args:
      features: floating point [n, d].
      groups: the tracklets, rows in the order of frames.
      sigma: cosine distance between two means from which on a tracklet is cut.
      watch: who is told how far it is.

    Returns:
      int64 [n]: new tracklets, numbered in the order of the old ones and of time within them.
    """
    part_of_row = np.zeros(len(features), np.int64)
    parts = np.zeros(len(groups), np.int64)
    long = np.flatnonzero(groups.sizes >= 2 * SHORTEST)
    with watch("cutting at switches", len(long), "tracklets") as counter:
        for k in long:
            members = groups.rows[groups.starts[k] : groups.starts[k + 1]]
            cuts = _cuts(rows.unit(features[members], names=members), sigma)
            part_of_row[members] = np.searchsorted(cuts, np.arange(len(members)), side="right")
            parts[k] = len(cuts)
            counter.advance()
    first = np.concatenate([[0], np.cumsum(parts + 1)])[:-1]
    return first[groups.of_row] + part_of_row


def _cuts(unit: np.ndarray, sigma: float) -> list[int]:
    """Where to cut unit rows [m, d]: ascending first places of new parts."""
    parts, cuts = [(0, len(unit))], []
    while parts:
        first, last = parts.pop()
        cut = _cut(unit[first:last], sigma)
        if cut is not None:
            cuts.append(first + cut)
            parts += [(first, first + cut), (first + cut, last)]
    return sorted(cuts)


def _cut(unit: np.ndarray, sigma: float) -> int | None:
    """The place where unit rows [m, d] differ most before and after, if that is more than sigma."""
    if len(unit) < 2 * SHORTEST:
        return None
    until = np.concatenate([np.zeros((1, unit.shape[1])), np.cumsum(unit, axis=0)])
    place = np.arange(SHORTEST, len(unit) - SHORTEST + 1)
    # Few images first: their cuts are in the right place, and keep the larger windows from reaching across them.
    for window in _WINDOWS:
        before = until[place] - until[np.maximum(place - window, 0)]
        after = until[np.minimum(place + window, len(unit))] - until[place]
        apart = 1 - np.einsum("pd,pd->p", rows.unit_or_zero(before), rows.unit_or_zero(after))
        if apart.max() > sigma:
            return int(place[np.argmax(apart)])
    return None
