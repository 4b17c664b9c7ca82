"""Images in the order that the levels take, truth beside them, and messages in the user's row numbers."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.core.errors import UserError
from cion_jax.tasks import denoise_input
from tests.tasks.denoise_data import save, shards

COLUMNS = {
    "tracklet": np.array([5, 3, 3, 9, 5, 9, 3]),
    "video": np.array([7, 2, 7, 2, 7, 2, 7]),
    "frame": np.array([1, 8, 1, 0, 0, 8, 0]),
    "identity": np.array([0, 1, 0, 1, -3, 1, 0]),
    "path": np.array(list("abcdefg")),
    "features": np.arange(1, 15, dtype=np.float32).reshape(7, 2),
}
# Video 2 with frames 0 and 8, tracklet 3 before 9 in the latter; then video 7 likewise.
ORDER = [3, 1, 5, 6, 4, 2, 0]


def read(tmp_path, **changes):
    columns = {name: value for name, value in (COLUMNS | changes).items() if value is not None}
    return denoise_input.read(save(tmp_path / "f.npz", columns))


def test_videos_by_number_then_frames_then_tracklets(tmp_path):
    images = read(tmp_path)
    assert images.rows.tolist() == ORDER and images.paths.tolist() == [*"dbfgeca"]
    for name in ("tracklet", "video", "frame", "identity"):
        assert images.columns[name].tolist() == COLUMNS[name][ORDER].tolist()
    assert images.columns["camera"].tolist() == [-1] * 7
    assert images.features.shape == (7, 2) and len(images) == len(images.features) == 7
    assert images.features.dtype == np.float32 and images.features.ndim == 2
    np.testing.assert_array_equal(images.features[2:4], COLUMNS["features"][[5, 6]])
    np.testing.assert_array_equal(images.features[np.array([5, 0])], COLUMNS["features"][[2, 3]])


def test_what_is_in_order_is_read_where_it_lies(tmp_path):
    straight = {name: column[ORDER] for name, column in COLUMNS.items()}
    images = read(tmp_path, **straight)
    assert isinstance(images.features, np.ndarray) and images.rows.tolist() == list(range(7))


def test_unreadable_images_of_shards_are_left_out_and_shift_nothing(tmp_path):
    images = denoise_input.read(shards(tmp_path / "f", COLUMNS, {"model": "m"}, unreadable=(4, 3), rows=2))
    left = [row for row in ORDER if row not in (3, 4)]
    assert images.rows.tolist() == left and images.paths.tolist() == COLUMNS["path"][left].tolist()
    assert images.columns["frame"].tolist() == COLUMNS["frame"][left].tolist()
    np.testing.assert_array_equal(images.features[0:5], COLUMNS["features"][left])
    assert images.about["model"] == "m"


@settings(deadline=None, max_examples=30)
@given(
    st.permutations(range(7)), st.lists(st.integers(0, 6), max_size=9), st.integers(0, 7), st.integers(0, 7)
)
def test_rows_in_another_order_are_those_rows(order, numbers, first, last):
    ordered = denoise_input.Ordered(COLUMNS["features"], np.array(order))
    expected = COLUMNS["features"][order]
    np.testing.assert_array_equal(ordered[np.array(numbers, np.int64)], expected[numbers])
    np.testing.assert_array_equal(ordered[first:last], expected[first:last])


def test_the_fingerprint_is_of_ids_and_features_not_of_truth(tmp_path):
    def mark(**changes):
        images_file = save(tmp_path / "f.npz", COLUMNS | changes)
        os.utime(images_file, ns=(1, 1))
        return denoise_input.read(images_file).fingerprint

    assert mark() == mark() == mark(identity=COLUMNS["identity"] + 1)
    for name in ("tracklet", "video", "frame"):
        changed = COLUMNS[name].copy()
        changed[2] += 1
        assert mark(**{name: changed}) != mark(), f"another {name} is other work"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tracklet": None}, "does not say the tracklet"),
        ({"video": None}, "does not say the video"),
        ({"frame": None}, "does not say the frame"),
        ({"tracklet": np.array([1, 1, 1, -1, 1, 1, 1])}, "row 3 has no tracklet"),
        ({"video": np.array([1, 1, 1, 1, 1, 1, -1])}, "row 6 has no video"),
        ({"identity": np.ones(7)}, "identity must be 7 whole numbers, not float64"),
        ({"camera": np.ones(3, int)}, "camera must be 7 whole numbers"),
    ],
)
def test_ids_that_are_missing_or_wrong_are_told(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, **changes)


def test_frames_are_required_only_where_they_are_used(tmp_path):
    images = read(tmp_path, frame=np.array([0, 1, -1, 2, 3, 4, 5]))
    with pytest.raises(UserError, match=r"row 2 \(c\) has no frame number, which cannot_link needs"):
        denoise_input.require_frames(images, "cannot_link")
    denoise_input.require_frames(read(tmp_path), "cannot_link")


def test_frames_that_cannot_be_true_are_refused_where_they_are_used(tmp_path):
    images = read(tmp_path, frame=np.zeros(7, int))
    with pytest.raises(
        UserError, match=r"tracklet 9 of video 2 has 2 images in frame 0.*which calibrate needs"
    ):
        denoise_input.require_frames(images, "calibrate")


@pytest.mark.parametrize(
    ("value", "row", "message"),
    [(np.nan, 3, "hold NaN"), (np.inf, 0, "hold NaN or infinity"), (0.0, 4, "are zero")],
)
def test_the_row_without_direction_is_the_users(tmp_path, value, row, message):
    features = COLUMNS["features"].copy()
    features[row, :] = value
    path = COLUMNS["path"][row]
    images = read(tmp_path, features=features)
    assert denoise_input.without_direction(images).startswith(f"the features of row {row} ({path}) {message}")
    assert denoise_input.without_direction(read(tmp_path)) == ""


def test_truth_from_the_column_or_a_table(tmp_path):
    images = read(tmp_path)
    assert denoise_input.read_truth("", images) is None
    true = denoise_input.read_truth("identity", images)
    assert true.tolist() == np.maximum(COLUMNS["identity"], -1)[ORDER].tolist()
    (tmp_path / "t.csv").write_text("identity,path,more\n4,a,x\n2,d,x\n9,elsewhere,x\n")
    true = denoise_input.read_truth(str(tmp_path / "t.csv"), images)
    assert true.tolist() == [2, -1, -1, -1, -1, -1, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("path,who\na,1\n", r"must be a \.csv with columns path and identity.*'identity'"),
        ("path,identity\na,anna\n", "must be a .csv"),
        ("path,identity\na\n", "must be a .csv"),
        ("path,identity\nx/a,1\n", "knows none of the images: their paths are like 'd'"),
        ("path,identity\na,-1\n", "knows none of the images"),
    ],
)
def test_truth_that_cannot_be_used_is_told(tmp_path, text, message):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        denoise_input.read_truth(str(tmp_path / "t.csv"), read(tmp_path))


def test_truth_without_paths_or_identities_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("path,identity\na,1\n")
    with pytest.raises(UserError, match="they have no paths"):
        denoise_input.read_truth(str(tmp_path / "t.csv"), read(tmp_path, path=None))
    with pytest.raises(UserError, match="no column identity"):
        denoise_input.read_truth("identity", read(tmp_path, identity=None))


def test_tracklets_are_no_truth_and_no_labels(tmp_path):
    """The table of the task tracklets has its tracklets as identities, and so have its features."""
    changes = {
        "identity": np.array([4, 3, 8, 9, 4, 9, 8])
    }  # (video, tracklet): (7, 5), (2, 3), (7, 3), (2, 9)
    images = read(tmp_path, **changes)
    with pytest.raises(
        UserError, match=r"truth=identity, but the identities of the features are their tracklets"
    ):
        denoise_input.read_truth("identity", images)
    source = save(tmp_path / "f.npz", COLUMNS | changes)
    with pytest.raises(
        UserError, match=r"labelled=.*f\.npz does not say whom.*its identities are its tracklets"
    ):
        denoise_input.read_labelled(source)


def test_labelled_people_whose_tracklets_nobody_told_are_labelled(tmp_path):
    """A folder per person: importers take each person for a tracklet, of no known video."""
    who, unknown = np.array([0, 0, 1, 1, 2, 2, 2]), np.full(7, -1)
    columns = COLUMNS | {"identity": who, "tracklet": who, "video": unknown, "frame": unknown}
    found = denoise_input.read_labelled(save(tmp_path / "f.npz", columns))
    assert found.identities.tolist() == who.tolist()


def test_labelled_images_need_no_tracklets(tmp_path):
    source = save(tmp_path / "f.npz", {name: COLUMNS[name] for name in ("features", "identity")})
    found = denoise_input.read_labelled(source)
    assert found.identities.tolist() == [0, 1, 0, 1, -1, 1, 0]
    np.testing.assert_array_equal(found.features[0:7], COLUMNS["features"])
    source = save(tmp_path / "g.npz", {"features": COLUMNS["features"], "identity": np.full(7, -1)})
    with pytest.raises(UserError, match=r"labelled=.*g\.npz does not say whom"):
        denoise_input.read_labelled(source)
