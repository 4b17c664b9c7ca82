"""ViT tiny/small/base: patches of 16 pixels behind a convolutional stem with IBN (TransReID-SSL's "ICS")."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.spec import ModelSpec

PATCH = 16
NATIVE_SIZE = (256, 128)  # pixels, the size that the position table is made for
NATIVE_GRID = (NATIVE_SIZE[0] // PATCH, NATIVE_SIZE[1] // PATCH)
EPS = 1e-6


class PatchEmbed(nn.Module):
    """Stem and projection: images [b, h, w, 3] -> [b, h // 16, w // 16, width]."""

    width: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        x = conv(64, 7, 2, padding=3, name="conv_0")(images)
        x = nn.relu(layers.IBN(self.dtype, name="conv_1")(x, train))
        x = conv(64, 3, padding=1, name="conv_3")(x)
        x = nn.relu(layers.IBN(self.dtype, name="conv_4")(x, train))
        x = conv(64, 3, padding=1, name="conv_6")(x)
        x = nn.relu(layers.BatchNorm(self.dtype, name="conv_7")(x, train))
        return conv(self.width, 8, 8, use_bias=True, name="proj")(x)


class Attention(nn.Module):
    """Multi-head self-attention, [b, tokens, width] -> the same; `qkv` gives query, key, value by head."""

    heads: int
    qkv_bias: bool = True
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        dense = functools.partial(
            layers.Dense, kernel_init=layers.normal_002, bias_init=nn.initializers.zeros, dtype=self.dtype
        )
        qkv = dense(3 * width, use_bias=self.qkv_bias, name="qkv")(x)
        query, key, value = jnp.unstack(
            qkv.reshape(batch, tokens, 3, self.heads, width // self.heads), axis=2
        )
        y = layers.attention(query, key, value).reshape(batch, tokens, width)
        return dense(width, name="proj")(y)


class Block(nn.Module):
    """Pre-norm transformer block, [b, tokens, width] -> the same."""

    heads: int
    mlp_ratio: int = 4
    qkv_bias: bool = True
    eps: float = EPS
    drop_path: float = 0.0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, self.eps, self.dtype)
        y = Attention(self.heads, self.qkv_bias, self.dtype, name="attn")(norm(name="norm1")(x))
        x = x + layers.DropPath(self.drop_path)(y, train)
        y = layers.Mlp(self.mlp_ratio * x.shape[-1], dtype=self.dtype, name="mlp")(norm(name="norm2")(x))
        return x + layers.DropPath(self.drop_path)(y, train)


class ViT(nn.Module):
    """images [b, h, w, 3] -> features [b, width], the normed class token.

    Attributes:
      width, heads, depth: of the transformer.
      drop_path: rate of stochastic depth in the last block, growing linearly from 0 in the first.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    width: int
    heads: int
    depth: int = 12
    drop_path: float = 0.0
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        x = PatchEmbed(self.width, self.dtype, name="patch_embed")(images, train)
        grid = tuple(n // PATCH for n in images.shape[1:3])
        if x.shape[1:3] != grid or 0 in grid:
            raise ValueError(
                f"an image of {images.shape[1]}x{images.shape[2]} pixels does not give whole patches"
            )
        cls_token = self.param("cls_token", layers.normal_002, (1, 1, self.width), jnp.float32)
        entries = 1 + math.prod(NATIVE_GRID)
        table = self.param("pos_embed", layers.normal_002, (1, entries, self.width), jnp.float32)
        x = x.reshape(x.shape[0], -1, self.width)
        cls_tokens = jnp.broadcast_to(cls_token.astype(self.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([cls_tokens, x], axis=1)
        x += position_table(table, images.shape[1:3]).astype(self.dtype)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        rates = np.linspace(0.0, self.drop_path, self.depth)
        for index, rate in enumerate(rates):
            x = block(self.heads, drop_path=float(rate), dtype=self.dtype, name=f"blocks_{index}")(x, train)
            x = layers.apart_in_backward(x)
        return layers.LayerNorm(EPS, self.dtype, name="norm")(x[:, 0])


def position_table(table: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """The table [1, 1 + 16*8, width] for images of `image_size` pixels: [1, 1 + h//16 * w//16, width].

    Untouched at exactly 256x128. Elsewhere the grid entries are resized bicubically with the factors
    (h//16 + 0.1)/16 and (w//16 + 0.1)/8, whose 0.1 also moves the sampling points: it is not a plain resize.
    The class token's entry, the first, is kept.
    """
    if tuple(image_size) == NATIVE_SIZE:
        return table
    grid = resize_positions(table[:, 1:].reshape(1, *NATIVE_GRID, -1), tuple(n // PATCH for n in image_size))
    return jnp.concatenate([table[:, :1], grid.reshape(1, -1, table.shape[-1])], axis=1)


def resize_positions(table: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Resizes a table [1, h, w, width] to [1, *grid, width] by the factors (grid + 0.1) / (h, w)."""
    rows, columns = (bicubic_matrix(old, new) for old, new in zip(table.shape[1:3], grid, strict=True))
    with jax.default_matmul_precision("highest"):
        return jnp.einsum("ih,jw,ahwc->aijc", rows, columns, table.astype(jnp.float32))


def bicubic_matrix(old: int, new: int) -> np.ndarray:
    """Weights [new, old] of a cubic resize: a = -0.75, 4 taps, clamped at the border, no antialiasing.

    The coordinate of output d is (d + 0.5)/s - 0.5 with s = (new + 0.1)/old.
    """
    source = (np.arange(new) + 0.5) * (old / (new + 0.1)) - 0.5
    first = np.floor(source).astype(int)
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        distance = np.abs(source - (first + tap))
        near = ((1.25 * distance - 2.25) * distance) * distance + 1  # |distance| <= 1
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3  # 1 < |distance| < 2
        index = np.clip(first + tap, 0, old - 1)
        np.add.at(weights, (np.arange(new), index), np.where(distance <= 1, near, far))
    return weights.astype(np.float32)


SPECS = tuple(
    ModelSpec(
        name=f"vit_{size}",
        family="vit",
        module=ViT,
        arguments={"width": width, "heads": width // 64},
        embed_dim=width,
        parameters=parameters,
        has_batch_norm=True,
        overrides=("remat", "drop_path"),
    )
    for size, width, parameters in (
        ("tiny", 192, 6_233_856),
        ("small", 384, 23_001_024),
        ("base", 768, 88_385_856),
    )
)
