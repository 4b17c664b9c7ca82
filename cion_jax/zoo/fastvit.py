"""FastViT S12/SA12/SA24: convolutional mixers over large depthwise kernels, in SA* attention in the last stage.

In training most convolutions are sums of branches; `zoo.fuse` folds each sum into one convolution.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from cion_jax.zoo import layers, transformer
from cion_jax.zoo.spec import ModelSpec

WIDTHS = (64, 128, 256, 512)
EMBED_DIM = 1024
MLP_RATIO = 4
HEAD_WIDTH = 32


class MobileOne(nn.Module):
    """Sum of normed branches, gate, GELU: [b, h, w, in] -> [b, ceil(h/stride), ceil(w/stride), features].

    The branches are x itself where the shape stays, a convolution, and a 1x1 one where that is larger.

    Attributes:
      groups: of the convolutions.
      gated: whether squeeze-and-excite, to a sixteenth of the channels and with a true sigmoid, follows the sum.
      active: whether GELU comes last.
      fused: one convolution with bias instead of the sum.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    groups: int = 1
    gated: bool = False
    active: bool = True
    fused: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = self._folded(x) if self.fused else self._sum_of_branches(x, train)
        if self.gated:
            hidden = self.features // 16
            y = layers.SqueezeExcite(hidden, nn.sigmoid, prefix="", dtype=self.dtype, name="se")(y)
        return layers.gelu(y) if self.active else y

    def _folded(self, x: jax.Array) -> jax.Array:
        sizes = (self.features, self.kernel_size, self.stride, self.kernel_size // 2, self.groups)
        return layers.Conv(*sizes, use_bias=True, dtype=self.dtype, name="reparam_conv")(x)

    def _sum_of_branches(self, x: jax.Array, train: bool) -> jax.Array:
        conv_norm = functools.partial(
            layers.ConvNorm, self.features, stride=self.stride, groups=self.groups, dtype=self.dtype
        )
        size = self.kernel_size
        y = conv_norm(kernel_size=size, padding=size // 2, name="rbr_conv_0")(x, train)
        if size > 1:
            y += conv_norm(name="rbr_scale")(x, train)
        if self.stride == 1 and x.shape[-1] == self.features:
            y += layers.BatchNorm(self.dtype, name="rbr_skip")(x, train)
        return y


class SkipNorm(nn.Module):
    """A MobileOne block of which only the skip branch is left: batch norm."""

    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return layers.BatchNorm(self.dtype, name="rbr_skip")(x, train)


class RepMixer(nn.Module):
    """Token mixer x + scale * (mixer(x) - norm(x)), [b, h, w, c] -> the same; one depthwise 3x3 if fused."""

    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]
        if self.fused:
            sizes = (channels, 3, 1, 1, channels)
            return layers.Conv(*sizes, use_bias=True, dtype=self.dtype, name="reparam_conv")(x)
        mixed = MobileOne(channels, 3, groups=channels, active=False, dtype=self.dtype, name="mixer")(
            x, train
        )
        normed = SkipNorm(self.dtype, name="norm")(x, train)
        return x + _layer_scale(self, "layer_scale", channels) * (mixed - normed)


class ConvFFN(nn.Module):
    """Depthwise 7x7 with batch norm, then the two layers of a perceptron: [b, h, w, c] -> the same."""

    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]
        init = {"kernel_init": layers.normal_002, "dtype": self.dtype}
        conv = functools.partial(layers.Conv, use_bias=True, bias_init=nn.initializers.zeros, **init)
        x = layers.ConvNorm(channels, 7, 1, 3, channels, name="conv", **init)(x, train)
        x = layers.gelu(conv(MLP_RATIO * channels, name="fc1")(x))
        return conv(channels, name="fc2")(x)


class RepMixerBlock(nn.Module):
    """RepMixer and convolutional perceptron: [b, h, w, c] -> the same."""

    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = RepMixer(self.fused, self.dtype, name="token_mixer")(x, train)
        y = ConvFFN(self.dtype, name="convffn")(x, train)
        return x + _layer_scale(self, "layer_scale", x.shape[-1]) * y


class AttentionBlock(nn.Module):
    """Attention over all pixels and convolutional perceptron: [b, h, w, c] -> the same. Nothing in it is fused."""

    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        batch, _, _, channels = x.shape
        tokens = layers.BatchNorm(self.dtype, name="norm")(x, train).reshape(batch, -1, channels)
        heads = channels // HEAD_WIDTH
        y = transformer.Attention(heads, qkv_bias=False, dtype=self.dtype, name="token_mixer")(tokens)
        x = x + _layer_scale(self, "layer_scale_1", channels) * y.reshape(x.shape)
        y = ConvFFN(self.dtype, name="convffn")(x, train)
        return x + _layer_scale(self, "layer_scale_2", channels) * y


