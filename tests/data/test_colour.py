import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from cion_jax.data import colour

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 12, 3)).astype(np.uint8)
PIXELS[:2] = PIXELS[:2, :, :1]  # greys
PIXELS[2] = 0
PIXELS[3] = 255


def planes(pixels: np.ndarray = PIXELS) -> colour.Planes:
    return tuple(jnp.asarray(pixels[..., channel], jnp.float32) for channel in range(3))


def params(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, rank=(0, 1, 2, 3)) -> colour.Jitter:
    factors = (jnp.float32(value) for value in (brightness, contrast, saturation, hue))
    return colour.Jitter(*factors, rank=jnp.asarray(rank, jnp.int32))


jitter = jax.jit(colour.jitter)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize(
    "name, pillow",
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_blends_are_within_one_grey_level_of_pillow(name, pillow, factor):
    ours = np.stack(jitter(planes(), params(**{name: factor})), axis=-1)
    theirs = np.asarray(pillow(Image.fromarray(PIXELS)).enhance(factor), np.float32)
    assert np.abs(ours - theirs).max() <= 1.01, (
        f"{name}: blend as keep * pixel + (1 - keep) * other, then clip"
    )


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.03, 0.1, 0.5])
def test_hue_is_that_of_exact_hsv(turns):
    ours = np.stack(colour.shift_hue(planes(), jnp.float32(turns)), axis=-1)
    wanted = np.empty(PIXELS.shape)
    for place in np.ndindex(PIXELS.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(PIXELS[place] / 255.0))
        wanted[place] = np.multiply(colorsys.hsv_to_rgb((h + turns) % 1.0, s, v), 255.0)
    np.testing.assert_allclose(ours, wanted, atol=1e-3)


def test_hue_near_pillow_with_its_8_bit_hsv():
    ours = np.stack(colour.shift_hue(planes(), jnp.float32(0.1)), axis=-1)
    h, s, v = Image.fromarray(PIXELS).convert("HSV").split()
    h = Image.fromarray(((np.asarray(h).astype(int) + 25) % 256).astype(np.uint8))
    theirs = np.asarray(Image.merge("HSV", (h, s, v)).convert("RGB"), np.float32)
    assert np.abs(ours - theirs).mean() < 3.0


def one_by_one(rank, factors) -> np.ndarray:
    """The four operations in order, each for itself in NumPy."""
    pixels = PIXELS.astype(np.float64)
    for operation in np.argsort(rank):
        keep, luma = factors[operation], pixels @ np.array(colour.GREY_WEIGHTS)
        if operation == colour.HUE:
            pixels = np.stack(colour.shift_hue(planes(pixels), jnp.float32(keep)), axis=-1).astype(np.float64)
            continue
        other = {colour.BRIGHTNESS: 0.0, colour.CONTRAST: luma.mean(), colour.SATURATION: luma[..., None]}
        pixels = np.clip(keep * pixels + (1 - keep) * other[operation], 0, 255)
    return pixels


def test_every_order_equals_the_operations_one_by_one():
    factors = (1.35, 0.65, 1.18, 0.08)
    ranks = list(itertools.permutations(range(4)))
    many = colour.Jitter(*(jnp.full(24, value, jnp.float32) for value in factors), rank=jnp.array(ranks))
    views = tuple(jnp.broadcast_to(plane, (24, *plane.shape)) for plane in planes())
    ours = np.stack(jitter(views, many), axis=-1)
    for view, rank in zip(ours, ranks, strict=True):
        np.testing.assert_allclose(view, one_by_one(rank, factors), atol=2e-2, err_msg=f"ranks {rank}")


def test_neutral_factors_change_nothing():
    for ours, plane in zip(jitter(planes(), params(rank=(2, 0, 3, 1))), planes(), strict=True):
        np.testing.assert_array_equal(ours, plane)


def test_grey_and_solarise_are_pillows():
    image = Image.fromarray(PIXELS)
    ours = np.stack(colour.to_grey(planes(), jnp.array(True)), axis=-1)
    np.testing.assert_allclose(ours, np.asarray(image.convert("L").convert("RGB")), atol=0.51)
    ours = colour.solarise(jnp.asarray(PIXELS, jnp.float32), True)
    np.testing.assert_array_equal(ours, np.asarray(ImageOps.solarize(image)))
    unchanged = colour.to_grey(planes(), jnp.array(False))
    np.testing.assert_array_equal(np.stack(unchanged, axis=-1), PIXELS)
    np.testing.assert_array_equal(colour.solarise(jnp.asarray(PIXELS), False), PIXELS)


def test_draws_keep_their_limits_and_orders_are_even():
    uniforms = jax.random.uniform(jax.random.key(0), (6000, colour.UNIFORMS_PER_JITTER))
    drawn = colour.sample_jitter(
        uniforms, probability=0.8, brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1
    )
    applied = np.asarray(drawn.brightness) != 1.0
    assert abs(applied.mean() - 0.8) < 0.03
    for values, low, high in (
        (drawn.brightness, 0.6, 1.4),
        (drawn.contrast, 0.0, 2.5),
        (drawn.saturation, 0.8, 1.2),
        (drawn.hue, -0.1, 0.1),
    ):
        values = np.asarray(values)[applied]
        assert values.min() >= low and values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 0.05 * (high - low)
    assert (np.sort(drawn.rank, axis=-1) == np.arange(4)).all(), "ranks must be a permutation"
    _, counts = np.unique(np.asarray(drawn.rank), axis=0, return_counts=True)
    assert len(counts) == 24 and counts.min() > 170, "the 24 orders must be equally likely (250 each)"


def test_equal_draws_still_give_a_permutation():
    drawn = colour.sample_jitter(
        jnp.zeros(colour.UNIFORMS_PER_JITTER), probability=1.0, brightness=0, contrast=0, saturation=0, hue=0
    )
    np.testing.assert_array_equal(drawn.rank, [0, 1, 2, 3])
