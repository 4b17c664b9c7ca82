"""mAP, mINP and CMC under the rules of Market-1501, block by block and without sorting the gallery.

The rank of a relevant gallery image is one plus the number of kept images before it. Counting these on the
device needs one pass over a row per relevant image, of which there are few; a full sort of every row is never
made, and of the [queries, gallery] matrix only one block exists at a time.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cion_jax.core.errors import UserError

JUNK = -1
BLOCK_ROWS = 256
BLOCK_ENTRIES = 1 << 26
# Rows counted together. On a CPU a group should stay in the cache while it is passed over once per relevant
# image; on an accelerator one pass over the whole block per relevant image keeps the number of kernels small.
CPU_GROUP = 8


class RankingError(UserError, ValueError):
    """Features, distances or labels that cannot be ranked; the message names the row or the reason."""


def rank(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    *,
    block_rows: int | None = None,
) -> dict[str, float]:
    """Ranks the gallery for every query by cosine similarity and measures the result.

    Market-1501 rules: gallery images of identity -1 (junk) do not count; for each query, gallery images of
    its identity *and* its camera do not count; queries without a relevant image are left out. Any other
    identity, 0 included, is one like all others. Equal similarities are ranked by gallery index. The
    similarities are float32 products, so two that differ by less than about 1e-6 may swap with another device
    or `block_rows`; for equal arguments on one kind of device the result is always the same, since every
    block has the same shape.

    Args:
      query, gallery: floating [q, d] and [g, d], any scale: rows are L2-normalised here. A row of zeros has
        similarity 0 to everything.
      query_ids, gallery_ids, query_cameras, gallery_cameras: integers [q] or [g].
      block_rows: queries per block; by default at most 256, and fewer if the gallery is larger than 262,144;
        rounded up to a multiple of 8.

    Returns:
      Fractions in 0..1, means over the valid queries: "mAP" (mean over the relevant images of the precision
      at their rank), "mINP" (relevant images / rank of the last of them), "rank1", "rank5", "rank10" (CMC:
      the first relevant image stands at this rank or before).

    Raises:
      RankingError: no query has a relevant image, or a feature is not finite (its row is named). It is a
        `UserError` and a `ValueError`.
      ValueError: shapes or dtypes that do not fit.
    """
    _check_features(query, gallery)
    pairs = _Pairs.of((len(query), len(gallery)), query_ids, gallery_ids, query_cameras, gallery_cameras)
    queries, gallery = unit_rows(query, "query"), unit_rows(gallery, "gallery")
    return _measure(pairs, lambda rows: _cosine(queries, gallery, rows), block_rows)


def rank_distances(
    distances: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    *,
    block_rows: int | None = None,
) -> dict[str, float]:
    """Measures given distances [q, g] (smaller is nearer), for example those of `rerank`, as `rank` does.

    Comparisons are exact in the dtype of `distances` (float64 included; integers count as float64), so the
    result does not depend on blocks or device at all. Infinite distances are allowed.

    Raises:
      RankingError: no query has a relevant image, or a distance of a valid query is NaN (its row is named).
      ValueError: shapes or dtypes that do not fit.
    """
    distances = np.asarray(distances)
    if distances.ndim != 2:
        raise ValueError(f"distances must be [queries, gallery], got shape {distances.shape}")
    if distances.dtype.kind in "iub":
        distances = distances.astype(np.float64)
    elif distances.dtype not in (np.float32, np.float64):
        distances = distances.astype(np.float32)  # float16, bfloat16: every value is kept
    pairs = _Pairs.of(distances.shape, query_ids, gallery_ids, query_cameras, gallery_cameras)

    def similarities(rows: np.ndarray) -> jax.Array:
        block = distances[rows]
        bad = np.isnan(block).any(axis=1)
        if bad.any():
            raise RankingError(
                f"row {rows[bad.argmax()]} of the distances holds a NaN: mend the features behind it"
            )
        return jnp.asarray(-block)

    with jax.enable_x64(distances.dtype == np.float64):
        return _measure(pairs, similarities, block_rows)


def unit_rows(features: np.ndarray, name: str) -> jax.Array:
    """L2-normalised float32 rows on the device; `name` stands in the error about a row that is not finite.

    A row of zeros stays zero. Rows are divided by their largest entry first, so that no square overflows.
    """
    rows, finite = _unit_rows(jnp.asarray(features, jnp.float32))
    finite = np.asarray(finite)
    if not finite.all():
        raise RankingError(
            f"row {finite.argmin()} of the {name} features holds a NaN or an infinity ({(~finite).sum()} "
            "such rows): look at the image behind it and at the weights"
        )
    return rows


@jax.jit
def _unit_rows(features: jax.Array) -> tuple[jax.Array, jax.Array]:
    largest = jnp.max(jnp.abs(features), axis=1, keepdims=True, initial=0)
    scaled = features / jnp.where(largest > 0, largest, 1)
    norm = jnp.sqrt(jnp.sum(scaled * scaled, axis=1, keepdims=True))
    return scaled / jnp.where(norm > 0, norm, 1), jnp.all(jnp.isfinite(features), axis=1)


@jax.jit
def _cosine(queries: jax.Array, gallery: jax.Array, rows: jax.Array) -> jax.Array:
    return jnp.matmul(queries[rows], gallery.T, precision=lax.Precision.HIGHEST)


def _check_features(query: np.ndarray, gallery: np.ndarray) -> None:
    shapes = np.shape(query), np.shape(gallery)
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"query and gallery features must be [q, d] and [g, d], got shapes {shapes[0]} and {shapes[1]}"
        )


def _labels(values: np.ndarray, count: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), one per row, got {values.shape}")
    if values.size and values.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, got {values.dtype}")
    return values.astype(np.int64)


class _Pairs(NamedTuple):
    """Who is relevant to whom. Identities and cameras are replaced by codes 0, 1, ... that fit int32."""

    query_ids: np.ndarray  # int32 [q], -1 if the gallery lacks the identity
    query_cameras: np.ndarray  # int32 [q], -1 if the gallery lacks the camera
    gallery_ids: np.ndarray  # int32 [g], -1 for junk
    gallery_cameras: np.ndarray  # int32 [g]
    relevant: np.ndarray  # int64 [q]: number of relevant gallery images
    members: np.ndarray  # int64 [g without junk]: gallery indices, grouped by identity, ascending in each
    starts: np.ndarray  # int64 [identities + 1]: where the groups begin in `members`

    @classmethod
    def of(cls, shape: tuple[int, int], query_ids, gallery_ids, query_cameras, gallery_cameras) -> "_Pairs":
        q, g = shape
        query_ids, gallery_ids = _labels(query_ids, q, "query_ids"), _labels(gallery_ids, g, "gallery_ids")
        query_cameras = _labels(query_cameras, q, "query_cameras")
        gallery_cameras = _labels(gallery_cameras, g, "gallery_cameras")
        identities, query_ids, gallery_ids = _codes(query_ids, gallery_ids, leave_out=JUNK)
        cameras, query_cameras, gallery_cameras = _codes(query_cameras, gallery_cameras)
        kept = np.flatnonzero(gallery_ids >= 0)
        members = kept[np.argsort(gallery_ids[kept], kind="stable")]
        starts = np.searchsorted(gallery_ids[members], np.arange(identities + 1))
        same_identity = np.append(np.diff(starts), 0)[query_ids]  # code -1 reads the appended 0
        here = np.sort(gallery_ids[kept].astype(np.int64) * cameras + gallery_cameras[kept])
        wanted = query_ids.astype(np.int64) * cameras + query_cameras
        both = np.searchsorted(here, wanted, side="right") - np.searchsorted(here, wanted)
        both[(query_ids < 0) | (query_cameras < 0)] = 0
        return cls(
            query_ids, query_cameras, gallery_ids, gallery_cameras, same_identity - both, members, starts
        )

    def positions(self, rows: np.ndarray, width: int) -> np.ndarray:
        """Gallery indices of the images relevant to each of `rows`, int32 [rows, width], filled up with 0."""
        first = self.starts[self.query_ids[rows]]
        lengths = self.starts[self.query_ids[rows] + 1] - first
        row = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        image = self.members[np.repeat(first, lengths) + within]
        other_camera = self.gallery_cameras[image] != self.query_cameras[rows][row]
        row, image = row[other_camera], image[other_camera]
        counts = np.bincount(row, minlength=len(rows))
        column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        positions = np.zeros((len(rows), width), np.int32)
        positions[row, column] = image
        return positions


def _codes(
    query: np.ndarray, gallery: np.ndarray, leave_out: int | None = None
) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of codes, then both arrays as int32 places in the gallery's distinct values; -1 elsewhere."""
    distinct = np.unique(gallery)
    if leave_out is not None:
        distinct = distinct[distinct != leave_out]

    def encode(values: np.ndarray) -> np.ndarray:
        code = np.searchsorted(distinct, values)
        known = code < len(distinct)
        known[known] = distinct[code[known]] == values[known]
        return np.where(known, code, -1).astype(np.int32)

    return len(distinct), encode(query), encode(gallery)


