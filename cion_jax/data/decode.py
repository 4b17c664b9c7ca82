"""JPEG bytes to pixels, strictly: damaged data raises instead of giving grey areas."""

import io

import numpy as np
from PIL import Image

try:
    import simplejpeg
except ImportError:  # a platform without wheels: Pillow decodes the same pixels at about half the rate
    simplejpeg = None


def decode_jpeg(data: bytes) -> np.ndarray:
    """Decodes a JPEG to RGB.

    simplejpeg is used where it is installed. It raises on every fault that libjpeg notices. Pillow takes over
    for files that simplejpeg refuses without their pixels being at fault (stray bytes between markers, rare
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
    # "N extraneous bytes before marker" is common in the wild and harmless: the scan itself is complete.
    return "Premature end" in message or ("Corrupt JPEG" in message and "extraneous bytes" not in message)


def _decode_with_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.array(image.convert("RGB"))
    except Exception as error:  # Pillow's parsers raise nearly anything on bytes that are not theirs
        raise ValueError(f"not a readable JPEG: {error}") from error
