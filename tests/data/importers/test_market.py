"""Market-1501 layout and its relatives."""

import pytest

from cion_jax.core.errors import UserError
from cion_jax.data.importers import ImageRow, SkippedFile, market


def make(root, files):
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return root


def images(path):
    return [row for row in market.rows(path) if isinstance(row, ImageRow)]


FILES = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c1s1_000551_01.jpg",
    "bounding_box_train/0002_c2s3_000002_00.jpg",
    "bounding_box_train/0007_c1s1_000001_00.png",
    "query/0001_c6s4_017000_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c1s1_000151_01.jpg",
    "bounding_box_test/0001_c1s1_001051_00.jpg",
)


def test_all_numbers_of_the_names_are_read(tmp_path):
    rows = images(make(tmp_path, FILES))
    read = [(r.split, r.identity, r.tracklet, r.video, r.camera, r.frame) for r in rows]
    assert read == [
        ("train", 2, 0, 0, 1, 451),
        ("train", 2, 0, 0, 1, 551),
        ("train", 2, 1, 1, 2, 2),
        ("train", 7, 2, 0, 1, 1),
        ("query", 1, 3, 2, 6, 17000),
        ("gallery", -1, 4, 0, 1, 401),
        ("gallery", 0, 5, 0, 1, 151),
        ("gallery", 1, 6, 0, 1, 1051),
    ]
    assert [r.path for r in rows] == list(FILES)
    assert market.count(tmp_path) == len(FILES)


@pytest.mark.parametrize("inner", ["", "Market-1501-v15.09.15", "market1501"])
def test_the_folders_may_lie_one_level_deeper(tmp_path, inner):
    make(tmp_path / inner, FILES)
    assert market.detect(tmp_path)
    assert len(images(tmp_path)) == len(FILES)


def test_a_training_folder_alone_is_enough(tmp_path):
    assert {r.split for r in images(make(tmp_path, FILES[:3]))} == {"train"}


def test_several_sets_inside_are_refused(tmp_path):
    make(tmp_path / "a", FILES)
    make(tmp_path / "b", FILES)
    with pytest.raises(UserError, match=r"several Market-1501 sets .a, b."):
        images(tmp_path)


def test_another_layout_is_refused(tmp_path):
    make(tmp_path, ["query/0001_c1s1_000001_00.jpg", "person/1.jpg"])
    assert not market.detect(tmp_path)
    with pytest.raises(UserError, match="not the Market-1501 layout"):
        images(tmp_path)


def test_what_does_not_fit_is_listed_with_its_reason(tmp_path):
    make(
        tmp_path,
        [
            "bounding_box_train/0002_c1s1_000451_03.jpg",
            "bounding_box_train/holiday.jpg",
            "bounding_box_train/Thumbs.db",
            "bounding_box_train/-1_c1s1_000001_00.jpg",
            "bounding_box_train/.hidden.jpg",
        ],
    )
    skipped = {row.path: row for row in market.rows(tmp_path) if isinstance(row, SkippedFile)}
    assert set(skipped) == {
        f"bounding_box_train/{n}" for n in ("holiday.jpg", "Thumbs.db", "-1_c1s1_000001_00.jpg")
    }
    assert "does not follow" in skipped["bounding_box_train/holiday.jpg"].reason
    assert not skipped["bounding_box_train/Thumbs.db"].is_image
    assert "junk" in skipped["bounding_box_train/-1_c1s1_000001_00.jpg"].reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0005_c2_f0046985.jpg", (5, 2, 46985)),  # DukeMTMC-reID
        ("1440_c1_13.png", (1440, 1, -1)),  # CUHK03-NP: 13 counts images
        ("0000_c14_0012.jpg", (0, 14, -1)),  # MSMT17 as LUP keeps it: two-digit cameras, 12 counts images
        ("12_c3.jpeg", (12, 3, -1)),
        ("0007_c3s2.jpg", (7, 3, -1)),
        ("0007_c3s2_000000_01.jpg", (7, 3, 0)),
    ],
)
def test_relatives_of_the_name_are_understood(tmp_path, name, expected):
    (row,) = images(make(tmp_path, [f"bounding_box_train/{name}"]))
    assert (row.identity, row.camera, row.frame) == expected
