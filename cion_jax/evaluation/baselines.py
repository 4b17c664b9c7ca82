"""Features that nobody learned: what a trained network is compared with.

Both see colours alone: raw pixels know where they are, histograms only in which horizontal stripe.
"""

import numpy as np
from PIL import Image

_CHROMATIC = (8, 3, 4)  # bins of hue, saturation and value for pixels that have a hue
_GREY_LEVELS = 4  # bins of value for pixels that have none
_LEAST_SATURATION = 0.2  # below it the hue is noise
_BINS = _GREY_LEVELS + 8 * 3 * 4


def raw_pixels(images: np.ndarray) -> np.ndarray:
    """Pictures reduced to 64 x 32 pixels (height x width, bilinear with antialiasing), taken as vectors.

    The mean over all values of a picture is removed and the vector has unit length, so that cosine similarity
    is the correlation of two small pictures.

    Args:
      images: uint8 [n, height, width, 3], RGB.

    Returns:
      float32 [n, 6144]; a picture of one single grey gives zeros.

    Raises:
      ValueError: another shape or type.
    """
    _check(images)
    features = np.zeros((len(images), 64 * 32 * 3), np.float32)
    for row, image in zip(features, images, strict=True):
        small = Image.fromarray(image).resize((32, 64), Image.Resampling.BILINEAR)
        row[:] = np.asarray(small, np.float32).ravel()
        row -= row.mean()
        row /= max(float(np.linalg.norm(row)), 1e-6)
    return features


def colour_histogram(images: np.ndarray, *, stripes: int = 6) -> np.ndarray:
    """Joint histograms of hue, saturation and value in horizontal stripes of the picture.

    The picture is balanced first (grey world: every channel gets the same mean), which takes off much of a
    camera's colour cast. Pixels of a saturation below 0.2 are counted by value alone (4 bins), the others in
    8 x 3 x 4 bins. The square root of the shares is taken (Hellinger), so that the cosine similarity of two
    features is the mean Bhattacharyya coefficient of their stripes.

    Args:
      images: uint8 [n, height, width, 3], RGB.
      stripes: number of stripes from head to feet; 1 takes the picture as a whole.

    Returns:
      float32 [n, stripes * 100], rows of unit length.

    Raises:
      ValueError: another shape or type, no pixels, or stripes that do not fit.
    """
    _check(images)
    height = images.shape[1]
    if not 1 <= stripes <= height:
        raise ValueError(f"stripes = {stripes} for pictures of {height} rows; it must be between 1 and that")
    stripe = (np.arange(height) * stripes // height)[:, None]
    area = np.bincount(stripe[:, 0], minlength=stripes)[:, None] * images.shape[2]
    features = np.zeros((len(images), stripes * _BINS), np.float32)
    for row, image in zip(features, images, strict=True):
        cells = stripe * _BINS + _hsv_cells(_grey_world(image))
        counts = np.bincount(cells.ravel(), minlength=stripes * _BINS).reshape(stripes, _BINS)
        row[:] = np.sqrt(counts / (area * stripes)).ravel()
    return features


def _grey_world(image: np.ndarray) -> np.ndarray:
    """The picture with all three channel means moved to 0.45: float32 [height, width, 3] of 0..1."""
    colour = image.astype(np.float32) / 255
    return np.clip(colour * (0.45 / np.maximum(colour.mean(axis=(0, 1)), 1e-3)), 0, 1)


def _hsv_cells(colour: np.ndarray) -> np.ndarray:
    """The bin of every pixel: int [height, width], below `_BINS`."""
    hues, saturations, values = _CHROMATIC
    value = colour.max(axis=-1)
    spread = value - colour.min(axis=-1)
    saturation = spread / np.maximum(value, 1e-6)
    red, green, blue = np.moveaxis(colour, -1, 0)
    safe = np.maximum(spread, 1e-6)
    sextant = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue_bin = np.minimum((sextant * (hues / 6)).astype(int), hues - 1)
    saturation_bin = np.minimum((saturation * saturations).astype(int), saturations - 1)
    value_bin = np.minimum((value * values).astype(int), values - 1)
    chromatic = _GREY_LEVELS + (hue_bin * saturations + saturation_bin) * values + value_bin
    return np.where(saturation < _LEAST_SATURATION, value_bin, chromatic)


def _check(images: np.ndarray) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"pictures must be uint8 [n, height, width, 3], not {images.dtype} {list(images.shape)}"
        )
    if 0 in images.shape[1:]:
        raise ValueError(f"pictures without pixels: {list(images.shape)}")
