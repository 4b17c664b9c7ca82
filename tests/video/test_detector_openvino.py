"""Networks built here, whose outputs tell what they were given."""

import numpy as np
import pytest

from cion_jax.core import signal_stack
from cion_jax.core.errors import UserError
from cion_jax.video import detector_openvino
from cion_jax.video.detectors import DetectorSettings, open_detector
from cion_jax.video.reading import Frame, VideoError
from tests.video.networks import CELLS, HEIGHT, WIDTH, bright_box, save_network

openvino = pytest.importorskip("openvino", reason="the extra `video` is not installed")
pytest.importorskip("cv2", reason="the extra `video` is not installed")
from openvino import opset13 as ops  # noqa: E402 (only if it is there)


def ssd(path, rows, shape=(1, 3, HEIGHT, WIDTH)):
    """A network with fixed rows, whose confidence is the mean of the first channel."""
    image = ops.parameter(shape, np.float32, name="image")
    first = ops.gather(image, ops.constant(0), ops.constant(1 if shape[1] == 3 else 3))
    mean = ops.reduce_mean(first, ops.constant([0, 1, 2]), keep_dims=False)
    rows = np.asarray(rows, np.float32)
    factor = np.zeros_like(rows)
    factor[:, 2] = 1
    table = ops.add(ops.multiply(ops.constant(factor), mean), ops.constant(rows))
    return save_network(path, [ops.unsqueeze(table, ops.constant([0, 1]))], [image])


def yolo(path, columns, shape=(1, 3, HEIGHT, WIDTH)):
    """A network of the kind of YOLOv8 with fixed columns for the first cells; adds 0 times its input."""
    image = ops.parameter(shape, np.float32, name="image")
    table = np.zeros((len(columns[0]), CELLS), np.float32)
    table[:, : len(columns)] = np.array(columns).T
    nothing = ops.multiply(ops.reduce_mean(image, ops.constant([0, 1, 2, 3]), keep_dims=False), np.float32(0))
    return save_network(path, [ops.add(ops.constant(table[None]), nothing)], [image])


def test_an_ssd_gets_bgr_and_its_rows_are_people_in_pixels(tmp_path):
    rows = [[0, 1, 0, 0.25, 0.5, 0.75, 1.5], [0, 2, 0, 0, 0, 1, 1], [-1, 0, 0, 0, 0, 0, 0]]
    file = ssd(tmp_path / "ssd.xml", rows)
    detector = open_detector(DetectorSettings(file=file, maximum=1.0))
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, :, 2] = 153  # blue is the first channel that the network sees
    found = detector(pixels)
    np.testing.assert_allclose(found.boxes, [[50, 50, 150, 100]], rtol=1e-5)
    assert found.scores.tolist() == pytest.approx([0.6], abs=1e-3)
    assert detector.hint == ""
    red = open_detector(DetectorSettings(file=file, maximum=1.0, colour="rgb"))
    assert len(red(pixels).boxes) == 0, "the first channel is red now"
    # Without a maximum white is 255: the score is cut at 1.
    assert open_detector(DetectorSettings(file=file))(pixels).scores.tolist() == [1.0]


def test_signal_handlers_keep_their_room(tmp_path):
    open_detector(DetectorSettings(file=ssd(tmp_path / "ssd.xml", [[0, 1, 0, 0, 0, 1, 1]])))
    size = signal_stack.alternate_size()
    assert size == 0 or size >= 2**18, "a signal may now end the process: see core/signal_stack.py"


def test_channels_last_and_another_class(tmp_path):
    file = ssd(tmp_path / "ssd.xml", [[0, 0, 0.8, 0, 0, 1, 1]], shape=(1, HEIGHT, WIDTH, 3))
    pixels = np.zeros((10, 20, 3), np.uint8)
    detector = open_detector(DetectorSettings(file=file))
    assert len(detector(pixels).boxes) == 0
    assert "1 of class 0, none of class 1" in detector.hint and "person_class" in detector.hint
    found = open_detector(DetectorSettings(file=file, person_class=0))(pixels)
    assert found.boxes.tolist() == [[0, 0, 20, 10]]


def test_a_yolo_network_gets_a_letterbox_and_its_boxes_are_suppressed(tmp_path):
    """A square image of 64 pixels comes into 32x64 at half its size, 16 pixels from the left."""
    columns = [[32, 16, 8, 16, 0.9, 0.1], [32.5, 16, 8, 16, 0.8, 0.1], [20, 10, 4, 4, 0.1, 0.9]]
    detector = open_detector(DetectorSettings(file=yolo(tmp_path / "yolo.xml", columns)))
    found = detector(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[24, 16, 40, 48]], rtol=1e-5)
    assert found.scores.tolist() == pytest.approx([0.9])
    both = open_detector(DetectorSettings(file=yolo(tmp_path / "y.xml", columns), nms_iou=0.95))
    assert len(both(np.zeros((64, 64, 3), np.uint8)).boxes) == 2


def test_a_network_of_any_size_takes_the_size_that_is_asked_for(tmp_path):
    file = yolo(tmp_path / "yolo.xml", [[32, 16, 8, 16, 0.9, 0.1]], shape=(1, 3, -1, -1))
    settings = DetectorSettings(file=file, input_size=(HEIGHT, WIDTH))
    assert len(open_detector(settings)(np.zeros((32, 64, 3), np.uint8)).boxes) == 1
    with pytest.raises(UserError, match=r"no output looks like boxes for an input of 640x640.* \[1, 6, 42\]"):
        open_detector(DetectorSettings(file=file))
    named = DetectorSettings(file=file, output="yolo8")
    assert len(open_detector(named)(np.zeros((640, 640, 3), np.uint8)).boxes) == 1, "the user knows better"