def _measure(
    pairs: _Pairs, similarities: Callable[[np.ndarray], jax.Array], block_rows: int | None
) -> dict[str, float]:
    """Means over the valid queries; `similarities` gives the [rows, g] block of some queries."""
    valid = np.flatnonzero(pairs.relevant > 0)
    if not len(valid):
        raise RankingError(
            f"none of the {len(pairs.relevant)} queries has a gallery image of the same identity under "
            "another camera: check that query and gallery belong together and that their cameras differ"
        )
    precision, penalty, first = (np.empty(len(pairs.relevant)) for _ in range(3))
    for rows, ranks in _ranks_by_block(pairs, valid, similarities, block_rows):
        count = pairs.relevant[rows]
        nth = np.arange(1, ranks.shape[1] + 1)
        present = nth <= count[:, None]
        ranks = np.sort(np.where(present, ranks, np.iinfo(np.int32).max), axis=1)
        precision[rows] = np.where(present, nth / ranks, 0).sum(axis=1) / count
        penalty[rows] = count / np.take_along_axis(ranks, count[:, None] - 1, axis=1)[:, 0]
        first[rows] = ranks[:, 0]
    result = {"mAP": precision[valid].mean(), "mINP": penalty[valid].mean()}
    result |= {f"rank{k}": (first[valid] <= k).mean() for k in (1, 5, 10)}
    return {key: float(value) for key, value in result.items()}


