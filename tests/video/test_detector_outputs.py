"""Layouts of network outputs: which one it is, and what it says."""

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import detector_outputs as outputs

SIZE = (64, 96)
CELLS = 8 * 12 + 4 * 6 + 2 * 3


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 1, 200, 7), "ssd"),
        ((1, 1, 1, 7), "ssd"),
        ((1, 3 * CELLS, 85), "yolo5"),
        ((1, 3 * CELLS, 6), "yolo5"),
        ((1, 84, CELLS), "yolo8"),
        ((1, 5, CELLS), "yolo8"),
        ((1, CELLS, 84), "yolo8"),
        ((1, 84, CELLS + 1 * 1), "yolo8"),  # with cells of 64 pixels
        ((1, 300, 6), "yolo_end"),
    ],
)
def test_the_shape_tells_the_layout(shape, layout):
    assert outputs.recognise({"out": shape}, SIZE) == ("out", layout)


def test_an_output_is_found_among_others():
    shapes = {"raw": (1, 3, 8, 12, 85), "boxes": (1, 3 * CELLS, 85)}
    assert outputs.recognise(shapes, SIZE) == ("boxes", "yolo5")


@pytest.mark.parametrize(
    "shapes",
    [{"a": (200, 5), "b": (200,)}, {"a": (1, 1000)}, {"a": (1, CELLS, 85)}, {"a": (1, 100, 9)}],
)
def test_other_shapes_are_refused_with_what_there_is(shapes):
    with pytest.raises(UserError, match=r"no output looks like boxes .* a \[.*detector\.output"):
        outputs.recognise(shapes, SIZE)
    with pytest.raises(UserError, match="several outputs"):
        outputs.recognise({"a": (1, 1, 9, 7), "b": (1, 1, 9, 7)}, SIZE)


def test_ssd_rows_end_at_a_negative_image():
    rows = np.array(
        [
            [0, 1, 0.9, 0.1, 0.2, 0.3, 0.4],
            [0, 2, 0.3, 0, 0, 1, 1],
            [-1, 0, 0, 0, 0, 0, 0],
            [0, 1, 0.9, 0, 0, 1, 1],
        ]
    )
    found = outputs.decode(rows[None, None], "ssd", 0.25)
    np.testing.assert_allclose(found.boxes, rows[:2, 3:], rtol=1e-6)
    assert found.classes.tolist() == [1, 2] and found.scores.tolist() == pytest.approx([0.9, 0.3])


def test_the_yolos_say_the_same_in_their_own_ways():
    """One box about (40, 30), 20 wide and 10 high, of class 1, hidden among boxes of low score."""
    rows = np.zeros((CELLS, 4 + 3), np.float32)
    rows[17] = [40, 30, 20, 10, 0.1, 0.8, 0.2]
    expected = [30, 25, 50, 35]
    for array in (rows.T[None], rows[None]):
        found = outputs.decode(array, "yolo8", 0.5)
        assert found.boxes.tolist() == [expected] and found.classes.tolist() == [1]
    old = np.insert(np.concatenate([rows, rows, rows]), 4, 0.0, axis=1)
    old[17, 4] = 0.75
    found = outputs.decode(old[None], "yolo5", 0.5)
    assert found.boxes.tolist() == [expected], "objectness times class"
    assert found.scores.tolist() == pytest.approx([0.6])
    end = np.array([[[*expected, 0.8, 1], [0, 0, 0, 0, 0, 0]]], np.float32)
    found = outputs.decode(end, "yolo_end", 0.5)
    assert found.boxes.tolist() == [expected] and found.classes.tolist() == [1]


def test_nothing_found_and_nothing_known():
    assert len(outputs.decode(np.zeros((1, 1, 0, 7)), "ssd", 0.5).boxes) == 0
    with pytest.raises(UserError, match="none of auto"):
        outputs.decode(np.zeros((1, 2, 7)), "frcnn", 0.5)
    with pytest.raises(UserError, match="no column for a class"):
        outputs.decode(np.zeros((1, 9, 5)), "yolo5", 0.5)
