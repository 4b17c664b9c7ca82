"""Level 1: removes from each tracklet the images that lie too far from all others of it (CION, section 3.2).

The distance of an image is 1 - cos to the mean of the tracklet's other images. While the largest of them reaches
sigma_cst, the image that has it goes; of several within 1e-6 of the largest, the last in order.

All tracklets are worked on together, in float32, padded to a few lengths; only their Gram matrices are looked at
(with b = G 1 and T = 1' b, the leave-one-out cosine is (b_i - g_ii) / sqrt(g_ii (T - 2 b_i + g_ii))). A tracklet
with a decision too close to call in float32 is done again in float64, so that results are those of float64 whatever
the batch, the device or the backend.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.denoise import devices, ragged, rows
from cion_jax.denoise.decisions import MARGIN, TIE

# Where the mean of the others is shorter than this, its direction is not known to MARGIN in float32.
_SHORT = 0.05
_LENGTHS = (4, 8, 16, 32, 64, 128, 256, 512)  # tracklets are padded to one of them; longer ones go one by one
_BATCH_ROWS = 8192  # images of a padded batch


def denoise_tracklets(features: np.ndarray, tracklets: np.ndarray, *, sigma_cst: float = 0.2) -> np.ndarray:
    """Which images stay in their tracklets (CION, Eq. 4).

    A single image always stays; of two that are too far apart the first stays.

    Args:
      features: floating point [n, d], normalised here; may be memory-mapped.
      tracklets: integers [n]; rows of one tracklet in the order of frames, not necessarily side by side.
      sigma_cst: cosine distance from which on an image is removed.

    Returns:
      keep, bool [n].

    Raises:
      ValueError: a row that is zero or not finite, or ids that do not fit the rows; the message names it.
    """
    features = rows.checked_features(features)
    groups = ragged.group(rows.checked_ids("tracklets", tracklets, len(features)))
    keep = np.ones(len(features), bool)
    for first, last in ragged.chunks(groups.starts):
        members = groups.rows[groups.starts[first] : groups.starts[last]]
        starts = groups.starts[first : last + 1] - groups.starts[first]
        keep[members] = keep_rows(rows.unit(features[members], names=members), starts, sigma_cst)
    return keep


def keep_rows(unit: np.ndarray, starts: np.ndarray, sigma_cst: float) -> np.ndarray:
    """Level 1 on unit rows float64 [n, d] where tracklet k is rows starts[k]:starts[k + 1]; bool [n]."""
    keep = np.ones(len(unit), bool)
    sizes = np.diff(starts)
    doubtful = [np.flatnonzero(sizes > _LENGTHS[-1])]
    single = unit.astype(np.float32)
    for members, length in _batches(sizes):
        places = starts[members][:, None] + np.arange(length)
        inside = np.arange(length) < sizes[members][:, None]
        padded = single[np.where(inside, places, 0)] * inside[..., None]
        capacity = devices.multiple(max(_BATCH_ROWS // length, 1))
        padded = np.pad(padded, ((0, capacity - len(members)), (0, 0), (0, 0)))
        valid = np.pad(inside, ((0, capacity - len(members)), (0, 0)))
        kept, doubt = _remove_far(*devices.split(padded, valid), np.float32(sigma_cst))
        kept, doubt = np.asarray(kept)[: len(members)], np.asarray(doubt)[: len(members)]
        keep[places[inside]] = kept[inside]
        doubtful.append(members[doubt])
    for tracklet in np.concatenate(doubtful):
        part = slice(starts[tracklet], starts[tracklet + 1])
        keep[part] = keep_exactly(unit[part], sigma_cst)
    return keep


def keep_exactly(unit: np.ndarray, sigma_cst: float) -> np.ndarray:
    """Level 1 on one tracklet in float64: unit rows [m, d] -> bool [m]. O(m d) for each image removed."""
    keep = np.ones(len(unit), bool)
    alive = np.arange(len(unit))
    x, total = unit, unit.sum(axis=0)
    gone = np.zeros(len(x), bool)
    while len(x) - gone.sum() > 1:
        distance = np.where(gone, -np.inf, leave_one_out(x, total))
        largest = distance.max()
        if largest < sigma_cst:
            break
        far = np.flatnonzero(distance >= largest - TIE)[-1]
        keep[alive[far]] = False
        gone[far] = True
        if gone.sum() * 2 > len(x):  # rows that are gone cost time: move the others together
            x, alive = x[~gone], alive[~gone]
            gone = np.zeros(len(x), bool)
        # Summed anew: taking rows off a sum would leave their rounding behind.
        total = x[~gone].sum(axis=0)
    return keep


def leave_one_out(unit: np.ndarray, total: np.ndarray) -> np.ndarray:
    """1 - cos of every row to the sum of the others: unit rows [m, d], their sum [d] -> [m]."""
    along = np.einsum("md,d->m", unit, total)
    own = np.einsum("md,md->m", unit, unit)
    squared = np.einsum("d,d->", total, total) - 2 * along + own
    return 1 - (along - own) / np.sqrt(np.maximum(own * squared, 1e-12))


@jax.jit
def _remove_far(x: jax.Array, valid: jax.Array, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Level 1 on a padded batch: float32 [b, m, d], bool [b, m] -> keep bool [b, m], doubtful bool [b]."""
    gram = jnp.einsum("bmd,bnd->bmn", x, x, precision=jax.lax.Precision.HIGHEST)
    own = jnp.diagonal(gram, axis1=1, axis2=2)
    place = jnp.arange(x.shape[1])

    def distances(keep):
        weight = keep.astype(x.dtype)
        along = jnp.einsum("bmn,bn->bm", gram, weight, precision=jax.lax.Precision.HIGHEST)
        squared = (along * weight).sum(axis=1, keepdims=True) - 2 * along + own
        distance = 1 - (along - own) / jnp.sqrt(jnp.maximum(own * squared, 1e-12))
        return jnp.where(keep, distance, -jnp.inf), squared

    def remove(state):
        keep, doubt, _ = state
        count = keep.sum(axis=1)
        distance, squared = distances(keep)
        largest = distance.max(axis=1)
        far = (largest >= sigma) & (count > 1) & ~doubt
        last = jnp.max(jnp.where(distance >= (largest - TIE)[:, None], place, -1), axis=1)
        # Two images are equally far from one another, whatever rounding says: no rival, the last one goes.
        rivals = (distance >= (largest - TIE - 2 * MARGIN)[:, None]).sum(axis=1) > 1
        last = jnp.where(count == 2, jnp.max(jnp.where(keep, place, -1), axis=1), last)
        short = jnp.any(keep & (squared < (_SHORT * (count - 1)[:, None]) ** 2), axis=1)
        close = jnp.abs(largest - sigma) < MARGIN
        doubt |= (count > 1) & (close | short | ((largest >= sigma - MARGIN) & rivals & (count > 2)))
        far &= ~doubt
        return keep & ~(far[:, None] & (place == last[:, None])), doubt, far.any()

    first = (valid, jnp.zeros(len(x), bool), jnp.array(True))
    keep, doubt, _ = jax.lax.while_loop(lambda state: state[2], remove, first)
    return keep, doubt


def _batches(sizes: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Tracklets of two images and more in batches of like sizes: (their numbers, the length to pad them to)."""
    shorter = 1
    for length in _LENGTHS:
        members = np.flatnonzero((sizes > shorter) & (sizes <= length))
        step = devices.multiple(max(_BATCH_ROWS // length, 1))
        for start in range(0, len(members), step):
            yield members[start : start + step], length
        shorter = length
