import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cion_jax.data import preprocess

GREY_LEVELS = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}
SIZES = [(40, 20), (17, 20), (1, 1), (33, 1)]


def canvas(padding: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.full((len(SIZES), 40, 20, 3), padding, np.uint8)
    rng = np.random.default_rng(0)
    for image, (height, width) in zip(images, SIZES, strict=True):
        image[:height, :width] = rng.integers(0, 256, (height, width, 3))
    return images, np.array(SIZES, np.int32)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_prepared_images_are_within_one_grey_level_of_pillow(method):
    images, sizes = canvas(0)
    ours = preprocess.prepare_eval(images, sizes, size=(24, 16), method=method, **GREY_LEVELS)
    assert ours.shape == (4, 24, 16, 3) and ours.dtype == jnp.float32
    how = Image.Resampling[method.upper()]
    for ours_one, image, (height, width) in zip(ours, images, SIZES, strict=True):
        # width first, as Pillow before 13 always did
        theirs = Image.fromarray(image[:height, :width]).resize((16, height), how).resize((16, 24), how)
        assert np.abs(ours_one - np.asarray(theirs, np.float32)).max() <= 1.001


def test_padding_is_never_read():
    size = {"size": (24, 16), **GREY_LEVELS}
    black = preprocess.prepare_eval(*canvas(0), **size)
    np.testing.assert_array_equal(black, preprocess.prepare_eval(*canvas(255), **size))


def test_normalisation_and_dtype():
    images = np.full((1, 4, 2, 3), 51, np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.2)
    ours = preprocess.prepare_eval(images, np.array([[4, 2]]), size=(4, 2), mean=mean, std=std)
    np.testing.assert_allclose(ours[0, 0, 0], (0.2 - np.array(mean)) / np.array(std), atol=1e-6)
    half = preprocess.prepare_eval(
        images, np.array([[4, 2]]), size=(4, 2), mean=mean, std=std, dtype=jnp.bfloat16
    )
    assert half.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "images, sizes, message",
    [
        (np.zeros((1, 4, 2, 3), np.float32), np.ones((1, 2), int), "images must be uint8"),
        (np.zeros((1, 4, 2), np.uint8), np.ones((1, 2), int), "images must be uint8"),
        (np.zeros((2, 4, 2, 3), np.uint8), np.ones((1, 2), int), r"sizes must be integers \[2, 2\]"),
        (np.zeros((1, 4, 2, 3), np.uint8), np.ones((1, 2)), "sizes must be integers"),
    ],
)
def test_wrong_arrays_are_named(images, sizes, message):
    with pytest.raises(ValueError, match=message):
        preprocess.prepare_eval(images, sizes, size=(4, 2), **GREY_LEVELS)