def _layer_scale(module: nn.Module, name: str, channels: int) -> jax.Array:
    """The module's parameter `name`, a factor for each channel: [channels].

    It is kept as (channels, 1, 1), PyTorch's shape, for which weight decay counts it among the matrices.
    """
    scale = module.param(name, nn.initializers.constant(1e-5), (channels, 1, 1), jnp.float32)
    return scale[:, 0, 0].astype(module.dtype)


class LargeKernel(nn.Module):
    """Sum of a 7x7 and a 3x3 convolution of stride 2, both with two filters on each channel, without activation.

    [b, h, w, c] -> [b, ceil(h/2), ceil(w/2), 2 c].
    """

    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]
        large, small = ((2 * channels, size, 2, size // 2, channels) for size in (7, 3))
        if self.fused:
            return layers.Conv(*large, use_bias=True, dtype=self.dtype, name="lkb_reparam")(x)
        y = layers.ConvNorm(*large, dtype=self.dtype, name="lkb_origin")(x, train)
        return y + layers.ConvNorm(*small, dtype=self.dtype, name="small_conv")(x, train)


class Downsample(nn.Module):
    """Between stages: [b, h, w, c] -> [b, ceil(h/2), ceil(w/2), 2 c]."""

    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = LargeKernel(self.fused, self.dtype, name="proj_0")(x, train)
        return MobileOne(x.shape[-1], fused=self.fused, dtype=self.dtype, name="proj_1")(x, train)


class Position(nn.Module):
    """Conditional position encoding: adds a depthwise 7x7 of x to x, [b, h, w, c] -> the same."""

    fused: bool
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        name = "reparam_conv" if self.fused else "pe"
        channels = x.shape[-1]
        y = layers.Conv(channels, 7, 1, 3, channels, use_bias=True, dtype=self.dtype, name=name)(x)
        return y if self.fused else x + y


class FastViT(nn.Module):
    """images [b, h, w, 3] -> features [b, 1024].

    Attributes:
      depths: blocks of the four stages.
      attention: whether the last stage has attention, and a position encoding before it.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
      fused: the form for inference that `zoo.fuse` gives the variables of.
    """

    depths: tuple[int, ...]
    attention: bool
    remat: bool = False
    fused: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        mobile_one = functools.partial(MobileOne, fused=self.fused, dtype=self.dtype)
        width = WIDTHS[0]
        x = mobile_one(width, 3, 2, name="patch_embed_0")(images, train)
        x = mobile_one(width, 3, 2, groups=width, name="patch_embed_1")(x, train)
        x = mobile_one(width, name="patch_embed_2")(x, train)
        index = 0  # in the official list of stages and of what lies between them
        for stage, depth in enumerate(self.depths):
            last = stage == len(self.depths) - 1
            if last and self.attention:
                x = Position(self.fused, self.dtype, name=f"network_{index}")(x)
                index += 1
            block = self._block(last and self.attention)
            for place in range(depth):
                x = block(name=f"network_{index}_{place}")(x, train)
            if not last:
                x = Downsample(self.fused, self.dtype, name=f"network_{index + 1}")(x, train)
            index += 2
        x = mobile_one(EMBED_DIM, 3, groups=x.shape[-1], gated=True, name="conv_exp")(x, train)
        return layers.global_average(x)

    def _block(self, attention: bool) -> functools.partial:
        """Constructor of a stage's blocks."""
        block = AttentionBlock if attention else RepMixerBlock
        if self.remat:
            block = nn.remat(block, static_argnums=(2,))
        arguments = {} if attention else {"fused": self.fused}
        return functools.partial(block, dtype=self.dtype, **arguments)


SPECS = tuple(
    ModelSpec(
        name=f"fastvit_{size}",
        family="fastvit",
        module=FastViT,
        arguments={"depths": depths, "attention": attention},
        embed_dim=EMBED_DIM,
        parameters=parameters,
        has_batch_norm=True,
        overrides=("remat", "fused"),
    )
    for size, depths, attention, parameters in (
        ("s12", (2, 2, 6, 2), False, 8_448_576),
        ("sa12", (2, 2, 6, 2), True, 10_555_968),
        ("sa24", (4, 4, 12, 4), True, 20_529_216),
    )
)
