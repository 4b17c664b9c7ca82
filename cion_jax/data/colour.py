"""Colour jitter, grey and solarise on planes of red, green and blue, vectorised over views.

Every function takes and gives a tuple of three float32 arrays [..., x, y] in 0..255, and parameters of shape [...].
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

    A factor of 1 (brightness, contrast, saturation) or a shift of 0 (hue, in turns) leaves the image as it is.
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
    """Place of each value in ascending order along the last axis, by counting; of equal ones the earlier comes first."""
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
    """Inverts whole grey levels from `threshold` on where `applied` (bool, broadcast against `pixels`) holds."""
    return jnp.where(applied & (pixels >= threshold), 255.0 - pixels, pixels)


def jitter(planes: Planes, params: Jitter) -> Planes:
    """Applies brightness, contrast, saturation and hue in each view's own order, clipping to 0..255 after each.

    Contrast alone needs a mean over the image, so the work is split there: what comes before it, the mean, then
    contrast and what comes after it. Either part needs the costly hue at most once: it evaluates the hue once, with room for
    the other two operations on both sides, and gives an operation that belongs elsewhere its neutral factor. That is
    two hues, one mean and a few blends, instead of four of each.
    """
    rank = [params.rank[..., operation] for operation in range(4)]
    early = [place < rank[CONTRAST] for place in rank]
    planes = _around_hue(planes, params, rank, early)
    mean = jnp.mean(grey(planes), axis=(-2, -1))
    planes = _blend(planes, keep=params.contrast, constant=(1.0 - params.contrast) * mean)
    return _around_hue(planes, params, rank, [~first for first in early])


def _around_hue(planes: Planes, params: Jitter, rank: list[jax.Array], active: list[jax.Array]) -> Planes:
    """Brightness, saturation and hue, those that are `active`, in the order of their ranks."""
    before = [on & (place < rank[HUE]) for on, place in zip(active, rank, strict=True)]
    after = [on & (place > rank[HUE]) for on, place in zip(active, rank, strict=True)]
    planes = _two_blends(planes, params, rank, before)
    planes = shift_hue(planes, jnp.where(active[HUE], params.hue, 0.0))
    return _two_blends(planes, params, rank, after)


def _two_blends(planes: Planes, params: Jitter, rank: list[jax.Array], active: list[jax.Array]) -> Planes:
    bright = jnp.where(active[BRIGHTNESS], params.brightness, 1.0)
    saturated = jnp.where(active[SATURATION], params.saturation, 1.0)
    bright_first = rank[BRIGHTNESS] < rank[SATURATION]
    for is_bright in (bright_first, ~bright_first):
        keep = jnp.where(is_bright, bright, saturated)
        planes = _blend(planes, keep=keep, luma=jnp.where(is_bright, 0.0, 1.0 - saturated))
    return planes


def _blend(
    planes: Planes, *, keep: jax.Array, luma: jax.Array | None = None, constant: jax.Array | None = None
) -> Planes:
    """clip(keep * plane + luma * grey + constant), with one number per view for each."""
    rest = 0.0
    if luma is not None:
        rest = luma[..., None, None] * grey(planes)
    if constant is not None:
        rest = rest + constant[..., None, None]
    keep = keep[..., None, None]
    return tuple(jnp.clip(keep * plane + rest, 0.0, 255.0) for plane in planes)


def shift_hue(planes: Planes, turns: jax.Array) -> Planes:
    """Turns the hue by `turns` ([...], one turn = 360 degrees) in HSV; value and saturation stay.

    A colour is v - c * ramp(channel offset + hue), with v its largest and v - c its smallest component and the hue
    counted in sixths of a turn; so no sextant needs to be looked up.
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
