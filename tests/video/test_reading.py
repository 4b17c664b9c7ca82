"""Frames of videos and folders, and what is said of those that cannot be read."""

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


def numbers(video, step=1):
    return [frame.number for frame in reading.frames(video, step)]


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
