"""Noise of a labelling (CION, Eq. 1-3) against loops in float64."""

import numpy as np
import pytest
from hypothesis import given, settings

from cion_jax import denoise
from tests.denoise import naive
from tests.denoise.strategies import draw_tracklets, seeds


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_equals_the_loops(seed):
    features, tracklets, videos = draw_tracklets(seed)
    labels = np.where(np.random.default_rng(seed).random(len(videos)) < 0.1, -1, tracklets + 10 * videos)
    assert tuple(denoise.noise(features, labels)) == pytest.approx(naive.noise(features, labels))


def test_after_level_one_every_tracklet_is_consistent():
    features, tracklets, _ = draw_tracklets(11, videos=12)
    keep = denoise.denoise_tracklets(features, tracklets)
    assert denoise.noise(features, tracklets).consistency > 0
    assert denoise.noise(features, np.where(keep, tracklets, -1)).consistency == 0


def test_pairs_count_in_both_orders():
    assert denoise.noise(np.ones((3, 4)), np.arange(3)) == (0, 6, 2.0)


def test_no_identity_is_no_noise():
    assert denoise.noise(np.ones((3, 4)), np.full(3, -1)) == (0, 0, 0.0)
    assert denoise.noise(np.zeros((0, 4)), np.zeros(0, int)) == (0, 0, 0.0)
