"""Decoding is strict with either library."""

import io

import numpy as np
import pytest
from PIL import Image

from cion_jax.data import decode


@pytest.fixture(params=["simplejpeg", "pillow"])
def library(request, monkeypatch):
    if request.param == "pillow":
        monkeypatch.setattr(decode, "simplejpeg", None)
    elif decode.simplejpeg is None:
        pytest.skip("simplejpeg is not installed")
    return request.param


def picture(height=48, width=32):
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


def jpeg(mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def test_pixels_are_rgb_in_order(library):
    image = decode.decode_jpeg(jpeg(subsampling=0))
    assert image.dtype == np.uint8 and image.shape == (48, 32, 3)
    assert np.abs(image.astype(int) - picture()).mean() < 3


@pytest.mark.parametrize(
    "options", [{"mode": "L"}, {"mode": "CMYK"}, {"progressive": True}, {"keep_rgb": True}]
)
def test_unusual_jpegs_decode_to_three_channels(library, options):
    image = decode.decode_jpeg(jpeg(**options))
    assert image.shape == (48, 32, 3)
    if options.get("mode") != "L":
        assert np.abs(image.astype(int) - picture()).mean() < 8


@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.9, -2, -1])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_file_raises(library, kept, progressive):
    data = jpeg(progressive=progressive)
    cut = data[: int(len(data) * kept) if isinstance(kept, float) else kept]
    with pytest.raises(ValueError):
        decode.decode_jpeg(cut)


@pytest.mark.parametrize("data", [b"", b"not an image", bytes(1000)])
def test_other_data_raises(library, data):
    with pytest.raises(ValueError):
        decode.decode_jpeg(data)


def test_the_reason_is_the_same_for_the_same_bytes():
    messages = set()
    for _ in range(2):
        with pytest.raises(ValueError, match="no known format") as caught:
            decode.decode_jpeg(b"no picture")
        messages.add(str(caught.value))
    assert len(messages) == 1 and "0x" not in messages.pop()


def test_damage_in_the_middle_raises_with_simplejpeg():
    if decode.simplejpeg is None:
        pytest.skip("Pillow alone does not notice")
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (128, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", quality=90)
    data = bytearray(buffer.getvalue())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    with pytest.raises(ValueError, match="damaged"):
        decode.decode_jpeg(bytes(data))


def test_stray_bytes_between_markers_are_forgiven(library):
    data = jpeg()
    table = data.index(b"\xff\xdb")
    assert decode.decode_jpeg(data[:table] + b"\x00\x01\x02" + data[table:]).shape == (48, 32, 3)
