"""Rows in groups."""

import numpy as np
import pytest
from hypothesis import given

from cion_jax.denoise import ragged
from tests.denoise.strategies import draw_tracklets, seeds


@given(seeds)
def test_groups_hold_the_rows_of_their_tracklet_in_order(seed):
    _, tracklets, videos = draw_tracklets(seed)
    groups = ragged.group(tracklets, videos)
    known = {}
    names = [
        known.setdefault(name, len(known)) for name in zip(videos.tolist(), tracklets.tolist(), strict=True)
    ]
    assert groups.of_row.tolist() == names
    assert len(groups) == len(known)
    assert groups.sizes.tolist() == np.bincount(names, minlength=len(known)).tolist()
    for k in range(len(groups)):
        part = groups.rows[groups.starts[k] : groups.starts[k + 1]]
        assert part.tolist() == np.flatnonzero(groups.of_row == k).tolist()
    order = list(dict.fromkeys(videos.tolist()))
    assert groups.video.tolist() == [order.index(video) for video, _ in known]


def test_without_videos_the_tracklet_alone_names_it():
    groups = ragged.group(np.array([7, 5, 7, 5, 9]))
    assert groups.of_row.tolist() == [0, 1, 0, 1, 2]
    assert groups.video.tolist() == [0, 0, 0]


def test_nothing_is_no_group():
    groups = ragged.group(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(groups) == 0 and groups.sizes.tolist() == []


def test_a_video_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="video 4 starts at row 0 and again at row 3"):
        ragged.group(np.arange(4), np.array([4, 4, 5, 4]))


@pytest.mark.parametrize("sizes", [[], [1], [3, 3, 3, 3], [20], [1, 20, 1], [5, 5, 6], [10, 1]])
def test_chunks_are_whole_groups_of_a_limited_size(monkeypatch, sizes):
    monkeypatch.setattr(ragged, "_CHUNK_ROWS", 10)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    found = list(ragged.chunks(starts))
    assert [k for first, last in found for k in range(first, last)] == list(range(len(sizes)))
    for first, last in found:
        assert last - first == 1 or starts[last] - starts[first] <= 10