def _ranks_by_block(
    pairs: _Pairs, valid: np.ndarray, similarities: Callable[[np.ndarray], jax.Array], block_rows: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields query rows [b] and the ranks, from 1, of their relevant images [b, width], in no order.

    Entries past the number of relevant images mean nothing. Queries with equally many relevant images come
    together, so that little is counted in vain. The next block is under way on the device while the caller
    uses this one.
    """
    size = _block_size(len(valid), len(pairs.gallery_ids), block_rows)
    order = valid[np.argsort(pairs.relevant[valid], kind="stable")]
    gallery = jnp.asarray(pairs.gallery_ids), jnp.asarray(pairs.gallery_cameras)
    group = CPU_GROUP if jax.default_backend() == "cpu" else size
    under_way = None
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        padded = np.resize(rows, size)  # repeats the rows: every block has the same shape
        most = int(pairs.relevant[rows[-1]])
        width = max(8, 1 << (most - 1).bit_length())  # few widths, since each is compiled
        ranks = _ranks(
            similarities(padded),
            (jnp.asarray(pairs.query_ids[padded]), jnp.asarray(pairs.query_cameras[padded])),
            gallery,
            jnp.asarray(pairs.positions(padded, width)),
            jnp.asarray(pairs.relevant[padded].astype(np.int32)),
            group=group,
        )
        if under_way is not None:
            yield under_way[0], np.asarray(under_way[1])[: len(under_way[0])]
        under_way = rows, ranks
    yield under_way[0], np.asarray(under_way[1])[: len(under_way[0])]


def _block_size(queries: int, gallery: int, block_rows: int | None) -> int:
    if block_rows is None:
        block_rows = min(BLOCK_ROWS, BLOCK_ENTRIES // gallery)
    elif block_rows < 1:
        raise ValueError(f"block_rows must be at least 1, got {block_rows}")
    return -(-max(min(block_rows, queries), 1) // CPU_GROUP) * CPU_GROUP


@partial(jax.jit, static_argnames="group")
def _ranks(
    similarities: jax.Array,  # [b, g]
    query: tuple[jax.Array, jax.Array],  # identity and camera codes, int32 [b] each
    gallery: tuple[jax.Array, jax.Array],  # the same, int32 [g] each
    positions: jax.Array,  # int32 [b, width]
    counts: jax.Array,  # int32 [b]
    *,
    group: int,
) -> jax.Array:
    """Ranks from 1 of the gallery images at `positions`, int32 [b, width]."""
    same = (gallery[0] == query[0][:, None]) & (gallery[1] == query[1][:, None])
    # NaN is neither greater than nor equal to anything: what is removed is never counted.
    similarities = jnp.where(same | (gallery[0] == JUNK), jnp.nan, similarities)
    own = jnp.take_along_axis(similarities, positions, axis=1)
    index = jnp.arange(similarities.shape[1], dtype=jnp.int32)

    def count_group(part: tuple[jax.Array, ...]) -> jax.Array:
        similarities, own, positions, counts = part

        def count_one(k: jax.Array, ranks: jax.Array) -> jax.Array:
            value, position = own[:, k, None], positions[:, k, None]
            before = (similarities > value) | ((similarities == value) & (index < position))
            return ranks.at[:, k].set(1 + jnp.sum(before, axis=1, dtype=jnp.int32))

        return lax.fori_loop(0, jnp.max(counts), count_one, jnp.zeros_like(positions))

    parts = jax.tree.map(lambda x: x.reshape(-1, group, *x.shape[1:]), (similarities, own, positions, counts))
    return lax.map(count_group, parts).reshape(positions.shape)
