"""Box arithmetic against the definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.video import boxes as geometry


def some_boxes(seed, count):
    low = np.random.default_rng(seed).integers(0, 20, (count, 2))
    size = np.random.default_rng(seed + 1).integers(0, 12, (count, 2))
    return np.concatenate([low, low + size], axis=1).astype(float)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999))
def test_iou_counts_pixels(seed):
    first, second = some_boxes(seed, 4), some_boxes(seed + 7, 3)

    def mask(box):
        grid = np.zeros((40, 40), bool)
        left, top, right, bottom = box.astype(int)
        grid[top:bottom, left:right] = True
        return grid

    for i, a in enumerate(first):
        for j, b in enumerate(second):
            either = (mask(a) | mask(b)).sum()
            expected = (mask(a) & mask(b)).sum() / either if either else 0
            assert abs(geometry.iou(first, second)[i, j] - expected) < 1e-9


def test_no_boxes_at_all():
    none = np.zeros((0, 4))
    assert geometry.iou(none, some_boxes(0, 3)).shape == (0, 3)
    assert len(geometry.suppress(none, np.zeros(0), 0.5)) == 0


def test_clip_and_widen():
    box = np.array([[-5.0, 10, 30, 60]])
    np.testing.assert_array_equal(geometry.clip(box, 50, 20), [[0, 10, 20, 50]])
    np.testing.assert_allclose(geometry.widen(box, 0.1), [[-8.5, 5, 33.5, 65]])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.sampled_from([0.2, 0.5, 0.8]))
def test_suppression_keeps_the_best_and_nothing_that_overlaps_it(seed, limit):
    boxes = some_boxes(seed, 12)
    scores = np.random.default_rng(seed).integers(0, 5, 12) / 5
    kept = geometry.suppress(boxes, scores, limit)
    assert len(set(kept)) == len(kept) and scores[kept[0]] == scores.max()
    assert (np.diff(scores[kept]) <= 0).all()
    overlap = geometry.iou(boxes[kept], boxes[kept]) - np.eye(len(kept)) * 2
    assert (overlap <= limit).all()
    for row in set(range(12)) - set(kept.tolist()):
        better = kept[scores[kept] >= scores[row]]
        assert geometry.iou(boxes[row][None], boxes[better]).max() > limit, "dropped without a better one"
