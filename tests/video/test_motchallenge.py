"""MOTChallenge files, read and written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.core.errors import UserError
from cion_jax.video import motchallenge
from cion_jax.video.motchallenge import Rows

NUMBER = st.floats(-50, 4000, width=32)
SIZE = st.floats(0.25, 2000, width=32)
KEYS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), unique=True, min_size=1, max_size=30)


def write(folder, text):
    file = folder / "gt.txt"
    file.write_text(text)
    return file


@settings(deadline=None, max_examples=40)
@given(KEYS.flatmap(lambda keys: st.tuples(st.just(keys), *[
    st.lists(values, min_size=len(keys), max_size=len(keys))
    for values in (NUMBER, NUMBER, SIZE, SIZE, st.floats(0.001, 1))
])))  # fmt: skip
def test_what_is_written_is_read_again(tmp_path_factory, drawn):
    keys, left, top, width, height, scores = drawn
    low = np.column_stack([left, top])
    boxes = np.concatenate([low, low + np.column_stack([width, height])], axis=1)
    frame, identity = np.array(keys).T
    rows = Rows(frame, identity, boxes, np.array(scores))
    found = motchallenge.read(write(tmp_path_factory.mktemp("mot"), motchallenge.text(rows)))
    order = np.lexsort((identity, frame))
    np.testing.assert_array_equal(found.frame, frame[order])
    np.testing.assert_array_equal(found.identity, identity[order])
    np.testing.assert_allclose(found.boxes, boxes[order], atol=0.0101)
    np.testing.assert_allclose(found.scores, np.array(scores)[order], atol=1e-4)


def test_frames_and_pixels_count_from_one_and_confidence_zero_is_left_out(tmp_path):
    text = "2,7,1,1,10,20,1,-4.1,-7.3,0\n\n1,8,11,21,5,5,0\n1,7,3.5,4.5,10,20,0.5\n"
    rows = motchallenge.read(write(tmp_path, text))
    assert rows.frame.tolist() == [1, 2] and rows.identity.tolist() == [7, 7]
    assert rows.boxes.tolist() == [[2.5, 3.5, 12.5, 23.5], [0, 0, 10, 20]]
    assert rows.scores.tolist() == [0.5, 1.0]
    assert rows.at(2).boxes.tolist() == [[0, 0, 10, 20]] and len(rows.at(3).frame) == 0


def test_detections_and_files_without_confidence(tmp_path):
    rows = motchallenge.read(write(tmp_path, "1 -1 1 1 5 5 -1\n1 -1 1 1 5 5 -1\n"))
    assert rows.identity.tolist() == [-1, -1] and rows.scores.tolist() == [1, 1], "-1 says: not known"
    assert motchallenge.read(write(tmp_path, "1,3,1,1,5,5")).scores.tolist() == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "3 columns"),
        ("1,2,3,4,x,6,1", "could not convert"),
        ("0,2,3,4,5,6,1", "frames from 1 on"),
        ("1.5,2,3,4,5,6,1", "whole numbers"),
        ("1,2.5,3,4,5,6,1", "whole numbers"),
        ("1,2,3,4,0,6,1", "0 x 6 pixels"),
        ("1,2,nan,4,5,6,1", "not finite"),
        ("1,9,3,4,5,6,1", r"id 9 is in frame 1 already \(line 1\)"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    file = write(tmp_path, f"1,9,1,1,5,5,1\n{line}\n")
    with pytest.raises(UserError, match=rf"gt\.txt, line 2: .*{message}"):
        motchallenge.read(file)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="no readable MOTChallenge file"):
        motchallenge.read(tmp_path / "absent.txt")
    with pytest.raises(UserError, match="has no rows"):
        motchallenge.read(write(tmp_path, "\n"))
    (tmp_path / "gt.txt").write_bytes(b"\xff\xfe1,2")
    with pytest.raises(UserError, match="no readable"):
        motchallenge.read(tmp_path / "gt.txt")


def test_sequence_info(tmp_path):
    assert motchallenge.sequence_info(tmp_path) == {}
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=MOT16-02\nframeRate=30\n")
    assert motchallenge.sequence_info(tmp_path)["framerate"] == "30"
    (tmp_path / "seqinfo.ini").write_text("frameRate=30\n")
    with pytest.raises(UserError, match=r"no MOTChallenge seqinfo\.ini"):
        motchallenge.sequence_info(tmp_path)
