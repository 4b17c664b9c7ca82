"""What a source holds, in which order, under which names."""

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
    found = listing.find_videos(tmp_path, "videos")
    assert [video.name for video in found] == ["a.mkv", "b/v2.AVI", "b/v10.mp4"]
    assert found[1].path == tmp_path / "b/v2.AVI"
    one = tmp_path / "b/v10.mp4"
    assert listing.layout_of(one, "auto") == "videos"
    assert listing.find_videos(one, "videos") == [listing.Video("v10.mp4", one)]


def test_linked_folders_are_searched_once(tmp_path):
    touch(tmp_path, "other/v.mp4", "source/a.mp4")
    (tmp_path / "source/linked").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "source")
    found = listing.find_videos(tmp_path / "source", "videos")
    assert [video.name for video in found] == ["a.mp4", "linked/v.mp4"]


def test_folders_of_frames_are_named_as_their_sequence(tmp_path):
    touch(tmp_path, "MOT-02/img1/000001.jpg", "MOT-10/img1/000001.jpg", "plain/f1.png")
    assert listing.layout_of(tmp_path, "auto") == "frames"
    found = listing.find_videos(tmp_path, "frames")
    assert [video.name for video in found] == ["MOT-02", "MOT-10", "plain"]
    assert found[0].path == tmp_path / "MOT-02/img1"
    for source in ("MOT-02", "MOT-02/img1"):
        assert [v.name for v in listing.find_videos(tmp_path / source, "frames")] == ["MOT-02"]


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


def test_the_fingerprint_changes_with_the_video(tmp_path):
    touch(tmp_path, "a.mp4", "s/1.jpg")
    for video in (listing.Video("a.mp4", tmp_path / "a.mp4"), listing.Video("s", tmp_path / "s")):
        before = listing.fingerprint(video)
        assert before == listing.fingerprint(video)
        (video.path if video.path.is_file() else video.path / "2.jpg").write_bytes(b"longer")
        assert before != listing.fingerprint(video)
