import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageFilter

from cion_jax.data import blur

run = jax.jit(functools.partial(blur.blur, max_sigma=2.0))


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    laid = jnp.asarray(pixels, jnp.float32).transpose(1, 2, 0)[None, None]  # [1, 1, w, 3, h]
    return np.asarray(run(laid, jnp.full((1, 1), sigma, jnp.float32)))[0, 0]


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 0.8, 1.2, 1.42, 1.6, 2.0])
def test_blur_is_within_two_grey_levels_of_pillow(sigma):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 3)).astype(np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)), np.float32)
    difference = np.abs(blurred(pixels, sigma) - theirs)
    # Pillow rounds to 8 bits after each of its six passes; we round after three.
    assert difference.max() <= 2, "borders too must follow Pillow: the border pixel is repeated in each pass"
    assert difference.mean() < 1.1


def test_sigma_zero_is_the_identity():
    pixels = np.random.default_rng(1).integers(0, 256, (40, 24, 3))
    np.testing.assert_array_equal(blurred(pixels, 0.0), pixels)


@pytest.mark.parametrize("extent", [1, 2, 3, 30])
def test_rows_sum_to_one_and_variance_is_as_asked(extent):
    sigma = jnp.array([0.0, 0.1, 0.7, 1.0, 2.0])
    matrix = np.asarray(blur.blur_matrix(sigma, extent=extent, max_sigma=2.0))
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(-1), 1.0, atol=1e-6)
    if extent == 30:
        variance = matrix[:, 15] @ (np.arange(30) - 15.0) ** 2
        np.testing.assert_allclose(variance, np.asarray(sigma) ** 2, atol=1e-4)


def test_every_view_has_its_own_sigma():
    pixels = np.random.default_rng(2).integers(0, 256, (24, 16, 3))
    laid = jnp.asarray(pixels, jnp.float32).transpose(1, 2, 0)
    sigma = jnp.array([[0.0, 1.0], [2.0, 0.4]])
    both = np.asarray(run(jnp.broadcast_to(laid, (2, 2, *laid.shape)), sigma))
    for place in np.ndindex(2, 2):
        np.testing.assert_array_equal(both[place], blurred(pixels, float(sigma[place])))
