"""Cutting tracklets at switches of identity."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax import denoise
from cion_jax.denoise import ragged, split

A, B = np.array([1.0, 0.0, 0.0]), np.array([0.6, 0.8, 0.0])  # 1 - cos = .4
C = np.array([0.0, 0.6, 0.8])


def cut(features, tracklets, sigma=0.2):
    return split.split_tracklets(np.array(features), ragged.group(np.array(tracklets)), sigma)


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 12), st.integers(3, 12), st.integers(3, 12))
def test_finds_every_switch(first, second, third):
    found = cut([A] * first + [B] * second + [C] * third, [0] * (first + second + third))
    assert found.tolist() == [0] * first + [1] * second + [2] * third


def test_there_and_back():
    found = cut([A] * 9 + [B] * 4 + [A] * 9, [0] * 22)
    assert found.tolist() == [0] * 9 + [1] * 4 + [2] * 9


def test_level_one_does_not_see_a_switch_half_way():
    features, ids = np.array([A] * 6 + [B] * 6), np.zeros(12, int)
    assert denoise.denoise_tracklets(features, ids, sigma_cst=0.25).all()
    assert cut(features, ids).tolist() == [0] * 6 + [1] * 6


def test_one_person_stays_whole_and_short_tracklets_are_left_alone():
    rng = np.random.default_rng(0)
    assert cut(A + 0.1 * rng.normal(size=(40, 3)), [0] * 40).max() == 0
    assert cut([A, A, B, B, B], [0] * 5).max() == 0


def test_others_keep_their_order():
    assert cut([B] + [A] * 3 + [B] * 3 + [A], [7] + [4] * 6 + [9]).tolist() == [0, 1, 1, 1, 2, 2, 2, 3]
