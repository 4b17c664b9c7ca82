"""Which detector the settings ask for."""

import hashlib

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import detectors
from cion_jax.video.detectors import DetectorSettings
from cion_jax.video.reading import Frame


def test_the_file_decides(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"x")
    assert detectors.kind_of(DetectorSettings()) == "hog"
    assert detectors.kind_of(DetectorSettings(file=str(file))) == "openvino"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "best"}, "none of auto, hog, openvino"),
        ({"kind": "hog", "file": "a.onnx"}, "leave one of them out"),
        ({"kind": "openvino"}, "must be an existing"),
        ({"file": "absent.xml"}, "must be an existing"),
        ({"file": __file__}, r"\.xml or \.onnx"),
    ],
)
def test_settings_of_no_meaning_are_told(values, message):
    with pytest.raises(UserError, match=message):
        detectors.open_detector(DetectorSettings(**values))


def test_the_hash_covers_the_weights(tmp_path):
    file, weights = tmp_path / "net.xml", tmp_path / "net.bin"
    file.write_bytes(b"graph")
    with pytest.raises(UserError, match=r"net\.bin is missing"):
        detectors.about(DetectorSettings(file=str(file)))
    weights.write_bytes(b"weights")
    found = detectors.about(DetectorSettings(file=str(file)))
    assert found["kind"] == "openvino"
    assert found["sha256"] == hashlib.sha256(b"graphweights").hexdigest()
    assert detectors.about(DetectorSettings()) == {"kind": "hog"}


def test_the_confidence_that_is_left_open_depends_on_the_kind(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"x")
    assert detectors.with_confidence(DetectorSettings(file=str(file))).confidence == 0.1
    assert detectors.with_confidence(DetectorSettings()).confidence > 0.1
    assert detectors.with_confidence(DetectorSettings(confidence=0.0)).confidence == 0.0


def test_any_detector_works_ahead_in_order():
    class Slow:
        hint = ""

        def __call__(self, image):
            return detectors.Detections(np.full((1, 4), image[0, 0, 0], np.float32), np.ones(1, np.float32))

    frames = [Frame(n, np.full((2, 2, 3), n, np.uint8)) for n in range(1, 30)]
    found = list(detectors.detect_ahead(Slow(), iter(frames)))
    assert [(frame.number, people.boxes[0, 0]) for frame, people in found] == [(n, n) for n in range(1, 30)]
