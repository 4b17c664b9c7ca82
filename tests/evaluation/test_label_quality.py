"""Label quality against counting of all pairs, against scikit-learn where it is there, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax import evaluation
from cion_jax.evaluation import label_quality, removal_quality
from cion_jax.evaluation.label_quality import person_of_group

COUNTS = {
    "images",
    "kept",
    "discarded",
    "false_positives",
    "false_positives_kept",
    "identities",
    "identities_of_nobody",
    "true_identities",
    "lost",
    "split",
    "merged",
    "singletons",
    "largest",
}
FRACTIONS = {
    f"{prefix}{name}"
    for prefix in ("", "kept_")
    for name in (
        *(f"{kind}_{of}" for kind in ("pair", "bcubed") for of in ("precision", "recall", "f")),
        *("purity", "inverse_purity", "homogeneity", "completeness", "v_measure", "nmi", "ari"),
    )
}


def naive(predicted, true):
    """Pairs and BCubed by loops over images, as the definitions say."""
    rows = [(p, t) for p, t in zip(predicted, true, strict=True) if t != -1]
    both = claimed = wanted = 0
    for i, (p, t) in enumerate(rows):
        for q, u in rows[:i]:
            same = p == q != -1
            both, claimed, wanted = both + (same and t == u), claimed + same, wanted + (t == u)
    precision, recall = [], []
    for p, t in rows:
        mine = [u for q, u in rows if q == p != -1]
        if p != -1:
            precision.append(mine.count(t) / len(mine))
        recall.append(mine.count(t) / sum(u == t for _, u in rows))

    def share(part, whole):
        return part / whole if whole else 1.0

    def both_ways(p, r):
        return p, r, 2 * p * r / (p + r) if p + r else 0.0

    return (
        *both_ways(share(both, claimed), share(both, wanted)),
        *both_ways(share(sum(precision), len(precision)), share(sum(recall), len(recall))),
    )


labels = st.integers(0, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-1, 4), min_size=n, max_size=n)] * 2)
)


@settings(deadline=None, max_examples=60)
@given(labels)
def test_pairs_and_bcubed_are_what_loops_count(both):
    predicted, true = (np.array(side, np.int64) for side in both)
    found = label_quality(predicted, true)
    assert found.keys() == FRACTIONS | COUNTS
    names = [f"{kind}_{of}" for kind in ("pair", "bcubed") for of in ("precision", "recall", "f")]
    np.testing.assert_allclose([found[name] for name in names], naive(*both), atol=1e-12)
    kept = predicted != -1
    np.testing.assert_allclose(
        [found[f"kept_{name}"] for name in names], naive(predicted[kept], true[kept]), atol=1e-12
    )
    assert all(0 <= found[name] <= 1 for name in FRACTIONS if not name.endswith("ari"))


@settings(deadline=None, max_examples=60)
@given(labels, st.integers(0, 2**32 - 1))
def test_names_of_labels_and_order_of_images_do_not_matter(both, seed):
    rng = np.random.default_rng(seed)
    predicted, true = (np.array(side, np.int64) for side in both)
    new = rng.permutation(len(true))
    names = np.append(rng.choice(2**40, 5, replace=False), -1)
    again = label_quality(names[predicted[new]], names[true[new]])
    assert again == pytest.approx(label_quality(predicted, true), abs=1e-12)


def test_entropies_and_rand_index_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    for people, identities in ((1, 1), (3, 5), (40, 30), (200, 200)):
        true, predicted = rng.integers(0, people, 400), rng.integers(-1, identities, 400)
        predicted = np.where(rng.random(400) < 0.6, true, predicted)
        found = label_quality(predicted, true)
        # A discarded image is an identity of its own there.
        alone = np.where(predicted == -1, 10_000 + np.arange(400), predicted)
        wanted = metrics.homogeneity_completeness_v_measure(true, alone)
        names = ("homogeneity", "completeness", "v_measure", "nmi", "ari")
        wanted += (
            metrics.normalized_mutual_info_score(true, alone),
            metrics.adjusted_rand_score(true, alone),
        )
        np.testing.assert_allclose([found[name] for name in names], wanted, atol=1e-9)


def test_a_small_case_by_hand():
    predicted = [0, 0, 0, 1, 1, -1, 2, 3, -1]
    true = [5, 5, 7, 7, 7, 7, 8, -1, -1]
    found = label_quality(np.array(predicted), np.array(true))
    wanted = {
        "pair_precision": 2 / 4,
        "pair_recall": 2 / 7,
        "kept_pair_recall": 2 / 4,
        "purity": 5 / 6,
        "inverse_purity": 5 / 7,
        "kept_inverse_purity": 5 / 6,
        "bcubed_precision": (2 * 2 / 3 + 1 / 3 + 2 + 1) / 6,
        "bcubed_recall": (2 + 1 / 4 + 2 * 2 / 4 + 0 + 1) / 7,
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert {name: found[name] for name in COUNTS} == {
        "images": 7,
        "kept": 6,
        "discarded": 1,
        "false_positives": 2,
        "false_positives_kept": 1,
        "identities": 4,
        "identities_of_nobody": 1,
        "true_identities": 3,
        "lost": 0,
        "split": 1,
        "merged": 1,
        "singletons": 2,
        "largest": 3,
    }


def test_empty_and_all_discarded():
    empty = label_quality(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert all(empty[name] == 1 for name in FRACTIONS) and not any(empty[name] for name in COUNTS)
    nothing = label_quality(np.full(4, -1), np.array([0, 0, 1, 1]))
    assert (nothing["pair_precision"], nothing["pair_recall"], nothing["pair_f"]) == (1, 0, 0)
    assert nothing["lost"] == 2 and nothing["kept_pair_f"] == 1 and nothing["bcubed_recall"] == 0


def test_millions_of_pairs_do_not_overflow():
    n = 300_000  # the product of two numbers of pairs has 70 bits
    found = label_quality(np.zeros(n, np.int32), np.arange(n) // (n // 2))
    assert found["pair_precision"] == pytest.approx(0.5, abs=1e-5) and found["pair_recall"] == 1
    assert math.isclose(found["ari"], 0, abs_tol=1e-12)


@pytest.mark.parametrize(
    "predicted, true, message",
    [
        ([0, 1], [0], "one length"),
        ([0.0], [0], "integers"),
        ([-2], [0], r"predicted\[0\] is -2"),
        ([[0]], [[0]], "integers"),
    ],
)
def test_what_is_no_label_raises(predicted, true, message):
    with pytest.raises(ValueError, match=message):
        evaluation.label_quality(np.array(predicted), np.array(true))


def test_noise_removed_and_noise_resolved():
    before = np.array([0, 0, 0, 0, 1, 1, 1, 2, -1])
    true = np.array([5, 5, 5, 6, 6, 6, -1, -1, 5])
    after = np.array([0, 0, -1, 1, 1, 1, -1, 2, 0])
    found = removal_quality(before, after, true)
    assert found["noise_images"] == 3 and found["clean_images"] == 5 and found["removed"] == 2
    assert found["removal_precision"] == 1 / 2 and found["removal_recall"] == pytest.approx(1 / 3)
    assert found["clean_retention"] == 4 / 5
    assert found["noise_resolved"] == pytest.approx(2 / 3), "one was removed, one moved to its person"


def test_removal_of_nothing_is_perfect():
    assert removal_quality([], [], [])["removal_precision"] == 1
    nobody = removal_quality(np.zeros(3, int), np.zeros(3, int), np.full(3, -1))
    assert nobody["noise_images"] == 3 and nobody["removal_recall"] == 0


@pytest.mark.parametrize("base", [10**16, 10**18, 2**63 - 10**7])
def test_huge_identity_numbers_change_nothing(base):
    """Identities by time stamp or hash: a key of group and person must not overflow."""
    rng = np.random.default_rng(0)
    groups, true = rng.integers(-1, 900, 4000), rng.integers(-1, 50, 4000)
    huge = np.where(true < 0, -1, base + 7 * true)
    person = person_of_group(groups, true)
    expected = np.where(person < 0, -1, base + 7 * person)
    np.testing.assert_array_equal(person_of_group(groups, huge), expected)
    after = np.where(rng.random(4000) < 0.2, -1, groups)
    assert removal_quality(groups, after, huge) == removal_quality(groups, after, true)
    assert label_quality(groups, huge) == label_quality(groups, true)


def test_numbers_that_no_int64_holds_are_refused():
    with pytest.raises(
        ValueError, match=r"true\[1\] is 18446744073709551615, more than 64 bits with sign hold"
    ):
        label_quality(np.array([0, 0]), np.array([1, 2**64 - 1], np.uint64))
