"""Depthwise convolution, the weak spot of XLA on CPU (a `layers.py` part of its own, for its length)."""

import jax
import jax.numpy as jnp
from jax import lax


def depthwise_conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int) -> jax.Array:
    """x [b, h, w, c] with kernel [k, k, 1, m c] -> [b, h', w', m c]; output channel o reads input channel o // m."""
    size = kernel.shape[0]
    kernel = kernel[:, :, 0]
    if kernel.shape[-1] != x.shape[-1]:
        x = jnp.repeat(x, kernel.shape[-1] // x.shape[-1], axis=-1)
    height, width = ((n + 2 * padding - size) // stride + 1 for n in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y = 0
    for i in range(size):
        for j in range(size):
            y += x[:, i : i + stride * height : stride, j : j + stride * width : stride] * kernel[i, j]
    return y
