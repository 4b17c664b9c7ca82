"""Boxes as float [k, 4] arrays of (left, top, right, bottom) in pixels; the first pixel spans 0 to 1."""

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas [k], 0 for a box that is turned inside out."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair, [k, m]; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    either = areas(first)[:, None] + areas(second)[None] - both
    return both / np.maximum(either, 1e-12)


def clip(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part of each box that lies in the image."""
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def widen(boxes: np.ndarray, margin: float) -> np.ndarray:
    """Boxes that grow by `margin` times their own width and height on each side (negative: shrink)."""
    size = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] - margin * size, boxes[:, 2:] + margin * size], axis=1)


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Non-maximum suppression: row numbers of the boxes to keep, best first.

    A box goes when a better one that stays overlaps it by more than `limit` (IoU). Equal scores: the first row counts
    as the better one.
    """
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[iou(boxes[best][None], boxes[rest])[0] <= limit]
    return np.array(kept, np.int64)
