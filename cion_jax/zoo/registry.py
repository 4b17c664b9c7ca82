"""The models by name. An architecture joins with its table of specs: one name below."""

import difflib
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cion_jax.core.errors import UserError
from cion_jax.zoo import convnext, edgenext, fastvit, ghostnet, repvit, resnet, swin, vit, volo
from cion_jax.zoo.layers import Dtype
from cion_jax.zoo.spec import ModelSpec

_FAMILIES = (vit, swin, volo, resnet, convnext, edgenext, ghostnet, repvit, fastvit)
_SPECS = MappingProxyType({spec.name: spec for family in _FAMILIES for spec in family.SPECS})

MODELS: tuple[str, ...] = tuple(_SPECS)


def spec(name: str) -> ModelSpec:
    """What is known of the model `name` without building it.

    Raises:
      UserError: there is no such model; the message names the nearest ones.
    """
    if name not in _SPECS:
        near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.5)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UserError(f"There is no model {name!r}. {meant}The models are: {', '.join(MODELS)}.")
    return _SPECS[name]


def create(name: str, *, dtype: Dtype = jnp.float32, **overrides: Any) -> nn.Module:
    """Builds a model: module.apply(variables, images [b, h, w, 3], train=False) -> features [b, embed_dim].

    `dtype` is that of the computation and of the features; parameters are float32. Overrides are those in
    `spec(name).overrides`, for example remat=True (recompute activations in the backward pass by block).

    Raises:
      UserError: unknown model or unknown override.
    """
    model = spec(name)
    unknown = sorted(set(overrides) - set(model.overrides))
    if unknown:
        names, known = ", ".join(map(repr, unknown)), ", ".join(sorted(model.overrides))
        raise UserError(f"{name} knows no option {names}; it takes: {known}.")
    return model.module(dtype=dtype, **{**model.arguments, **overrides})
