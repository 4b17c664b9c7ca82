"""Sums per group."""

import numpy as np
from hypothesis import given

from cion_jax.denoise import rows, sums
from tests.denoise.strategies import seeds


@given(seeds)
def test_sums_are_those_of_a_loop_in_the_order_of_rows(seed):
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(0, 60)), int(rng.integers(1, 9))
    features, labels = rng.normal(size=(n, 3)), rng.integers(-1, count, n)
    expected = np.zeros((count, 3))
    for row, label in zip(rows.unit(features) if n else features, labels, strict=True):
        if label >= 0:
            expected[label] += row
    np.testing.assert_array_equal(sums.of_labels(features, labels, count), expected)


def test_blocks_do_not_change_sums(monkeypatch):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(50, 4)).astype(np.float16), rng.integers(-1, 5, 50)
    whole = sums.of_labels(features, labels, 5)
    monkeypatch.setattr(sums, "_BLOCK_ROWS", 7)
    np.testing.assert_allclose(sums.of_labels(features, labels, 5), whole, rtol=1e-14)
    parts = [part for part, _ in sums.unit_blocks(features, labels)]
    assert np.concatenate(parts).tolist() == np.flatnonzero(labels >= 0).tolist()


def test_what_is_left_out_is_not_looked_at():
    features = np.array([[1.0, 0], [np.nan, 0], [0, 2]])
    np.testing.assert_array_equal(sums.of_labels(features, np.array([0, -1, 0]), 1), [[1, 1]])


def test_distances_to_the_sum_of_a_label():
    unit = rows.unit(np.random.default_rng(0).normal(size=(6, 3)))
    total = np.array([unit[:3].sum(axis=0), unit[3:].sum(axis=0), np.zeros(3)])
    found = sums.distances_to(unit, total, np.array([0, 0, 1, 1, 2, 2]))
    mean = rows.unit(total[:2])
    expected = [
        1 - unit[0] @ mean[0],
        1 - unit[1] @ mean[0],
        1 - unit[2] @ mean[1],
        1 - unit[3] @ mean[1],
        1,
        1,
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
