"""Two people who walk past each other keep their numbers."""

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.video.detectors import Detections
from cion_jax.video.tracking import NAMES, Tracker, TrackerSettings
from tests.video import drawing

pytest.importorskip("trackers", reason="the extra `video` is not installed")


def people(frame, order=(0, 1), score=0.9):
    boxes = np.array([drawing.box(person, frame) for person in order], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(order), score, np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_each_person_has_one_number_whatever_the_order_of_the_boxes(name):
    tracker, other = (Tracker(TrackerSettings(name=name), 10.0) for _ in range(2))
    seen = {0: set(), 1: set()}
    for frame in range(1, 15):
        order = (0, 1) if frame % 3 else (1, 0)
        identities = tracker.update(people(frame, order))
        assert identities.dtype == np.int64 and identities.shape == (2,)
        other.update(people(frame))  # another video at the same time
        for person, identity in zip(order, identities, strict=True):
            seen[person].add(int(identity))
    seen = {person: found - {-1} for person, found in seen.items()}
    assert sorted(map(sorted, seen.values())) == [[0], [1]], "one number each, counted from 0 in every video"


@pytest.mark.parametrize("name", NAMES)
def test_frames_without_anybody(name):
    tracker = Tracker(TrackerSettings(name=name), None)
    assert tracker.update(people(1, ())).shape == (0,)
    for frame in (2, 3, 4):
        before = tracker.update(people(frame, (0,)))
    assert tracker.update(people(5, ())).shape == (0,)
    assert tracker.update(people(6, (0,))).tolist() == before.tolist() == [0], "a gap within the patience"


@pytest.mark.parametrize("name", NAMES)
def test_patience_is_in_seconds(name):
    for rate, expected in ((10.0, [0]), (2.0, [-1])):
        tracker = Tracker(TrackerSettings(name=name, patience=1.0), rate)
        for _ in range(3):
            tracker.update(people(1, (0,)))
        for _ in range(4):
            tracker.update(people(1, ()))
        assert tracker.update(people(1, (0,))).tolist() == expected


def test_doubtful_boxes_continue_a_track_but_begin_none():
    tracker = Tracker(TrackerSettings(start=0.6, high=0.5), 10.0)
    for frame in range(1, 5):
        assert tracker.update(people(frame, (0,), score=0.3)).tolist() == [-1]
    for frame in range(5, 8):
        tracker.update(people(frame, (0,)))
    assert tracker.update(people(8, (0,), score=0.3)).tolist() == [0]


def test_an_unknown_tracker():
    with pytest.raises(UserError, match="none of bytetrack, sort"):
        Tracker(TrackerSettings(name="deep"), 10.0)
