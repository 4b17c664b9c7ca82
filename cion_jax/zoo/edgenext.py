"""EdgeNeXt XS/S/B: ConvNeXt blocks, and at the end of stages 1 to 3 one that attends from channel to channel."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.convnext import EPS, LAYER_SCALE, Block, downsample, normed_mlp
from cion_jax.zoo.spec import ModelSpec

DEPTHS = (3, 3, 9, 3)
KERNELS = (3, 5, 7, 9)  # of the depthwise convolutions, by stage
SCALES = (0, 2, 3, 4)  # chunks of channels in the last block of a stage; 0: an ordinary block
STAGE_WITH_POSITIONS = 1
FREQUENCIES = 32  # per axis


class CrossCovarianceAttention(nn.Module):
    """Attention between the channels of a head, over all tokens: [b, tokens, width] -> the same."""

    heads: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        dense = functools.partial(layers.Dense, dtype=self.dtype)
        temperature = self.param("temperature", nn.initializers.ones, (self.heads, 1, 1), jnp.float32)
        qkv = dense(3 * width, name="qkv")(x)
        query, key, value = jnp.unstack(
            qkv.reshape(batch, tokens, 3, self.heads, width // self.heads), axis=2
        )
        query, key = (layers.l2_normalise(y, axis=1).astype(self.dtype) for y in (query, key))
        scores = jnp.einsum("bnhc,bnhe->bhce", query, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores * temperature, axis=-1).astype(self.dtype)
        y = jnp.einsum("bhce,bnhe->bnhc", weights, value)
        return dense(width, name="proj")(y.reshape(batch, tokens, width))


class FourierPositions(nn.Module):
    """Sines and cosines of rows and columns, projected: (h, w) -> [1, h, w, width]."""

    width: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, size: tuple[int, int]) -> jax.Array:
        conv = layers.Conv(self.width, use_bias=True, dtype=self.dtype, name="token_projection")
        return conv(jnp.asarray(fourier_table(size))[None])


def fourier_table(size: tuple[int, int]) -> np.ndarray:
    """[h, w, 64] float32: 32 channels of the row, then 32 of the column; sine and cosine take turns."""
    divisors = 10000.0 ** (2 * (np.arange(FREQUENCIES) // 2) / FREQUENCIES)
    axes = []
    for length in size:
        angles = 2 * np.pi * np.arange(1, length + 1)[:, None] / (length + 1e-6) / divisors
        axes.append(np.where(np.arange(FREQUENCIES) % 2 == 0, np.sin(angles), np.cos(angles)))
    rows, columns = axes
    shape = (*size, FREQUENCIES)
    table = [np.broadcast_to(rows[:, None], shape), np.broadcast_to(columns[None], shape)]
    return np.concatenate(table, axis=-1).astype(np.float32)


class SplitTransposeBlock(nn.Module):
    """Convolutions on ever more chunks of channels, channel attention, norm and MLP: [b, h, w, c] -> the same.

    What the attention adds is the MLP's input alone: the block adds to what came in.
    """

    heads: int
    scales: int
    positions: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        scale = nn.initializers.constant(LAYER_SCALE)
        gamma_xca = self.param("gamma_xca", scale, (width,), jnp.float32).astype(self.dtype)
        gamma = self.param("gamma", scale, (width,), jnp.float32).astype(self.dtype)
        y = self._convolve_chunks(x)
        if self.positions:
            y += FourierPositions(width, self.dtype, name="pos_embd")(x.shape[1:3])
        tokens = layers.LayerNorm(EPS, self.dtype, name="norm_xca")(y).reshape(x.shape[0], -1, width)
        attended = CrossCovarianceAttention(self.heads, self.dtype, name="xca")(tokens)
        y += gamma_xca * attended.reshape(x.shape)
        return x + gamma * normed_mlp(y, self.dtype)

    def _convolve_chunks(self, x: jax.Array) -> jax.Array:
        """Every chunk but the last is convolved, together with the result of the chunk before."""
        chunk = math.ceil(x.shape[-1] / self.scales)
        *chunks, last = jnp.split(x, list(range(chunk, x.shape[-1], chunk)), axis=-1)
        done = []
        for index, y in enumerate(chunks):
            conv = layers.Conv(
                chunk, 3, padding=1, groups=chunk, use_bias=True, dtype=self.dtype, name=f"convs_{index}"
            )
            done.append(conv(y + done[-1] if done else y))
        return jnp.concatenate([*done, last], axis=-1)


class EdgeNeXt(nn.Module):
    """images [b, h, w, 3] -> features [b, widths[-1]].

    Attributes:
      widths: channels of the stages.
      heads: of the channel attention.
      depths: blocks of the stages.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    widths: tuple[int, ...]
    heads: int
    depths: tuple[int, ...] = DEPTHS
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        convolution, attention = (nn.remat(b) if self.remat else b for b in (Block, SplitTransposeBlock))
        x = images
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            x = downsample(x, stage, width, self.dtype)
            for index in range(depth):
                name = f"stages_{stage}_{index}"
                if index == depth - 1 and SCALES[stage]:
                    positions = stage == STAGE_WITH_POSITIONS
                    x = attention(self.heads, SCALES[stage], positions, self.dtype, name=name)(x)
                else:
                    x = convolution(KERNELS[stage], self.dtype, name=name)(x)
        return layers.LayerNorm(EPS, self.dtype, name="norm")(layers.global_average(x))


SPECS = tuple(
    ModelSpec(
        name=f"edgenext_{size}",
        family="edgenext",
        module=EdgeNeXt,
        arguments={"widths": widths, "heads": heads},
        embed_dim=widths[-1],
        parameters=parameters,
        has_batch_norm=False,
    )
    for size, widths, heads, parameters in (
        ("x_small", (32, 64, 100, 192), 4, 2_143_804),
        ("small", (48, 96, 160, 304), 8, 5_281_832),
        ("base", (80, 160, 288, 584), 8, 17_926_292),
    )
)
