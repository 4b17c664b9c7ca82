"""A model as the function that leaves this project: pictures in, features out, weights inside."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cion_jax import zoo
from cion_jax.core.errors import UserError
from cion_jax.zoo import layers


class Interface(NamedTuple):
    """What goes into an exported model and what comes out.

    Attributes:
      input_size: (height, width) in pixels.
      mean, std: of the input channels, as shares of 255.
      l2_normalise: features of length one.
      preprocess: uint8 RGB pictures [batch, height, width, 3], as decoders give them, are scaled and normalised
        inside; else float32 that has been normalised already comes in.
      channels_first: float32 input is [batch, 3, height, width].
    """

    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    l2_normalise: bool = False
    preprocess: bool = False
    channels_first: bool = True

    def input_shape(self, batch: Any) -> tuple[Any, ...]:
        height, width = self.input_size
        first = self.channels_first and not self.preprocess
        return (batch, 3, height, width) if first else (batch, height, width, 3)

    @property
    def input_dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.preprocess else np.float32)

    def normalized(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [b, h, w, 3] -> float32 [b, h, w, 3], as the model takes it inside."""
        mean, std = np.float32(self.mean), np.float32(self.std)
        return ((pictures / np.float32(255) - mean) / std).astype(np.float32)

    def pack(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [b, h, w, 3] as the exported model takes it."""
        if self.preprocess:
            return pictures
        found = self.normalized(pictures)
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2)) if self.channels_first else found


def function(
    module: nn.Module, variables: Mapping[str, Any], interface: Interface
) -> Callable[[jax.Array], jax.Array]:
    """images as `interface` has them -> features, float32 [batch, embed_dim]."""
    std = np.asarray(interface.std, np.float32)
    slope, offset = 1 / (255 * std), np.asarray(interface.mean, np.float32) / std

    def features(images: jax.Array) -> jax.Array:
        if interface.preprocess:
            images = images.astype(jnp.float32) * slope - offset
        elif interface.channels_first:
            images = jnp.transpose(images, (0, 2, 3, 1))
        found = module.apply(variables, images).astype(jnp.float32)
        return layers.l2_normalise(found) if interface.l2_normalise else found

    return features


def fused(name: str, variables: Mapping[str, Any], input_size: tuple[int, int]) -> tuple[nn.Module, dict]:
    """The model folded for inference, and its variables.

    Raises:
      UserError: no such model, a size that the model does not take.
      ValueError: variables of another model.
    """
    module, folded = zoo.fuse(name, jax.device_get(dict(variables)))
    try:
        jax.eval_shape(module.apply, folded, jax.ShapeDtypeStruct((1, *input_size, 3), jnp.float32))
    except ValueError as error:
        raise UserError(
            f"input_size={input_size} does not suit {name} ({error}): take multiples of 32"
        ) from error
    return module, folded
