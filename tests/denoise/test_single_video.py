"""Level 2 against loops in float64."""

import numpy as np
import pytest
from hypothesis import given, settings

from cion_jax import denoise
from tests.denoise import naive
from tests.denoise.strategies import draw_tracklets, seeds


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_equals_the_loops(seed):
    features, tracklets, videos = draw_tracklets(seed)
    for cst, drm in ((0.2, 0.18), (0.6, 0.3), (0.05, 0.5)):
        found = denoise.denoise_videos(features, tracklets, videos, sigma_cst=cst, sigma_drm=drm)
        expected = naive.denoise_videos(features, tracklets, videos, cst, drm)
        np.testing.assert_array_equal(found, expected, f"sigma_cst={cst}, sigma_drm={drm}: other labels")


def test_a_removed_image_goes_to_the_tracklet_it_fits():
    a, b = [1.0, 0.0], [0.0, 1.0]
    features = np.array([a, a, a, b, b, b], np.float32)
    found = denoise.denoise_videos(features, np.array([0, 0, 0, 0, 1, 1]), np.zeros(6, int))
    assert found.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_removed_image_does_not_go_to_another_video():
    a, b = [1.0, 0.0], [0.0, 1.0]
    features = np.array([a, a, a, b, b, b], np.float32)
    found = denoise.denoise_videos(features, np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 1]))
    assert found.tolist() == [0, 0, 0, -1, 1, 1]


def test_of_equally_near_tracklets_the_earlier_takes_it():
    a, b = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    features = np.array([a, a, a, b, b, b], np.float32)
    found = denoise.denoise_videos(features, np.array([7, 7, 7, 7, 9, 3]), np.zeros(6, int), sigma_drm=-1.0)
    assert found.tolist() == [0, 0, 0, 1, 1, 2], (
        "tracklet 9 comes before tracklet 3: its first row is earlier"
    )


def test_tracklets_of_the_same_name_in_two_videos_are_two():
    features = np.eye(4, 8, dtype=np.float32)
    assert denoise.denoise_videos(features, np.zeros(4, int), np.array([3, 1, 2, 0])).tolist() == [0, 1, 2, 3]


def test_merging_is_transitive():
    angles = np.deg2rad([0, 30, 60, 90])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = denoise.denoise_videos(features, np.arange(4), np.zeros(4, int))  # 1 - cos 30° = 0.134
    assert found.tolist() == [0, 0, 0, 0]


def test_one_giant_video():
    rng = np.random.default_rng(1)
    people = rng.normal(size=(60, 32))
    who = rng.integers(60, size=1500)  # tracklets: more than a tile holds
    features = np.repeat(people[who], 3, axis=0) + 0.3 * rng.normal(size=(4500, 32))
    tracklets = np.repeat(np.arange(1500), 3)
    found = denoise.denoise_videos(features, tracklets, np.zeros(4500, int), sigma_drm=0.15)
    kept = denoise.denoise_tracklets(features, tracklets)
    assert found.max() + 1 == 60, "60 people far apart must come out as 60 identities"
    true = np.repeat(who, 3)
    assert all(len(set(true[found == label])) == 1 for label in range(60))
    assert (found[kept] >= 0).all()


def test_reallocation_in_a_giant_video_equals_the_loops():
    rng = np.random.default_rng(2)
    people = rng.normal(size=(700, 24))
    features = np.repeat(people, 2, axis=0)
    features[1::14] = people[rng.integers(700, size=100)] + 0.02 * rng.normal(size=(100, 24))
    features = np.concatenate([features, features[::5]])
    tracklets = np.concatenate([np.repeat(np.arange(700), 2), 700 + np.arange(280)])
    videos = np.zeros(len(features), int)
    found = denoise.denoise_videos(features, tracklets, videos, sigma_drm=-1.0)
    np.testing.assert_array_equal(found, naive.denoise_videos(features, tracklets, videos, 0.2, -1.0))


def test_a_video_in_two_pieces_is_refused():
    with pytest.raises(ValueError, match="video 4 starts at row 0 and again at row 2"):
        denoise.denoise_videos(np.eye(3), np.zeros(3, int), np.array([4, 1, 4]))


def test_nothing_gives_nothing():
    empty = np.zeros(0, int)
    assert denoise.denoise_videos(np.zeros((0, 8)), empty, empty).dtype == np.int64
