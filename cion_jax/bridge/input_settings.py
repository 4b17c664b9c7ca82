"""What belongs to a weight file besides its tensors: the size of the input, and mean and deviation of its channels.

Extraction and export both ask here, so that an exported file gives the features that `extract` gives.
"""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

from cion_jax import zoo
from cion_jax.bridge.loading import Weights
from cion_jax.core.errors import UserError

Channels = tuple[float, float, float]

# Mean and standard deviation of the input channels, by name; "none" leaves 0..255 as they are.
NORMALIZATIONS: Mapping[str, tuple[Channels, Channels]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "lup": ((0.3525, 0.3106, 0.3140), (0.2660, 0.2522, 0.2505)),
    "none": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
AUTO = "auto"
NORMALIZATION_CHOICES = (AUTO, *NORMALIZATIONS)
# What foreign checkpoints were trained with: TransReID fine-tunes with "half", LUP has its own figures.
_OF_ORIGIN = {"transreid": "half", "lup": "lup"}
# The smallest side that the models' first layers take.
_LEAST_SIDE = 16


class Normalization(NamedTuple):
    """How input channels are normalized: (pixel / 255 - mean) / std, RGB.

    Attributes:
      mean, std: shares of 255.
      reason: where they come from, for people.
    """

    mean: Channels
    std: Channels
    reason: str


def find_normalization(name: str, weights: Weights | None = None, choice: str = AUTO) -> Normalization:
    """Mean and deviation that belong to the weights.

    In this order: `choice`; the file's metadata; what a FastReID file keeps as pixel_mean and pixel_std; what the
    training that the file comes from uses (TransReID, LUP); the model's own, `zoo.spec`.

    Args:
      name: one of zoo.MODELS.
      weights: what `read_weights` found; None for a model without weights.
      choice: a name of NORMALIZATIONS, or "auto".

    Raises:
      UserError: an unknown choice, or metadata that are no mean and deviation of three channels.
    """
    if choice != AUTO:
        if choice not in NORMALIZATIONS:
            raise UserError(f"normalization {choice!r} is none of {', '.join(NORMALIZATION_CHOICES)}")
        return Normalization(*NORMALIZATIONS[choice], f"{choice}, as asked for")
    metadata = weights.metadata if weights else {}
    if "mean" in metadata or "std" in metadata:
        mean, std = (_channels(metadata, key) for key in ("mean", "std"))
        return Normalization(mean, _positive(std), "the weight file's metadata")
    if weights and weights.pixels:
        return Normalization(*weights.pixels, "the weight file's pixel_mean and pixel_std")
    if weights and weights.format.origin in _OF_ORIGIN:
        known = _OF_ORIGIN[weights.format.origin]
        return Normalization(*NORMALIZATIONS[known], f"{known}, as its training does it")
    spec = zoo.spec(name)
    return Normalization(tuple(spec.mean), tuple(spec.std), f"{name}'s own")


def find_input_size(
    name: str, weights: Weights | None = None, choice: tuple[int, ...] = (0, 0)
) -> tuple[int, int]:
    """(height, width): `choice` unless it is (0, 0), else the file's metadata, else the model's own.

    Raises:
      UserError: a size that is not two whole numbers of 16 pixels or more.
    """
    size = tuple(choice)
    metadata = weights.metadata if weights else {}
    if size == (0, 0):
        stated = "input_size" in metadata
        size = _numbers(metadata, "input_size") if stated else zoo.spec(name).input_size
    if len(size) != 2 or not all(isinstance(n, int) and n >= _LEAST_SIDE for n in size):
        raise UserError(f"input_size={size} must be (height, width), {_LEAST_SIDE} pixels or more each")
    return size


def _channels(metadata: Mapping[str, str], key: str) -> Channels:
    """Three finite numbers from the metadata."""
    if key not in metadata:
        raise UserError(
            f"the weight file states only one of mean and std, {key} is missing: choose a normalization "
            f"({', '.join(NORMALIZATIONS)})"
        )
    found = _numbers(metadata, key)
    if len(found) != 3 or not all(isinstance(n, int | float) and math.isfinite(n) for n in found):
        raise UserError(
            f"{key}={_short(metadata[key])} in the weight file is not three numbers: choose a normalization "
            f"({', '.join(NORMALIZATIONS)})"
        )
    return tuple(map(float, found))


def _positive(std: Channels) -> Channels:
    if min(std) <= 0:
        raise UserError(
            f"std={list(std)} in the weight file must be above zero: choose a normalization "
            f"({', '.join(NORMALIZATIONS)})"
        )
    return std


def _numbers(metadata: Mapping[str, str], key: str) -> tuple:
    """A list that the metadata hold as text."""
    try:
        found = json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{key}={_short(metadata[key])} in the weight file is no list of numbers") from error
    if not isinstance(found, list):
        raise UserError(f"{key}={_short(metadata[key])} in the weight file is no list of numbers")
    return tuple(found)


def _short(text: str) -> str:
    """For an error: a hostile file may hold megabytes."""
    return repr(text[:100])
