"""ConvNeXt tiny/small/base: depthwise 7x7 convolutions, layer norm, and MLPs on every pixel."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.spec import ModelSpec

EPS = 1e-6
LAYER_SCALE = 1e-6  # what every block's output is multiplied by at the start


class Block(nn.Module):
    """Depthwise convolution, norm and MLP, scaled, plus the input: [b, h, w, c] -> the same."""

    kernel_size: int = 7
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, size = x.shape[-1], self.kernel_size
        gamma = self.param("gamma", nn.initializers.constant(LAYER_SCALE), (width,), jnp.float32)
        conv = layers.Conv(
            width, size, padding=size // 2, groups=width, use_bias=True, dtype=self.dtype, name="dwconv"
        )
        return x + gamma.astype(self.dtype) * normed_mlp(conv(x), self.dtype)


def normed_mlp(x: jax.Array, dtype: layers.Dtype) -> jax.Array:
    """Norm, and an MLP four times as wide between, on the last axis; layers of the module that calls it."""
    dense = functools.partial(layers.Dense, dtype=dtype)
    y = layers.LayerNorm(EPS, dtype, name="norm")(x)
    y = layers.gelu(dense(4 * x.shape[-1], name="pwconv1")(y))
    return dense(x.shape[-1], name="pwconv2")(y)


def downsample(x: jax.Array, stage: int, width: int, dtype: layers.Dtype) -> jax.Array:
    """Into a stage: [b, h, w, c] -> [b, h // 2, w // 2, width], at stage 0 a quarter of the image's sides.

    Layers of the module that calls it, as in `normed_mlp`.

    Raises:
      ValueError: nothing would be left of the map.
    """
    step = 4 if stage == 0 else 2
    if min(x.shape[1:3]) < step:
        raise ValueError(f"the image is too small: stage {stage} gets a map of {x.shape[1]}x{x.shape[2]}")
    conv = functools.partial(layers.Conv, width, step, step, use_bias=True, dtype=dtype)
    norm = functools.partial(layers.LayerNorm, EPS, dtype)
    first, second = (f"downsample_layers_{stage}_{index}" for index in range(2))
    if stage == 0:
        return norm(name=second)(conv(name=first)(x))
    return conv(name=second)(norm(name=first)(x))


class ConvNeXt(nn.Module):
    """images [b, h, w, 3] -> features [b, widths[-1]].

    Attributes:
      depths: blocks of the stages.
      widths: channels of the stages.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        x, block = images, nn.remat(Block) if self.remat else Block
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            x = downsample(x, stage, width, self.dtype)
            for index in range(depth):
                x = block(dtype=self.dtype, name=f"stages_{stage}_{index}")(x)
        return layers.LayerNorm(EPS, self.dtype, name="norm")(layers.global_average(x))


SPECS = tuple(
    ModelSpec(
        name=f"convnext_{size}",
        family="convnext",
        module=ConvNeXt,
        arguments={"depths": (3, 3, deep, 3), "widths": tuple(width * 2**stage for stage in range(4))},
        embed_dim=8 * width,
        parameters=parameters,
        has_batch_norm=False,
    )
    for size, deep, width, parameters in (
        ("tiny", 9, 96, 27_820_128),
        ("small", 27, 96, 49_454_688),
        ("base", 27, 128, 87_566_464),
    )
)
