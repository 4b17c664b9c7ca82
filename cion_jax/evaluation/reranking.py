"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) with sparse neighbourhoods.

Only the nearest neighbours of every point, and vectors with some dozens of entries made from them, are kept:
memory is O((queries + gallery) * k1) beside the result. The [n, n] distances exist one block of rows at a
time, on the device.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import sparse

from cion_jax.evaluation.ranking import unit_rows

BLOCK_ENTRIES = 1 << 24
PAIR_ENTRIES = 1 << 24
SPARE = 8
# float32 products of unit rows differ by up to 1e-6 with block shape and backend: closer rivals meet again in
# float64.
MARGIN = 1e-5


def rerank(
    query: np.ndarray, gallery: np.ndarray, *, k1: int = 20, k2: int = 6, lambda_: float = 0.3
) -> np.ndarray:
    """Distances after k-reciprocal re-ranking: (1 - lambda_) * Jaccard + lambda_ * original.

    The original distance is the squared Euclidean one of L2-normalised rows, divided by the largest distance
    of the query to any point. Neighbour lists hold the point itself as rank 0, so that they have k1 + 1
    entries, and round(k1 / 2) + 1 in the expansion test (round to even), where a neighbour's list joins if
    more than 2/3 of it is there already; weights are exp(-d); k2 lists, one's own included, are averaged.
    Which neighbours stand on either side of a cut is decided in float64 where it is close, equal distances by
    index (queries first, then gallery).

    Args:
      query, gallery: floating [q, d] and [g, d], any scale.
      k1: neighbours that are tested for reciprocity, at least 1.
      k2: neighbours that are averaged over, at least 1 (1 switches it off).
      lambda_: weight of the original distance, 0..1.

    Returns:
      float32 [q, g].

    Raises:
      RankingError: a feature is not finite (its row is named).
      ValueError: shapes or parameters that do not fit.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query and gallery features must be [q, d] and [g, d], got {query.shape} and {gallery.shape}"
        )
    if k1 < 1 or k2 < 1 or not 0 <= lambda_ <= 1:
        raise ValueError(f"k1 and k2 must be at least 1 and lambda_ in 0..1, got {k1}, {k2}, {lambda_}")
    q, g = len(query), len(gallery)
    if q == 0 or g == 0:
        return np.zeros((q, g), np.float32)
    points = jnp.concatenate([unit_rows(query, "query"), unit_rows(gallery, "gallery")])
    cuts = [min(cut, q + g) for cut in (k1 + 1, round(k1 / 2) + 1, k2)]
    neighbours, scale = _neighbours(points, query, gallery, cuts)
    members = _reciprocal_sets(neighbours, *cuts[:2])
    weights = _weights(points, members, scale)
    if k2 > 1:
        weights = _lists(neighbours[:, : cuts[2]]) @ weights / cuts[2]
    return _combine(points, weights.tocsr(), scale, q, lambda_)


def _blocks(count: int, entries: int) -> tuple[int, list[np.ndarray]]:
    """Rows 0..count-1 in index arrays of one length, the last one filled up with row 0."""
    size = max(1, min(256, BLOCK_ENTRIES // entries, count))
    padded = np.zeros(-(-count // size) * size, np.int32)
    padded[:count] = np.arange(count)
    return size, list(padded.reshape(-1, size))


# --- neighbours ---


def _neighbours(
    points: jax.Array, query: np.ndarray, gallery: np.ndarray, cuts: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest points of every point, itself first, int32 [n, max(cuts)]; its largest distance, [n]."""
    n = len(points)
    k = min(max(cuts) + SPARE, n)
    indices, values, scale = np.empty((n, k), np.int32), np.empty((n, k), np.float32), np.empty(n, np.float32)
    size, blocks = _blocks(n, n)
    for number, rows in enumerate(blocks):
        part = slice(number * size, min((number + 1) * size, n))
        results = _nearest(points, jnp.asarray(rows), k=k)
        for target, result in zip((values, indices, scale), results, strict=True):
            target[part] = np.asarray(result)[: part.stop - part.start]
    _settle(indices, values, query, gallery, [cut for cut in cuts if cut < k])
    return indices[:, : max(cuts)], np.where(scale > 0, scale, 1)


