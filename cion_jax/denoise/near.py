"""Pairs of vectors within a cosine distance: tiles of a band on the devices, close calls again in float64."""

import collections
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.denoise import rows
from cion_jax.denoise.closure import Components
from cion_jax.denoise.decisions import MARGIN
from cion_jax.denoise.watching import Watch, unwatched

_AHEAD = 2  # tiles a device has to do while the last ones are read
_PAIRS = 16_384  # pairs in float64 at a time
_CACHED = 8  # blocks kept on a device: a band of 1,000 needs three of them again and again


class Tiling(NamedTuple):
    """How pairs are looked for.

    Attributes:
      narrow, wide: rows and columns of a tile; narrow ones waste less where the band is narrow.
      room: pairs of a tile that a device picks out by itself, so that they alone are brought to the host; a tile with
        more is brought whole. 0: all are.
    """

    narrow: int
    wide: int
    room: int


# A processor shares its memory with the host, and picking out costs it more than the product. An accelerator is done
# with a product before the host has started the next, and a whole tile takes longer to fetch than to compute.
_TILINGS = {"cpu": Tiling(512, 2048, 0)}
_OF_ACCELERATORS = Tiling(4096, 4096, 1 << 16)


def near_pairs(
    vectors: np.ndarray,
    ends: np.ndarray,
    sigma: float,
    *,
    tiling: Tiling | None = None,
    watch: Watch = unwatched,
    label: str = "comparing",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs i < j < ends[i] with 1 - cos(vectors[i], vectors[j]) <= sigma.

    Args:
      vectors: floating point [t, d] of any length, read block by block; zero vectors are at distance 1.
      ends: int64 [t], not decreasing: how far each row is compared.
      sigma: cosine distance.
      tiling: by default what suits the devices.
      watch, label: who is told of finished tiles, and under which name.

    Yields:
      (i, j): int64 [pairs] each; every pair once, in no order to rely on. Which pairs there are does not depend on
      tiles, devices or backend: those within 1e-5 of sigma are decided in float64.
    """
    tiling = tiling or _TILINGS.get(jax.default_backend(), _OF_ACCELERATORS)
    reach = np.max(ends - np.arange(len(ends)), initial=0)
    side = tiling.narrow if reach <= 4 * tiling.narrow else tiling.wide
    side = min(side, max(8, 1 << (len(vectors) - 1).bit_length())) if len(vectors) else side
    blocks = _Blocks(vectors, side)
    pending: collections.deque = collections.deque()
    with watch(label, sum(1 for _ in _tiles(ends, side)), "tiles") as counter:
        for row, column, device in _tiles(ends, side):
            limit = np.zeros(side, np.int32)
            part = ends[row * side : (row + 1) * side] - column * side
            limit[: len(part)] = np.clip(part, 0, side)
            tile = _tile(
                blocks.get(row, device), blocks.get(column, device), limit, np.float32(sigma), row == column
            )
            picked = _pick(*tile, min(tiling.room, side * side)) if tiling.room else None
            pending.append((row * side, column * side, tile, picked))
            counter.advance()
            if len(pending) > _AHEAD * jax.local_device_count():
                yield _collect(vectors, sigma, *pending.popleft())
        while pending:
            yield _collect(vectors, sigma, *pending.popleft())


def components(
    vectors: np.ndarray, ends: np.ndarray, sigma: float, *, watch: Watch = unwatched, label: str = "comparing"
) -> np.ndarray:
    """What hangs together by near pairs: arguments as for `near_pairs`; int64 [t], numbered by first members."""
    found = Components(len(vectors))
    for i, j in near_pairs(vectors, ends, sigma, watch=watch, label=label):
        found.link(i, j)
    return found.labels()


def distances(vectors: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """1 - cos of the pairs (i, j), in float64 and independent of what else is asked; [pairs]."""
    found = np.zeros(len(i))
    for first in range(0, len(i), _PAIRS):
        part = slice(first, first + _PAIRS)
        one, other = (rows.unit_or_zero(vectors[k[part]]) for k in (i, j))
        found[part] = 1 - np.einsum("nd,nd->n", one, other)
    return found


def _collect(
    vectors: np.ndarray, sigma: float, row: int, column: int, tile: "_Tile", picked: "_Picked | None"
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of a finished tile, close calls decided."""
    if picked is not None and picked.count <= len(picked.place):
        count = int(picked.count)
        place, close = np.asarray(picked.place[:count]).astype(np.int64), np.asarray(picked.close[:count])
    else:
        # Of a flat array: NumPy takes ten times as long for a matrix.
        place = np.flatnonzero(np.asarray(tile.near))
        close = np.asarray(tile.close).reshape(-1)[place] if tile.any_close else np.zeros(len(place), bool)
    i, j = np.divmod(place, tile.near.shape[1])
    i, j = i + row, j + column
    if close.any():
        right = ~close
        right[close] = distances(vectors, i[close], j[close]) <= sigma
        i, j = i[right], j[right]
    return i, j


def _tiles(ends: np.ndarray, side: int) -> Iterator[tuple[int, int, jax.Device]]:
    """Block rows and columns that hold a pair to look at; neighbouring block rows go to different devices."""
    here = jax.local_devices()
    for row in range(-(-len(ends) // side)):
        last = int(ends[min((row + 1) * side, len(ends)) - 1])
        for column in range(row, max(-(-last // side), row + 1)):
            yield row, column, here[row % len(here)]


class _Blocks:
    """Blocks of `side` unit vectors on the devices, the latest kept."""

    def __init__(self, vectors: np.ndarray, side: int):
        self._vectors, self._side = vectors, side
        self._kept: dict[tuple[int, jax.Device], jax.Array] = {}

    def get(self, number: int, device: jax.Device) -> jax.Array:
        key = (number, device)
        if key in self._kept:
            return self._kept[key]
        part = np.asarray(self._vectors[number * self._side : (number + 1) * self._side], np.float32)
        padded = np.pad(part, ((0, self._side - len(part)), (0, 0)))
        while len(self._kept) >= _CACHED * jax.local_device_count():
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = unit_rows(jax.device_put(padded, device))
        return self._kept[key]


@jax.jit
def unit_rows(x: jax.Array) -> jax.Array:
    """As `rows.unit_or_zero`, in float32."""
    length = jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True))
    return jnp.where(length > rows.NO_LENGTH, x / length, 0)


class _Tile(NamedTuple):
    """bool [r, c]: near pairs; whether any is close to sigma; those that are."""

    near: jax.Array
    any_close: jax.Array
    close: jax.Array


class _Picked(NamedTuple):
    """Near pairs of a tile: how many, their places in it int32 [room], and which are close bool [room]."""

    count: jax.Array
    place: jax.Array
    close: jax.Array


@jax.jit
def _tile(
    row: jax.Array, column: jax.Array, limit: jax.Array, sigma: jax.Array, diagonal: jax.Array
) -> _Tile:
    """Near pairs of a tile: [r, d], [c, d], columns to look at [r]."""
    distance = 1 - jnp.einsum("rd,cd->rc", row, column, precision=jax.lax.Precision.HIGHEST)
    place = jnp.arange(column.shape[0])
    look = place[None, :] < limit[:, None]
    look &= ~diagonal | (place[None, :] > jnp.arange(row.shape[0])[:, None])
    near = look & (distance <= sigma + MARGIN)
    close = near & (distance > sigma - MARGIN)
    return _Tile(near, jnp.any(close), close)


@functools.partial(jax.jit, static_argnums=3)
def _pick(near: jax.Array, any_close: jax.Array, close: jax.Array, room: int) -> _Picked:
    del any_close
    (place,) = jnp.nonzero(near.reshape(-1), size=room, fill_value=0)
    return _Picked(jnp.sum(near), place.astype(jnp.int32), close.reshape(-1)[place])
