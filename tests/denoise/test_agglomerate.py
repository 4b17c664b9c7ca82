"""Closest pair first against a plain search over all pairs."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings

from cion_jax.denoise import agglomerate, near
from cion_jax.denoise.watching import unwatched
from tests.denoise import naive
from tests.denoise.strategies import seeds


def merge(sums, sigma, **options):
    return agglomerate.merge_closest(sums, sigma, **options).identities


def plain(sums, sigma, seen):
    """Merges the closest allowed pair until none is within sigma."""
    groups = {k: (np.array(s), set(m), [k]) for k, (s, m) in enumerate(zip(sums, seen, strict=True))}
    while True:
        pairs = [
            (naive.distance(groups[a][0], groups[b][0]), a, b)
            for a in groups
            for b in groups
            if a < b and not groups[a][1] & groups[b][1]
        ]
        if not pairs or min(pairs)[0] > sigma:
            break
        _, a, b = min(pairs)
        groups[a] = tuple(x | y if isinstance(x, set) else x + y for x, y in zip(groups[a], groups.pop(b)))  # noqa: B905
    labels = np.empty(len(sums), int)
    for name, (_, _, members) in groups.items():
        labels[members] = name
    return naive.by_first_appearance(labels)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_equals_the_plain_search(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 16))
    sums = rng.normal(size=(4, 3))[rng.integers(4, size=count)] + 0.4 * rng.normal(size=(count, 3))
    moments = [np.unique(rng.integers(12, size=2)) for _ in range(count)]
    found = merge(sums, 0.15, ends=np.full(count, count), moments=moments, loose=20.0)
    np.testing.assert_array_equal(found, plain(sums, 0.15, moments))


def test_a_chain_of_look_alikes_does_not_become_one():
    angles = np.deg2rad(np.arange(0, 180, 10))
    sums = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ends = np.full(len(sums), len(sums))
    found = merge(sums, 0.05, ends=ends)
    assert found.max() + 1 > 3, "closest pair first must not chain over 180 degrees"


def test_who_was_seen_together_stays_apart():
    sums = np.ones((3, 4))
    moments = [np.array([1, 2]), np.array([2, 3]), np.array([4])]
    found = merge(sums, 0.5, ends=np.full(3, 3), moments=moments)
    assert found[0] != found[1]
    assert found[2] in found[:2], "only those seen in one frame are kept apart"


def test_what_was_merged_carries_its_moments_along():
    sums = np.array([[1, 0.0], [1, 0.02], [1, 0.3]])
    moments = [np.array([1]), np.array([2]), np.array([2])]
    found = merge(sums, 0.5, ends=np.full(3, 3), moments=moments)
    assert found.tolist() == [0, 0, 1], "0 and 1 are closest; 2 was seen together with 1"


def test_the_range_limits_candidates():
    sums = np.ones((3, 2))
    assert merge(sums, 0.1, ends=np.array([1, 3, 3])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_merge(count):
    found = merge(np.ones((count, 3)), 0.5, ends=np.full(count, count))
    assert found.tolist() == list(range(count))


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_ties_go_to_the_earlier_as_in_the_plain_search(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 14))
    sums = np.eye(4)[rng.integers(4, size=count)] + np.eye(4)[rng.integers(4, size=count)]
    moments = [np.unique(rng.integers(9, size=1)) for _ in range(count)]
    found = merge(sums, 0.6, ends=np.full(count, count), moments=moments, loose=20.0)
    np.testing.assert_array_equal(found, plain(sums, 0.6, moments))


def test_where_all_are_near_the_nearest_are_followed_and_it_is_told(monkeypatch):
    monkeypatch.setattr(agglomerate, "_NEAREST", 3)
    monkeypatch.setattr(agglomerate, "_MOST_PAIRS", 50)
    rng = np.random.default_rng(0)
    person = rng.integers(0, 8, 60)
    sums = np.ones(8) + np.eye(8)[person] + 0.02 * rng.normal(size=(60, 8))
    found = agglomerate.merge_closest(sums, 0.01, ends=np.full(60, 60), loose=20.0)
    assert "only the 3 nearest of each" in found.warnings[0]
    together = found.identities[:, None] == found.identities
    assert (together <= (person[:, None] == person)).all()
    assert found.identities.max() + 1 < 24, "chains of nearest hold most of a person together"
    assert not agglomerate.merge_closest(sums, 0.01, ends=np.arange(60) + 1).warnings


@pytest.mark.parametrize("ties", [False, True])
def test_labels_do_not_depend_on_tiles_where_candidates_are_pruned(monkeypatch, ties):
    """Processors and accelerators have other tiles, so pairs come in another order and are pruned at other times."""
    monkeypatch.setattr(agglomerate, "_NEAREST", 3)
    monkeypatch.setattr(agglomerate, "_MOST_PAIRS", 400)
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(200, 6))
    if ties:  # few directions, so that many pairs are equally far apart
        sums = np.sign(sums) * rng.integers(1, 3, (200, 1))
    original, found = near.near_pairs, []
    for tiling in (near.Tiling(8, 8, 0), near.Tiling(16, 64, 0), near.Tiling(256, 256, 1 << 12)):
        monkeypatch.setattr(near, "near_pairs", functools.partial(original, tiling=tiling))
        merged = agglomerate.merge_closest(sums, 0.45, ends=np.full(200, 200), loose=1.25)
        assert merged.warnings, "the test needs pruning"
        found.append(merged.identities.tolist())
    assert found[0] == found[1] == found[2]


def test_pruned_candidates_are_those_among_the_nearest_of_one_end(monkeypatch):
    monkeypatch.setattr(agglomerate, "_NEAREST", 3)
    monkeypatch.setattr(agglomerate, "_MOST_PAIRS", 100)
    sums = np.random.default_rng(1).normal(size=(50, 4))
    pairs, warnings = agglomerate._candidates(sums, np.full(50, 50), 1.5, unwatched, "")
    unit = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T + 9 * np.eye(50)
    nearest = np.argsort(distance, axis=1)[:, :3]
    expected = {
        (min(i, j), max(i, j)) for i in range(50) for j in nearest[i].tolist() if distance[i, j] <= 1.5
    }
    assert warnings and set(map(tuple, pairs.tolist())) == expected
