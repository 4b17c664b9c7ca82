"""The projection head of DINO: three linear layers, L2 normalisation, and a weight-normalised last layer."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cion_jax.zoo import layers


class DINOHead(nn.Module):
    """Features [..., d] -> scores [..., out_dim], float32.

    Parameters are named as in the official code (`mlp_0` is torch's `mlp.0`). `last_layer/weight_g`
    [out_dim, 1] holds the norms of the last layer's rows; it starts at one and is meant to be frozen by the
    optimiser.

    Attributes:
      out_dim: number of prototypes, K.
      hidden, bottleneck: widths between.
      use_bn: batch norm after the first two linear layers (later layers' numbers move up, as in torch).
      dtype: of the matrix products; both normalisations are float32 always.
    """

    out_dim: int
    hidden: int = 2048
    bottleneck: int = 256
    use_bn: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, train: bool = False) -> jax.Array:
        dense = functools.partial(
            layers.Dense, kernel_init=layers.normal_002, bias_init=nn.initializers.zeros, dtype=self.dtype
        )
        x, index = features, 0
        for _ in range(2):
            x = dense(self.hidden, name=f"mlp_{index}")(x)
            if self.use_bn:
                x = layers.BatchNorm(self.dtype, name=f"mlp_{index + 1}")(x, train)
            x = layers.gelu(x)
            index += 3 if self.use_bn else 2
        x = dense(self.bottleneck, name=f"mlp_{index}")(x)
        x = layers.l2_normalise(x).astype(self.dtype)
        return WeightNormDense(self.out_dim, self.dtype, name="last_layer")(x)


class WeightNormDense(nn.Module):
    """Linear layer without bias whose rows are weight_g * weight_v / ||weight_v||.

    [..., in] -> [..., features] float32.
    """

    features: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norms = self.param("weight_g", nn.initializers.ones, (self.features, 1), jnp.float32)
        # Rows are outputs, as in torch, so the fan-in is the last axis.
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=-1, out_axis=-2)
        directions = self.param("weight_v", init, (self.features, x.shape[-1]), jnp.float32)
        weight = (norms * layers.l2_normalise(directions)).astype(self.dtype)
        contract_last = (((x.ndim - 1,), (1,)), ((), ()))
        return lax.dot_general(x, weight, contract_last, preferred_element_type=jnp.float32)
