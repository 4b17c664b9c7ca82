"""Layers that several architectures share: NHWC, with PyTorch's padding, epsilons and starting values.

Every layer takes the compute `dtype`; parameters are float32, and statistics of norms and softmax are
float32 whatever it is. Where a form is chosen for its speed, the figure beside it was taken on two CPU
cores (float32, 8x64x32x96 unless said).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from cion_jax.zoo import forms
from cion_jax.zoo.convolution import convolve_by_xla, convolve_dense
from cion_jax.zoo.depthwise import depthwise_conv

Dtype = jnp.dtype | type
Initializer = Callable[..., jax.Array]

L2_NORM_FLOOR = 1e-12
BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1  # of the new value, as PyTorch counts: new = 0.9 old + 0.1 batch

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what PyTorch's Linear and Conv2d start from.
uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# Kaiming normal with the ReLU gain over fan_out; also sqrt(2 / (k k out)), the way ResNet-IBN writes it.
kaiming_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# "Truncated" at +-2, which is a hundred standard deviations away: a plain normal.
normal_002 = nn.initializers.normal(0.02)


def _uniform_bias(fan_in: int) -> Initializer:
    """PyTorch's default bias, U(-1/sqrt(fan_in), 1/sqrt(fan_in)) with the fan of the weight beside it."""
    bound = 1 / np.sqrt(fan_in)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Conv(nn.Module):
    """Square 2-D convolution with symmetric zero padding: [b, h, w, in] -> [b, h', w', features].

    Parameters: `kernel` [k, k, in/groups, features] and, if asked for, `bias` [features]. A stride-2 3x3 with
    padding 1 is not what "SAME" means in XLA, hence the explicit padding. `bias_init` None is PyTorch's
    default.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    use_bias: bool = False
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, channels = self.kernel_size, x.shape[-1]
        if channels % self.groups:
            raise ValueError(f"{channels} channels cannot be convolved in {self.groups} groups")
        fan_in = channels // self.groups
        kernel = self.param("kernel", self.kernel_init, (size, size, fan_in, self.features), jnp.float32)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding, self.groups)
        if self.use_bias:
            bias_init = self.bias_init or _uniform_bias(size * size * fan_in)
            y += self.param("bias", bias_init, (self.features,), jnp.float32).astype(self.dtype)
        return y


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int, groups: int = 1) -> jax.Array:
    """Convolution of x [b, h, w, in] with kernel [k, k, in/groups, out], by the fastest form for it."""
    size, channels = kernel.shape[0], x.shape[-1]
    if forms.plain():
        return convolve_by_xla(x, kernel, stride, padding, groups)
    if groups == channels and groups > 1:
        return depthwise_conv(x, kernel, stride=stride, padding=padding)
    if groups > 1:
        return convolve_by_xla(x, kernel, stride, padding, groups)
    if size == 1 and padding == 0:
        # As a matrix product, with gradients: 8 ms against 54 as a convolution (8x64x32, 64 -> 256 channels).
        x = x[:, ::stride, ::stride]
        return (x.reshape(-1, channels) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    return convolve_dense(x, kernel, stride, padding)


@jax.custom_vjp
def apart_in_backward(x: jax.Array) -> jax.Array:
    """x itself, whose gradient XLA on CPU computes once: for the residual stream of a deep network, between blocks.

    There the compiler fuses the gradient of the whole stream into each of its readers and computes it anew for
    every block, so that time grows with the square of the depth. Nothing crosses a conditional: 12 blocks of width
    192 (ViT-tiny, 8x256x128, one core) take 1.2 s instead of 2.2, and compile in 3 s instead of 8.
    """
    return x


def _gradient_behind_conditional(_: None, g: jax.Array) -> tuple[jax.Array]:
    if jax.default_backend() != "cpu":
        return (g,)
    # A condition that only running can tell. Where it holds the gradient is lost, and stays infinite for the guard.
    infinite = g[(0,) * g.ndim] > jnp.finfo(g.dtype).max
    return (lax.cond(infinite, lambda g: g * jnp.inf, lambda g: g, g),)


apart_in_backward.defvjp(lambda x: (x, None), _gradient_behind_conditional)


class Dense(nn.Module):
    """Linear layer on the last axis, [..., in] -> [..., features]: `kernel` [in, features], `bias`."""

    features: int
    use_bias: bool = True
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), jnp.float32)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.use_bias:
            bias_init = self.bias_init or _uniform_bias(x.shape[-1])
            y += self.param("bias", bias_init, (self.features,), jnp.float32).astype(self.dtype)
        return y


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, as in PyTorch.

    Parameters `scale`, `bias`; statistics `mean`, `var` in `batch_stats`. With train=True the batch's own
    statistics normalise (variance divided by n) and the running variance takes the unbiased estimate
    (divided by n - 1), which flax's own layer does not. Under jit over a batch spread over devices the
    statistics are those of the whole batch.
    """

    dtype: Dtype = jnp.float32
    scale_init: Initializer = nn.initializers.ones

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        coefficients = self.coefficients(x, train)
        if forms.plain():
            # A factor and a term: what converters fold into the convolution before.
            mean, multiplier, bias = coefficients
            term = bias - mean * multiplier
            return x.astype(self.dtype) * multiplier.astype(self.dtype) + term.astype(self.dtype)
        return _affine(x, coefficients, self.dtype)

    @nn.compact
    def coefficients(
        self, x: jax.Array, train: bool, statistics: tuple[jax.Array, jax.Array] | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(mean, multiplier, bias), float32 [channels] each: the output is (x - mean) * multiplier + bias.

        `statistics`: mean and biased variance of x over all axes but the last, if the caller has them.
        """
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        if not train:
            mean, var = running_mean.value, running_var.value
        else:
            mean, var = statistics or moments(x, tuple(range(x.ndim - 1)))
            if not self.is_initializing():
                count = x.size // channels
                if count < 2:
                    raise ValueError("batch norm in training needs more than one value per channel")
                running_mean.value += BATCH_NORM_MOMENTUM * (mean - running_mean.value)
                unbiased = var * (count / (count - 1))
                running_var.value += BATCH_NORM_MOMENTUM * (unbiased - running_var.value)
        return mean, lax.rsqrt(var + BATCH_NORM_EPS) * scale, bias


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm (`bn`); `conv_name` is what the convolution is called."""

    features: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    conv_name: str = "conv"
    kernel_init: Initializer = uniform_fan_in
    scale_init: Initializer = nn.initializers.ones
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv = Conv(
            self.features,
            self.kernel_size,
            self.stride,
            self.padding,
            self.groups,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name=self.conv_name,
        )
        return BatchNorm(self.dtype, self.scale_init, name="bn")(conv(x), train)


class InstanceNorm(nn.Module):
    """Normalises each channel of each image over its own pixels, always; there are no running statistics."""

    dtype: Dtype = jnp.float32

    def __call__(self, x: jax.Array) -> jax.Array:
        return _affine(x, self.coefficients(x), self.dtype)

    @nn.compact
    def coefficients(
        self, x: jax.Array, statistics: tuple[jax.Array, jax.Array] | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(mean, multiplier, bias), float32, the first two [b, 1, 1, channels].

        `statistics`: mean and biased variance [b, 1, 1, channels] of x over its pixels, if the caller has them.
        """
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        mean, var = statistics or moments(x, tuple(range(1, x.ndim - 1)), keepdims=True)
        return mean, lax.rsqrt(var + BATCH_NORM_EPS) * scale, bias


class IBN(nn.Module):
    """IBN-a: instance norm (`IN`) on the first half of the channels, batch norm (`BN`) on the second."""

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        half = x.shape[-1] // 2
        instance_norm, batch_norm = InstanceNorm(self.dtype, name="IN"), BatchNorm(self.dtype, name="BN")
        if forms.plain():
            parts = [instance_norm(x[..., :half]), batch_norm(x[..., half:], train)]
            return jnp.concatenate(parts, axis=-1)
        if train:
            # One pass over all channels: slices of the activations would be copied for each half's statistics.
            mean, var = moments(x, tuple(range(1, x.ndim - 1)), keepdims=True)
            instance = instance_norm.coefficients(x[..., :half], (mean[..., :half], var[..., :half]))
            of_batch = join_moments(mean[..., half:], var[..., half:])
            batch = batch_norm.coefficients(x[..., half:], train, of_batch)
        else:
            instance = instance_norm.coefficients(x[..., :half])
            batch = batch_norm.coefficients(x[..., half:], train)
        # Joining the coefficients instead of the two halves saves a copy of the activations.
        lead = (x.shape[0], *(1 for _ in x.shape[1:-1]))
        both = (
            jnp.concatenate([jnp.broadcast_to(v, (*lead, v.shape[-1])) for v in pair], axis=-1)
            for pair in zip(instance, batch, strict=True)
        )
        return _affine(x, tuple(both), self.dtype)


def moments(x: jax.Array, axes: tuple[int, ...], keepdims: bool = False) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance, float32, in two passes: E[x^2] - E[x]^2 loses all digits at large means.

    With gradients 1.9 ms, one pass 1.8. The mean inside the variance is a constant to autodiff, which is
    exact: its derivative is the sum of deviations from the mean, zero. It saves a third of the time (3.0 ms
    without).
    """
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - lax.stop_gradient(mean)), axes, keepdims=keepdims)
    return (mean if keepdims else jnp.squeeze(mean, axes)), var


