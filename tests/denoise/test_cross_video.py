"""Level 3 against loops in float64."""

import numpy as np
import pytest
from hypothesis import given, settings

from cion_jax import denoise
from tests.denoise import naive
from tests.denoise.strategies import seeds


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_equals_the_loops(seed):
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(int(rng.integers(0, 60)), 4)) * rng.uniform(0.5, 40, size=(1, 1))
    sums[1::5] = sums[: len(sums[1::5])]  # duplicates
    counts = rng.integers(0, 4, size=len(sums))
    for half_width in (0, 1, 3, 1000, None):
        found = denoise.link_tracklets(sums, counts, half_width=half_width, sigma_drm=0.1)
        expected = naive.link_tracklets(sums, counts, half_width, 0.1)
        np.testing.assert_array_equal(found, expected, f"half_width={half_width}: other identities")


@pytest.mark.parametrize("half_width", [1, 37, 600, 1500, None])
def test_bands_over_several_tiles_equal_plain_numpy(half_width):
    rng = np.random.default_rng(4)
    sums = np.repeat(rng.normal(size=(500, 8)), 6, axis=0)[rng.permutation(3000)]
    sums += 0.3 * rng.normal(size=sums.shape)
    unit = naive.unit(sums)
    near = 1 - unit @ unit.T <= 0.05
    reach = 3000 if half_width is None else half_width
    near &= np.abs(np.arange(3000)[:, None] - np.arange(3000)) <= reach
    expected = _components(near)
    found = denoise.link_tracklets(sums, np.ones(3000, int), half_width=half_width, sigma_drm=0.05)
    np.testing.assert_array_equal(found, expected)


def test_the_range_counts_surviving_tracklets_only():
    sums = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    assert denoise.link_tracklets(sums, np.array([2, 0, 0, 5]), half_width=1).tolist() == [0, -1, -1, 0]
    assert denoise.link_tracklets(sums, np.array([2, 1, 0, 5]), half_width=1).tolist() == [0, 1, -1, 2]


def test_a_link_at_the_very_threshold_counts_and_one_beyond_does_not():
    sums = np.array([[1, 0], [0.8, 0.6]], np.float64)
    ones = np.ones(2, int)
    assert denoise.link_tracklets(sums, ones, sigma_drm=0.2 + 1e-9).tolist() == [0, 0]
    assert denoise.link_tracklets(sums, ones, sigma_drm=0.2 - 1e-9).tolist() == [0, 1]


def test_float16_sums_in_a_file(tmp_path):
    sums = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float16)
    np.save(tmp_path / "sums.npy", sums)
    mapped = np.load(tmp_path / "sums.npy", mmap_mode="r")
    ones = np.ones(40, int)
    np.testing.assert_array_equal(denoise.link_tracklets(mapped, ones), naive.link_tracklets(sums, ones))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="counts must be"):
        denoise.link_tracklets(np.ones((3, 2)), np.ones(2, int))
    with pytest.raises(ValueError, match="tracklet 1 has a negative count"):
        denoise.link_tracklets(np.ones((3, 2)), np.array([1, -1, 1]))
    with pytest.raises(ValueError, match="half_width"):
        denoise.link_tracklets(np.ones((3, 2)), np.ones(3, int), half_width=-1)
    with pytest.raises(ValueError, match=r"tracklet 2 .*NaN"):
        denoise.link_tracklets(np.array([[1.0, 2], [1, 2], [np.nan, 1]]), np.ones(3, int))


def _components(near):
    labels = -np.ones(len(near), int)
    for start in range(len(near)):
        if labels[start] >= 0:
            continue
        labels[start] = labels.max() + 1
        queue = [start]
        while queue:
            new = np.flatnonzero(near[queue.pop()] & (labels < 0))
            labels[new] = labels[start]
            queue += new.tolist()
    return labels
