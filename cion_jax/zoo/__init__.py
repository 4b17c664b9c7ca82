"""The backbones as pure Flax modules, their registry, and the DINO head."""

from cion_jax.zoo.fuse import fuse
from cion_jax.zoo.head import DINOHead
from cion_jax.zoo.registry import MODELS, create, spec
from cion_jax.zoo.spec import ModelSpec

__all__ = ["MODELS", "DINOHead", "ModelSpec", "create", "fuse", "spec"]
