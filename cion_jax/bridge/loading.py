"""From a weight file to a module and its variables in one call."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from cion_jax import zoo
from cion_jax.bridge import formats, tables, weights
from cion_jax.bridge.files import load_file, load_metadata
from cion_jax.core.errors import UserError

_log = logging.getLogger("cion_jax.bridge")

# Statistics and constants: what a model saves besides its parameters.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index", "attn_mask")
# How far a table of another size may move the number of parameters.
_TABLES_SHARE = 0.05


class Weights(NamedTuple):
    """What a weight file holds.

    Attributes:
      name: of the model, one of zoo.MODELS.
      variables: of the model, float32 NumPy arrays.
      format: which kind of weights was recognised; its `description` is a sentence.
      metadata: what our own files say of themselves, as text ({} for others).
      pixels: (mean, std) of the input channels as shares of 255, where the file keeps them as tensors: FastReID's
        pixel_mean and pixel_std. None for others.
    """

    name: str
    variables: dict
    format: formats.Format
    metadata: dict[str, str]
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def load(
    path: str | Path, name: str | None = None, *, resize: tables.Resize = False
) -> tuple[nn.Module, dict]:
    """The module and the variables that a weight file holds: `features = module.apply(variables, images)`.

    Args:
      path: .safetensors, .pth or .pt, of any kind that `recognise` tells apart; which it was is logged.
      name: one of zoo.MODELS; our own .safetensors files know it.
      resize: as for `from_torch`.

    Raises:
      UserError: a file that cannot be read, a model that is not told (models that fit are proposed) or is not the
        one in the file, tensors that do not fit.
    """
    found = read_weights(path, name, resize=resize)
    return zoo.create(found.name), found.variables


def read_weights(path: str | Path, name: str | None = None, *, resize: tables.Resize = False) -> Weights:
    """What `load` reads, without building the module. Arguments and errors are those of `load`."""
    content = load_file(path)
    metadata = load_metadata(path)
    told = metadata.get("model")
    if told in zoo.MODELS and name is not None and name != told:
        raise UserError(f"{path} holds a {told}, as it says itself, not a {name}.")
    name = name or (told if told in zoo.MODELS else None)
    if name is None:
        raise UserError(f"{path} does not say which model it holds: name it. {_proposal(content)}")
    kind = formats.recognise(content)
    try:
        variables = weights.from_torch(name, content, resize=resize)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    _log.info("%s: %s", path, kind.description)
    return Weights(name, variables, kind, metadata, _pixels(path, content))


def _pixels(path: str | Path, content: Mapping[str, Any]) -> tuple | None:
    """What FastReID normalizes by, in RGB and 0..255 there, as shares of 255."""
    state_dict = formats.unwrap(content)[1]
    if not {"pixel_mean", "pixel_std"} <= state_dict.keys():
        return None
    mean, std = (np.ravel(state_dict[key]) for key in ("pixel_mean", "pixel_std"))
    if mean.shape != (3,) or std.shape != (3,) or not np.isfinite([mean, std]).all() or std.min() <= 0:
        raise UserError(f"{path}: pixel_mean and pixel_std must be three numbers each, pixel_std above zero.")
    return tuple(tuple(float(n) / 255 for n in values) for values in (mean, std))


def fitting_models(content: Mapping[str, Any]) -> list[str]:
    """Names of the models whose tensors a state dict holds, whatever its format."""
    _, entries = formats.split(content)
    sizes = (np.size(value) for key, value in entries.items() if not key.endswith(_BUFFERS))
    count = sum(sizes)
    # Building a model to compare names takes seconds; its number of parameters is known at once.
    off = {name: abs(count / zoo.spec(name).parameters - 1) for name in zoo.MODELS}
    near = [name for name in zoo.MODELS if not off[name]]
    near = near or [name for name in zoo.MODELS if off[name] < _TABLES_SHARE]
    return [name for name in near if not weights.complaints(name, content)]


def _proposal(content: Mapping[str, Any]) -> str:
    found = fitting_models(content)
    if not found:
        return f"Its tensors are those of no model of the zoo; the models are: {', '.join(zoo.MODELS)}."
    return f"Its tensors are those of {' or '.join(found)}."
