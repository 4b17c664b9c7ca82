"""What the registry knows of a model without building it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flax import linen as nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelSpec:
    """One row of an architecture's table.

    Attributes:
      name: as in the official zoo, for example "vit_base".
      family: the architecture; it names the file in zoo/ and the key order in bridge/.
      module: the linen class that builds it, called with `arguments`.
      arguments: what tells this model from its siblings.
      embed_dim: width of the features.
      parameters: trainable numbers used in the forward pass (batch statistics not counted).
      has_batch_norm: whether variables have batch_stats.
      overrides: further arguments of `module` that `create` lets through.
      drop_path: rate of stochastic depth in the last block in pre-training.
      input_size: (height, width) the official weights were trained at.
      mean, std: of the input channels (RGB in 0..1).
    """

    name: str
    family: str
    module: type[nn.Module]
    arguments: Mapping[str, Any] = field(hash=False)
    embed_dim: int
    parameters: int
    has_batch_norm: bool
    overrides: tuple[str, ...] = ("remat",)
    drop_path: float = 0.0
    input_size: tuple[int, int] = (256, 128)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
