"""The measures against a loop over queries that sorts everything, on problems full of ties and junk."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax import evaluation
from cion_jax.core.errors import UserError
from cion_jax.evaluation import ranking

KEYS = {"mAP", "mINP", "rank1", "rank5", "rank10"}


def reference(distances, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """One query at a time, by a stable sort; None if no query is valid."""
    rows = []
    for i, row in enumerate(distances):
        kept = [
            j
            for j in range(len(row))
            if gallery_ids[j] != -1
            and not (gallery_ids[j] == query_ids[i] and gallery_cameras[j] == query_cameras[i])
        ]
        ranking = sorted(kept, key=lambda j: (row[j], j))
        hits = [place for place, j in enumerate(ranking, 1) if gallery_ids[j] == query_ids[i]]
        if hits:
            precision = sum(n / place for n, place in enumerate(hits, 1)) / len(hits)
            rows.append([precision, len(hits) / hits[-1], *(hits[0] <= k for k in (1, 5, 10))])
    if not rows:
        return None
    return dict(
        zip(["mAP", "mINP", "rank1", "rank5", "rank10"], np.mean(np.array(rows, float), axis=0), strict=True)
    )


@st.composite
def problems(draw):
    """Few identities, cameras and distinct vectors, so that every rule and many ties take part."""
    q, g = draw(st.integers(1, 12)), draw(st.sampled_from([1, 7, 40]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    people = draw(st.sampled_from([1, 3, 9]))
    cameras = draw(st.integers(1, 3))
    labels = (
        rng.integers(-1, people, q),
        rng.integers(-1, people, g),
        rng.integers(-5, cameras - 5, q),
        rng.integers(-5, cameras - 5, g),
    )
    # Entries of one size in 16 dimensions: after normalisation all products are exact, in any order of
    # summation.
    query, gallery = (rng.choice([-1.0, 1.0], (n, 16)) * rng.integers(1, 9, (n, 1)) for n in (q, g))
    return query, gallery, labels


def cosine_distances(query, gallery):
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery)]
    return 1 - unit[0] @ unit[1].T


def people(rng, q, g, count=20, cameras=4):
    return (
        rng.integers(0, count, q),
        rng.integers(-1, count, g),
        rng.integers(0, cameras, q),
        rng.integers(0, cameras, g),
    )


def check(measured, expected):
    assert set(measured) == KEYS
    assert all(type(value) is float for value in measured.values())
    for key in KEYS:
        assert measured[key] == pytest.approx(expected[key], abs=1e-12), (
            f"{key} differs from the loop over queries: look at the rules in ranking._ranks, not at the loop"
        )


@settings(max_examples=40, deadline=None)
@given(problems())
def test_rank_and_rank_distances_equal_the_loop(problem):
    query, gallery, labels = problem
    distances = cosine_distances(query, gallery)
    expected = reference(distances, *labels)
    for measure in (
        lambda: evaluation.rank(query, gallery, *labels),
        lambda: evaluation.rank_distances(distances, *labels),
    ):
        if expected is None:
            with pytest.raises(UserError, match="none of the"):
                measure()
        else:
            check(measure(), expected)


@settings(max_examples=15, deadline=None)
@given(problems(), st.sampled_from([1, 8, 9, 16]))
def test_block_size_does_not_matter(problem, block_rows):
    query, gallery, labels = problem
    if reference(cosine_distances(query, gallery), *labels) is None:
        return
    whole = evaluation.rank(query, gallery, *labels)
    assert evaluation.rank(query, gallery, *labels, block_rows=block_rows) == whole
    distances = cosine_distances(query, gallery).astype(np.float32)
    assert evaluation.rank_distances(distances, *labels, block_rows=block_rows) == whole


def test_a_larger_problem_in_many_blocks():
    rng = np.random.default_rng(0)
    labels = people(rng, 150, 700, count=40)
    query, gallery = (rng.choice([-1.0, 1.0], (n, 64)) for n in (150, 700))
    expected = reference(cosine_distances(query, gallery), *labels)
    check(evaluation.rank(query, gallery, *labels, block_rows=32), expected)
    check(evaluation.rank(query, gallery, *labels), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_distances_keep_their_dtype(dtype):
    rng = np.random.default_rng(1)
    labels = people(rng, 30, 200)
    distances = rng.integers(0, 50, (30, 200)).astype(dtype)
    if dtype == np.float64:
        distances = 1 + distances * 1e-12  # all equal in float32
    check(evaluation.rank_distances(distances, *labels), reference(distances, *labels))
    assert not jax.config.jax_enable_x64


def test_infinite_distances_are_ranked_last():
    rng = np.random.default_rng(2)
    labels = people(rng, 20, 100)
    distances = np.where(rng.random((20, 100)) < 0.5, np.inf, rng.random((20, 100)))
    check(evaluation.rank_distances(distances, *labels), reference(distances, *labels))


def test_order_of_gallery_and_queries_does_not_matter_without_ties():
    rng = np.random.default_rng(3)
    query_ids, gallery_ids, query_cameras, gallery_cameras = people(rng, 40, 300)
    distances = rng.permutation(40 * 300).reshape(40, 300)
    before = evaluation.rank_distances(distances, query_ids, gallery_ids, query_cameras, gallery_cameras)
    q, g = rng.permutation(40), rng.permutation(300)
    after = evaluation.rank_distances(
        distances[q][:, g], query_ids[q], gallery_ids[g], query_cameras[q], gallery_cameras[g]
    )
    assert after == pytest.approx(before, abs=1e-12)


def test_perfect_features_give_one_and_scale_does_not_matter():
    rng = np.random.default_rng(4)
    query_ids, gallery_ids = np.arange(12), np.tile(np.arange(12), 5)
    centres = rng.standard_normal((12, 32))
    query, gallery = centres[query_ids], centres[gallery_ids] + 0.01 * rng.standard_normal((60, 32))
    args = query_ids, gallery_ids, np.zeros(12, int), np.ones(60, int)
    assert evaluation.rank(query, gallery, *args) == dict.fromkeys(KEYS, 1.0)
    scales = 10.0 ** rng.integers(-30, 30, (60, 1))
    assert evaluation.rank(query * 1e30, gallery * scales, *args) == dict.fromkeys(KEYS, 1.0)


def test_known_values():
    # Kept order: wrong, right, wrong, right. The same-camera image and the junk image in front do not count.
    distances = np.array([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]])
    ids, cameras = [7, -1, 3, 7, 0, 7], [1, 2, 1, 2, 1, 3]
    result = evaluation.rank_distances(distances, [7], ids, [1], cameras)
    assert result == {"mAP": 0.5, "mINP": 0.5, "rank1": 0.0, "rank5": 1.0, "rank10": 1.0}


def test_a_row_that_is_not_finite_is_named():
    rng = np.random.default_rng(5)
    query, gallery = rng.standard_normal((5, 8)), rng.standard_normal((9, 8))
    labels = np.zeros(5, int), np.zeros(9, int), np.zeros(5, int), np.ones(9, int)
    for value in (np.nan, np.inf):
        broken = gallery.copy()
        broken[6, 3] = value
        with pytest.raises(UserError, match="row 6 of the gallery"):
            evaluation.rank(query, broken, *labels)
    distances = rng.random((5, 9))
    distances[3, 8] = np.nan
    with pytest.raises(ValueError, match="row 3 of the distances"):
        evaluation.rank_distances(distances, *labels)


def test_a_row_of_zeros_is_ranked():
    gallery = np.array([[0.0, 0], [1, 0], [-1, 0]])
    result = evaluation.rank(np.array([[1.0, 0]]), gallery, [1], [1, 0, 2], [0], [1, 1, 1])
    assert result["mAP"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.zeros((4, 7))}, "features must be"),
        ({"gallery": np.zeros(8)}, "features must be"),
        ({"query_ids": np.zeros(3, int)}, "query_ids must have shape"),
        ({"gallery_cameras": np.zeros((6, 1), int)}, "gallery_cameras must have shape"),
        ({"gallery_ids": np.zeros(6)}, "gallery_ids must be integers"),
        ({"block_rows": 0}, "block_rows"),
    ],
)
def test_wrong_shapes_raise(change, message):
    arguments = {
        "query": np.ones((4, 8)),
        "gallery": np.ones((6, 8)),
        "query_ids": np.zeros(4, int),
        "gallery_ids": np.zeros(6, int),
        "query_cameras": np.zeros(4, int),
        "gallery_cameras": np.ones(6, int),
    }
    with pytest.raises(ValueError, match=message):
        evaluation.rank(**arguments | change)


def test_the_full_matrix_is_never_made(monkeypatch):
    """The largest block seen is bounded by the rows asked for, whatever the number of queries."""
    seen = []
    original = ranking._ranks
    monkeypatch.setattr(
        ranking, "_ranks", lambda block, *a, **k: (seen.append(block.shape), original(block, *a, **k))[1]
    )
    rng = np.random.default_rng(6)
    labels = people(rng, 100, 50)
    evaluation.rank(rng.random((100, 4)), rng.random((50, 4)), *labels, block_rows=16)
    assert set(seen) == {(16, 50)}
