"""A video is known again after a copy, and is not after a change."""

import os
import shutil

import pytest

from cion_jax.video.fingerprints import Fingerprint
from cion_jax.video.listing import Video
from tests.video import drawing


def known(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Video(path.name, path)


def test_a_copy_elsewhere_at_another_time_is_the_same_video(tmp_path):
    video = known(tmp_path / "a/v.mp4", os.urandom(300_000))
    noted = Fingerprint(video).note()
    shutil.copy(video.path, tmp_path / "v.mp4")
    os.utime(tmp_path / "v.mp4", (1, 1))
    assert Fingerprint(Video("v.mp4", tmp_path / "v.mp4")).is_same(noted)


@pytest.mark.parametrize("place", [0, 150_000, 299_999])
def test_a_change_at_the_beginning_middle_or_end_is_seen_at_equal_size(tmp_path, place):
    content = bytearray(os.urandom(300_000))
    video = known(tmp_path / "v.mp4", content)
    noted = Fingerprint(video).note()
    content[place] ^= 1
    video.path.write_bytes(content)
    os.utime(video.path, (1, 1))
    assert not Fingerprint(video).is_same(noted)


def test_size_and_tracks_count(tmp_path):
    video = known(tmp_path / "v.mp4", b"one")
    noted = Fingerprint(video, "tracks").note()
    assert Fingerprint(video, "tracks").is_same(noted)
    assert not Fingerprint(video, "others").is_same(noted)
    known(video.path, b"longer")
    assert not Fingerprint(video, "tracks").is_same(noted)


def test_content_is_read_only_where_the_time_differs(tmp_path, monkeypatch):
    video = known(tmp_path / "v.mp4", b"one")
    noted = Fingerprint(video).note()
    monkeypatch.setattr("cion_jax.video.fingerprints._add_parts", lambda *_: pytest.fail("it was read"))
    assert Fingerprint(video).is_same(noted)


def test_a_folder_of_frames(tmp_path):
    folder = drawing.write_frames(tmp_path / "a/img1", 5)
    noted = Fingerprint(Video("a", folder)).note()
    moved = tmp_path / "b"
    shutil.copytree(folder, moved)
    for file in moved.iterdir():
        os.utime(file, (1, 1))
    assert Fingerprint(Video("a", moved)).is_same(noted)
    (moved / "000002.png").write_bytes(b"another")
    assert not Fingerprint(Video("a", moved)).is_same(noted)


def test_what_earlier_versions_noted_is_understood(tmp_path):
    video = known(tmp_path / "v.mp4", b"one")
    stat = video.path.stat()
    assert Fingerprint(video).is_same([stat.st_size, stat.st_mtime_ns, ""])
    assert not Fingerprint(video).is_same([stat.st_size, stat.st_mtime_ns + 1, ""])
    folder = drawing.write_frames(tmp_path / "img", 2)
    stats = [file.stat() for file in folder.iterdir()]
    noted = [2, sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats), "t"]
    assert Fingerprint(Video("img", folder), "t").is_same(noted)
