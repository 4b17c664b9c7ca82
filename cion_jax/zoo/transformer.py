"""What ViT and VOLO share: the convolutional stem and the pre-norm block. FastViT takes the attention."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from cion_jax.zoo import layers


class PatchEmbed(nn.Module):
    """Three convolutions, the first with stride 2, and a projection of patches.

    images [b, h, w, 3] -> [b, h // (2 patch), w // (2 patch), width].

    Attributes:
      patch: rows and columns that the projection joins, after the stem's stride of 2.
      ibn: whether the first two norms are IBN.
    """

    width: int
    patch: int
    ibn: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        norm = layers.IBN if self.ibn else layers.BatchNorm
        x = conv(64, 7, 2, padding=3, name="conv_0")(images)
        x = nn.relu(norm(dtype=self.dtype, name="conv_1")(x, train))
        x = conv(64, 3, padding=1, name="conv_3")(x)
        x = nn.relu(norm(dtype=self.dtype, name="conv_4")(x, train))
        x = conv(64, 3, padding=1, name="conv_6")(x)
        x = nn.relu(layers.BatchNorm(self.dtype, name="conv_7")(x, train))
        return conv(self.width, self.patch, self.patch, use_bias=True, name="proj")(x)


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
    eps: float
    mlp_ratio: int = 4
    qkv_bias: bool = True
    drop_path: float = 0.0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, self.eps, self.dtype)
        y = Attention(self.heads, self.qkv_bias, self.dtype, name="attn")(norm(name="norm1")(x))
        x = x + layers.DropPath(self.drop_path)(y, train)
        y = layers.Mlp(self.mlp_ratio * x.shape[-1], dtype=self.dtype, name="mlp")(norm(name="norm2")(x))
        return x + layers.DropPath(self.drop_path)(y, train)
