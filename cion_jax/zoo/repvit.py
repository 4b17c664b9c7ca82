"""RepViT M0.9/M1.0/M1.5: a ViT's order of token and channel mixing, in convolutions alone.

In training a depthwise 3x3 has a 1x1 and the identity beside it; `zoo.fuse` folds them, and every batch norm, into
one convolution. The gates are GhostNet's (multiples of 4, hard sigmoid), unlike those of other RepViTs.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.spec import ModelSpec


class Depthwise(nn.Module):
    """Batch norm of the sum of a depthwise 3x3 with batch norm, a depthwise 1x1, and x: [b, h, w, c] kept."""

    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]
        y = _conv_norm(False, self.dtype)(channels, 3, 1, 1, channels, name="conv")(x, train)
        y += layers.Conv(channels, groups=channels, use_bias=True, dtype=self.dtype, name="conv1")(x)
        return layers.BatchNorm(self.dtype, name="bn")(y + x, train)


class ChannelMixer(nn.Module):
    """1x1 convolution to twice the channels, GELU, and back: [b, h, w, c] -> the same.

    The last norm starts at zero, so that a block begins without mixing channels.
    """

    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels, conv_norm = x.shape[-1], _conv_norm(self.fused, self.dtype)
        y = layers.gelu(conv_norm(2 * channels, name="m_0")(x, train))
        return conv_norm(channels, scale_init=nn.initializers.zeros, name="m_2")(y, train)


class Block(nn.Module):
    """Token mixer, then the channel mixer with a shortcut: [b, h, w, c] -> [b, h/stride, w/stride, features].

    With stride 2 the token mixer is a depthwise and a 1x1 convolution; else a depthwise one, gated or not, that
    keeps the channels.
    """

    features: int
    stride: int
    gated: bool
    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels, conv_norm = x.shape[-1], _conv_norm(self.fused, self.dtype)
        if self.stride > 1 or self.fused:
            x = conv_norm(channels, 3, self.stride, 1, channels, name="token_mixer_0")(x, train)
        else:
            x = Depthwise(self.dtype, name="token_mixer_0")(x, train)
        if self.stride > 1:
            x = conv_norm(self.features, name="token_mixer_2")(x, train)
        if self.gated:
            hidden = layers.divisible(channels / 4)
            x = layers.SqueezeExcite(hidden, dtype=self.dtype, name="token_mixer_1")(x)
        return x + ChannelMixer(self.fused, self.dtype, name="channel_mixer")(x, train)


def _conv_norm(fused: bool, dtype: layers.Dtype) -> Callable:
    """Constructor of convolutions with batch norm or, if fused, of those with bias that they fold into.

    What it constructs is called with (x, train).
    """
    if not fused:
        return functools.partial(layers.ConvNorm, conv_name="c", dtype=dtype)

    def folded(*sizes: int, name: str, scale_init: layers.Initializer | None = None) -> Callable:
        conv = layers.Conv(*sizes, use_bias=True, dtype=dtype, name=name)
        return lambda x, train: conv(x)

    return folded


class RepViT(nn.Module):
    """images [b, h, w, 3] -> features [b, widths[-1]].

    Attributes:
      widths: channels of the four stages.
      depths: blocks of stride 1 in them; every stage but the first begins with one of stride 2 besides.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
      fused: the form for inference that `zoo.fuse` gives the variables of.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    remat: bool = False
    fused: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        conv_norm = _conv_norm(self.fused, self.dtype)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        x = conv_norm(self.widths[0] // 2, 3, 2, 1, name="features_0_0")(images, train)
        x = conv_norm(self.widths[0], 3, 2, 1, name="features_0_2")(layers.gelu(x), train)
        for index, row in enumerate(self._rows(), start=1):
            x = block(*row, self.fused, self.dtype, name=f"features_{index}")(x, train)
        return layers.global_average(x)

    def _rows(self) -> list[tuple[int, int, bool]]:
        """(features, stride, gated) of every block.

        Of a stage's blocks of stride 1 the first, third, ... are gated, but never the one at its end.
        """
        rows = []
        for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            if stage > 0:
                rows.append((width, 2, False))
            rows += [(width, 1, place % 2 == 0 and place < depth - 1) for place in range(depth)]
        return rows


SPECS = tuple(
    ModelSpec(
        name=f"repvit_{size}",
        family="repvit",
        module=RepViT,
        arguments={"widths": widths, "depths": depths},
        embed_dim=widths[-1],
        parameters=parameters,
        has_batch_norm=True,
        overrides=("remat", "fused"),
    )
    for size, widths, depths, parameters in (
        ("m0_9", (48, 96, 192, 384), (3, 3, 15, 2), 4_717_404),
        ("m1_0", (56, 112, 224, 448), (3, 3, 15, 2), 6_402_104),
        ("m1_5", (64, 128, 256, 512), (5, 5, 25, 4), 13_616_384),
    )
)
