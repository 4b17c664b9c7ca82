"""Gives rejected images to the nearest finished identity: an option beyond the paper, as a last pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.denoise import near, rows
from cion_jax.denoise.watching import Watch, unwatched

_SIDE = 1024  # images and identities of a tile
_CANDIDATES = 8  # nearest identities of an image that are tried when it was seen beside some of them


def give_back(
    features: np.ndarray,
    labels: np.ndarray,
    sums: np.ndarray,
    sigma: float,
    *,
    moment: np.ndarray | None = None,
    watch: Watch = unwatched,
) -> np.ndarray:
    """Labels with rejected images given to identities.

    The closest image goes first. An identity that has an image in the same frame is passed over, and the next nearest
    of eight tried.

    Args:
      features: floating point [n, d].
      labels: int64 [n], -1 for rejected images.
      sums: float64 [k, d], sums of the unit features of the identities 0..k-1; they stay as they are.
      sigma: cosine distance below which an image is taken.
      moment: int64 [n], one id for every video and frame; None: nothing forbids.
      watch: who is told how far it is.

    Returns:
      int64 [n].
    """
    out = np.flatnonzero(labels < 0)
    if not len(out) or not len(sums):
        return labels.copy()
    distance, identity = nearest(features, out, sums, watch=watch)
    taken = _taken(labels, moment, out)
    result, done = labels.copy(), np.zeros(len(out), bool)
    row, place = np.nonzero(distance < sigma)
    for k in np.lexsort((out[row], distance[row, place])):
        at, who = row[k], int(identity[row[k], place[k]])
        claim = None if moment is None else (who, int(moment[out[at]]))
        if done[at] or claim in taken:
            continue
        result[out[at]], done[at] = who, True
        if claim is not None:
            taken.add(claim)
    return result


def _taken(labels: np.ndarray, moment: np.ndarray | None, out: np.ndarray) -> set[tuple[int, int]]:
    """(identity, moment) of the images that have a label, at the moments of those that have none."""
    if moment is None:
        return set()
    beside = np.flatnonzero((labels >= 0) & np.isin(moment, moment[out]))
    return set(zip(labels[beside].tolist(), moment[beside].tolist(), strict=True))


def nearest(
    features: np.ndarray,
    chosen: np.ndarray,
    sums: np.ndarray,
    count: int = _CANDIDATES,
    *,
    watch: Watch = unwatched,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest sums of chosen rows: cosine distances float64 [c, count], ascending, and which int64 [c, count]."""
    count = min(count, len(sums))
    distance, place = np.zeros((len(chosen), count)), np.zeros((len(chosen), count), np.int64)
    with watch("giving back", len(chosen), "images") as counter:
        for start in range(0, len(chosen), _SIDE):
            part = chosen[start : start + _SIDE]
            unit = rows.unit(features[part], names=part)
            found = _candidates(unit, sums, count)
            exact = 1 - np.einsum(
                "nd,nkd->nk", unit, rows.unit_or_zero(sums[found.ravel()]).reshape(*found.shape, -1)
            )
            order = np.lexsort((found, exact))
            distance[start : start + len(part)] = np.take_along_axis(exact, order, axis=1)
            place[start : start + len(part)] = np.take_along_axis(found, order, axis=1)
            counter.advance(len(part))
    return distance, place


def _candidates(unit: np.ndarray, sums: np.ndarray, count: int) -> np.ndarray:
    """The nearest sums in float32, over tiles of them: int64 [n, count]."""
    x = np.pad(unit.astype(np.float32), ((0, _SIDE - len(unit)), (0, 0)))
    best, place = np.zeros((_SIDE, 0), np.float32), np.zeros((_SIDE, 0), np.int64)
    for column in range(0, len(sums), _SIDE):
        block = np.asarray(sums[column : column + _SIDE], np.float32)
        padded = np.pad(block, ((0, _SIDE - len(block)), (0, 0)))
        similar, where = _most_similar(x, padded, len(block), count)
        best = np.concatenate([best, np.asarray(similar)], axis=1)
        place = np.concatenate([place, np.asarray(where) + column], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best, place = (np.take_along_axis(a, order, axis=1) for a in (best, place))
    return place[: len(unit)]


@functools.partial(jax.jit, static_argnames="count")
def _most_similar(x: jax.Array, sums: jax.Array, valid: int, count: int) -> tuple[jax.Array, jax.Array]:
    """Of sums [k, d], the first `valid` of which count: the largest cosines [n, count], and which."""
    similar = jnp.einsum("nd,kd->nk", x, near.unit_rows(sums), precision=jax.lax.Precision.HIGHEST)
    similar = jnp.where(jnp.arange(sums.shape[0]) < valid, similar, -2.0)
    return jax.lax.top_k(similar, count)
