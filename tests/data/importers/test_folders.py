"""One folder per identity."""

import pytest

from cion_jax.core.errors import UserError
from cion_jax.data.importers import ImageRow, Numbering, SkippedFile, folders


def make(root, *files):
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return root


def images(path, numbering=None):
    return [row for row in folders.rows(path, numbering) if isinstance(row, ImageRow)]


def test_folders_become_identities_and_tracklets(tmp_path):
    make(tmp_path, "bob/2.jpg", "bob/10.jpg", "ann/t1/a.png", "ann/t2/b.png", "ann/c.jpg", "zoe/x.jpg")
    numbering = Numbering()
    rows = images(tmp_path, numbering)
    assert [(r.path, r.identity, r.tracklet) for r in rows] == [
        ("ann/c.jpg", 0, 0),
        ("ann/t1/a.png", 0, 1),
        ("ann/t2/b.png", 0, 2),
        ("bob/2.jpg", 1, 3),
        ("bob/10.jpg", 1, 3),
        ("zoe/x.jpg", 2, 4),
    ]
    assert numbering.names["identity"] == {"ann": 0, "bob": 1, "zoe": 2}
    assert {(r.split, r.video, r.camera, r.frame) for r in rows} == {("train", -1, 0, -1)}
    assert folders.detect(tmp_path) and folders.count(tmp_path) == 6


def test_only_nested_images_are_detected_too(tmp_path):
    assert folders.detect(make(tmp_path, "ann/t1/a.png"))


def test_what_is_left_out_is_listed(tmp_path):
    make(tmp_path, "loose.jpg", "readme.txt", "ann/a.jpg", "ann/notes.txt", "ann/t/deep/b.jpg", ".git/c.jpg")
    skipped = {row.path: row.reason for row in folders.rows(tmp_path) if isinstance(row, SkippedFile)}
    assert set(skipped) == {"loose.jpg", "readme.txt", "ann/notes.txt", "ann/t/deep"}
    assert [r.path for r in images(tmp_path)] == ["ann/a.jpg"]


def test_no_images_no_detection(tmp_path):
    assert not folders.detect(make(tmp_path, "ann/a.txt", "b.jpg"))
    assert not folders.detect(tmp_path / "b.jpg")
    with pytest.raises(UserError, match="holds no folders"):
        images(make(tmp_path / "empty", "a.jpg"))


@pytest.mark.parametrize("parts", [("train", "test"), ("Train", "Query", "Gallery"), ("images",)])
def test_parts_of_a_data_set_are_not_taken_for_people(tmp_path, parts):
    make(tmp_path, *(f"{part}/0001/a.jpg" for part in parts))
    with pytest.raises(UserError, match="parts of a data set"):
        images(tmp_path)
