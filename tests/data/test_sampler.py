"""The identity sampler: whole identities, distinct within a batch, every image in every epoch."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.core.errors import UserError
from cion_jax.data.sampler import DROP, FILL, RULES, IdentitySampler

counts_strategy = st.lists(st.integers(1, 40), min_size=3, max_size=40)
# A few identities with far more images than the others have.
uneven_strategy = st.lists(st.integers(1, 12) | st.integers(60, 120), min_size=3, max_size=15)
drawn = given(
    counts=counts_strategy | uneven_strategy,
    n=st.integers(1, 8),
    p=st.integers(1, 6),
    epoch=st.integers(0, 3),
)
drawn_with_rule = given(
    counts=counts_strategy | uneven_strategy,
    n=st.integers(1, 8),
    p=st.integers(1, 6),
    epoch=st.integers(0, 3),
    rule=st.sampled_from(RULES),
)
often = settings(deadline=None, max_examples=60)


def identities_of(counts, seed=0):
    column = np.repeat(
        np.arange(len(counts)) * 7, counts
    )  # labels with gaps: nothing may rely on 0, 1, 2, ...
    return np.random.default_rng(seed).permutation(column)


def sampler_of(counts, p, n, rule=FILL):
    return IdentitySampler(identities_of(counts), min(p, len(counts)), n, rule)


# What holds under both rules.


@often
@drawn_with_rule
def test_batches_are_whole_distinct_identities(counts, n, p, epoch, rule):
    column, p = identities_of(counts), min(p, len(counts))
    sampler = sampler_of(counts, p, n, rule)
    batches = sampler.epoch(seed=1, epoch=epoch)
    assert batches.shape == (sampler.epoch_length, p * n)
    assert batches.dtype == np.int32
    groups = column[batches].reshape(len(batches), p, n)
    assert (groups == groups[..., :1]).all(), "a group mixes identities"
    distinct = [len(set(batch)) for batch in groups[..., 0]]
    assert distinct == [p] * len(batches), "an identity stands twice in a batch"


@often
@drawn_with_rule
def test_a_group_repeats_an_image_only_where_the_identity_is_short(counts, n, p, epoch, rule):
    column = identities_of(counts)
    for group in sampler_of(counts, p, n, rule).epoch(2, epoch).reshape(-1, n):
        images = np.count_nonzero(column == column[group[0]])
        assert len(set(group)) == min(images, n)


@often
@drawn_with_rule
def test_the_plan_is_a_function_of_seed_and_epoch(counts, n, p, epoch, rule):
    one, other = sampler_of(counts, p, n, rule), sampler_of(counts, p, n, rule)
    other.epoch(seed=9, epoch=9)
    np.testing.assert_array_equal(one.epoch(5, epoch), other.epoch(5, epoch))


@pytest.mark.parametrize("rule", RULES)
def test_other_seeds_and_epochs_give_other_plans(rule):
    sampler = sampler_of([3, 9, 5, 2, 12, 4], 3, 2, rule)
    assert (sampler.epoch(5, 1) != sampler.epoch(5, 2)).any()
    assert (sampler.epoch(5, 1) != sampler.epoch(6, 1)).any()


@pytest.mark.parametrize("rule", RULES)
def test_epoch_length_does_not_depend_on_the_order_of_records(rule):
    counts = [3, 9, 5, 2, 12, 4]
    lengths = {IdentitySampler(identities_of(counts, seed), 3, 2, rule).epoch_length for seed in range(5)}
    assert len(lengths) == 1


@pytest.mark.parametrize("rule", RULES)
def test_every_image_of_a_large_identity_gets_its_turn(rule):
    column = identities_of([50, 2, 2, 2])
    sampler = IdentitySampler(column, 2, 2, rule)
    seen = np.unique(np.concatenate([sampler.epoch(0, e).reshape(-1) for e in range(60)]))
    assert len(seen) == len(column), "some images are never drawn in 60 epochs"


@pytest.mark.parametrize("rule", RULES)
def test_identities_meet_many_others(rule):
    """Two identities should not stand together in batch after batch of one epoch."""
    column = identities_of([40] * 30)
    batches = IdentitySampler(column, 5, 2, rule).epoch(0, 0)
    together = np.zeros((30, 30))
    for batch in column[batches][:, ::2] // 7:
        together[np.ix_(batch, batch)] += 1
    np.fill_diagonal(together, 0)
    # 20 groups each meet 4 others out of 29: 2.8 meetings a pair by chance.
    assert together.max() < 13, f"a pair of identities met {together.max():.0f} times"


def test_junk_is_never_drawn_and_too_few_identities_are_refused():
    column = np.array([-1, -1, 0, 0, 1, 1])
    assert (IdentitySampler(column, 2, 2).epoch(0, 0) >= 2).all()
    with pytest.raises(UserError, match=r"has 2 identities.*needs 3"):
        IdentitySampler(column, 3, 2)


def test_an_unknown_rule_is_refused():
    with pytest.raises(UserError, match=r"data.incomplete_groups='keep' is none of fill, drop"):
        sampler_of([4, 4, 4], 2, 2, "keep")


# Rule "fill": every image in every epoch.


@often
@drawn
def test_every_image_is_used_in_every_epoch(counts, n, p, epoch):
    column, sampler = identities_of(counts), sampler_of(counts, p, n)
    batches = sampler.epoch(2, epoch)
    used = np.bincount(batches.reshape(-1), minlength=len(column))
    length = sampler.epoch_length
    for identity in np.unique(column):
        own = used[column == identity]
        if len(own) <= length * n:
            assert own.all(), "an image is not used in this epoch"
        else:
            # The one exception: an identity that stands in every batch and still has images left.
            assert np.count_nonzero(own) == own.sum() == length * n
            assert (column[batches] == identity).any(axis=1).all()


@often
@drawn
def test_an_epoch_lasts_while_a_batch_has_a_group_not_yet_used(counts, n, p, epoch):
    p = min(p, len(counts))
    groups = -(-np.array(counts) // n)
    empty = {t: p * t - np.minimum(groups, t).sum() for t in range(1, groups.sum() + 2)}
    length = sampler_of(counts, p, n).epoch_length
    assert 0 <= empty[length] < p, "fewer than P places of an epoch are for extra groups"
    assert all(empty[t] >= p for t in empty if t > length), "a longer epoch has no more such places"


@often
@drawn
def test_groups_are_filled_up_as_far_as_needed(counts, n, p, epoch):
    """Images drawn again: N - m mod N for every identity, and N for every extra group, of which there are < P."""
    p = min(p, len(counts))
    column, sampler = identities_of(counts), sampler_of(counts, p, n)
    used = np.bincount(sampler.epoch(2, epoch).reshape(-1), minlength=len(column))
    extra = 0
    for identity in np.unique(column):
        own = used[column == identity]
        groups = min(-(-len(own) // n), sampler.epoch_length)
        extra_here, rest = divmod(int(own.sum()) - groups * n, n)
        assert rest == 0 and extra_here >= 0
        extra += extra_here
        if not extra_here and len(own) >= n:
            assert own.max() <= 2, "images drawn again are spread over the identity"
    assert extra < p


@often
@drawn
def test_counts_of_use_are_exact(counts, n, p, epoch):
    column, sampler = identities_of(counts), sampler_of(counts, p, n)
    batches, use = sampler.epoch(3, epoch), sampler.use()
    assert (use.batches, use.images, use.identities) == (len(batches), len(column), len(counts))
    assert use.images_left_out == len(column) - len(np.unique(batches))
    assert use.images_drawn_again == batches.size - len(np.unique(batches))
    assert ("every image at least once" in use.sentence()) == (use.images_left_out == 0)


def test_images_drawn_again_are_spread_evenly():
    """Over many epochs every image of an identity is drawn again equally often, up to chance."""
    column = identities_of([11, 13, 7, 9])
    sampler, epochs = IdentitySampler(column, 2, 4), 3000
    used = sum(np.bincount(sampler.epoch(0, e).reshape(-1), minlength=len(column)) for e in range(epochs))
    for identity in np.unique(column):
        own = used[column == identity] - epochs
        spread = np.sqrt(own.mean())  # of a Poisson variable; a draw without replacement varies less
        assert np.abs(own - own.mean()).max() < 4.5 * spread, own


# Rule "drop": incomplete groups are left out, as all runs had it before there was a rule.


@often
@drawn
def test_dropping_uses_images_once_unless_an_identity_is_short(counts, n, p, epoch):
    column = identities_of(counts)
    batches = sampler_of(counts, p, n, DROP).epoch(2, epoch)
    used = np.bincount(batches.reshape(-1), minlength=len(column))
    short = np.bincount(column)[column] < n
    assert used[~short].max(initial=0) <= 1, "an image of a large identity is drawn twice in an epoch"
    for identity in np.unique(column[batches]):
        rows = np.flatnonzero(column == identity)
        if len(rows) < n:
            assert (used[rows] > 0).all(), "a short identity is filled up before all its images are used"


@often
@drawn
def test_an_epoch_that_drops_is_the_longest_that_distinct_identities_allow(counts, n, p, epoch):
    p = min(p, len(counts))
    groups = np.maximum(np.array(counts) // n, 1)
    feasible = [t for t in range(1, groups.sum() + 1) if np.minimum(groups, t).sum() >= p * t]
    assert sampler_of(counts, p, n, DROP).epoch_length == max(feasible)


def test_counts_of_use_add_up_where_groups_are_dropped():
    column = identities_of([1, 3, 8, 8, 5])
    sampler = IdentitySampler(column, 2, 4, DROP)
    use = sampler.use()
    distinct = np.mean([len(np.unique(sampler.epoch(0, e))) for e in range(200)])
    assert use.images == len(column)
    assert abs(use.images - use.images_left_out - distinct) < 1.5
    assert "images left out per epoch" in use.sentence()


@pytest.mark.parametrize(
    ("counts", "p", "n", "seed", "epoch", "expected"),
    [
        ([3, 9, 5, 2, 12, 4], 3, 2, 0, 0, "d370bab344c20a18"),
        ([3, 9, 5, 2, 12, 4], 3, 2, 5, 3, "1b84e6813d157e24"),
        ([1, 3, 8, 8, 5, 40, 17, 6], 3, 4, 0, 0, "b9c2ef5f5f1f81f6"),
        ([1, 3, 8, 8, 5, 40, 17, 6], 3, 4, 5, 3, "16ea37d94f1955e3"),
        (list(range(1, 60)), 12, 8, 0, 0, "f2a9187b50cd1717"),
        (list(range(1, 60)), 12, 8, 5, 3, "31140db97fcddb27"),
    ],
)
def test_dropping_plans_as_it_always_did(counts, p, n, seed, epoch, expected):
    """Runs of earlier versions go on with this rule, bit by bit: their plans must never change."""
    plan = sampler_of(counts, p, n, DROP).epoch(seed, epoch)
    found = hashlib.sha256(np.ascontiguousarray(plan, "<i4").tobytes()).hexdigest()[:16]
    assert found == expected, "the order of random draws has changed: old runs cannot be continued"