@partial(jax.jit, static_argnames="k")
def _nearest(points: jax.Array, rows: jax.Array, *, k: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    similarities = _products(points[rows], points)
    farthest = _squared(jnp.min(similarities, axis=1))
    # The point itself is rank 0 even beside its duplicates.
    similarities = similarities.at[jnp.arange(len(rows)), rows].set(jnp.inf)
    return *lax.top_k(similarities, k), farthest


def _products(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right.T, precision=lax.Precision.HIGHEST)


def _squared(similarity):
    """Squared Euclidean distance of unit vectors."""
    return (2 - 2 * similarity).clip(0)


def _settle(
    indices: np.ndarray, values: np.ndarray, query: np.ndarray, gallery: np.ndarray, cuts: list[int]
) -> None:
    """Orders anew, in float64, the rows of `indices` whose neighbours on both sides of a cut are close."""
    close = np.zeros(len(indices), bool)
    for cut in cuts:
        close |= values[:, cut - 1] - values[:, cut] < MARGIN
    rows = np.flatnonzero(close)
    step = max(1, PAIR_ENTRIES // (indices.shape[1] * query.shape[1]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        own, others = _unit64(some, query, gallery), _unit64(indices[some], query, gallery)
        exact = np.einsum("nd,nkd->nk", own, others)
        exact[:, 0] = np.inf
        order = np.lexsort((indices[some], -exact), axis=1)
        indices[some] = np.take_along_axis(indices[some], order, axis=1)


def _unit64(index: np.ndarray, query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Unit rows, float64 [*index.shape, d], of the points 0..q-1 (query) and q.. (gallery)."""
    q = len(query)
    rows = np.where(
        (index < q)[..., None],
        query[np.minimum(index, q - 1)].astype(np.float64),
        gallery[np.maximum(index - q, 0)].astype(np.float64),
    )
    rows /= np.maximum(np.abs(rows).max(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1)


# --- k-reciprocal sets and their weights ---


def _lists(neighbours: np.ndarray) -> sparse.csr_array:
    """[n, n] with a 1 where column is in the row's list."""
    n, k = neighbours.shape
    starts = np.arange(0, n * k + 1, k)
    matrix = sparse.csr_array((np.ones(n * k, np.float32), neighbours.ravel(), starts), shape=(n, n))
    matrix.sort_indices()
    return matrix


def _reciprocal(neighbours: np.ndarray) -> sparse.csr_array:
    """[n, n] with a 1 where two points are in each other's list."""
    lists = _lists(neighbours)
    return lists.multiply(lists.T.tocsr()).tocsr()


def _reciprocal_sets(neighbours: np.ndarray, full: int, half: int) -> sparse.csr_array:
    """[n, n], non-zero at R*(i): the k-reciprocal neighbours and the expansions that overlap with them."""
    sets, candidates = _reciprocal(neighbours[:, :full]), _reciprocal(neighbours[:, :half])
    sizes = np.diff(candidates.indptr)
    parts = []
    for start in range(0, len(neighbours), 1 << 14):
        own = sets[start : start + (1 << 14)]
        overlap = (
            (own @ candidates).multiply(own).tocsr()
        )  # candidates are symmetric: |R(i) with R(c)| for c in R(i)
        overlap.data = (3 * overlap.data > 2 * sizes[overlap.indices]).astype(np.float32)
        overlap.eliminate_zeros()
        parts.append(own + overlap @ candidates)
    return sparse.vstack(parts, format="csr")


def _weights(points: jax.Array, members: sparse.csr_array, scale: np.ndarray) -> sparse.csr_array:
    """Rows of exp(-distance) on the members, each row summing to 1, float32 [n, n]."""
    row = np.repeat(np.arange(members.shape[0]), np.diff(members.indptr))
    distances = _pair_distances(points, row, members.indices) / scale[row]
    weight = np.exp(-distances.astype(np.float64))
    weight /= np.bincount(row, weights=weight, minlength=members.shape[0])[row]
    return sparse.csr_array((weight.astype(np.float32), members.indices, members.indptr), shape=members.shape)


def _pair_distances(points: jax.Array, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances between points[left] and points[right], float32, in pieces of one shape."""
    size = max(1, min(PAIR_ENTRIES // max(points.shape[1], 1), len(left)))
    pieces = []
    for start in range(0, len(left), size):
        pair = [np.resize(side[start : start + size], size).astype(np.int32) for side in (left, right)]
        pieces.append(np.asarray(_pair_products(points, *pair))[: len(left) - start])
    return _squared(np.concatenate(pieces))


@jax.jit
def _pair_products(points: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.sum(points[left] * points[right], axis=1)


# --- the final distance ---


def _combine(
    points: jax.Array, weights: sparse.csr_array, scale: np.ndarray, q: int, lambda_: float
) -> np.ndarray:
    gallery, columns = points[q:], weights[q:].tocsc()
    g = columns.shape[0]
    result = np.empty((q, g), np.float32)
    size, blocks = _blocks(q, g)
    for number, rows in enumerate(blocks):
        start, stop = number * size, min((number + 1) * size, q)
        original = _squared(np.asarray(_block_products(points, gallery, jnp.asarray(rows)))[: stop - start])
        shared = _sum_of_minima(weights[start:stop], columns)
        result[start:stop] = (1 - lambda_) * (1 - shared / (2 - shared))
        result[start:stop] += lambda_ * original / scale[start:stop, None]
    return result


@jax.jit
def _block_products(points: jax.Array, gallery: jax.Array, rows: jax.Array) -> jax.Array:
    return _products(points[rows], gallery)


def _sum_of_minima(rows: sparse.csr_array, columns: sparse.csc_array) -> np.ndarray:
    """Sum over c of min(rows[i, c], columns[j, c]), visiting shared entries only; float64 [b, g]."""
    b, g = rows.shape[0], columns.shape[0]
    first = columns.indptr[rows.indices].astype(np.int64)
    lengths = columns.indptr[rows.indices + 1] - first
    entry = np.repeat(np.arange(len(first)), lengths)
    place = np.arange(len(entry)) + (first - np.cumsum(lengths) + lengths)[entry]
    row = np.repeat(np.arange(b), np.diff(rows.indptr))
    smaller = np.minimum(rows.data[entry], columns.data[place])
    return np.bincount(row[entry] * g + columns.indices[place], weights=smaller, minlength=b * g).reshape(
        b, g
    )
