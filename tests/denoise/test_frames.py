"""Who was seen when."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.denoise import frames


def test_a_moment_is_a_frame_of_a_video():
    moment = frames.moments(np.array([5, 5, 7, 7]), np.array([1, 2, 1, 1]))
    assert moment[2] == moment[3]
    assert len(set(moment.tolist())) == 3


def test_moments_of_groups():
    found = frames.of_groups(np.array([3, 4, 5, 6]), np.array([1, -1, 0, 1]), 3)
    assert [group.tolist() for group in found] == [[5], [3, 6], []]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), max_size=25))
def test_together_equals_all_pairs(seen):
    moment, group = np.array(seen, np.int64).reshape(-1, 2).T
    expected = {
        tuple(sorted((a, b))) for m, a in seen for n, b in seen if m == n and a != b and a >= 0 and b >= 0
    }
    assert sorted(expected) == [tuple(pair) for pair in frames.together(moment, group).tolist()]


def test_together_does_not_count_images_of_one_frame_in_pairs():
    """8,000 images of 20 tracklets in one frame took 25 s; they are 190 pairs."""
    group = np.arange(8000) % 20
    begun = time.process_time()
    assert len(frames.together(np.zeros(8000, np.int64), group)) == 190
    assert time.process_time() - begun < 2, "the work grows with the square of the images in a frame again"


def test_numbers_that_are_no_frames_are_refused_by_the_tracklet_that_repeats_most():
    tracklet = np.repeat([3, 5, 5], [40, 30, 50])
    video = np.repeat([0, 0, 7], [40, 30, 50])
    true = np.arange(120)
    frames.check(tracklet, video, true)
    with pytest.raises(
        ValueError, match=r"tracklet 5 of video 7 has 50 images in frame 0, and 117 of 120 im"
    ):
        frames.check(tracklet, video, true * 0)
    frames.check(tracklet, video, np.where(true == 9, 8, true))  # a slip of the tracker
    with pytest.raises(ValueError, match="tracklet 3 of video 0 has 3 images in frame 7, and 2 of 120"):
        frames.check(tracklet, video, np.where((true == 9) | (true == 8), 7, true))
    with pytest.raises(ValueError, match=r"row 9 has no frame number \(1 of 120 rows\)"):
        frames.check(tracklet, video, np.where(true == 9, -1, true))
    none = np.zeros(0, np.int64)
    frames.check(none, none, none)


def test_tracklets_of_several_videos_may_have_one_number():
    same = np.zeros(10, np.int64)
    frames.check(same, np.arange(10), same)


def test_frames_that_count_within_the_tracklet_are_doubted():
    videos, tracklets = np.repeat(np.arange(10), 12), np.repeat(np.arange(30), 4)
    places = np.tile(np.arange(4), 30)
    assert "30 of 30 tracklets begin at the first frame of their video" in frames.doubt(
        tracklets, videos, places
    )
    assert frames.doubt(tracklets, videos, places + 5 * (tracklets % 3)) == ""
    assert frames.doubt(tracklets[:40], videos[:40], places[:40]) == "", "ten tracklets prove nothing"
    assert frames.doubt(tracklets, tracklets, places) == "", "alone in its video, each begins with it"
    empty = np.zeros(0, int)
    assert frames.doubt(empty, empty, empty) == ""
