"""ResNet and ResNet-IBN (a) 18/50/101/152 whose last stage keeps stride 16, as re-identification likes it.

Names of parameters are torchvision's. Strides sit on the 3x3 convolutions ("v1.5"); there is no classifier.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.spec import ModelSpec

WIDTHS = (64, 128, 256, 512)
STRIDES = (1, 2, 2, 1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: [b, h, w, in] -> [b, h/stride, w/stride, width]."""

    width: int
    stride: int
    ibn: bool
    dtype: layers.Dtype = jnp.float32

    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv, norm, first_norm = _makers(self.ibn, self.dtype)
        y = conv(self.width, 3, self.stride, padding=1, name="conv1")(x)
        y = nn.relu(first_norm(name="bn1")(y, train))
        y = conv(self.width, 3, padding=1, name="conv2")(y)
        y = norm(name="bn2")(y, train)
        return nn.relu(y + _shortcut(x, self.width, self.stride, conv, norm, train))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut: [b, h, w, in] -> [b, h/stride, w/stride, 4 width]."""

    width: int
    stride: int
    ibn: bool
    dtype: layers.Dtype = jnp.float32

    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv, norm, first_norm = _makers(self.ibn, self.dtype)
        y = conv(self.width, name="conv1")(x)
        y = nn.relu(first_norm(name="bn1")(y, train))
        y = conv(self.width, 3, self.stride, padding=1, name="conv2")(y)
        y = nn.relu(norm(name="bn2")(y, train))
        y = conv(4 * self.width, name="conv3")(y)
        y = norm(name="bn3")(y, train)
        return nn.relu(y + _shortcut(x, 4 * self.width, self.stride, conv, norm, train))


def _makers(ibn: bool, dtype: layers.Dtype) -> tuple[Callable, Callable, Callable]:
    """Constructors of a block's convolutions, norms, and first norm."""
    conv = functools.partial(layers.Conv, kernel_init=layers.kaiming_fan_out, dtype=dtype)
    norm = functools.partial(layers.BatchNorm, dtype=dtype)
    return conv, norm, functools.partial(layers.IBN, dtype=dtype) if ibn else norm


def _shortcut(
    x: jax.Array, width: int, stride: int, conv: Callable, norm: Callable, train: bool
) -> jax.Array:
    """x itself, or a strided 1x1 convolution and norm where stride or width changes."""
    if stride == 1 and x.shape[-1] == width:
        return x
    return norm(name="downsample_1")(conv(width, stride=stride, name="downsample_0")(x), train)


class ResNet(nn.Module):
    """images [b, h, w, 3] -> features [b, 512 or 2048].

    Attributes:
      depths: blocks of the four stages.
      bottleneck: whether blocks are bottlenecks.
      ibn: whether the first norm of every block of stages 1 to 3 is IBN-a.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    depths: tuple[int, ...]
    bottleneck: bool
    ibn: bool = False
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        conv, norm, _ = _makers(False, self.dtype)
        block = Bottleneck if self.bottleneck else BasicBlock
        if self.remat:
            block = nn.remat(block, static_argnums=(2,))
        x = conv(64, 7, 2, padding=3, name="conv1")(images)
        x = nn.relu(norm(name="bn1")(x, train))
        x = layers.max_pool_3x3(x)
        for stage, (depth, width, stride) in enumerate(
            zip(self.depths, WIDTHS, STRIDES, strict=True), start=1
        ):
            for index in range(depth):
                name = f"layer{stage}_{index}"
                ibn = self.ibn and stage < 4
                x = block(width, stride if index == 0 else 1, ibn, self.dtype, name=name)(x, train)
        return layers.global_average(x)


def _specs() -> tuple[ModelSpec, ...]:
    rows = (
        ("18", (2, 2, 2, 2), False, 512, 11_176_512),
        ("50", (3, 4, 6, 3), True, 2048, 23_508_032),
        ("101", (3, 4, 23, 3), True, 2048, 42_500_160),
        ("152", (3, 8, 36, 3), True, 2048, 58_143_808),
    )
    return tuple(
        ModelSpec(
            name=f"resnet{size}_ibn" if ibn else f"resnet{size}",
            family="resnet",
            module=ResNet,
            arguments={"depths": depths, "bottleneck": bottleneck, "ibn": ibn},
            embed_dim=embed_dim,
            parameters=parameters,
            has_batch_norm=True,
        )
        for ibn in (False, True)
        for size, depths, bottleneck, embed_dim, parameters in rows
    )


SPECS = _specs()
