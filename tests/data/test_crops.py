import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cion_jax.data import crops

FIT = (
    "compare the weights with Pillow's: centre (i + 0.5) * scale, support times max(scale, 1), inside the box"
)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


crop_resize = jax.jit(crops.crop_resize, static_argnames=("size", "method"))


def resized(pixels: np.ndarray, box: tuple[int, ...], size: tuple[int, int], **options) -> np.ndarray:
    """Our crop of (top, left, height, width), [h, w, 3]."""
    boxes = crops.Boxes(*(jnp.full((1, 1), side, jnp.int32) for side in box))
    views = crop_resize(crops.planar(jnp.asarray(pixels)[None]), boxes, size=size, **options)
    return np.asarray(views)[0, 0].transpose(2, 0, 1)


def pillow(pixels: np.ndarray, box: tuple[int, ...], size: tuple[int, int], method: str) -> np.ndarray:
    """Pillow's, width first whatever its version."""
    top, left, height, width = box
    image = Image.fromarray(pixels).crop((left, top, left + width, top + height))
    how = Image.Resampling[method.upper()]
    return np.asarray(image.resize((size[1], height), how).resize(size[::-1], how), np.float32)


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    "box", [(0, 0, 64, 32), (3, 5, 40, 17), (10, 2, 9, 30), (63, 31, 1, 1), (0, 31, 64, 1), (5, 0, 2, 3)]
)
def test_crop_resize_is_within_one_grey_level_of_pillow(box, method):
    pixels = picture(64, 32)
    for size in ((24, 12), (96, 48)):
        difference = np.abs(resized(pixels, box, size, method=method) - pillow(pixels, box, size, method))
        assert difference.max() <= 1, FIT
        # whole ratios give exact halves, which fall as Pillow's 22-bit weights happen to be rounded
        assert difference.mean() < 0.15, FIT


def test_mirror_is_the_mirrored_view():
    pixels, box = picture(20, 10), (2, 1, 17, 8)
    mirrored = resized(pixels, box, (12, 7), mirror=jnp.ones((1, 1), bool))
    np.testing.assert_array_equal(mirrored, resized(pixels, box, (12, 7))[:, ::-1])


def test_a_view_of_the_whole_image_at_its_own_size_is_the_image():
    pixels = picture(16, 8)
    np.testing.assert_array_equal(resized(pixels, (0, 0, 16, 8), (16, 8)), pixels)


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="lanczos"):
        crops.resize_matrix(jnp.zeros(1, int), jnp.ones(1, int), out=2, extent=2, method="lanczos")


matrix_of = jax.jit(functools.partial(crops.resize_matrix, extent=100), static_argnames="out")


@given(start=st.integers(0, 40), length=st.integers(1, 60), out=st.sampled_from([1, 7, 50]))
@settings(deadline=None, max_examples=25)
def test_rows_sum_to_one_and_stay_in_the_box(start, length, out):
    matrix = np.asarray(matrix_of(jnp.int32(start), jnp.int32(length), out=out))
    np.testing.assert_allclose(matrix.sum(-1), 1.0, atol=1e-5)
    assert not matrix[:, :start].any(), "a weight lies before the box"
    assert not matrix[:, start + length :].any(), "a weight lies behind the box"


sample = jax.jit(crops.sample_boxes, static_argnames=("scale", "aspect"))


@given(height=st.integers(1, 400), width=st.integers(1, 400), seed=st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=40)
def test_boxes_lie_in_the_image_and_keep_their_limits(height, width, seed):
    scale, aspect = (0.05, 0.8), (0.4, 0.6)
    uniforms = jax.random.uniform(jax.random.key(seed), (1, 16, crops.UNIFORMS_PER_BOX))
    boxes = sample(uniforms, jnp.array([[height, width]], jnp.int32), scale=scale, aspect=aspect)
    top, left, h, w = (np.asarray(side)[0] for side in boxes)
    assert (h >= 1).all() and (w >= 1).all()
    assert (top >= 0).all() and (top + h <= height).all(), f"a box leaves {height}x{width} below"
    assert (left >= 0).all() and (left + w <= width).all(), f"a box leaves {height}x{width} at the right"
    # Sides are rounded, so some sides within half a pixel must keep the limits exactly.
    drawn = (h + 0.5) * (w + 0.5) >= scale[0] * height * width
    drawn &= (h - 0.5) * (w - 0.5) <= scale[1] * height * width
    drawn &= ((w + 0.5) / (h - 0.5) >= aspect[0]) & ((w - 0.5) / (h + 0.5) <= aspect[1])
    centred = (top == (height - h) // 2) & (left == (width - w) // 2) & ((h == height) | (w == width))
    assert (drawn | centred).all(), "a box keeps neither the limits nor is it the centre crop"


def reference_box(uniforms: np.ndarray, height: int, width: int, scale, aspect) -> tuple[int, int, int, int]:
    """The recipe in plain Python for one view: top, left, height, width."""
    for share, ratio in zip(uniforms[: crops.TRIES], uniforms[crops.TRIES : 2 * crops.TRIES], strict=True):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * share)
        ratio = np.exp(np.log(aspect[0]) + np.log(aspect[1] / aspect[0]) * ratio)
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(uniforms[-2] * (height - h + 1)), int(uniforms[-1] * (width - w + 1)), h, w
    w, h = width, height
    if width / height < aspect[0]:
        h = round(width / aspect[0])
    elif width / height > aspect[1]:
        w = round(height * aspect[1])
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("size", [(256, 128), (90, 30), (60, 60), (300, 40)])
def test_boxes_are_those_of_the_recipe(size):
    scale, aspect = (0.3, 1.0), (0.4, 0.6)
    uniforms = jax.random.uniform(jax.random.key(3), (1, 40, crops.UNIFORMS_PER_BOX))
    boxes = sample(uniforms, jnp.array([size], jnp.int32), scale=scale, aspect=aspect)
    ours = np.stack(boxes, axis=-1)[0]
    wanted = np.array(
        [reference_box(row, *size, scale, aspect) for row in np.asarray(uniforms, np.float64)[0]]
    )
    # float32 against float64 may round a side that lies on a half the other way
    assert (np.abs(ours - wanted).max(axis=1) <= 1).all()
    assert (ours == wanted).all(axis=1).mean() > 0.9


def test_an_image_too_wide_for_every_try_gets_the_centre_crop():
    uniforms = jax.random.uniform(jax.random.key(0), (1, 4, crops.UNIFORMS_PER_BOX))
    boxes = sample(uniforms, jnp.array([[10, 400]], jnp.int32), scale=(0.8, 1.0), aspect=(0.4, 0.6))
    np.testing.assert_array_equal(np.stack(boxes, axis=-1)[0], [[0, 197, 10, 6]] * 4)
