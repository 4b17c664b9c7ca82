"""Position tables at sizes other than their own, as the official ViT and VOLO resize them."""

import jax
import jax.numpy as jnp
import numpy as np


def resize(table: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Resizes a table [1, h, w, width] to [1, *grid, width] by the factors (grid + 0.1) / (h, w)."""
    rows, columns = (bicubic_matrix(old, new) for old, new in zip(table.shape[1:3], grid, strict=True))
    with jax.default_matmul_precision("highest"):
        return jnp.einsum("ih,jw,ahwc->aijc", rows, columns, table.astype(jnp.float32))


def bicubic_matrix(old: int, new: int, *, margin: float = 0.1) -> np.ndarray:
    """Weights [new, old] of a cubic resize: a = -0.75, 4 taps, clamped at the border, no antialiasing.

    The coordinate of output d is (d + 0.5)/s - 0.5 with s = (new + margin)/old; a plain resize has no margin.
    """
    source = (np.arange(new) + 0.5) * (old / (new + margin)) - 0.5
    first = np.floor(source).astype(int)
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        distance = np.abs(source - (first + tap))
        near = ((1.25 * distance - 2.25) * distance) * distance + 1  # |distance| <= 1
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3  # 1 < |distance| < 2
        index = np.clip(first + tap, 0, old - 1)
        np.add.at(weights, (np.arange(new), index), np.where(distance <= 1, near, far))
    return weights.astype(np.float32)
