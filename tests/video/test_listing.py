"""What a source holds, in which order, under which names."""

import os

import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import listing
from cion_jax.video.ordering import natural


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_videos_come_in_natural_order_with_their_path_as_name(tmp_path):
    touch(tmp_path, "b/v10.mp4", "b/v2.AVI", "a.mkv", "notes.txt", ".hidden/x.mp4", "b/.part.mp4")
    assert listing.layout_of(tmp_path, "auto") == "videos"
    found = listing.find_videos(tmp_path, "videos").videos
    assert [video.name for video in found] == ["a.mkv", "b/v2.AVI", "b/v10.mp4"]
    assert found[1].path == tmp_path / "b/v2.AVI"
    one = tmp_path / "b/v10.mp4"
    assert listing.layout_of(one, "auto") == "videos"
    assert listing.find_videos(one, "videos").videos == [listing.Video("v10.mp4", one)]


def test_linked_folders_are_searched_once(tmp_path):
    touch(tmp_path, "other/v.mp4", "source/a.mp4")
    (tmp_path / "source/linked").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "source")
    found = listing.find_videos(tmp_path / "source", "videos").videos
    assert [video.name for video in found] == ["a.mp4", "linked/v.mp4"]


def test_folders_of_frames_are_named_as_their_sequence(tmp_path):
    touch(tmp_path, "MOT-02/img1/000001.jpg", "MOT-10/img1/000001.jpg", "plain/f1.png")
    assert listing.layout_of(tmp_path, "auto") == "frames"
    found = listing.find_videos(tmp_path, "frames").videos
    assert [video.name for video in found] == ["MOT-02", "MOT-10", "plain"]
    assert found[0].path == tmp_path / "MOT-02/img1"
    for source in ("MOT-02", "MOT-02/img1"):
        assert [v.name for v in listing.find_videos(tmp_path / source, "frames").videos] == ["MOT-02"]


def test_crops_of_luperson_nl_are_told_from_frames(tmp_path):
    touch(tmp_path, "co/ci/v/000001_0000001_00.jpg")
    assert listing.layout_of(tmp_path, "auto") == "crops"
    assert list(listing.image_paths(tmp_path)) == ["co/ci/v/000001_0000001_00.jpg"]


@pytest.mark.parametrize(
    ("names", "layout", "message"),
    [
        (["a.mp4", "b/1.jpg"], "auto", "holds frames and videos"),
        (["a.txt"], "auto", "neither videos nor images"),
        (["a.mp4"], "films", "none of auto, videos"),
    ],
)
def test_a_source_that_is_not_clear(tmp_path, names, layout, message):
    with pytest.raises(UserError, match=message):
        listing.layout_of(touch(tmp_path, *names), layout)


def test_sources_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        listing.layout_of(tmp_path / "absent", "auto")
    file = touch(tmp_path, "a.mp4") / "a.mp4"
    with pytest.raises(UserError, match="needs a folder"):
        listing.layout_of(file, "frames")
    with pytest.raises(UserError, match="no folders of frames"):
        listing.find_videos(tmp_path, "frames")
    touch(tmp_path, "s/1.jpg", "s/t/u/1.jpg")
    with pytest.raises(UserError, match="s holds images and the folder s/t/u with more"):
        listing.find_videos(tmp_path, "frames")
    with pytest.raises(UserError, match="two folders of frames have the name s"):
        listing.find_videos(touch(tmp_path / "w", "s/1.jpg", "s/img1/1.jpg"), "frames")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["000007.jpg", "000003.jpg"], [3, 7]),  # the names count from 1: they are the numbers
        (["0.jpg", "1.jpg"], [1, 2]),  # from 0: the place
        (["f10.png", "f9.png"], [1, 2]),
        (["1.jpg", "01.png"], [1, 2]),
    ],
)
def test_numbers_of_frames(tmp_path, names, numbers):
    touch(tmp_path, *names, "seqinfo.ini")
    found = listing.frame_files(tmp_path)
    assert [number for number, _ in found] == numbers
    assert [file.name for _, file in found] == sorted(names, key=natural)


def test_what_is_no_file_is_listed_with_the_reason(tmp_path):
    touch(tmp_path, "good.mp4", "folder.mp4/notes.txt", "film.mp4/part.mp4", "１２٣.mp4", "5² test.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "absent.mp4")
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = listing.find_videos(tmp_path, "videos")
    assert {video.name for video in found.videos} == {
        "good.mp4",
        "film.mp4/part.mp4",
        "１２٣.mp4",
        "5² test.mp4",
    }
    reasons = dict(found.skipped)
    assert reasons["link.mp4"] == "a link to a file that does not exist"
    assert "symbolic links" in reasons["circle.mp4"]
    assert reasons["pipe.mp4"] == "a named pipe, not a file"
    assert reasons["folder.mp4"] == "a folder without videos, not a video"
    assert len(reasons) == 4


def test_a_source_of_nothing_but_bad_entries_is_listed(tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "absent.mp4")
    assert listing.layout_of(tmp_path, "auto") == "videos"
    assert listing.find_videos(tmp_path, "videos").videos == []


def test_a_name_that_is_not_utf8_is_listed(tmp_path):
    try:
        touch(tmp_path, "v\udcff.mp4", "good.mp4")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    found = listing.find_videos(tmp_path, "videos")
    assert [video.name for video in found.videos] == ["good.mp4"] and "rename it" in found.skipped[0][1]


def test_a_folder_that_cannot_be_read_is_listed(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "closed/b.mp4")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert listing.find_videos(tmp_path, "videos").skipped == [("closed", "Permission denied")]


def test_a_dangling_link_among_frames_keeps_the_numbers(tmp_path):
    touch(tmp_path, "f1.png", "f3.png")
    (tmp_path / "f2.png").symlink_to(tmp_path / "absent.png")
    assert [(number, file.name) for number, file in listing.frame_files(tmp_path)] == [
        (1, "f1.png"),
        (2, "f2.png"),
        (3, "f3.png"),
    ]
