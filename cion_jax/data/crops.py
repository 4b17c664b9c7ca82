"""RandomResizedCrop on the device: boxes drawn per image, and the resize as two small matrices per crop.

Pillow resizes along the width, rounds to 8 bits, then resizes along the height and rounds again. The same
order and roundings are kept here: the result agrees with Pillow's to the last bits of its fixed-point
weights, and the image operand of both products holds integers of 0..255, exact in TF32 and bfloat16. (Pillow
11 always takes the width first; Pillow 13 starts with the cheaper axis, which is the other one for about half
of the local boxes. That moves 1 value in 1,300 by more than one grey level, by 6 at most.)
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TRIES = 10
UNIFORMS_PER_BOX = 2 * TRIES + 2

# The image operand of every product is exact in TF32 and bfloat16; HIGH gives the weights three bfloat16
# passes on TPU, TF32 (at most 0.2 grey levels before rounding) on GPU and plain float32 on CPU.
PRECISION = jax.lax.Precision.HIGH


class Boxes(NamedTuple):
    """Crop boxes in pixels, int32 arrays of one shape."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array


def sample_boxes(
    uniforms: jax.Array,
    sizes: jax.Array,
    *,
    scale: tuple[float | np.ndarray, float | np.ndarray],
    aspect: tuple[float, float],
) -> Boxes:
    """Draws a box per view: area uniform, aspect log-uniform, ten tries, then the clamped centre crop.

    Args:
      uniforms: float32 [b, v, UNIFORMS_PER_BOX] in [0, 1).
      sizes: int32 [b, 2], true height and width of the images in pixels, at least 1.
      scale: least and largest share of the image's area, numbers or one per view, [v].
      aspect: least and largest width / height, in the image's own pixels.

    Returns:
      Boxes of shape [b, v], whole pixels, inside the image. Area and aspect keep their limits up to the
      rounding of the sides; the centre crop keeps the limits of the aspect alone.
    """
    full_height, full_width = sizes[:, None, None, 0], sizes[:, None, None, 1]  # [b, 1, 1]
    draws = uniforms[..., : 2 * TRIES].reshape(*uniforms.shape[:-1], 2, TRIES)
    low, high = (np.asarray(limit, np.float32)[..., None] for limit in scale)
    share = low + (high - low) * draws[..., 0, :]
    log_low, log_high = math.log(aspect[0]), math.log(aspect[1])
    ratio = jnp.exp(log_low + (log_high - log_low) * draws[..., 1, :])
    area = (full_height * full_width).astype(jnp.float32) * share
    width = jnp.round(jnp.sqrt(area * ratio)).astype(jnp.int32)
    height = jnp.round(jnp.sqrt(area / ratio)).astype(jnp.int32)
    fits = (width > 0) & (width <= full_width) & (height > 0) & (height <= full_height)
    first = fits & (jnp.cumsum(fits, axis=-1) == 1)
    found = jnp.any(first, axis=-1)
    full_height, full_width = full_height[..., 0], full_width[..., 0]
    centre_height, centre_width = _centre_sides(full_height, full_width, aspect)
    height = jnp.where(found, jnp.sum(jnp.where(first, height, 0), axis=-1), centre_height)
    width = jnp.where(found, jnp.sum(jnp.where(first, width, 0), axis=-1), centre_width)
    top = jnp.where(found, _position(uniforms[..., -2], full_height - height), (full_height - height) // 2)
    left = jnp.where(found, _position(uniforms[..., -1], full_width - width), (full_width - width) // 2)
    return Boxes(top, left, height, width)


def _position(uniform: jax.Array, room: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.floor(uniform * (room + 1)).astype(jnp.int32), room)


def _centre_sides(
    height: jax.Array, width: jax.Array, aspect: tuple[float, float]
) -> tuple[jax.Array, jax.Array]:
    """Sides of the largest centred box whose aspect keeps its limits."""
    ratio = width / height
    tall, wide = ratio < aspect[0], ratio > aspect[1]
    cut_height = jnp.clip(jnp.round(width / aspect[0]).astype(jnp.int32), 1, height)
    cut_width = jnp.clip(jnp.round(height * aspect[1]).astype(jnp.int32), 1, width)
    return jnp.where(tall, cut_height, height), jnp.where(wide, cut_width, width)


def _bicubic(x: jax.Array) -> jax.Array:
    """Keys' cubic with a = -1/2, as Pillow has it; `x` is not negative."""
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x < 1.0, near, jnp.where(x < 2.0, far, 0.0))


def _bilinear(x: jax.Array) -> jax.Array:
    return jnp.maximum(1.0 - x, 0.0)


FILTERS = {"bicubic": _bicubic, "bilinear": _bilinear}


def resize_matrix(
    start: jax.Array,
    length: jax.Array,
    *,
    out: int,
    extent: int,
    method: str = "bicubic",
    reverse: jax.Array | None = None,
) -> jax.Array:
    """Weights that resize `length` pixels from `start` on to `out`, as Pillow before its 8-bit rounding.

    The filter is stretched by the factor of a reduction (antialiasing); weights outside the box are zero and
    every row sums to one.

    Args:
      start, length: int32 [...], first pixel and number of pixels (at least 1) of the interval.
      out: pixels of the result.
      extent: pixels of the canvas.
      method: "bicubic" or "bilinear".
      reverse: bool [...], mirrors the result.

    Returns:
      float32 [..., out, extent].

    Raises:
      ValueError: unknown method.
    """
    if method not in FILTERS:
        raise ValueError(f"method is {method!r}; known are {', '.join(FILTERS)}")
    start, length = start[..., None, None], length[..., None, None]
    scale = length.astype(jnp.float32) / out
    row = jnp.arange(out, dtype=jnp.float32)[:, None]  # [out, 1]
    if reverse is not None:
        row = jnp.where(reverse[..., None, None], out - 1 - row, row)
    column = jnp.arange(extent, dtype=jnp.int32) - start  # [..., 1, extent], counted from the box
    distance = jnp.abs((column.astype(jnp.float32) + 0.5) - (row + 0.5) * scale)
    weights = FILTERS[method](distance / jnp.maximum(scale, 1.0))
    weights = jnp.where((column >= 0) & (column < length), weights, 0.0)
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


def to_grey_levels(pixels: jax.Array) -> jax.Array:
    """Whole grey levels 0..255, halves upwards, as Pillow keeps every intermediate image; dtype unchanged."""
    return jnp.clip(jnp.floor(pixels + 0.5), 0.0, 255.0)


def planar(images: jax.Array) -> jax.Array:
    """uint8 [b, H, W, 3] -> float32 [b, 3, H, W]: the operand of `crop_resize`, made once for all crops."""
    return jnp.transpose(images, (0, 3, 1, 2)).astype(jnp.float32)


def crop_resize(
    images: jax.Array,
    boxes: Boxes,
    *,
    size: tuple[int, int],
    method: str = "bicubic",
    mirror: jax.Array | None = None,
) -> jax.Array:
    """Cuts the boxes out of planar images and resizes them, each image by two matrix products.

    Args:
      images: float32 [b, 3, H, W], whole grey levels (see `planar`).
      boxes: Boxes of shape [b, v].
      size: height and width of the result.
      method: "bicubic" or "bilinear".
      mirror: bool [b, v], flips left and right; costs nothing, since the rows of the width's matrix are
        reversed.

    Returns:
      float32 [b, v, width, 3, height], whole grey levels. In this order of axes neither product needs a
      transposition and the longest axis is the innermost one.
    """
    height, width = size
    across = resize_matrix(
        boxes.left, boxes.width, out=width, extent=images.shape[3], method=method, reverse=mirror
    )
    down = resize_matrix(boxes.top, boxes.height, out=height, extent=images.shape[2], method=method)
    rows = jnp.einsum("bvxw,bchw->bvxch", across, images, precision=PRECISION)
    pixels = jnp.einsum("bvxch,bvyh->bvxcy", to_grey_levels(rows), down, precision=PRECISION)
    return to_grey_levels(pixels)
