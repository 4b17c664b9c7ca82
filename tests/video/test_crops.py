"""People cut out of frames."""

import io

import numpy as np
import pytest
from PIL import Image

from cion_jax.video import crops
from cion_jax.video.crops import CropFolder, CropSettings
from cion_jax.video.reading import Frame
from tests.video import drawing

needs_cv2 = pytest.mark.skipif(
    "not __import__('importlib').util.find_spec('cv2')", reason="without the extra `video`"
)


def test_a_box_is_cut_to_whole_pixels_within_the_image():
    image = np.arange(20 * 10 * 3, dtype=np.uint8).reshape(20, 10, 3)
    crop, box = crops.cut(image, np.array([2.5, 4.0, 5.0, 9.2]))
    np.testing.assert_array_equal(crop, image[4:10, 2:5])
    assert box.tolist() == [2.5, 4.0, 5.0, 9.2]
    crop, box = crops.cut(image, np.array([-4, 0, 6, 10]), margin=0.5)
    assert crop.shape == (15, 10, 3) and box.tolist() == [0, 0, 10, 15]
    assert crops.cut(image, np.array([30, 30, 40, 40]))[0].size == 0


@needs_cv2
def test_jpeg_keeps_the_colours():
    crop = np.full((40, 20, 3), (200, 100, 50), np.uint8)
    image = Image.open(io.BytesIO(crops.encode(crop, 95)))
    assert image.format == "JPEG" and image.size == (20, 40)
    assert np.abs(np.asarray(image).astype(int) - crop).max() < 6, "red and blue are swapped?"
    with pytest.raises(Exception, match=r"(encode|empty|shape)"):
        crops.encode(np.zeros((0, 5, 3), np.uint8), 95)


@needs_cv2
@pytest.mark.parametrize("has_segments", [False, True])
def test_short_tracklets_and_small_boxes_are_left_out(tmp_path, has_segments):
    folder = tmp_path / "v.avi"
    settings = CropSettings(min_length=3, min_height=40, margin=0.0)
    sink = CropFolder(folder, settings, has_segments=has_segments)
    for number in range(1, 5):
        frame = Frame(number, drawing.image(number))
        sink.add(frame, 0, 70, drawing.box(0, number), 0.5)
        if number < 3:
            sink.add(frame, 0, 71, drawing.box(1, number), 0.9)  # too few
        sink.add(frame, 0, 72, np.array([0, 0, 30, 39]), 0.9)  # too low
        sink.add(frame, 0, 73, np.array([0, -30, 30, 38]), 0.9)  # too low within the frame
        sink.add(frame, 0, 74, np.array([200, 0, 230, 90]), 0.9)  # outside
    rows = sink.finish()
    start = "0000/000000" if has_segments else "000000"
    assert rows["path"] == [f"{start}/{number:07}.jpg" for number in range(1, 5)]
    assert rows["tracklet"].tolist() == [0] * 4 and rows["score"].tolist() == [0.5] * 4
    assert [rows[name][1] for name in ("left", "top", "width", "height")] == [12.0, 4.0, 20.0, 42.0]
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    assert left == rows["path"]
    pixels = np.asarray(Image.open(folder / rows["path"][0])).astype(int)
    assert pixels.shape == (42, 20, 3) and np.abs(pixels - drawing.COLOURS[0]).max() < 10


def test_nothing_to_write(tmp_path):
    sink = CropFolder(tmp_path / "v", CropSettings(), has_segments=False)
    assert sink.finish()["path"] == [] and not (tmp_path / "v").exists()


@needs_cv2
def test_every_kth_crop_is_kept_of_tracklets_that_are_long_enough_without_it(tmp_path):
    def cut_with(step, folder, threads=1):
        sink = CropFolder(
            folder, CropSettings(min_length=5, min_height=40, step=step), has_segments=False, threads=threads
        )
        for number in range(1, 8):
            frame = Frame(number, drawing.image(number))
            sink.add(frame, 0, 70, drawing.box(0, number), 0.5)
            if number > 3:
                sink.add(frame, 0, 71, drawing.box(1, number), 0.9)  # four boxes: too few
        return sink, sink.finish()

    _, every = cut_with(1, tmp_path / "every")
    sink, third = cut_with(3, tmp_path / "third", threads=3)
    assert every["frame"].tolist() == list(range(1, 8))
    assert third["frame"].tolist() == [1, 4, 7] and third["path"] == [every["path"][n] for n in (0, 3, 6)]
    files = sorted(
        path.relative_to(tmp_path / "third").as_posix() for path in (tmp_path / "third").rglob("*.jpg")
    )
    assert files == third["path"]
    for path in files:
        assert (tmp_path / "third" / path).read_bytes() == (tmp_path / "every" / path).read_bytes()
    counted, rows = cut_with(3, None)
    assert rows["path"] == third["path"] and counted.written == sink.written > 0, (
        "nothing is written, all is counted"
    )


@needs_cv2
def test_a_crop_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    sink = CropFolder(tmp_path / "v", CropSettings(min_height=40), has_segments=False)
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    sink.add(Frame(1, drawing.image(1)), 0, 70, drawing.box(0, 1), 0.5)
    with pytest.raises(OSError, match="No space"):
        sink.finish()
    sink.cancel()
