"""Codecs are named where OpenCV cannot open a file."""

import numpy as np
import pytest

from cion_jax.video import codec_names
from tests.video import drawing


def box(kind, content):
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def mp4(code, at_end=False):
    """The boxes of an MP4 file that matter here, with its header before or behind the pictures."""
    entry = box(code, bytes(78))
    header = box(b"moov", box(b"stsd", bytes(4) + (1).to_bytes(4, "big") + entry))
    pictures = box(b"mdat", np.random.default_rng(0).bytes(9 << 20 if at_end else 100))
    return box(b"ftyp", b"isom") + (pictures + header if at_end else header + pictures)


@pytest.mark.parametrize("at_end", [False, True])
def test_mp4(tmp_path, at_end):
    (tmp_path / "a.mp4").write_bytes(mp4(b"av01", at_end))
    assert codec_names.find_codecs(tmp_path / "a.mp4") == ["av01"]


def test_matroska(tmp_path):
    (tmp_path / "a.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(40) + b"\x86\x85V_AV1" + bytes(9))
    assert codec_names.find_codecs(tmp_path / "a.mkv") == ["V_AV1"]


def test_avi_and_the_number_of_opencv(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="the extra `video` is not installed")
    file = drawing.write_video(tmp_path / "a.avi", 2)
    assert codec_names.find_codecs(file) == ["MJPG"]
    assert codec_names.four_characters(float(cv2.VideoWriter_fourcc(*"avc1"))) == "avc1"
    assert codec_names.four_characters(0.0) == codec_names.four_characters(-1.0) == ""


@pytest.mark.parametrize(
    "content", [b"", b"no video" * 9, b"\x00\x00\x00\x08ftyp", b"RIFF" + b"strh1234vids\0\0\0\0"]
)
def test_other_files_name_none(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    assert codec_names.find_codecs(tmp_path / "a.mp4") == []