def join_moments(mean: jax.Array, var: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance [channels] over parts of equal size, from those of each part [..., channels].

    The variance is the mean of the variances plus the variance of the means, so no digits are lost.
    """
    of_means = moments(mean, tuple(range(mean.ndim - 1)))
    return of_means[0], jnp.mean(var, tuple(range(var.ndim - 1))) + of_means[1]


def _affine(x: jax.Array, coefficients: tuple[jax.Array, ...], dtype: Dtype) -> jax.Array:
    mean, multiplier, bias = coefficients
    return ((x.astype(jnp.float32) - mean) * multiplier + bias).astype(dtype)


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis with float32 statistics; parameters `scale`, `bias`."""

    eps: float
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        mean, var = moments(x, (x.ndim - 1,), keepdims=True)
        return _affine(x, (mean, lax.rsqrt(var + self.eps) * scale, bias), self.dtype)


def l2_normalise(x: jax.Array, axis: int = -1) -> jax.Array:
    """x / max(||x||, 1e-12) over an axis, in float32; the gradient is finite at zero too."""
    x = x.astype(jnp.float32)
    squares = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(squares, L2_NORM_FLOOR**2))


def gelu(x: jax.Array) -> jax.Array:
    """Exact GELU in the type of `x`, computed in float32. With erf: 0.5 ms; jax.nn.gelu goes through erfc: 1.8 ms.

    In bfloat16 every operation would round: 1 + erf loses most digits below zero, and the result is 45 % off at -3.
    XLA keeps the float32 values inside one fused loop, so memory and traffic stay the same (compiled for TPU v5e).
    """
    wide = x.astype(jnp.float32)
    return (wide * (0.5 * (1 + lax.erf(wide * np.float32(np.sqrt(0.5)))))).astype(x.dtype)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """relu6(x + 3) / 6."""
    return jnp.clip(x + 3, 0, 6) / 6


