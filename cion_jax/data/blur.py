"""Gaussian blur with a sigma of its own per view, as Pillow's GaussianBlur approximates it.

Pillow runs a box of fractional radius three times along the width, then three times along the height, with
the variance of the box chosen so that the three together have the asked one. A sampled Gaussian is something
else where sigma is small (at 0.3 pixels it leaves the image nearly alone, Pillow does not), so the same boxes
are taken here. The three passes and their borders are one banded matrix per view and axis.
"""

import math

import jax
import jax.numpy as jnp

from cion_jax.data.crops import PRECISION, to_grey_levels


def box_weights(sigma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The extended box whose three passes have variance sigma^2 (Gwosdek et al.); sigma in pixels, >= 0.

    Returns:
      inner, edge, radius, each of the shape of `sigma`: the weight `inner` for offsets of at most `radius`
      (whole number, as float32), `edge` for the two offsets beyond.
    """
    variance = sigma * sigma / 3.0
    radius = jnp.floor((jnp.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    side = 2.0 * radius + 1.0
    fraction = side * (radius * (radius + 1.0) - 3.0 * variance) / (6.0 * (variance - (radius + 1.0) ** 2))
    inner = 1.0 / (side + 2.0 * fraction)
    return inner, fraction * inner, radius


def blur_matrix(sigma: jax.Array, *, extent: int, max_sigma: float) -> jax.Array:
    """Three passes of the box along an axis of `extent` pixels, borders repeated outside in each pass.

    Args:
      sigma: float32 [...], pixels, at most `max_sigma`; 0 gives the identity.
      max_sigma: bounds the reach of the kernel, which is fixed at compile time.

    Returns:
      float32 [..., extent, extent], rows sum to one.
    """
    reach = math.floor((math.sqrt(4.0 * max_sigma**2 + 1.0) - 1.0) / 2.0) + 1
    inner, edge, radius = (value[..., None, None] for value in box_weights(sigma))
    position = jnp.arange(extent)

    def weight(offset: int) -> jax.Array:
        distance = abs(offset)
        return jnp.where(distance <= radius, inner, jnp.where(distance == radius + 1, edge, 0.0))

    def one_pass(_: jax.Array, matrix: jax.Array) -> jax.Array:
        first = jnp.repeat(matrix[..., :1, :], reach, axis=-2)
        last = jnp.repeat(matrix[..., -1:, :], reach, axis=-2)
        padded = jnp.concatenate([first, matrix, last], axis=-2)
        return sum(
            weight(offset) * padded[..., offset + reach : offset + reach + extent, :]
            for offset in range(-reach, reach + 1)
        )

    identity = (position[:, None] == position).astype(jnp.float32)
    return jax.lax.fori_loop(0, 3, one_pass, jnp.broadcast_to(identity, (*sigma.shape, extent, extent)))


def blur(pixels: jax.Array, sigma: jax.Array, *, max_sigma: float) -> jax.Array:
    """Blurs whole grey levels and brings them to the usual order of axes.

    Args:
      pixels: float32 [b, v, width, 3, height], whole numbers 0..255.
      sigma: float32 [b, v], pixels; 0 leaves a view as it is.

    Returns:
      float32 [b, v, height, width, 3], whole grey levels.
    """
    across = blur_matrix(sigma, extent=pixels.shape[2], max_sigma=max_sigma)
    down = blur_matrix(sigma, extent=pixels.shape[4], max_sigma=max_sigma)
    rows = jnp.einsum("bvzx,bvxcy->bvzcy", across, pixels, precision=PRECISION)
    return to_grey_levels(jnp.einsum("bvyh,bvxch->bvyxc", down, to_grey_levels(rows), precision=PRECISION))
