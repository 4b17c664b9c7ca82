"""Near pairs against the whole matrix of distances in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.denoise import near
from cion_jax.denoise.decisions import MARGIN
from tests.denoise import naive
from tests.denoise.strategies import seeds

WHOLE = near.Tiling(16, 64, 0)
PICKED = near.Tiling(16, 64, 4096)
CRAMPED = near.Tiling(16, 64, 5)  # tiles with more pairs than there is room for


def expected(vectors, ends, sigma):
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.where(length > 0, vectors / np.where(length > 0, length, 1), 0)
    found = 1 - unit @ unit.T <= sigma
    place = np.arange(len(vectors))
    return found & (place[None] > place[:, None]) & (place[None] < ends[:, None])


def found(vectors, ends, sigma, tiling=None):
    """A matrix of how often each pair came."""
    counts = np.zeros((len(vectors), len(vectors)), int)
    for i, j in near.near_pairs(vectors, ends, sigma, tiling=tiling):
        np.add.at(counts, (i, j), 1)
    return counts


@pytest.mark.parametrize("tiling", [None, WHOLE, PICKED, CRAMPED])
@settings(deadline=None, max_examples=25)
@given(
    seed=seeds,
    count=st.sampled_from([0, 1, 13, 64, 150]),
    sigma=st.floats(1e-6, 1.2),
    reach=st.sampled_from([1, 3, 40, 200]),
)
def test_equals_the_whole_matrix(tiling, seed, count, sigma, reach):
    vectors = np.random.default_rng(seed).normal(size=(count, 6))
    vectors[3::7] = vectors[: len(vectors[3::7])]
    ends = np.minimum(np.arange(count) + reach, count)
    np.testing.assert_array_equal(found(vectors, ends, sigma, tiling), expected(vectors, ends, sigma))


@pytest.mark.parametrize("tiling", [WHOLE, PICKED, CRAMPED])
def test_close_calls_are_decided_in_float64(tiling):
    """Distances a hundredth of the margin on either side of sigma, which float32 does not tell apart."""
    sigma = 0.25
    offsets = np.linspace(-1, 1, 40) * MARGIN / 100
    angle = np.arccos(1 - (sigma + offsets))
    vectors = np.concatenate([[[1.0, 0.0]], np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    ends = np.full(41, 41)
    counts = found(vectors, ends, sigma, tiling)
    np.testing.assert_array_equal(counts[0, 1:], offsets <= 0)
    assert counts[1:, 1:].sum() == 40 * 39 // 2, "the others lie on one another"


def test_zero_vectors_are_at_distance_one():
    vectors = np.array([[0.0, 0], [1, 0], [0, 0]])
    assert found(vectors, np.full(3, 3), 0.99).sum() == 0
    assert found(vectors, np.full(3, 3), 1.0).sum() == 3


@pytest.mark.parametrize("tiling", [WHOLE, PICKED])
def test_components_are_what_hangs_together(tiling, monkeypatch):
    monkeypatch.setitem(near._TILINGS, "cpu", tiling)
    rng = np.random.default_rng(0)
    group = rng.integers(0, 20, 200)
    vectors = rng.normal(size=(20, 8))[group] + 0.01 * rng.normal(size=(200, 8))
    labels = near.components(vectors, np.full(200, 200), 0.01)
    same = group[:, None] == group
    np.testing.assert_array_equal(labels[:, None] == labels, same)


def test_distances_are_those_of_unit_vectors():
    vectors = np.random.default_rng(0).normal(size=(9, 5)) * 7
    i, j = np.triu_indices(9, 1)
    unit = naive.unit(vectors)
    np.testing.assert_allclose(near.distances(vectors, i, j), 1 - (unit @ unit.T)[i, j], atol=1e-12)
    assert near.distances(vectors, i[:0], j[:0]).shape == (0,)


def test_progress_counts_tiles():
    told = []

    class Counter:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, number=1):
            told.append(number)

    def watch(label, total, unit):
        assert (label, unit) == ("here", "tiles")
        told.append(-total)
        return Counter()

    vectors = np.random.default_rng(0).normal(size=(100, 4))
    for _ in near.near_pairs(vectors, np.full(100, 100), 0.1, tiling=WHOLE, watch=watch, label="here"):
        pass
    assert sum(told) == 0 and len(told) == 4, "two blocks of 64: three tiles, and the total"
