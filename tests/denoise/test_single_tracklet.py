"""Level 1 against loops in float64."""

import numpy as np
import pytest
from hypothesis import given, settings

from cion_jax import denoise
from cion_jax.denoise import single_tracklet
from tests.denoise import naive
from tests.denoise.strategies import draw_tracklets, seeds

RNG = np.random.default_rng(0)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_equals_the_loops(seed):
    features, tracklets, _ = draw_tracklets(seed)
    for sigma in (0.05, 0.2, 0.6):
        found = denoise.denoise_tracklets(features, tracklets, sigma_cst=sigma)
        expected = naive.denoise_tracklets(features, tracklets, sigma)
        np.testing.assert_array_equal(found, expected, f"sigma_cst={sigma}: level 1 removes other images")


@pytest.mark.parametrize("copies", [2, 3, 4, 7])
def test_of_equally_far_images_the_last_goes_first(copies):
    features = np.eye(copies, 16, dtype=np.float32)  # everyone at the same distance from the others
    assert denoise.denoise_tracklets(features, np.zeros(copies, int)).tolist() == [True] + [False] * (
        copies - 1
    )


def test_a_pair_too_far_apart_leaves_its_first():
    features = np.array([[1, 0], [0, 1], [1, 0.1], [1, 0]], np.float32)
    assert denoise.denoise_tracklets(features, np.array([5, 5, 2, 2])).tolist() == [True, False, True, True]


def test_a_distance_of_exactly_sigma_removes():
    features = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert denoise.denoise_tracklets(features, np.zeros(2, int), sigma_cst=1.0).tolist() == [True, False]


@pytest.mark.parametrize("offset", [-1e-9, 1e-9])
def test_close_calls_are_those_of_float64(offset):
    sigma = 0.2 + offset  # float32 does not tell 0.2 from 0.2 + 1e-9
    pair = np.array([[1, 0], [0.8, 0.6]], np.float64)
    many = np.tile(pair, (50, 1))
    keep = denoise.denoise_tracklets(many, np.repeat(np.arange(50), 2), sigma_cst=sigma)
    assert keep[1::2].all() == (offset > 0), "a decision 1e-9 from its threshold must be taken in float64"


def test_a_tracklet_of_five_thousand():
    features = RNG.normal(size=(5000, 16)) + 2 * RNG.normal(size=16)
    small, ids = features[:40], np.zeros(5000, int)
    np.testing.assert_array_equal(
        denoise.denoise_tracklets(small, ids[:40]), naive.denoise_tracklets(small, ids[:40])
    )
    keep = denoise.denoise_tracklets(features, ids)
    left = single_tracklet.leave_one_out(*_unit_and_sum(features[keep]))
    assert 0 < keep.sum() < 5000
    assert left.max() < 0.2, "an image is left that is too far from the others"


def test_neighbours_in_a_batch_do_not_matter():
    features, tracklets, _ = draw_tracklets(3, videos=12)
    tracklets = tracklets + 100 * np.arange(len(tracklets)).searchsorted(np.arange(len(tracklets)))
    together = denoise.denoise_tracklets(features, tracklets)
    for name in np.unique(tracklets):
        alone = tracklets == name
        np.testing.assert_array_equal(
            together[alone], denoise.denoise_tracklets(features[alone], tracklets[alone])
        )


def test_float16_and_scale_do_not_matter():
    features = draw_tracklets(5)[0].astype(np.float16)
    tracklets = draw_tracklets(5)[1]
    found = denoise.denoise_tracklets(features, tracklets)
    np.testing.assert_array_equal(
        found, denoise.denoise_tracklets(features.astype(np.float64) * 1e-3, tracklets)
    )


def test_nothing_gives_nothing():
    assert denoise.denoise_tracklets(np.zeros((0, 8), np.float32), np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "row 3 .*NaN"), (np.inf, "row 3 .*NaN or inf")])
def test_a_row_that_is_no_number_is_named(value, message):
    features = np.ones((5, 4), np.float32)
    features[3, 1] = value
    with pytest.raises(ValueError, match=message):
        denoise.denoise_tracklets(features, np.array([0, 1, 0, 1, 0]))


def test_a_zero_row_is_named():
    features = np.ones((5, 4), np.float32)
    features[2] = 0
    with pytest.raises(ValueError, match=r"row 2 .*zero"):
        denoise.denoise_tracklets(features, np.array([0, 1, 0, 1, 0]))


@pytest.mark.parametrize("ids", [np.zeros(3, int), np.zeros(4), np.zeros((4, 1), int)])
def test_ids_that_do_not_fit_are_refused(ids):
    with pytest.raises(ValueError, match="tracklets must"):
        denoise.denoise_tracklets(np.ones((4, 2)), ids)


def _unit_and_sum(features):
    unit = naive.unit(features)
    return unit, unit.sum(axis=0)
