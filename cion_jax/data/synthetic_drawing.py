"""Antialiased, shaded shapes on a float canvas: the brush of the synthetic people.

Every shape is a distance to its outline evaluated on the pixels of its bounding box, so that edges are smooth
at any resolution without supersampling. Shapes are lit as the round bodies that they stand for.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

Point = tuple[float, float]
# paint(along [h, w], across [h, w]) -> colour [h, w, 3]: `along` runs 0..1 from a shape's start to its end,
# `across` runs -1..1 from its left to its right outline.
Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass
class Canvas:
    """A picture in the making.

    Attributes:
      image: float32 [height, width, 3], RGB, 0 to 1.
      light: unit vector towards the light: right, down, towards the viewer.
      outline: width in pixels of the soft dark seam that sets a shape off from what lies behind it.
    """

    image: np.ndarray
    light: tuple[float, float, float] = (-0.4, -0.5, 0.77)
    outline: float = 1.5

    def window(self, left: float, top: float, right: float, bottom: float):
        """The picture in a box (pixels): (image view, x [1, w], y [h, 1]); None when the box is outside."""
        height, width = self.image.shape[:2]
        x0, x1 = max(0, math.floor(left)), min(width, math.ceil(right))
        y0, y1 = max(0, math.floor(top)), min(height, math.ceil(bottom))
        if x0 >= x1 or y0 >= y1:
            return None
        x = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5)
        y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5)
        return self.image[y0:y1, x0:x1], x, y

    def shade(self, nx: np.ndarray, ny: np.ndarray | float) -> np.ndarray:
        """Brightness of a surface with the screen normal (nx, ny): [h, w], about 0.55 to 1.1."""
        depth = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
        lit = nx * self.light[0] + ny * self.light[1] + depth * self.light[2]
        return 0.58 + 0.5 * np.maximum(lit, 0)

    def blend(self, view: np.ndarray, gap: np.ndarray, colour, shade=None, *, seam: float = 0.35) -> None:
        """Lays a colour on `view` where `gap` (pixels inside the outline) is positive; darkens the seam."""
        cover = np.clip(gap + 0.5, 0, 1)
        if seam:
            dark = np.clip(1 + gap / self.outline, 0, 1)
            view *= (1 - seam * dark * dark)[..., None]
        colour = np.asarray(colour, np.float32)
        if shade is not None:
            colour = colour * shade[..., None]
        view += cover[..., None] * (colour - view)


def tube(canvas: Canvas, start: Point, end: Point, widths: Point, paint: Paint | tuple, *, seam=0.35) -> None:
    """A limb: a round-ended cone between two points (pixels); `widths` are the radii at both (pixels).

    It is lit as a cylinder, ends included, so that two limbs meet in a smooth joint.
    """
    (ax, ay), (bx, by), (ra, rb) = start, end, widths
    margin = max(ra, rb) + canvas.outline + 1
    found = canvas.window(
        min(ax, bx) - margin, min(ay, by) - margin, max(ax, bx) + margin, max(ay, by) + margin
    )
    if found is None:
        return
    view, x, y = found
    x, y, dx, dy = x - ax, y - ay, bx - ax, by - ay
    square = dx * dx + dy * dy + 1e-6
    along = np.clip((x * dx + y * dy) / square, 0, 1)
    radius = ra + (rb - ra) * along
    ex, ey = x - along * dx, y - along * dy
    distance = np.sqrt(ex * ex + ey * ey)
    gap = radius - distance
    length = math.sqrt(square)
    across = np.clip((x * dy - y * dx) / (length * radius), -1, 1)
    if callable(paint):
        paint = paint(along, across)
    canvas.blend(view, gap, paint, canvas.shade(across * (dy / length), across * (-dx / length)), seam=seam)


def trunk(
    canvas: Canvas,
    middle: Callable[[np.ndarray], np.ndarray],
    outline: tuple[np.ndarray, np.ndarray],
    paint: Paint | tuple,
    *,
    hem: float = 0.0,
    seam=0.35,
) -> None:
    """An upright body of revolution, as torsos and skirts are.

    Args:
      middle: maps rows y (pixels, [h, 1]) to the x of the axis.
      outline: rows (increasing, pixels) and half widths (pixels) at them; lines between.
      paint: colours; `along` runs from the first row to the last one.
      hem: how far the lower edge bulges downwards in the middle (pixels): the hem seen from above.
    """
    rows, halves = outline
    top, bottom, reach = float(rows[0]), float(rows[-1]), float(halves.max())
    axis = middle(np.array([[top], [bottom]], np.float32))
    margin = reach + canvas.outline + 1
    found = canvas.window(
        axis.min() - margin, top - canvas.outline - 1, axis.max() + margin, bottom + hem + canvas.outline + 1
    )
    if found is None:
        return
    view, x, y = found
    half = np.interp(y[:, 0], rows, halves).astype(np.float32)[:, None]
    slope = (np.interp(y[:, 0] + 0.5, rows, halves) - np.interp(y[:, 0] - 0.5, rows, halves))[:, None]
    tilt = (1 / np.sqrt(1 + slope * slope)).astype(np.float32)
    offset = x - middle(y)
    across = np.clip(offset / np.maximum(half, 1e-3), -1, 1)
    side = (half - np.abs(offset)) * tilt
    edge = bottom + hem * np.sqrt(1 - across * across) - y
    gap = np.minimum(np.minimum(side, edge), y - top)
    if callable(paint):
        paint = paint((y - top) / (bottom - top) + 0 * x, across)
    canvas.blend(view, gap, paint, canvas.shade(across * 0.93, -0.12), seam=seam)


def ball(canvas: Canvas, centre: Point, radii: Point, paint: Paint | tuple, *, seam=0.35) -> None:
    """An ellipsoid; its paint takes the screen normal (right, down) in place of (along, across)."""
    (cx, cy), (rx, ry) = centre, radii
    margin = canvas.outline + 1
    found = canvas.window(cx - rx - margin, cy - ry - margin, cx + rx + margin, cy + ry + margin)
    if found is None:
        return
    view, x, y = found
    nx, ny = (x - cx) / rx + 0 * y, (y - cy) / ry + 0 * x
    norm = np.sqrt(nx * nx + ny * ny)
    gap = (1 - norm) * min(rx, ry)
    inside = 1 / np.maximum(norm, 1)
    nx, ny = nx * inside, ny * inside
    canvas.blend(view, gap, paint(nx, ny) if callable(paint) else paint, canvas.shade(nx, ny), seam=seam)


def box(
    canvas: Canvas, centre: Point, halves: Point, corner: float, paint: Paint | tuple, *, seam=0.35
) -> None:
    """A rounded box: half width and half height and the corner's radius in pixels."""
    (cx, cy), (hw, hh) = centre, halves
    corner = min(corner, hw, hh)
    margin = canvas.outline + 1
    found = canvas.window(cx - hw - margin, cy - hh - margin, cx + hw + margin, cy + hh + margin)
    if found is None:
        return
    view, x, y = found
    qx, qy = np.abs(x - cx) - (hw - corner), np.abs(y - cy) - (hh - corner)
    outer = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    gap = corner - outer - np.minimum(np.maximum(qx, qy), 0)
    across = np.clip((x - cx) / hw, -1, 1) + 0 * y
    down = np.clip((y - cy) / hh, -1, 1) + 0 * x
    shade = canvas.shade(across**3 * 0.7, down**3 * 0.6)
    canvas.blend(view, gap, paint((down + 1) / 2, across) if callable(paint) else paint, shade, seam=seam)


def shadow(canvas: Canvas, centre: Point, radii: Point, strength: float) -> None:
    """A soft shadow on the ground: an ellipse that fades out towards its rim."""
    (cx, cy), (rx, ry) = centre, radii
    found = canvas.window(cx - rx, cy - ry, cx + rx, cy + ry)
    if found is None:
        return
    view, x, y = found
    dark = np.clip(1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2, 0, 1)
    view *= (1 - strength * dark)[..., None]
