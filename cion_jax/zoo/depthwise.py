"""Depthwise convolution, a part of `layers.py` that is long enough for a file.

XLA's CPU backend convolves every channel by itself in scalar code. Written as k*k shifted multiply-adds the
forward pass is vectorised, but autodiff then gives k*k strided reductions for the kernel, scalar again; hence
a gradient rule. GPUs and TPUs get the plain grouped convolution.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax


def depthwise_conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0) -> jax.Array:
    """Convolves every channel on its own, with symmetric zero padding.

    Args:
      x: [b, h, w, c].
      kernel: [k, k, 1, m c]; output channel o reads input channel o // m, as torch's groups=c does.
      stride: rows and columns between outputs.
      padding: zeros on each side.

    Returns:
      [b, h', w', m c] in x's dtype, h' = (h + 2 padding - k) // stride + 1.

    Raises:
      ValueError: the kernel is no depthwise kernel for x.
    """
    channels, outputs = x.shape[-1], kernel.shape[-1]
    if kernel.ndim != 4 or kernel.shape[2] != 1 or outputs % channels:
        raise ValueError(f"kernel {kernel.shape} is not depthwise for {channels} channels")
    if jax.default_backend() == "cpu":
        return _by_filter(x, kernel[:, :, 0], stride, padding)
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def _by_filter(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """kernel [k, k, m c]: the first filters of all channels, then the second ones, put in turn at the end.

    Two 7x7 filters on each of 64 channels, stride 2, 4x64x32, one core, with gradients: 11 ms; by repeating the
    channels of x 140, as a grouped convolution of XLA 6,300.
    """
    filters = kernel.shape[-1] // x.shape[-1]
    parts = [shifted_conv(x, kernel[..., first::filters], stride, padding) for first in range(filters)]
    return parts[0] if filters == 1 else jnp.stack(parts, axis=-1).reshape(*parts[0].shape[:-1], -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shifted_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """x [b, h, w, c], kernel [k, k, c] -> [b, h', w', c], as a sum of k*k shifted and scaled copies of x.

    8x64x32x96 on two cores, forward: 3x3 1.3 ms against 39 of lax.conv, 7x7 2.8 against 111.
    """
    height, width = _output_size(x.shape, kernel.shape[0], stride, padding)
    y = _shifted_sum(_pad(x, padding), kernel, stride, height, width).astype(x.dtype)
    return y if kernel.shape[0] == 1 else _stored(y, kernel)


def _forward(x, kernel, stride, padding):
    return shifted_conv(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, residuals, upstream):
    x, kernel = residuals
    # Image by image the sums stay in cache, up to three times faster. But on several devices the batch may be
    # spread over them, and cutting it up would gather it: every image at once then.
    images = 1 if jax.device_count() == 1 else x.shape[0]
    return (
        _input_gradient(upstream, kernel, stride, padding, x.shape).astype(x.dtype),
        _kernel_gradient(x, upstream, kernel.shape[0], stride, padding, images).astype(kernel.dtype),
    )


shifted_conv.defvjp(_forward, _backward)


def _output_size(shape: tuple[int, ...], size: int, stride: int, padding: int) -> tuple[int, int]:
    return tuple((n + 2 * padding - size) // stride + 1 for n in shape[1:3])


def _pad(x: jax.Array, padding: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _shifted_sum(x: jax.Array, kernel: jax.Array, stride: int, height: int, width: int) -> jax.Array:
    """Sum over taps of x (padded already) shifted by the tap, times the tap; float32."""
    size = kernel.shape[0]
    x, kernel = x.astype(jnp.float32), kernel.astype(jnp.float32)
    rows, columns = stride * (height - 1) + 1, stride * (width - 1) + 1
    return sum(
        x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j]
        for i in range(size)
        for j in range(size)
    )


def _stored(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """y itself, computed once for all its readers.

    Otherwise the compiler fuses the shifted sum into each of them and, down the residual stream, sums into sums:
    RepViT M0.9 (4x256x128, one core) took 0.39 s forward instead of 0.07 and compiled in 18 s instead of 5.
    Nothing is fused across a conditional; this one can be decided only by running. An infinite first tap, where it
    holds, makes y infinite anyway.
    """
    infinite = kernel[(0,) * kernel.ndim] > jnp.finfo(kernel.dtype).max
    return lax.cond(infinite, lambda y: y * jnp.inf, lambda y: y, y)


def _input_gradient(upstream, kernel, stride, padding, shape):
    """The shifted sum again, of the upstream gradient spread by the stride, with the kernel turned round."""
    size = kernel.shape[0]
    before = size - 1 - padding
    spread = [
        # Ends where every one of the n inputs sees `size` positions; negative values cut, which lax.pad
        # allows.
        (before, n + size - 1 - before - (stride * (m - 1) + 1), stride - 1)
        for n, m in zip(shape[1:3], upstream.shape[1:3], strict=True)
    ]
    spread = lax.pad(upstream, jnp.zeros((), upstream.dtype), ((0, 0, 0), *spread, (0, 0, 0)))
    return _shifted_sum(spread, kernel[::-1, ::-1], 1, *shape[1:3])


def _kernel_gradient(x, upstream, size, stride, padding, images):
    """Sum over images and positions of x at each tap times the upstream gradient: float32 [k, k, c].

    A loop over rows of `images` images adds into [images, k, w', c] for each of the k column shifts, which
    the compiler vectorises (2.4 ms for 3x3 and 8.8 ms for 7x7; as one reduction per tap, 15 and 83 ms). Only
    after the loop are images and columns summed.
    """
    batch, height, width, channels = upstream.shape
    x = _pad(x, padding)
    columns = stride * (width - 1) + 1

    def add_row(step, sums):
        image, row = step // height * images, step % height
        rows = lax.dynamic_slice(x, (image, row * stride, 0, 0), (images, size, x.shape[2], channels))
        above = lax.dynamic_slice(upstream, (image, row, 0, 0), (images, 1, width, channels))
        rows, above = rows.astype(jnp.float32), above.astype(jnp.float32)
        return tuple(s + rows[:, :, j : j + columns : stride] * above for j, s in enumerate(sums))

    zeros = jnp.zeros((images, size, width, channels), jnp.float32)
    sums = lax.fori_loop(0, batch // images * height, add_row, (zeros,) * size)
    return jnp.stack([s.sum((0, 2)) for s in sums], axis=1)
