"""Colour jitter, grey and solarise on planes of red, green and blue, vectorised over views.

Every function takes and gives a tuple of three float32 arrays [..., x, y] in 0..255, and parameters of shape
[...].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

Planes = tuple[jax.Array, jax.Array, jax.Array]

GREY_WEIGHTS = (0.299, 0.587, 0.114)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
UNIFORMS_PER_JITTER = 9  # applied or not, four factors, four places in the order


class Jitter(NamedTuple):
    """Factors of the four operations, each [...], and the place of each in the order, int32 [..., 4].

    A factor of 1 (brightness, contrast, saturation) or a shift of 0 (hue, in turns) changes nothing.
    """

    brightness: jax.Array
    contrast: jax.Array
    saturation: jax.Array
    hue: jax.Array
    rank: jax.Array


def sample_jitter(
    uniforms: jax.Array,
    *,
    probability: float,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> Jitter:
    """Draws factors uniformly from [1 - strength, 1 + strength] (not below 0) and the hue from [-hue, hue].

    Args:
      uniforms: float32 [..., UNIFORMS_PER_JITTER] in [0, 1).
      probability: of jittering a view at all.
    """
    applied = uniforms[..., 0] < probability

    def factor(index: int, strength: float) -> jax.Array:
        low, high = max(0.0, 1.0 - strength), 1.0 + strength
        return jnp.where(applied, low + (high - low) * uniforms[..., index], 1.0)

    shift = jnp.where(applied, hue * (2.0 * uniforms[..., 4] - 1.0), 0.0)
    places = _ranks(uniforms[..., 5:9])
    return Jitter(factor(1, brightness), factor(2, contrast), factor(3, saturation), shift, places)


def _ranks(values: jax.Array) -> jax.Array:
    """Place of each value in ascending order along the last axis; of equal ones the earlier comes first."""
    this, other = values[..., :, None], values[..., None, :]
    index = jnp.arange(values.shape[-1])
    before = (other < this) | ((other == this) & (index[None, :] < index[:, None]))
    return jnp.sum(before, axis=-1, dtype=jnp.int32)


def grey(planes: Planes) -> jax.Array:
    """Luma of the planes, [..., x, y]."""
    return sum(weight * plane for weight, plane in zip(GREY_WEIGHTS, planes, strict=True))


def to_grey(planes: Planes, applied: jax.Array) -> Planes:
    """Replaces all three planes by their luma where `applied` (bool [...]) holds."""
    luma, applied = grey(planes), applied[..., None, None]
    return tuple(jnp.where(applied, luma, plane) for plane in planes)


def solarise(pixels: jax.Array, applied: jax.Array, *, threshold: float = 128.0) -> jax.Array:
    """Inverts whole grey levels from `threshold` on where `applied` (bool, broadcastable) holds."""
    return jnp.where(applied & (pixels >= threshold), 255.0 - pixels, pixels)


def jitter(planes: Planes, params: Jitter) -> Planes:
    """Applies brightness, contrast, saturation and hue in each view's own order, clipping after each.

    In each of four steps a view takes one of the operations. The first three are one blend with different
    numbers, and the hue is turned by nothing in all steps but its own. The steps are a loop so that XLA keeps
    the image between them; unrolled, it computes the early steps again for every plane of the later ones.
    """

    def step(planes: Planes, place: jax.Array) -> tuple[Planes, None]:
        now = params.rank == place  # [..., 4]: true for the operation of this step
        bright, contrast, saturation = (
            jnp.where(now[..., operation], params[operation], 1.0)
            for operation in (BRIGHTNESS, CONTRAST, SATURATION)
        )
        mean = jnp.mean(grey(planes), axis=(-2, -1))
        planes = _blend(
            planes,
            keep=bright * contrast * saturation,  # two of the three are 1
            luma=1.0 - saturation,
            constant=(1.0 - contrast) * mean,
        )
        return shift_hue(planes, jnp.where(now[..., HUE], params.hue, 0.0)), None

    return jax.lax.scan(step, planes, jnp.arange(4))[0]


def _blend(planes: Planes, *, keep: jax.Array, luma: jax.Array, constant: jax.Array) -> Planes:
    """clip(keep * plane + luma * grey + constant), with one number per view for each."""
    rest = luma[..., None, None] * grey(planes) + constant[..., None, None]
    return tuple(jnp.clip(keep[..., None, None] * plane + rest, 0.0, 255.0) for plane in planes)


def shift_hue(planes: Planes, turns: jax.Array) -> Planes:
    """Turns the hue by `turns` ([...], one turn = 360 degrees) in HSV; value and saturation stay.

    A colour is v - c * ramp(channel offset + hue), with v its largest and v - c its smallest component and
    the hue counted in sixths of a turn; so no sextant needs to be looked up.
    """
    red, green, blue = planes
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    inverse = 1.0 / jnp.where(chroma > 0.0, chroma, 1.0)
    hue = jnp.where(
        value == red,
        (green - blue) * inverse,
        jnp.where(value == green, 2.0 + (blue - red) * inverse, 4.0 + (red - green) * inverse),
    )  # in [-1, 5]
    turns = turns[..., None, None]
    hue = hue + 6.0 * (turns - jnp.floor(turns))

    def component(offset: float, plane: jax.Array) -> jax.Array:
        angle = hue + offset  # in [0, 16)
        angle = angle - 6.0 * jnp.floor(angle * (1.0 / 6.0))
        ramp = jnp.clip(jnp.minimum(angle, 4.0 - angle), 0.0, 1.0)
        return jnp.where(turns == 0.0, plane, value - chroma * ramp)

    return component(5.0, red), component(3.0, green), component(1.0, blue)
