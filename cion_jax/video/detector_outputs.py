"""What the outputs of detection networks mean, told by their shapes: SSD rows and three kinds of YOLO."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cion_jax.core.errors import UserError

# ssd: rows of image, label, confidence, left, top, right, bottom (relative), ended by image -1.
# yolo5: rows of centre x, y, width, height, objectness, classes (pixels of the input).
# yolo8: the same without objectness, one column a box (or one row a box).
# yolo_end: rows of left, top, right, bottom, confidence, class, suppressed already.
LAYOUTS = ("ssd", "yolo5", "yolo8", "yolo_end")
# A YOLO network looks at cells of these sizes; larger ones add the last.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_ANCHORS = 3  # boxes a cell up to YOLOv7
_MOST_ROWS = 1000  # of a list that is suppressed already


class Decoded(NamedTuple):
    """Boxes of all classes: boxes float32 [k, 4] (left, top, right, bottom), scores [k], classes int [k]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def recognise(shapes: Mapping[str, Sequence[int]], size: tuple[int, int]) -> tuple[str, str]:
    """Which output holds the boxes, and its layout.

    Args:
      shapes: shape of each output by its name.
      size: height and width of the input.

    Raises:
      UserError: no output has a known shape, or several have.
    """
    known = {name: _layout(tuple(shape), size) for name, shape in shapes.items()}
    known = {name: layout for name, layout in known.items() if layout}
    if len(known) == 1:
        return next(iter(known.items()))
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    what = "several outputs look like boxes" if known else "no output looks like boxes"
    raise UserError(
        f"{what} for an input of {size[0]}x{size[1]}: {listed}. Understood are SSD ([1, 1, n, 7]), YOLOv5 "
        "([1, n, 5 + classes]), YOLOv8 and later ([1, 4 + classes, n] or its transpose) and YOLO without NMS "
        f"([1, n, 6]). If it is one of them, say which: --config.detector.output={'|'.join(LAYOUTS)}"
    )


def _layout(shape: tuple[int, ...], size: tuple[int, int]) -> str:
    if len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7:
        return "ssd"
    if len(shape) != 3 or shape[0] != 1:
        return ""
    cells = [sum((size[0] // s) * (size[1] // s) for s in strides) for strides in _STRIDES]
    rows, columns = shape[1:]
    if rows in [_ANCHORS * n for n in cells] and columns >= 6:
        return "yolo5"
    if columns in cells and rows >= 5:
        return "yolo8"
    # 85 columns with one row a cell are YOLOX's (objectness and 80 classes), whose boxes are often not decoded.
    if rows in cells and columns >= 5 and columns != 85:
        return "yolo8"
    return "yolo_end" if columns == 6 and rows <= _MOST_ROWS else ""


def decode(output: np.ndarray, layout: str, confidence: float) -> Decoded:
    """Boxes of at least `confidence`, relative (ssd) or in pixels of the input (the others).

    Raises:
      UserError: an array that cannot have this layout.
    """
    array = np.asarray(output, np.float32)
    array = array.reshape(array.shape[-2:]) if array.ndim >= 2 and array.size else array.reshape(0, 7)
    if layout == "ssd":
        found = _of_ssd(array)
    elif layout == "yolo_end":
        found = Decoded(array[:, :4], array[:, 4], array[:, 5].astype(np.int64))
    elif layout == "yolo5":
        found = _of_yolo(array[:, :4], array[:, 5:] * array[:, 4:5])
    elif layout == "yolo8":
        # There are always more cells than numbers a box.
        array = array.T if array.shape[0] < array.shape[1] else array
        found = _of_yolo(array[:, :4], array[:, 4:])
    else:
        raise UserError(f"detector.output={layout!r} is none of auto, {', '.join(LAYOUTS)}")
    keep = found.scores >= confidence
    return Decoded(*(values[keep] for values in found))


def _of_ssd(rows: np.ndarray) -> Decoded:
    ends = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: ends[0]] if len(ends) else rows
    return Decoded(rows[:, 3:7], rows[:, 2], rows[:, 1].astype(np.int64))


def _of_yolo(centred: np.ndarray, classes: np.ndarray) -> Decoded:
    if not classes.shape[1]:
        raise UserError("the detector's output has no column for a class: another detector.output may fit")
    middle, half = centred[:, :2], centred[:, 2:] / 2
    best = classes.argmax(axis=1)
    scores = np.take_along_axis(classes, best[:, None], axis=1)[:, 0]
    return Decoded(np.concatenate([middle - half, middle + half], axis=1), scores, best)