def test_an_onnx_file_is_read_as_it_is(tmp_path):
    """Of the kind of YOLOv5: objectness, then two classes."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    table = np.zeros((1, 3 * CELLS, 7), np.float32)
    table[0, 5] = [32, 16, 8, 16, 0.8, 0.9, 0.1]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    boxes = helper.make_tensor_value_info("output0", TensorProto.FLOAT, table.shape)
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["white"], keepdims=0),
        helper.make_node("Mul", ["table", "white"], ["output0"]),
    ]
    graph = helper.make_graph(nodes, "net", [image], [boxes], [numpy_helper.from_array(table, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "yolo.onnx")
    detector = open_detector(DetectorSettings(file=str(tmp_path / "yolo.onnx")))
    found = detector(np.full((64, 64, 3), 255, np.uint8))
    np.testing.assert_allclose(found.boxes, [[24, 16, 40, 48]], rtol=1e-5)
    assert found.scores.tolist() == pytest.approx([0.72]), "white must be 1 in the input"


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match=r"text\.onnx is no network that OpenVINO can run"):
        open_detector(DetectorSettings(file=str(tmp_path / "text.onnx")))
    a, b = (ops.parameter([1, 3, 8, 8], np.float32, name=name) for name in "ab")
    file = save_network(tmp_path / "two.xml", [ops.add(a, b)], [a, b])
    with pytest.raises(UserError, match="should take one image"):
        open_detector(DetectorSettings(file=file))
    file = ssd(tmp_path / "ssd.xml", [[0, 1, 0, 0, 0, 1, 1]])
    for values in ({"colour": "grey"}, {"output": "frcnn"}):
        with pytest.raises(UserError, match="is none of auto"):
            open_detector(DetectorSettings(file=file, **values))
    (tmp_path / "ssd.bin").unlink()
    with pytest.raises(UserError, match=r"ssd\.bin is missing"):
        open_detector(DetectorSettings(file=file))


def bright_frames(count):
    return [Frame(n, np.full((HEIGHT, WIDTH, 3), 100 + 10 * n, np.uint8)) for n in range(1, count + 1)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_frames_under_way_come_back_in_order_with_their_own_people(tmp_path, batch, threads):
    settings = DetectorSettings(file=bright_box(tmp_path / "net.xml"), batch=batch, threads=threads)
    detector = open_detector(settings)
    frames = bright_frames(11)
    alone = open_detector(DetectorSettings(file=settings.file, batch=1, threads=1))
    found = list(detector.detect_ahead(iter(frames)))
    assert [frame.number for frame, _ in found] == list(range(1, 12))
    for frame, people in found:
        assert people.scores.tolist() == pytest.approx([frame.image[0, 0, 0] / 255], abs=1e-5)
        expected = alone(frame.image)
        np.testing.assert_array_equal(detector(frame.image).boxes, expected.boxes)
        np.testing.assert_array_equal(people.boxes, expected.boxes)
        np.testing.assert_array_equal(people.scores, expected.scores)


def test_an_error_of_the_video_comes_behind_its_frames(tmp_path):
    def frames():
        yield from bright_frames(6)
        raise VideoError("it ends")

    detector, seen = open_detector(DetectorSettings(file=bright_box(tmp_path / "net.xml"))), []
    with pytest.raises(VideoError, match="it ends"):
        for frame, _ in detector.detect_ahead(frames()):
            seen.append(frame.number)
    assert seen == [1, 2, 3, 4, 5, 6], "a full batch and a part of one"


def test_the_rows_of_an_ssd_go_to_their_images():
    rows = np.zeros((1, 1, 8, 7), np.float32)
    rows[0, 0, :, 0] = [0, 1, 1, 3, -1, 0, 0, 0]
    rows[0, 0, :, 2] = np.arange(8) / 10
    scores = [detector_openvino._of_image(rows, "ssd", place, 4)[:, 2].tolist() for place in range(4)]
    assert scores == [pytest.approx([0.0]), pytest.approx([0.1, 0.2]), [], pytest.approx([0.3])]


def test_a_network_that_takes_one_image_gets_one(tmp_path):
    """The rows of this SSD do not grow with the batch."""
    file = ssd(tmp_path / "ssd.xml", [[0, 1, 0.8, 0, 0, 1, 1]])
    detector = open_detector(DetectorSettings(file=file))
    found = list(detector.detect_ahead(bright_frames(3)))
    assert [len(people.boxes) for _, people in found] == [1, 1, 1]
    with pytest.raises(UserError, match=r"cannot take 2 images at a time: set --config\.detector\.batch=1"):
        open_detector(DetectorSettings(file=file, batch=2))


def test_a_device_that_is_not_there_is_named(tmp_path):
    file = ssd(tmp_path / "ssd.xml", [[0, 1, 0.8, 0, 0, 1, 1]])
    with pytest.raises(UserError, match=r"detector\.device=NPU7 \(here: CPU"):
        open_detector(DetectorSettings(file=file, device="NPU7"))
