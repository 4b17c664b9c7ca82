"""The identity sampler: whole identities, distinct within a batch, every epoch of one length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.core.errors import UserError
from cion_jax.data.sampler import IdentitySampler

counts_strategy = st.lists(st.integers(1, 40), min_size=3, max_size=40)


def identities_of(counts, seed=0):
    column = np.repeat(
        np.arange(len(counts)) * 7, counts
    )  # labels with gaps: nothing may rely on 0, 1, 2, ...
    return np.random.default_rng(seed).permutation(column)


@settings(deadline=None, max_examples=60)
@given(counts=counts_strategy, n=st.integers(1, 8), p=st.integers(1, 6), epoch=st.integers(0, 3))
def test_batches_are_whole_distinct_identities(counts, n, p, epoch):
    column = identities_of(counts)
    p = min(p, len(counts))
    sampler = IdentitySampler(column, p, n)
    batches = sampler.epoch(seed=1, epoch=epoch)
    assert batches.shape == (sampler.epoch_length, p * n)
    groups = column[batches].reshape(len(batches), p, n)
    assert (groups == groups[..., :1]).all(), "a group mixes identities"
    distinct = [len(set(batch)) for batch in groups[..., 0]]
    assert distinct == [p] * len(batches), "an identity stands twice in a batch"


@settings(deadline=None, max_examples=60)
@given(counts=counts_strategy, n=st.integers(1, 8), p=st.integers(1, 6))
def test_images_are_used_once_unless_an_identity_is_short(counts, n, p):
    column = identities_of(counts)
    batches = IdentitySampler(column, min(p, len(counts)), n).epoch(seed=2, epoch=0)
    used = np.bincount(batches.reshape(-1), minlength=len(column))
    short = np.bincount(column)[column] < n
    assert used[~short].max(initial=0) <= 1, "an image of a large identity is drawn twice in an epoch"
    for identity in np.unique(column[batches]):
        rows = np.flatnonzero(column == identity)
        if len(rows) < n:
            assert (used[rows] > 0).all(), "a short identity is filled up before all its images are used"


@settings(deadline=None, max_examples=60)
@given(counts=counts_strategy, n=st.integers(1, 8), p=st.integers(1, 6))
def test_epoch_is_the_longest_that_distinct_identities_allow(counts, n, p):
    p = min(p, len(counts))
    sampler = IdentitySampler(identities_of(counts), p, n)
    groups = np.maximum(np.array(counts) // n, 1)
    feasible = [t for t in range(1, groups.sum() + 1) if np.minimum(groups, t).sum() >= p * t]
    assert sampler.epoch_length == max(feasible)


def test_plan_depends_on_seed_and_epoch_alone():
    column = identities_of([3, 9, 5, 2, 12, 4])
    one, other = IdentitySampler(column, 3, 2), IdentitySampler(column.copy(), 3, 2)
    other.epoch(seed=9, epoch=9)
    np.testing.assert_array_equal(one.epoch(5, 1), other.epoch(5, 1))
    assert (one.epoch(5, 1) != one.epoch(5, 2)).any()
    assert (one.epoch(5, 1) != one.epoch(6, 1)).any()


def test_epoch_length_does_not_depend_on_the_order_of_records():
    counts = [3, 9, 5, 2, 12, 4]
    lengths = {IdentitySampler(identities_of(counts, seed), 3, 2).epoch_length for seed in range(5)}
    assert len(lengths) == 1


def test_every_image_of_a_large_identity_gets_its_turn():
    column = identities_of([50, 2, 2, 2])
    sampler = IdentitySampler(column, 2, 2)
    seen = np.unique(np.concatenate([sampler.epoch(0, e).reshape(-1) for e in range(60)]))
    assert len(seen) == len(column), "some images are never drawn in 60 epochs"


def test_identities_meet_many_others():
    """Two identities should not stand together in batch after batch of one epoch."""
    column = identities_of([40] * 30)
    batches = IdentitySampler(column, 5, 2).epoch(0, 0)
    together = np.zeros((30, 30))
    for batch in column[batches][:, ::2] // 7:
        together[np.ix_(batch, batch)] += 1
    np.fill_diagonal(together, 0)
    # 20 groups each meet 4 others out of 29: 2.8 meetings a pair by chance.
    assert together.max() < 13, f"a pair of identities met {together.max():.0f} times"


def test_counts_of_use_add_up():
    column = identities_of([1, 3, 8, 8, 5])
    sampler = IdentitySampler(column, 2, 4)
    use = sampler.use()
    drawn = np.mean([len(np.unique(sampler.epoch(0, e))) for e in range(200)])
    assert use.images == len(column)
    assert use.identities_filled_up == 2
    assert abs(use.images - use.images_left_out - drawn) < 1.5


def test_junk_is_never_drawn_and_too_few_identities_are_refused():
    column = np.array([-1, -1, 0, 0, 1, 1])
    assert (IdentitySampler(column, 2, 2).epoch(0, 0) >= 2).all()
    with pytest.raises(UserError, match=r"has 2 identities.*needs 3"):
        IdentitySampler(column, 3, 2)
