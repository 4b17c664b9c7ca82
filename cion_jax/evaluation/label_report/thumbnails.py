"""Pictures as small JPEGs inside the page."""

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

Picture = Callable[[int], np.ndarray | None]


class Thumbnails:
    """Data URIs of pictures by row number; each picture is read once, and at most `most` of them are.

    Args:
      picture: row -> uint8 [height, width, 3], or None where there is none.
      height: pixels; the width follows the picture's, at most as large.
      most: further ones come back as None, as do those without a picture.
    """

    def __init__(self, picture: Picture | None, *, height: int = 112, most: int = 600, quality: int = 78):
        self._picture, self._height, self._most, self._quality = picture, height, most, quality
        self._known: dict[int, tuple[str, int] | None] = {}

    def __call__(self, row: int) -> tuple[str, int] | None:
        """The URI and the width in pixels.

        Raises:
          ValueError: the callback gave something that is no picture.
        """
        if row not in self._known:
            if self._picture is None or len(self._known) >= self._most:
                return None
            pixels = self._picture(row)
            self._known[row] = None if pixels is None else self._encode(np.asarray(pixels), row)
        return self._known[row]

    def _encode(self, pixels: np.ndarray, row: int) -> tuple[str, int]:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(
                f"picture {row} must be uint8 [height, width, 3], got {pixels.dtype} {pixels.shape}"
            )
        scale = self._height / max(pixels.shape[:2])
        width, height = (max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=self._quality, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), width
