"""JPEG bytes to pixels, strictly: damaged data raises instead of giving grey areas."""

import io
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

try:
    import simplejpeg
except ImportError:  # a platform without wheels: Pillow decodes the same pixels at about half the rate
    simplejpeg = None

_STRAY_BYTES = re.compile(r"extraneous bytes before marker 0x([0-9a-f]+)")


def decode_jpeg(data: bytes) -> np.ndarray:
    """Decodes a JPEG to RGB.

    simplejpeg is used where it is installed. It raises on every fault that libjpeg notices. Pillow takes over
    for files that simplejpeg refuses without their pixels being at fault (stray bytes between headers, rare
    colour spaces), and where simplejpeg is absent; there a cut file raises too, but damage in the middle of
    the data may pass unseen.

    Args:
      data: the whole file.

    Returns:
      uint8 [height, width, 3], writable.

    Raises:
      ValueError: the data is no JPEG, or cut short, or damaged.
    """
    if not data:
        raise ValueError("the image is empty")
    if simplejpeg is not None:
        try:
            return simplejpeg.decode_jpeg(data, colorspace="RGB")
        except ValueError as error:
            if _pixels_are_damaged(str(error)):
                raise ValueError(f"damaged JPEG: {error}") from error
    return _decode_with_pillow(data)


def _pixels_are_damaged(message: str) -> bool:
    if stray := _STRAY_BYTES.search(message):
        # Before a header's marker they are harmless and met in the wild. Before the end of the image (0xd9)
        # or a restart (0xd0 to 0xd7) the scan has stopped too early: the commonest trace of damage.
        return 0xD0 <= int(stray[1], 16) <= 0xD9
    return "Premature end" in message or "Corrupt JPEG" in message


def _decode_with_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.array(image.convert("RGB"))
    except Exception as error:  # Pillow's parsers raise nearly anything on bytes that are not theirs
        raise ValueError(f"not a readable JPEG: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What Pillow says of bytes, without the address of the object they were in: the same for the same bytes."""
    return "no known format" if isinstance(error, UnidentifiedImageError) else str(error)
