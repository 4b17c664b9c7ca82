"""GhostNet 0.5/1.0/1.3: half of every layer's channels are cheap depthwise filterings of the other half."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.spec import ModelSpec


class Row(NamedTuple):
    """A block: depthwise kernel, inner and outer channels (before scaling), gate, stride."""

    kernel: int
    inner: int
    outer: int
    gated: bool
    stride: int


# The stages, written as (kernel, inner, outer, gated, stride) of their blocks.
STAGES = (
    (Row(3, 16, 16, False, 1),),
    (Row(3, 48, 24, False, 2),),
    (Row(3, 72, 24, False, 1),),
    (Row(5, 72, 40, True, 2),),
    (Row(5, 120, 40, True, 1),),
    (Row(3, 240, 80, False, 2),),
    (
        Row(3, 200, 80, False, 1),
        Row(3, 184, 80, False, 1),
        Row(3, 184, 80, False, 1),
        Row(3, 480, 112, True, 1),
        Row(3, 672, 112, True, 1),
    ),
    (Row(5, 672, 160, True, 2),),
    (
        Row(5, 960, 160, False, 1),
        Row(5, 960, 160, True, 1),
        Row(5, 960, 160, False, 1),
        Row(5, 960, 160, True, 1),
    ),
)
LAST_STAGE = 960
EMBED_DIM = 1280


class GhostModule(nn.Module):
    """A 1x1 convolution to half of `features`, and a depthwise 3x3 of its result as the other half."""

    features: int
    active: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        half = -(-self.features // 2)
        activate = nn.relu if self.active else lambda y: y
        conv, norm = _makers(self.dtype)
        primary = conv(half, name="primary_conv_0")(x)
        primary = activate(norm(name="primary_conv_1")(primary, train))
        cheap = conv(half, 3, padding=1, groups=half, name="cheap_operation_0")(primary)
        cheap = activate(norm(name="cheap_operation_1")(cheap, train))
        return jnp.concatenate([primary, cheap], axis=-1)[..., : self.features]


class GhostBlock(nn.Module):
    """Ghost module, strided depthwise convolution where stride > 1, gate, ghost module; plus a shortcut."""

    row: Row
    multiplier: float
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        row = self.row
        inner, outer = (layers.divisible(n * self.multiplier) for n in (row.inner, row.outer))
        conv, norm = _makers(self.dtype)
        depthwise = functools.partial(
            conv, kernel_size=row.kernel, stride=row.stride, padding=(row.kernel - 1) // 2
        )
        y = GhostModule(inner, True, self.dtype, name="ghost1")(x, train)
        if row.stride > 1:
            y = depthwise(inner, groups=inner, name="conv_dw")(y)
            y = norm(name="bn_dw")(y, train)
        if row.gated:
            y = layers.SqueezeExcite(layers.divisible(inner / 4), dtype=self.dtype, name="se")(y)
        y = GhostModule(outer, False, self.dtype, name="ghost2")(y, train)
        channels = x.shape[-1]
        if row.stride > 1 or channels != outer:
            x = depthwise(channels, groups=channels, name="shortcut_0")(x)
            x = norm(name="shortcut_1")(x, train)
            x = norm(name="shortcut_3")(conv(outer, name="shortcut_2")(x), train)
        return y + x


class ConvNormRelu(nn.Module):
    """1x1 convolution, batch norm, ReLU."""

    features: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv, norm = _makers(self.dtype)
        return nn.relu(norm(name="bn1")(conv(self.features, name="conv")(x), train))


def _makers(dtype: layers.Dtype) -> tuple[functools.partial, functools.partial]:
    return functools.partial(layers.Conv, dtype=dtype), functools.partial(layers.BatchNorm, dtype=dtype)


class GhostNet(nn.Module):
    """images [b, h, w, 3] -> features [b, 1280], none of them negative.

    Attributes:
      multiplier: scales all widths but the last.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    multiplier: float
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        conv, norm = _makers(self.dtype)
        block = nn.remat(GhostBlock, static_argnums=(2,)) if self.remat else GhostBlock
        x = conv(layers.divisible(16 * self.multiplier), 3, 2, padding=1, name="conv_stem")(images)
        x = nn.relu(norm(name="bn1")(x, train))
        for stage, rows in enumerate(STAGES):
            for index, row in enumerate(rows):
                x = block(row, self.multiplier, self.dtype, name=f"blocks_{stage}_{index}")(x, train)
        last = ConvNormRelu(
            layers.divisible(LAST_STAGE * self.multiplier), self.dtype, name=f"blocks_{len(STAGES)}_0"
        )
        x = layers.global_average(last(x, train))
        x = conv(EMBED_DIM, use_bias=True, name="conv_head")(x[:, None, None])
        return nn.relu(x[:, 0, 0])


SPECS = tuple(
    ModelSpec(
        name=name,
        family="ghostnet",
        module=GhostNet,
        arguments={"multiplier": multiplier},
        embed_dim=EMBED_DIM,
        parameters=parameters,
        has_batch_norm=True,
    )
    for name, multiplier, parameters in (
        ("ghostnet_0_5", 0.5, 1_306_292),
        ("ghostnet_1_0", 1.0, 3_901_508),
        ("ghostnet_1_3", 1.3, 6_077_820),
    )
)
