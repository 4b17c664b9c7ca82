"""Any image file to the JPEG that a record holds: RGB, upright, small enough, checked by decoding."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from cion_jax.data import decode

_ORIENTATION_TAG = 0x0112
# What brings an image that a camera stored under this EXIF orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class FittedImage(NamedTuple):
    """A JPEG that is known to decode, and its size in pixels."""

    jpeg: bytes
    height: int
    width: int


def fit_jpeg(data: bytes, max_size: tuple[int, int] = (384, 192), *, quality: int = 95) -> FittedImage:
    """Makes the JPEG to store from an image file of any format that Pillow reads.

    A JPEG that is RGB, upright and small enough is passed on byte for byte. All else is converted to RGB,
    turned upright, reduced (aspect kept, antialiased) and encoded anew.

    Args:
      data: the image file.
      max_size: largest height and width in pixels.
      quality: of the JPEG where the image must be encoded anew.

    Raises:
      ValueError: not an image, cut short, damaged, or of a pixel type with no plain way to RGB.
    """
    image, is_as_stored = _upright(data)
    if is_as_stored and image.height <= max_size[0] and image.width <= max_size[1]:
        return FittedImage(data, image.height, image.width)
    image = _reduced(image, max_size)
    return FittedImage(encode_jpeg(np.asarray(image), quality=quality), image.height, image.width)


def fit_pixels(data: bytes, max_size: tuple[int, int] = (384, 192)) -> np.ndarray:
    """The pixels of an image file of any format that Pillow reads: RGB, upright, reduced to `max_size`.

    Raises:
      ValueError: as `fit_jpeg`.
    """
    return np.asarray(_reduced(_upright(data)[0], max_size))


def _upright(data: bytes) -> tuple[Image.Image, bool]:
    """The image as RGB and upright, and whether the file is a JPEG that needed neither conversion."""
    if not data:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as header:
            # The header is read, the pixels are not: JPEGs go through the strict decoder.
            is_jpeg, mode = header.format == "JPEG", header.mode
            orientation = header.getexif().get(_ORIENTATION_TAG, 1)
            image = None if is_jpeg else Image.fromarray(_rgb(header))
    except Exception as error:  # Pillow's parsers raise nearly anything on malformed files
        raise ValueError(f"not a readable image: {decode.reason(error)}") from error
    if is_jpeg:
        image = Image.fromarray(decode.decode_jpeg(data))
    is_turned = orientation in _UPRIGHT
    return image.transpose(_UPRIGHT[orientation]) if is_turned else image, (
        is_jpeg and mode == "RGB" and not is_turned
    )


def encode_jpeg(image: np.ndarray, *, quality: int) -> bytes:
    """Encodes uint8 [height, width, 3] RGB as a baseline JPEG with 4:2:0 chroma, as cameras do."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 [height, width, 3], got {image.dtype} {image.shape}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _rgb(image: Image.Image) -> np.ndarray:
    # Pillow clips 16-bit grey at 255 when asked for RGB; take the high byte instead.
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of type {image.mode} have no fixed range; save the image with 8 bits")
    return np.asarray(image.convert("RGB"))


def _reduced(image: Image.Image, max_size: tuple[int, int]) -> Image.Image:
    scale = min(max_size[0] / image.height, max_size[1] / image.width)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)
