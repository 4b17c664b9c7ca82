import numpy as np
import pytest

from cion_jax.evaluation.baselines import colour_histogram, raw_pixels


def _pictures(n=4, height=128, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("features", [raw_pixels, colour_histogram])
def test_rows_are_unit_vectors_that_depend_on_their_picture_alone(features):
    pictures = _pictures()
    found = features(pictures)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(features(pictures[2:3])[0], found[2])
    assert features(pictures[:0]).shape == (0, found.shape[1])


def test_raw_pixels_ignore_brightness_and_contrast():
    picture = (_pictures(1) // 4 + 50).astype(np.uint8)
    brighter = (picture * 2 + 20).astype(np.uint8)
    assert raw_pixels(picture)[0] @ raw_pixels(brighter)[0] > 0.99  # resizing rounds to grey levels


def test_raw_pixels_know_where():
    picture = np.zeros((1, 128, 64, 3), np.uint8)
    picture[:, :64] = 200
    assert raw_pixels(picture)[0] @ raw_pixels(picture[:, ::-1])[0] == pytest.approx(-1, abs=1e-3)
    assert not raw_pixels(np.full((1, 20, 10, 3), 9, np.uint8)).any(), "one single grey has no direction"


def test_raw_pixels_do_not_depend_on_the_size():
    small = np.repeat(np.repeat(_pictures(1, 16, 8), 4, axis=1), 4, axis=2)
    large = np.repeat(np.repeat(small, 4, axis=1), 4, axis=2)
    assert raw_pixels(small)[0] @ raw_pixels(large)[0] > 0.98


def test_histogram_forgets_where_within_a_stripe():
    picture = _pictures(1, 60, 30)
    mixed = picture.reshape(1, 6, 10 * 30, 3)[:, :, ::-1].reshape(picture.shape)
    np.testing.assert_allclose(colour_histogram(picture), colour_histogram(mixed), atol=1e-6)
    upside_down = colour_histogram(picture[:, ::-1], stripes=1)
    np.testing.assert_allclose(upside_down, colour_histogram(picture, stripes=1), atol=1e-6)


def test_histogram_is_the_square_root_of_shares():
    # A grey quarter, and red, green and blue: equal channel means, so that balancing keeps the hues.
    picture = np.zeros((1, 40, 40, 3), np.uint8)
    picture[0, :20, :20] = 100
    picture[0, :20, 20:, 0] = picture[0, 20:, :20, 1] = picture[0, 20:, 20:, 2] = 100
    row = colour_histogram(picture, stripes=1)[0]
    assert row.shape == (100,)
    np.testing.assert_allclose(np.sort(row)[-4:], 0.5, atol=1e-6)
    assert np.count_nonzero(row) == 4
    assert np.count_nonzero(row[:4]) == 1, "grey pixels are counted by value alone"


def test_histogram_takes_off_a_colour_cast():
    picture = (_pictures(1, 64, 32) // 2).astype(np.uint8)
    cast = (picture * np.array([1.3, 1.0, 0.8])).astype(np.uint8)
    assert colour_histogram(picture)[0] @ colour_histogram(cast)[0] > 0.97


@pytest.mark.parametrize("features", [raw_pixels, colour_histogram])
def test_wrong_arrays_are_refused(features):
    for bad in (_pictures()[0], _pictures().astype(np.float32), _pictures()[..., :2], _pictures()[:, :0]):
        with pytest.raises(ValueError, match="pictures"):
            features(bad)


def test_wrong_stripes_are_refused():
    for stripes in (0, 200):
        with pytest.raises(ValueError, match="stripes"):
            colour_histogram(_pictures(), stripes=stripes)