def divisible(channels: float) -> int:
    """The multiple of 4 nearest to `channels`, at least 4 and not below 0.9 of it."""
    rounded = max(4, int(channels + 2) // 4 * 4)
    return rounded + 4 if rounded < 0.9 * channels else rounded


def max_pool_3x3(x: jax.Array) -> jax.Array:
    """3x3 maximum with stride 2 and padding 1 (of -inf): [b, h, w, c] -> [b, ceil(h/2), ceil(w/2), c].

    As a maximum over nine strided slices: with gradients 8.7 ms against 62 by reduce_window (8x128x64x64).
    Equal values share the gradient; after a ReLU those are zeros, where it ends anyway.
    """
    height, width = (-(-n // 2) for n in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    slices = [x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for i in range(3) for j in range(3)]
    return functools.reduce(jnp.maximum, slices)


def global_average(x: jax.Array) -> jax.Array:
    """Mean over the pixels, summed in float32: [b, h, w, c] -> [b, c] in x's dtype."""
    return jnp.mean(x, (1, 2), dtype=jnp.float32).astype(x.dtype)


class SqueezeExcite(nn.Module):
    """Multiplies the channels by a gate computed from their means over the image; `hidden` units between.

    Attributes:
      gate: from the last convolution's output to the factor.
      prefix: of the names of the two convolutions, `reduce` and `expand`.
    """

    hidden: int
    gate: Callable[[jax.Array], jax.Array] = hard_sigmoid
    prefix: str = "conv_"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(Conv, use_bias=True, dtype=self.dtype)
        y = global_average(x)[:, None, None]
        y = nn.relu(conv(self.hidden, name=f"{self.prefix}reduce")(y))
        return x * self.gate(conv(x.shape[-1], name=f"{self.prefix}expand")(y))


class DropPath(nn.Module):
    """Stochastic depth: drops the branch of whole images with probability `rate` and rescales the kept ones.

    Needs the rng stream "drop_path" when it is at work (train and rate > 0).
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not train or self.rate == 0.0:
            return x
        shape = (x.shape[0], *(1 for _ in x.shape[1:]))
        keep = jax.random.bernoulli(self.make_rng("drop_path"), 1 - self.rate, shape)
        return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))


class Mlp(nn.Module):
    """fc1, GELU, fc2 on the last axis; `hidden` units between."""

    hidden: int
    kernel_init: Initializer = normal_002
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dense = functools.partial(
            Dense, kernel_init=self.kernel_init, bias_init=nn.initializers.zeros, dtype=self.dtype
        )
        return dense(x.shape[-1], name="fc2")(gelu(dense(self.hidden, name="fc1")(x)))


def attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(query key^T / sqrt(d)) value, every argument and the result [b, tokens, heads, d].

    Scores and softmax are float32. On a GPU in half precision cuDNN's fused kernel does the work where it
    takes the shape; that is decided from backend, dtype and shape alone, so a run keeps to one path.
    """
    if _cudnn_takes(query, key):
        return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")
    scale = np.float32(query.shape[-1] ** -0.5)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32) * scale
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


def _cudnn_takes(query: jax.Array, key: jax.Array) -> bool:
    if jax.default_backend() != "gpu" or query.dtype not in (jnp.bfloat16, jnp.float16):
        return False
    capability = str(getattr(jax.local_devices()[0], "compute_capability", ""))
    ampere_or_later = (
        capability.split(".")[0].isdecimal() and float(capability) >= 8.0
    )  # false on AMD: "gfx..."
    width = query.shape[-1]
    # Odd lengths, as ViT has with its class token, stay with XLA: cuDNN's backward pass is untried on them.
    even = query.shape[1] % 2 == 0 and key.shape[1] % 2 == 0
    return ampere_or_later and width % 8 == 0 and width <= 128 and even
