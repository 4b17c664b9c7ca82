"""Which detector the settings ask for."""

import hashlib

import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import detectors
from cion_jax.video.detectors import DetectorSettings


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
