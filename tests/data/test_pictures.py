"""Pictures of every kind of source, in order, with what cannot be read told."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.data import pictures
from cion_jax.data.prepare import prepare


def picture(file, grey, size=(20, 10)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), grey, np.uint8)).save(file)


@pytest.fixture
def nested(tmp_path):
    """Loose and nested images of several kinds, one of them broken."""
    root = tmp_path / "any"
    for number, name in enumerate(("b.jpg", "a/2.png", "a/c/d/e/1.jpg", "a/1.bmp")):
        picture(root / name, 40 * number)
    (root / "a/broken.jpg").write_bytes(b"no picture")
    (root / "notes.md").write_text("no image")
    (root / ".hidden.jpg").write_bytes(b"")
    return root


def gather(source, batch_size=3, limit=(32, 32), **arguments):
    found = pictures.open_pictures(source, **arguments)
    batches = list(pictures.batches(found, batch_size, limit=limit, threads=2))
    return found, [b for b, _ in batches], [p for _, part in batches for p in part]


def test_images_however_nested(nested):
    found, batches, read = gather(nested)
    assert found.layout == "images" and len(found) == 5
    assert [p.path for p in read] == ["b.jpg", "a/1.bmp", "a/2.png", "a/broken.jpg", "a/c/d/e/1.jpg"]
    assert [p.reason for p in read if p.path != "a/broken.jpg"] == [""] * 4
    assert "not a readable image" in read[3].reason
    assert set(found.columns["identity"]) == set(found.columns["camera"]) == {-1}
    np.testing.assert_array_equal(np.concatenate([b["valid"] for b in batches]), [True] * 5 + [False])
    np.testing.assert_array_equal(np.concatenate([b["record"] for b in batches]), range(6))
    first, second = batches
    assert first["image"].shape == (3, 64, 64, 3) and first["image"].dtype == np.uint8
    assert (first["image"][1, :20, :10] == 120).all() and not first["image"][1, 20:].any()
    np.testing.assert_array_equal(second["size"], [[1, 1], [20, 10], [1, 1]])


def test_large_pictures_are_reduced_and_canvases_follow_the_batch(tmp_path):
    for number, size in enumerate(((400, 100), (90, 70), (20, 10))):
        picture(tmp_path / f"x/{number}.jpg", 9, size)
    _, batches, _ = gather(tmp_path / "x", batch_size=1, limit=(200, 100))
    assert [b["image"].shape[1:3] for b in batches] == [(256, 64), (128, 128), (64, 64)]
    np.testing.assert_array_equal(batches[0]["size"], [[200, 50]])


def test_folders_of_identities_only_if_no_image_lies_elsewhere(tmp_path):
    for name in ("anna/1.jpg", "anna/2.jpg", "ben/x/1.jpg"):
        picture(tmp_path / "people" / name, 9)
    found, _, read = gather(tmp_path / "people")
    assert (found.layout, list(found.columns["identity"])) == ("folders", [0, 0, 1])
    assert found.names["identity"] == ["anna", "ben"]
    assert [p.path for p in read] == ["anna/1.jpg", "anna/2.jpg", "ben/x/1.jpg"]
    assert pictures.open_pictures(tmp_path / "people", importer="images").columns["identity"].max() == -1
    picture(tmp_path / "people/loose.jpg", 9)
    found = pictures.open_pictures(tmp_path / "people")
    assert (found.layout, len(found), found.names) == ("images", 4, {})


def test_parts_of_a_data_set_are_no_identities(tmp_path):
    for name in ("query/1.jpg", "gallery/1.jpg"):
        picture(tmp_path / "set" / name, 9)
    assert pictures.open_pictures(tmp_path / "set").layout == "images"


def test_a_list_a_table_and_one_image(nested):
    file = nested / "some.txt"
    file.write_text(f"a/2.png\n\n{nested / 'b.jpg'}\nabsent.jpg\n")
    _, _, read = gather(file)
    assert [p.path for p in read] == ["a/2.png", str(nested / "b.jpg"), "absent.jpg"]
    assert [p.reason for p in read] == ["", "", "the file is missing"]
    table = nested / "table.csv"
    table.write_text("path,identity,camera,split\nb.jpg,anna,3,query\na/2.png,ben,4,gallery\n")
    found, _, read = gather(table, split="gallery")
    assert (found.layout, [p.path for p in read]) == ("table", ["a/2.png"])
    assert (list(found.columns["identity"]), list(found.columns["camera"])) == ([1], [4])
    assert len(pictures.open_pictures(nested / "b.jpg")) == 1


def test_market_names_tell_identity_and_camera_and_odd_names_are_told(tmp_path):
    for name in ("bounding_box_train/0002_c3s1_000451_03.jpg", "query/0007_c2s1_000001_00.jpg"):
        picture(tmp_path / "market" / name, 9)
    picture(tmp_path / "market/query/odd.jpg", 9)
    found = pictures.open_pictures(tmp_path / "market")
    assert found.layout == "market"
    assert list(found.columns["split"]) == ["train", "query"]
    assert (list(found.columns["identity"]), list(found.columns["camera"])) == ([2, 7], [3, 2])
    assert found.skipped == [("query/odd.jpg", "the name does not follow PPPP_cCsS_FFFFFF_BB")]


def test_records_of_all_splits_or_of_one(tmp_path):
    table = tmp_path / "t.csv"
    for number in range(5):
        picture(tmp_path / f"{number}.png", 40 * number)
    rows = [f"{n}.png,{n},{1 + n % 2},{'train' if n < 3 else 'query'}" for n in range(5)]
    table.write_text("\n".join(["path,identity,camera,split", *rows]))
    prepare(table, tmp_path / "records")
    found, batches, read = gather(tmp_path / "records")
    assert found.layout == "records"
    assert sorted(p.path for p in read) == [f"{n}.png" for n in range(5)]
    for row, p in enumerate(read):
        number = int(p.path[0])
        assert found.columns["identity"][row] == number
        assert found.columns["split"][row] == ("train" if number < 3 else "query")
        image = batches[row // 3]["image"][row % 3, :20, :10]
        assert abs(int(image.mean()) - 40 * number) < 3
    assert [p.path for p in gather(tmp_path / "records", split="query")[2]] == ["3.png", "4.png"]


def test_a_second_table_does_not_turn_a_folder_into_mere_images(tmp_path):
    """Truth beside tracklets made all tracklets, videos and frames unknown, and nobody said so."""
    picture(tmp_path / "x/1.jpg", 9)
    (tmp_path / "x/tracklets.csv").write_text("path,identity,tracklet,video,frame\n1.jpg,4,4,2,7\n")
    (tmp_path / "x/truth.csv").write_text("path,identity\n1.jpg,0\n")
    found = pictures.open_pictures(tmp_path / "x")
    assert (found.layout, found.columns["identity"].tolist()) == ("table", [4])
    assert [found.columns[name].tolist() for name in ("tracklet", "video", "frame")] == [[4], [2], [7]]
    (tmp_path / "x/tracklets.csv").unlink()
    (tmp_path / "x/other.csv").write_text("path,identity\n1.jpg,1\n")
    with pytest.raises(
        UserError, match=r"several .other\.csv, truth\.csv.*Name the file itself as the source"
    ):
        pictures.open_pictures(tmp_path / "x")
    assert pictures.open_pictures(tmp_path / "x", importer="images").layout == "images"


def test_videos_and_frames_that_a_source_does_not_tell_stay_unknown(tmp_path):
    """Also through records: nobody is to be taken for seen together with somebody else."""
    for name in ("anna/1.jpg", "anna/2.jpg", "ben/1.jpg"):
        picture(tmp_path / "people" / name, 9)
    prepare(tmp_path / "people", tmp_path / "records")
    for source in ("people", "records"):
        columns = pictures.open_pictures(tmp_path / source).columns
        assert set(columns["video"]) == set(columns["frame"]) == {pictures.UNKNOWN}, source
        assert columns["tracklet"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("absent", {}, "does not exist"),
        ("any", {"importer": "odd"}, "importer is 'odd'"),
        ("any", {"split": "query"}, "no images of the split 'query'"),
        ("any/notes.md", {}, "is no image, no list"),
        ("empty", {}, "holds no images"),
    ],
)
def test_what_cannot_be_a_source_is_told(nested, name, arguments, message):
    (nested.parent / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        pictures.open_pictures(nested.parent / name, **arguments)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_file_without_permission_is_told(nested):
    (nested / "b.jpg").chmod(0)
    assert gather(nested)[2][0].reason == "Permission denied"


@pytest.mark.parametrize("kind", ["folder", "records"])
def test_a_part_has_its_rows_files_and_pictures(tmp_path, kind):
    lines = ["path,identity,tracklet,video,camera,frame,split"]
    for number in range(9):
        picture(tmp_path / f"x/{number}.jpg", 20 * number)
        lines.append(f"{number}.jpg,{number},{number},1,2,{30 + number},{('train', 'query')[number // 6]}")
    (tmp_path / "x/table.csv").write_text("\n".join(lines))
    source = tmp_path / "x"
    if kind == "records":
        source = tmp_path / "records"
        prepare(tmp_path / "x", source)
    whole = pictures.open_pictures(source)
    assert whole.columns["frame"].tolist() == list(range(30, 39)) and set(whole.columns["video"]) == {1}
    assert whole.columns["tracklet"].tolist() == list(range(9))
    for number in (0, 5, 6, 8):
        expected = (tmp_path / f"x/{number}.jpg").read_bytes()
        file = whole.file(number)
        assert (file if isinstance(file, bytes) else Path(file).read_bytes()) == expected
    part = pictures.part(whole, 4, 8)
    assert len(part) == 4 and part.paths() == [f"{number}.jpg" for number in range(4, 8)]
    assert (
        part.columns["frame"].tolist() == [34, 35, 36, 37]
        and list(part.columns["split"]) == ["train"] * 2 + ["query"] * 2
    )
    assert part.file(3) == whole.file(7)
    found = [read for _, some in pictures.batches(part, 3, limit=(32, 32), threads=2) for read in some]
    assert [read.path for read in found] == part.paths()
    assert [int(read.pixels[0, 0, 0]) for read in part.read([1, 3], (32, 32))] == [100, 140]
    assert len(pictures.part(whole, 9, 9)) == 0 and pictures.part(whole, 9, 9).paths() == []
    inner = pictures.part(part, 1, 3)
    assert inner.paths() == ["5.jpg", "6.jpg"] and inner.file(0) == whole.file(5)
