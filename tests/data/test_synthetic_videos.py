"""Synthetic people in tracklets with known faults."""

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import synthetic, synthetic_videos
from cion_jax.data.synthetic import SyntheticSpec
from cion_jax.data.synthetic_videos import VideoSpec

PEOPLE = SyntheticSpec(
    identities=40, eval_identities=4, cameras=2, images_per_tracklet=(4, 12), height=32, width=16
)
SPEC = VideoSpec(PEOPLE)


def people_of(table):
    return [len(np.unique(table["identity"][table["tracklet"] == k])) for k in np.unique(table["tracklet"])]


def test_nobody_is_twice_in_a_frame_but_several_people_are():
    table = synthetic_videos.table(SPEC, "train")
    moments = np.stack([table["video"], table["frame"]], axis=1)
    with_who = np.column_stack([moments, table["identity"]])
    assert len(np.unique(with_who, axis=0)) == len(with_who)
    _, in_frame = np.unique(moments, axis=0, return_counts=True)
    assert (in_frame > 1).sum() > 50, "calibration needs people that are seen together"


def test_tracklets_are_cut_and_switched_as_asked():
    people = people_of(synthetic_videos.table(SPEC, "train"))
    clean = synthetic_videos.table(VideoSpec(PEOPLE, switches=0.0, cuts=0.0), "train")
    assert set(people_of(clean)) == {1}
    assert len(people) > 1.3 * len(people_of(clean)), "cuts make more tracklets"
    assert 0.05 < np.mean(np.array(people) > 1) < 0.3
    assert max(people) <= 3


def test_pictures_are_those_of_the_people():
    table = synthetic_videos.table(SPEC, "train")
    assert synthetic_videos.count(SPEC, "train") == len(table["identity"])
    plan = synthetic_videos._plan(SPEC)
    assert sorted(plan.source) == list(range(len(plan.source))), "every picture is used once"
    for index in (0, 77):
        there = int(plan.source[index])
        assert synthetic.table(PEOPLE, "train")["identity"][there] == table["identity"][index]
        np.testing.assert_array_equal(
            synthetic_videos.render(SPEC, "train", index), synthetic.render(PEOPLE, "train", there)
        )


def test_tracklets_have_numbers_of_their_own_and_rows_in_frame_order():
    table = synthetic_videos.table(SPEC, "train")
    for k in np.unique(table["tracklet"]):
        rows = np.flatnonzero(table["tracklet"] == k)
        assert (np.diff(rows) == 1).all() and len(np.unique(table["video"][rows])) == 1
        assert (np.diff(table["frame"][rows]) >= 0).all()


def test_query_and_gallery_are_those_of_the_people():
    for split in ("query", "gallery"):
        found, expected = synthetic_videos.table(SPEC, split), synthetic.table(PEOPLE, split)
        assert all((found[name] == expected[name]).all() for name in expected)


def test_values_that_make_no_videos_are_named():
    with pytest.raises(UserError, match="switches"):
        VideoSpec(PEOPLE, switches=2.0)
    with pytest.raises(UserError, match="video_frames"):
        VideoSpec(PEOPLE, video_frames=0)
