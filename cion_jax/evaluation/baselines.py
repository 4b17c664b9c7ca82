"""Features that nobody learned: what a trained network is compared with.

Both see colours and nothing else; raw pixels know where they are, histograms only in which horizontal stripe.
"""

import numpy as np
from PIL import Image


def raw_pixels(images: np.ndarray) -> np.ndarray:
    """Pictures reduced to 64 x 32 pixels (height x width, bilinear with antialiasing), taken as vectors.

    The mean over a picture's pixels is removed and the vector has unit length, so that cosine similarity is the
    correlation of two small pictures.

    Args:
      images: uint8 [n, height, width, 3], RGB.

    Returns:
      float32 [n, 6144]; a picture of one single colour gives zeros.

    Raises:
      ValueError: another shape or type.
    """
    _check(images)
    features = np.zeros((len(images), 64 * 32 * 3), np.float32)
    for row, image in zip(features, images, strict=True):
        small = Image.fromarray(image).resize((32, 64), Image.Resampling.BILINEAR)
        row[:] = np.asarray(small, np.float32).ravel()
    features -= features.mean(axis=1, keepdims=True)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)


def colour_histogram(images: np.ndarray, *, stripes: int = 6) -> np.ndarray:
    """Joint histograms of hue, saturation and value (8 x 3 x 4 bins) of horizontal stripes of the picture.

    The square root of the shares is taken (Hellinger), so that the cosine similarity of two features is the mean
    Bhattacharyya coefficient of their stripes.

    Args:
      images: uint8 [n, height, width, 3], RGB.
      stripes: number of stripes from head to feet.

    Returns:
      float32 [n, stripes * 96], rows of unit length.

    Raises:
      ValueError: another shape or type, or less than one stripe or row of pixels per stripe.
    """
    _check(images)
    if not 1 <= stripes <= images.shape[1]:
        raise ValueError(f"stripes = {stripes} for pictures of {images.shape[1]} rows")
    bins = 8 * 3 * 4
    features = np.zeros((len(images), stripes, bins), np.float32)
    bounds = np.linspace(0, images.shape[1], stripes + 1).astype(int)
    for row, image in zip(features, images, strict=True):
        cells = _hsv_cells(image)
        for k in range(stripes):
            part = cells[bounds[k] : bounds[k + 1]]
            row[k] = np.bincount(part.ravel(), minlength=bins) / part.size
    return np.sqrt(features / stripes).reshape(len(images), stripes * bins)


def _hsv_cells(image: np.ndarray) -> np.ndarray:
    """Number of the hue, saturation and value bin of every pixel: int [height, width], below 96."""
    colour = image.astype(np.float32) / 255
    value, lowest = colour.max(axis=-1), colour.min(axis=-1)
    spread = value - lowest
    saturation = spread / np.maximum(value, 1e-6)
    red, green, blue = np.moveaxis(colour, -1, 0)
    safe = np.maximum(spread, 1e-6)
    hue = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue_bin = np.minimum(hue * (8 / 6), 7).astype(int)
    saturation_bin = np.minimum(saturation * 3, 2).astype(int)
    value_bin = np.minimum(value * 4, 3).astype(int)
    return (hue_bin * 3 + saturation_bin) * 4 + value_bin


def _check(images: np.ndarray) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8 [n, height, width, 3], not {images.dtype} {list(images.shape)}")
