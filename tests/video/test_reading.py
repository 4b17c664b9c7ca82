"""Frames of videos and folders, and what is said of those that cannot be read."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from cion_jax.video import reading
from cion_jax.video.listing import Video
from cion_jax.video.reading import VideoError
from tests.video import drawing

pytest.importorskip("cv2", reason="the extra `video` is not installed")


@pytest.fixture(scope="module")
def avi(tmp_path_factory):
    return drawing.write_video(tmp_path_factory.mktemp("video") / "walk 01.avi", 12)


def numbers(video, step=1, **more):
    return [frame.number for frame in reading.frames(video, step, **more)]


def damaged(avi, file, *frames):
    """A copy with zeros in place of some frames, which FFmpeg cannot decode."""
    content = bytearray(avi.read_bytes())
    places = [match.start() for match in re.finditer(rb"00dc(?=..\0\0\xff\xd8)", bytes(content), re.DOTALL)]
    for frame in frames:
        start = places[frame - 1]
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        content[start + 8 : start + 8 + length] = bytes(length)
    file.write_bytes(content)
    return Video(file.name, file)


def test_frames_are_rgb_and_count_from_one(avi):
    video = Video(avi.name, avi)
    assert reading.info(video) == reading.Info(12, 10.0)
    frames = list(reading.frames(video))
    assert [frame.number for frame in frames] == list(range(1, 13))
    for frame in (frames[0], frames[-1]):
        difference = np.abs(frame.image.astype(int) - drawing.image(frame.number))
        assert frame.image.dtype == np.uint8 and np.median(difference) < 5, (
            "wrong frame, or colours in BGR order"
        )
        assert difference.mean() < 10
    assert numbers(video, 5) == [1, 6, 11]


def test_a_folder_of_frames_with_its_rate(tmp_path):
    folder = drawing.write_frames(tmp_path / "seq/img1", 5)
    (tmp_path / "seq/seqinfo.ini").write_text("[Sequence]\nframeRate=7\n")
    video = Video("seq", folder)
    assert reading.info(video) == reading.Info(5, 7.0)
    frames = list(reading.frames(video, 2))
    assert [frame.number for frame in frames] == [1, 3, 5]
    np.testing.assert_array_equal(frames[1].image, drawing.image(3))


def test_a_truncated_video_is_told_behind_its_last_frame(avi, tmp_path):
    file = tmp_path / "short.avi"
    file.write_bytes(avi.read_bytes()[: avi.stat().st_size * 6 // 10])
    seen = []
    with pytest.raises(VideoError, match=r"(ends after \d+ of 12 frames|cannot be decoded|OpenCV can open)"):
        seen.extend(frame.number for frame in reading.frames(Video(file.name, file)))
    assert len(seen) < 12


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"no video" * 100, "no video that OpenCV can open")]
)
def test_a_file_that_is_no_video(tmp_path, content, message):
    file = tmp_path / "a.mp4"
    file.write_bytes(content)
    for read in (reading.info, numbers):
        with pytest.raises(VideoError, match=message):
            read(Video(file.name, file))
    with pytest.raises(VideoError, match="No such file"):
        reading.info(Video("b.mp4", tmp_path / "b.mp4"))


def test_a_bad_image_among_the_frames(tmp_path):
    folder = drawing.write_frames(tmp_path / "seq", 4)
    (folder / "000003.png").write_bytes(b"no image")
    with pytest.raises(VideoError, match=r"frame 3 \(000003\.png\) is no readable image"):
        numbers(Video("seq", folder))
    assert numbers(Video("seq", folder), 3) == [1, 4], "frames that nobody asks for do not matter"
    bad = []
    assert numbers(Video("seq", folder), tolerated=1, bad=bad) == [1, 2, 4] and bad == [3]
    (folder / "000002.png").unlink()
    (folder / "000002.png").symlink_to("absent.png")
    with pytest.raises(VideoError, match=r"frame 3"):
        numbers(Video("seq", folder), tolerated=1)
    os.mkfifo(folder / "000009.png")
    assert numbers(Video("seq", folder), tolerated=2) == [1, 4], (
        "a named pipe is no frame, and nobody waits for it"
    )


def test_undecodable_frames_in_the_middle_are_passed_over(avi, tmp_path):
    video, bad = damaged(avi, tmp_path / "bad.avi", 5, 6, 9), []
    assert numbers(video, tolerated=3, bad=bad) == [1, 2, 3, 4, 7, 8, 10, 11, 12] and bad == [5, 6, 9]
    for tolerated, last in ((0, 4), (1, 4), (2, 8)):
        seen, bad = [], []
        with pytest.raises(VideoError, match=rf"ends after {last} of 12 frames.*\(codec MJPG\)"):
            seen.extend(frame.number for frame in reading.frames(video, tolerated=tolerated, bad=bad))
        assert seen[-1] == last
    bad = []
    assert numbers(damaged(avi, tmp_path / "end.avi", 11, 12), tolerated=9, bad=bad) == list(range(1, 11))
    assert bad == [], "nothing shows whether frames were meant to be behind the last one"


def test_frames_that_decode_to_nothing_count_as_undecodable(avi, monkeypatch):
    class Capture:
        def __init__(self, capture):
            self._capture, self._number = capture, 0

        def grab(self):
            self._number += 1
            return self._capture.grab()

        def retrieve(self):
            return (False, None) if self._number in (3, 4) else self._capture.retrieve()

        def __getattr__(self, name):
            return getattr(self._capture, name)

    opened = reading._opened
    monkeypatch.setattr(reading, "_opened", lambda path: Capture(opened(path)))
    video, bad = Video(avi.name, avi), []
    assert numbers(video, tolerated=2, bad=bad) == [1, 2, *range(5, 13)] and bad == [3, 4]
    with pytest.raises(VideoError, match=r"frame 4 cannot be decoded \(codec MJPG\)"):
        numbers(video, tolerated=1)


def test_pipes_links_and_command_like_names(avi, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("absent.mp4")
    for name, message in (("pipe.mp4", "named pipe"), ("link.mp4", "does not exist")):
        with pytest.raises(VideoError, match=message):
            reading.info(Video(name, tmp_path / name))
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.avi", "%03d.avi", "a b\n.avi", "１²٣.avi", "a" * 251 + ".avi"):
        file = Path(name)
        file.write_bytes(avi.read_bytes())
        assert len(numbers(Video(name, file))) == 12, name


def test_the_codec_of_a_file_that_does_not_open_is_named(tmp_path):
    entry = (86).to_bytes(4, "big") + b"xyz9" + bytes(78)
    stsd = b"stsd" + bytes(4) + (1).to_bytes(4, "big") + entry
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + stsd)
    with pytest.raises(VideoError, match=r"OpenCV can open \(codec xyz9\)"):
        reading.info(Video("a.mp4", tmp_path / "a.mp4"))


def test_turned_videos_come_upright(avi):
    cv2 = pytest.importorskip("cv2")
    assert reading._opened(avi).get(cv2.CAP_PROP_ORIENTATION_AUTO) == 1


@pytest.mark.parametrize(
    ("frames", "rate", "is_short"),
    [
        (14, 10.0, False),  # a header may count a few too many
        (15, 10.0, True),
        (24, 20.0, False),  # as long as the video is by the clock: the rate is a wrong guess, as of some .ts
        (60, 20.0, True),
        (None, 10.0, False),
        (60, None, True),
    ],
)
def test_what_counts_as_an_early_end(avi, monkeypatch, frames, rate, is_short):
    """Of a video that shows 12 frames in 1.2 seconds."""
    monkeypatch.setattr(reading, "info", lambda video: reading.Info(frames, rate))
    video = Video(avi.name, avi)
    if is_short:
        with pytest.raises(VideoError, match=f"ends after 12 of {frames} frames"):
            numbers(video)
    else:
        assert len(numbers(video)) == 12
