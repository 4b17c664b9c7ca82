"""Whether an exported model gives the features that ours gives: pictures to try, the measure, the limits."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from cion_jax import zoo
from cion_jax.bridge.inference import Interface
from cion_jax.core.errors import UserError
from cion_jax.zoo import layers

BATCHES = (1, 5)


class Limits(NamedTuple):
    """How far an export may be off."""

    error: float  # largest difference of a feature, as a share of the features' root mean square
    cosine: float  # least cosine between ours and theirs for any picture


EXACT = Limits(1e-3, 0.9999)
HALF = Limits(5e-2, 0.999)


class Deviation(NamedTuple):
    """How far an export is off at worst, in the terms of `Limits`."""

    error: float
    cosine: float

    def within(self, limits: Limits) -> bool:
        """False for NaN too."""
        return self.error <= limits.error and self.cosine > limits.cosine


def noise(size: tuple[int, int], count: int) -> np.ndarray:
    """Pictures of independent pixels: uint8 [count, h, w, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


def people(size: tuple[int, int], count: int) -> np.ndarray:
    """Pictures somewhat like people: head, body and legs before a slowly changing ground, uint8 [count, h, w, 3]."""
    rng = np.random.default_rng(1)
    height, width = size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    pictures = []
    for _ in range(count):
        waves = rng.uniform(-6, 6, (2, 3))
        picture = 110 + 60 * np.sin(waves[0] * y + waves[1] * x + rng.uniform(0, 6, 3))
        # (middle, height, width) of an ellipse as shares of the picture.
        for middle, tall, wide in ((0.13, 0.09, 0.16), (0.38, 0.2, 0.3), (0.76, 0.25, 0.22)):
            distance = ((y - middle) / tall) ** 2 + ((x - rng.uniform(0.45, 0.55)) / wide) ** 2
            inside = 1 / (1 + np.exp(np.clip(12 * (distance - 1), -50, 50)))
            picture = picture + inside * (rng.uniform(20, 235, 3) - picture)
        pictures.append(picture + rng.normal(0, 4, picture.shape))
    return np.clip(np.stack(pictures), 0, 255).astype(np.uint8)


def measure(
    name: str,
    variables: Mapping[str, Any],
    interface: Interface,
    theirs: Callable[[np.ndarray], np.ndarray],
) -> Deviation:
    """The worst deviation of `theirs` from the unfused float32 model, on both kinds of pictures at each batch size."""
    ours = _ours(name, interface.l2_normalise)
    errors, cosines = [], []
    for draw in (noise, people):
        pictures = draw(interface.input_size, max(BATCHES))
        # Normalized here, apart from the exported graph: so the check covers the graph's own preprocessing too.
        expected = np.asarray(ours(variables, interface.normalized(pictures)), np.float64)
        images = interface.pack(pictures)
        for batch in BATCHES:
            error, cosine = compare(theirs(images[:batch]), expected[:batch])
            errors.append(error)
            cosines.append(cosine)
    return Deviation(float(np.max(errors)), float(np.min(cosines)))


@functools.cache
def _ours(name: str, l2_normalise: bool) -> Callable[[Any, np.ndarray], jax.Array]:
    """(variables, normalized images [b, h, w, 3]) -> features, as the zoo runs here: not in the forms that exports
    are traced in."""
    module = zoo.create(name)

    def features(variables: Any, images: jax.Array) -> jax.Array:
        found = module.apply(variables, images).astype(np.float32)
        return layers.l2_normalise(found) if l2_normalise else found

    return jax.jit(features)


def compare(theirs: np.ndarray, expected: np.ndarray) -> Deviation:
    """Of two arrays of features [batch, width]; infinite where the shapes differ."""
    theirs, expected = np.asarray(theirs, np.float64), np.asarray(expected, np.float64)
    if theirs.shape != expected.shape:
        return Deviation(np.inf, -1.0)
    error = np.abs(theirs - expected).max() / np.sqrt(np.mean(expected**2))
    norms = np.linalg.norm(theirs, axis=1) * np.linalg.norm(expected, axis=1)
    return Deviation(float(error), float(np.min(np.sum(theirs * expected, 1) / np.maximum(norms, 1e-300))))


def require(found: Deviation, limits: Limits, what: str) -> None:
    """Raises UserError if `found` is outside `limits`; `what` was to be written."""
    if not found.within(limits):
        raise UserError(
            f"{what} is not kept: its features differ from ours by {found.error:.1e} of their root mean square "
            f"(at most {limits.error:.0e}), least cosine {found.cosine:.6f} (above {limits.cosine}). Another size, "
            "float32, or another release of the converter may export right; please report it"
        )
