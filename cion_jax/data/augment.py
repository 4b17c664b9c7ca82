"""The multi-crop views of DINO and CION, made on the device in one jitted function.

Recipe (CION's released code): two global crops and n local ones; per view random resized crop, flip, colour
jitter, grey, blur, solarise, normalise, in this order. Decoded images come in, normalised views go out,
nothing passes the host.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data import blur, colour, crops, preprocess

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GLOBAL_VIEWS = 2


@dataclasses.dataclass(frozen=True)
class CropPolicy:
    """What `multi_crop` draws; the defaults are CION's at 256x128. Hashable, so that jit takes it as static.

    Sizes are (height, width) in pixels, scales shares of the image's area, `aspect` limits of width / height,
    strengths half-widths of the factors' ranges (the hue's in turns), `blur_radius` limits of sigma in pixels
    of the view, means and standard deviations shares of 255. Triples of probabilities belong to the first
    global view, the second, the local ones.

    Raises:
      UserError: a value out of its range; the message names the field.
    """

    global_size: tuple[int, int] = (256, 128)
    global_scale: tuple[float, float] = (0.8, 1.0)
    local_size: tuple[int, int] = (128, 64)
    local_count: int = 8
    local_scale: tuple[float, float] = (0.05, 0.8)
    aspect: tuple[float, float] = (0.4, 0.6)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grey: float = 0.2
    blur_probability: tuple[float, float, float] = (1.0, 0.1, 0.5)
    blur_radius: tuple[float, float] = (0.1, 2.0)
    solarise_probability: tuple[float, float, float] = (0.0, 0.2, 0.0)
    solarise_threshold: float = 128.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
                self._demand(field.name, len(value) == len(field.default), f"{len(field.default)} numbers")
        for name in ("flip", "jitter", "grey", "blur_probability", "solarise_probability"):
            self._demand(name, _all(getattr(self, name), 0.0, 1.0), "within 0..1")
        for name in ("brightness", "contrast", "saturation"):
            self._demand(name, getattr(self, name) >= 0.0, "0 or more")
        for name in ("global_scale", "local_scale", "aspect", "blur_radius"):
            low, high = getattr(self, name)
            self._demand(
                name,
                0.0 < low <= high or (name == "blur_radius" and low == 0.0),
                "(low, high), 0 < low <= high",
            )
        for name in ("global_scale", "local_scale"):
            self._demand(name, getattr(self, name)[1] <= 1.0, "at most 1")
        for name in ("global_size", "local_size"):
            self._demand(name, min(getattr(self, name)) >= 1, "1 pixel or more")
        self._demand("hue", 0.0 <= self.hue <= 0.5, "within 0..0.5 turns")
        self._demand("local_count", self.local_count >= 0, "0 or more")
        self._demand("std", min(self.std) > 0.0, "above 0")

    def _demand(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise UserError(f"crop policy: {name} is {getattr(self, name)}, must be {wanted}")


def _all(value: float | tuple[float, ...], low: float, high: float) -> bool:
    return all(low <= number <= high for number in (value if isinstance(value, tuple) else (value,)))


class Draws(NamedTuple):
    """Everything random of the views of one kind, arrays over [b, v]."""

    boxes: crops.Boxes
    mirror: jax.Array  # bool
    jitter: colour.Jitter
    grey: jax.Array  # bool
    sigma: jax.Array  # pixels, 0 where not blurred
    solarise: jax.Array  # bool


_FLIP, _GREY, _BLUR, _SIGMA, _SOLARISE, _SINGLES = range(6)
_UNIFORMS_PER_VIEW = _SINGLES + colour.UNIFORMS_PER_JITTER + crops.UNIFORMS_PER_BOX


def draw(
    key: jax.Array, sizes: jax.Array, *, policy: CropPolicy, first_row: jax.Array | int = 0
) -> tuple[Draws, Draws]:
    """Draws the parameters of the global and the local views.

    Row i of the batch has the key fold_in(key, first_row + i): its views depend neither on the batch's size
    nor on how the batch is spread over devices.
    """
    rows = first_row + jnp.arange(sizes.shape[0])
    count = policy.local_count
    kind = [0, 1] + [2] * count  # what a view looks up in the policy's triples

    def of_row(row: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, row), (len(kind), _UNIFORMS_PER_VIEW))

    # One call of the generator and one set of operations for all views halves the compile time.
    uniforms = jax.vmap(of_row)(rows)
    single, jitter, box = jnp.split(uniforms, (_SINGLES, _SINGLES + colour.UNIFORMS_PER_JITTER), axis=-1)
    low, high = policy.blur_radius
    blurred = single[..., _BLUR] < np.asarray(policy.blur_probability, np.float32)[kind]
    scales = np.asarray([policy.global_scale] * GLOBAL_VIEWS + [policy.local_scale] * count, np.float32)
    draws = Draws(
        boxes=crops.sample_boxes(box, sizes, scale=(scales[:, 0], scales[:, 1]), aspect=policy.aspect),
        mirror=single[..., _FLIP] < policy.flip,
        jitter=colour.sample_jitter(
            jitter,
            probability=policy.jitter,
            brightness=policy.brightness,
            contrast=policy.contrast,
            saturation=policy.saturation,
            hue=policy.hue,
        ),
        grey=single[..., _GREY] < policy.grey,
        sigma=jnp.where(blurred, low + (high - low) * single[..., _SIGMA], 0.0),
        solarise=single[..., _SOLARISE] < np.asarray(policy.solarise_probability, np.float32)[kind],
    )
    of_globals = jax.tree.map(lambda leaf: leaf[:, :GLOBAL_VIEWS], draws)
    of_locals = jax.tree.map(lambda leaf: leaf[:, GLOBAL_VIEWS:], draws)
    return of_globals, of_locals


def render(
    images: jax.Array, draws: Draws, *, size: tuple[int, int], policy: CropPolicy, dtype=jnp.float32
) -> jax.Array:
    """Makes the views that `draws` describes.

    Args:
      images: float32 [b, 3, H, W], from `crops.planar`.
      draws: over [b, v].
      size: (height, width) of the views.

    Returns:
      [b, v, height, width, 3] in `dtype`, normalised.
    """
    pixels = crops.crop_resize(images, draws.boxes, size=size, mirror=draws.mirror)  # [b, v, w, 3, h]
    planes = tuple(pixels[:, :, :, channel] for channel in range(3))
    planes = colour.to_grey(colour.jitter(planes, draws.jitter), draws.grey)
    pixels = crops.to_grey_levels(jnp.stack(planes, axis=3))
    pixels = blur.blur(pixels, draws.sigma, max_sigma=policy.blur_radius[1])
    pixels = colour.solarise(
        pixels, draws.solarise[..., None, None, None], threshold=policy.solarise_threshold
    )
    return preprocess.normalise(pixels, policy.mean, policy.std, dtype)


@functools.partial(jax.jit, static_argnames=("policy", "dtype"))
def multi_crop(
    key: jax.Array,
    images: jax.Array,
    sizes: jax.Array,
    *,
    policy: CropPolicy,
    dtype=jnp.float32,
    first_row: jax.Array | int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Makes two global and `policy.local_count` local views of every image.

    Args:
      key: typed or raw jax key; the same key gives the same views.
      images: uint8 [b, H, W, 3], images in the top left corner of a canvas; what lies outside is never read.
      sizes: integers [b, 2], true height and width in pixels; below one pixel counts as one.
      dtype: of the views; the computation is in float32.
      first_row: index of the first image in the global batch, for callers that hold a part of it (shard_map).

    Returns:
      globals [b, 2, gh, gw, 3] and locals [b, n, lh, lw, 3], normalised.

    Raises:
      ValueError: arrays of other shapes or types.
    """
    sizes = preprocess.sizes_on_canvas(images, sizes)
    global_draws, local_draws = draw(key, sizes, policy=policy, first_row=first_row)
    source = crops.planar(images)
    return (
        render(source, global_draws, size=policy.global_size, policy=policy, dtype=dtype),
        render(source, local_draws, size=policy.local_size, policy=policy, dtype=dtype),
    )
