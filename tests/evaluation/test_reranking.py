"""k-reciprocal re-ranking against a slow program of sets and loops, written from the paper's definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax import evaluation
from cion_jax.core.errors import UserError


def reference(query, gallery, k1, k2, lambda_):
    points = np.concatenate([query, gallery]).astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    n, q = len(points), len(query)
    distance = np.array([[((a - b) ** 2).sum() for b in points] for a in points])
    order = [sorted(range(n), key=lambda j: (j != i, distance[i, j], j)) for i in range(n)]
    scaled = distance / np.where(distance.max(axis=1) > 0, distance.max(axis=1), 1)[:, None]

    def mutual(i, k):
        return {j for j in order[i][:k] if i in order[j][:k]}

    vectors = np.zeros((n, n))
    for i in range(n):
        own = mutual(i, k1 + 1)
        grown = set(own)
        for j in own:
            theirs = mutual(j, round(k1 / 2) + 1)
            if 3 * len(theirs & own) > 2 * len(theirs):
                grown |= theirs
        for j in grown:
            vectors[i, j] = math.exp(-scaled[i, j])
        vectors[i] /= vectors[i].sum()
    vectors = np.array([vectors[order[i][:k2]].mean(axis=0) for i in range(n)])
    jaccard = [
        [
            1 - np.minimum(vectors[i], vectors[j]).sum() / np.maximum(vectors[i], vectors[j]).sum()
            for j in range(q, n)
        ]
        for i in range(q)
    ]
    return (1 - lambda_) * np.array(jaccard) + lambda_ * scaled[:q, q:]


def clustered(rng, q, g, people=8, d=16, spread=0.7):
    centres = rng.standard_normal((people, d))
    ids = rng.integers(0, people, q), rng.integers(0, people, g)
    return *(centres[i] + spread * rng.standard_normal((len(i), d)) for i in ids), *ids


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(20, 6), (5, 1), (4, 2), (3, 9), (60, 6)]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_equals_the_loops(seed, k, lambda_):
    query, gallery, *_ = clustered(np.random.default_rng(seed), 12, 38)
    ours = evaluation.rerank(query, gallery, k1=k[0], k2=k[1], lambda_=lambda_)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference(query, gallery, *k, lambda_), atol=2e-6)


def test_duplicates_are_ordered_by_index_after_the_point_itself():
    rng = np.random.default_rng(0)
    query, gallery, *_ = clustered(rng, 10, 30)
    query, gallery = np.concatenate([query, gallery[:4]]), np.concatenate([gallery, gallery[:7], gallery[:7]])
    np.testing.assert_allclose(
        evaluation.rerank(query, gallery, k1=6, k2=3), reference(query, gallery, 6, 3, 0.3), atol=2e-6
    )


def test_close_cuts_do_not_depend_on_blocks(monkeypatch):
    """Many distances differ by less than float32 can tell; the float64 decision is the reference's."""
    from cion_jax.evaluation import reranking

    rng = np.random.default_rng(1)
    base = rng.standard_normal((6, 24))
    points = base[rng.integers(0, 6, 60)] + 1e-6 * rng.standard_normal((60, 24))
    query, gallery = points[:20], points[20:]
    whole = evaluation.rerank(query, gallery, k1=4, k2=2)
    monkeypatch.setattr(reranking, "BLOCK_ENTRIES", 600)
    monkeypatch.setattr(reranking, "PAIR_ENTRIES", 1000)
    np.testing.assert_allclose(evaluation.rerank(query, gallery, k1=4, k2=2), whole, atol=1e-5)


def test_it_helps_where_neighbours_tell_more_than_distance():
    rng = np.random.default_rng(2)
    query, gallery, query_ids, gallery_ids = clustered(rng, 60, 240, people=20, d=32, spread=1.0)
    labels = query_ids, gallery_ids, np.zeros(60, int), np.ones(240, int)
    before = evaluation.rank(query, gallery, *labels)["mAP"]
    after = evaluation.rank_distances(evaluation.rerank(query, gallery, k1=10, k2=3), *labels)["mAP"]
    assert after > before + 0.05, f"mAP {before:.3f} before and {after:.3f} after re-ranking"


def test_few_points_and_none():
    assert evaluation.rerank(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)
    assert evaluation.rerank(np.ones((2, 4)), np.zeros((0, 4))).shape == (2, 0)
    one = np.eye(2)
    np.testing.assert_allclose(
        evaluation.rerank(one[:1], one[1:]), reference(one[:1], one[1:], 20, 6, 0.3), atol=1e-6
    )
    assert np.isfinite(evaluation.rerank(np.ones((2, 4)), np.ones((3, 4)))).all()


def test_mistakes_raise():
    good = np.ones((3, 4))
    bad = good.copy()
    bad[1, 2] = np.nan
    with pytest.raises(UserError, match="row 1 of the query"):
        evaluation.rerank(bad, good)
    with pytest.raises(ValueError, match="must be"):
        evaluation.rerank(good, np.ones((3, 5)))
    with pytest.raises(ValueError, match="k1"):
        evaluation.rerank(good, good, k1=0)
    with pytest.raises(ValueError, match="lambda_"):
        evaluation.rerank(good, good, lambda_=1.5)
