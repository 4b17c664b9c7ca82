"""Who was seen when."""

import numpy as np
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
