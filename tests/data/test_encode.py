"""Images of all kinds become plain JPEGs within the largest size."""

import io

import numpy as np
import pytest
from PIL import Image

from cion_jax.data.decode import decode_jpeg
from cion_jax.data.encode import encode_jpeg, fit_jpeg, fit_pixels


def gradient(height, width):
    """Red grows downwards, green to the right: orientation and aspect can be read off."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, height)[:, None]
    image[..., 1] = np.linspace(0, 255, width)[None]
    return image


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(128, 48), (384, 192)])
def test_a_small_jpeg_keeps_its_bytes(size):
    data = saved(gradient(*size), "JPEG", quality=80)
    assert fit_jpeg(data) == (data, *size)


@pytest.mark.parametrize(
    ("size", "expected"), [((768, 192), (384, 96)), ((385, 192), (384, 192)), ((100, 400), (48, 192))]
)
def test_a_large_image_is_reduced_with_its_aspect(size, expected):
    fitted = fit_jpeg(saved(gradient(*size), "JPEG", quality=95))
    assert (fitted.height, fitted.width) == expected
    image = decode_jpeg(fitted.jpeg)
    assert image.shape == (*expected, 3)
    assert np.abs(image.astype(int) - gradient(*expected)).mean() < 5


def test_a_sliver_keeps_at_least_one_pixel():
    fitted = fit_jpeg(saved(gradient(2000, 1), "PNG"))
    assert (fitted.height, fitted.width) == (384, 1)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_other_formats_are_encoded_anew(kind):
    fitted = fit_jpeg(saved(gradient(64, 32), kind))
    assert fitted.jpeg[:2] == b"\xff\xd8"
    assert np.abs(decode_jpeg(fitted.jpeg).astype(int) - gradient(64, 32)).mean() < 12


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_that_are_not_rgb_become_rgb(mode):
    fitted = fit_jpeg(saved(Image.fromarray(gradient(64, 32)).convert(mode), "JPEG"))
    with Image.open(io.BytesIO(fitted.jpeg)) as image:
        assert image.mode == "RGB" and image.size == (32, 64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_png_modes_become_rgb(mode):
    fitted = fit_jpeg(saved(Image.fromarray(gradient(64, 32)).convert(mode), "PNG"))
    assert decode_jpeg(fitted.jpeg).shape == (64, 32, 3)


def test_sixteen_bit_grey_keeps_its_range():
    grey = np.linspace(0, 65535, 64).astype(np.uint16)[:, None] * np.ones((1, 32), np.uint16)
    image = decode_jpeg(fit_jpeg(saved(Image.fromarray(grey), "PNG")).jpeg)
    assert abs(int(image[32, 16, 0]) - 129) < 6, "16-bit grey must be scaled, not clipped at 255"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = Image.fromarray(gradient(64, 32))
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    fitted = fit_jpeg(saved(stored, "JPEG", quality=95, exif=exif))
    assert np.abs(decode_jpeg(fitted.jpeg).astype(int) - gradient(64, 32)).mean() < 6


@pytest.mark.parametrize("data", [b"", b"plain text", saved(gradient(64, 32), "PNG")[:60]])
def test_what_is_no_image_raises(data):
    with pytest.raises(ValueError):
        fit_jpeg(data)


def test_a_cut_jpeg_raises_even_where_it_would_be_copied():
    data = saved(gradient(64, 32), "JPEG")
    with pytest.raises(ValueError):
        fit_jpeg(data[: len(data) * 3 // 4])


def test_floating_point_pixels_are_refused():
    with pytest.raises(ValueError, match="no fixed range"):
        fit_jpeg(saved(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"))


def test_encode_wants_rgb_bytes():
    with pytest.raises(ValueError, match="uint8"):
        encode_jpeg(np.zeros((4, 4, 3), np.float32), quality=90)


@pytest.mark.parametrize(("kind", "size"), [("JPEG", (64, 32)), ("PNG", (64, 32)), ("PNG", (400, 100))])
def test_pixels_are_those_that_would_be_stored_before_encoding(kind, size):
    data = saved(gradient(*size), kind)
    pixels = fit_pixels(data, (200, 100))
    stored = decode_jpeg(fit_jpeg(data, (200, 100), quality=100).jpeg)
    assert pixels.shape == stored.shape and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - stored).mean() < 2
    with pytest.raises(ValueError, match="not a readable image"):
        fit_pixels(b"no picture")
