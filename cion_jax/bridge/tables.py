"""Tables of positions that were learned at another size: resized on request, never by themselves."""

import math

import jax.numpy as jnp
import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.zoo import positions

Shape = tuple[int, ...]
Resize = bool | tuple[int, int]


def is_table(key: str) -> bool:
    """Whether an official name is that of a position table (ViT, VOLO) or a relative one (Swin)."""
    return key.rsplit(".", 1)[-1] in ("pos_embed", "relative_position_bias_table")


def resized(key: str, table: np.ndarray, shape: Shape, resize: Resize) -> np.ndarray | None:
    """The table with PyTorch's `shape`; None if no change of size leads from the one to the other.

    Bicubic (a = -0.75), pixel centres aligned, no antialiasing, computed in float32. The class token's entry is
    kept.

    Args:
      key: official name.
      table: ViT [1, 1 + places, width], VOLO [1, rows, columns, width], Swin [(2 w - 1)^2, heads].
      shape: the one wanted.
      resize: True, or the (rows, columns) of a ViT's table where the number of its places does not tell.

    Raises:
      UserError: the grid of a ViT's table is not told and cannot be guessed.
    """
    if table.ndim != len(shape) or not jnp.issubdtype(table.dtype, jnp.floating):
        return None
    channels = -1 if table.ndim > 2 else 1
    if table.shape[channels] != shape[channels] or (table.ndim > 2 and table.shape[0] != 1):
        return None
    if table.ndim == 2:
        side, wanted = (math.isqrt(n) for n in (table.shape[0], shape[0]))
        if side**2 != table.shape[0]:
            return None
        return _bicubic(table.reshape(side, side, -1), (wanted, wanted)).reshape(shape)
    if table.ndim == 4:
        return _bicubic(table[0], shape[1:3])[None]
    grid = _bicubic(table[0, 1:].reshape(*_grid(key, table.shape[1] - 1, resize), -1), (16, 8))
    return np.concatenate([np.asarray(table[:, :1], np.float32), grid.reshape(1, -1, shape[2])], axis=1)


def _grid(key: str, places: int, resize: Resize) -> tuple[int, int]:
    """Rows and columns of a ViT's table: as told, else twice or three times as high as wide, or square."""
    if not isinstance(resize, bool):
        if math.prod(resize) != places:
            raise UserError(f"resize={tuple(resize)}: {key} has {places} places, not {math.prod(resize)}.")
        return tuple(resize)
    for ratio in (2, 3, 1):
        columns = math.isqrt(places // ratio)
        if ratio * columns**2 == places:
            return ratio * columns, columns
    raise UserError(
        f"{key} has {places} places, and how they lie is not known: name the grid, like resize=(24, 8) for "
        "images of 384x128 pixels."
    )


def _bicubic(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[rows, columns, c] -> [*size, c], float32."""
    rows, columns = (
        positions.bicubic_matrix(old, new, margin=0.0) for old, new in zip(grid.shape[:2], size, strict=True)
    )
    return np.einsum("ih,jw,hwc->ijc", rows, columns, np.asarray(grid, np.float32)).astype(np.float32)


def window_of(index: np.ndarray) -> int | None:
    """Side of the windows that a saved index of relative positions numbers; None if it is no such index."""
    index = np.asarray(index)
    side = math.isqrt(index.shape[0]) if index.ndim == 2 else 0
    if not side or index.shape != (side**2, side**2):
        return None
    places = np.indices((side, side)).reshape(2, -1)
    dy, dx = places[:, :, None] - places[:, None] + side - 1
    return side if np.array_equal(index, dy * (2 * side - 1) + dx) else None
