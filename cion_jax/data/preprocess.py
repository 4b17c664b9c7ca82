"""What evaluation does to a decoded image: resize the whole of it, normalise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.data import crops


def sizes_on_canvas(images: jax.Array, sizes: jax.Array) -> jax.Array:
    """`sizes` held between one pixel and the canvas, int32 [b, 2].

    Raises:
      ValueError: `images` is not uint8 [b, H, W, 3] or `sizes` not an integer [b, 2].
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != jnp.uint8:
        raise ValueError(f"images must be uint8 [b, H, W, 3], got {images.dtype} {list(images.shape)}")
    if sizes.shape != (images.shape[0], 2) or not jnp.issubdtype(sizes.dtype, jnp.integer):
        wanted = f"integers [{images.shape[0]}, 2]"
        raise ValueError(f"sizes must be {wanted}, got {sizes.dtype} {list(sizes.shape)}")
    return jnp.clip(sizes.astype(jnp.int32), 1, np.asarray(images.shape[1:3], np.int32))


def normalise(pixels: jax.Array, mean: tuple[float, ...], std: tuple[float, ...], dtype) -> jax.Array:
    """(pixels / 255 - mean) / std, channels last, computed in float32 and given in `dtype`."""
    slope = np.float32(1.0) / (np.float32(255.0) * np.asarray(std, np.float32))
    offset = np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    return (pixels * slope - offset).astype(dtype)


@functools.partial(jax.jit, static_argnames=("size", "mean", "std", "method", "dtype"))
def prepare_eval(
    images: jax.Array,
    sizes: jax.Array,
    *,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    method: str = "bilinear",
    dtype=jnp.float32,
) -> jax.Array:
    """Resizes the true area of every image to `size`, antialiased as Pillow does it, and normalises.

    Args:
      images: uint8 [b, H, W, 3], images in the top left corner of a canvas; what lies outside is never read.
      sizes: integers [b, 2], true height and width in pixels; below one pixel counts as one.
      size: (height, width) of the result.
      mean, std: shares of 255.
      method: "bilinear" (as in the official fine-tuning code) or "bicubic".
      dtype: of the result; the computation is in float32.

    Returns:
      [b, height, width, 3] in `dtype`.

    Raises:
      ValueError: arrays of other shapes or types, unknown method.
    """
    sizes = sizes_on_canvas(images, sizes)[:, None]  # [b, 1, 2]
    start = jnp.zeros(sizes.shape[:2], jnp.int32)
    boxes = crops.Boxes(start, start, sizes[..., 0], sizes[..., 1])
    pixels = crops.crop_resize(crops.planar(images), boxes, size=size, method=method)  # [b, 1, w, 3, h]
    return normalise(jnp.transpose(pixels[:, 0], (0, 3, 1, 2)), mean, std, dtype)
