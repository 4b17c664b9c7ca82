"""Pictures for people: what a model retrieves, and how it learned."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from cion_jax.core.files import write_atomically
from cion_jax.evaluation.ranking import JUNK

Images = Callable[[int], np.ndarray] | Sequence[np.ndarray]

INK, FAINT, PAPER, TILE = "#22272e", "#6b7380", "#ffffff", "#eef0f3"
RIGHT, WRONG, ASKED = "#1b8a4b", "#cf3030", "#3d4652"
# Colours that stay apart for colour-blind readers (Okabe and Ito).
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


# --- query and top-10 lists ---


class _Layout(NamedTuple):
    """Sizes of the sheet in pixels."""

    width: int = 96  # of an image
    height: int = 192
    border: int = 5
    gap: int = 10  # between tiles
    caption: int = 40  # under a tile
    gutter: int = 26  # between the query and its list
    margin: int = 28
    header: int = 84

    @property
    def tile(self) -> int:
        return self.width + 2 * self.border

    @property
    def row(self) -> int:
        return self.height + 2 * self.border + self.caption + self.gap


def retrieval_sheet(
    query_images: Images,
    gallery_images: Images,
    distances: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    path: Path,
    *,
    title: str,
    subtitle: str = "",
    queries: Sequence[int] | None = None,
    top: int = 10,
) -> None:
    """Draws queries and the gallery images nearest to each, green where the identity is right and red
    elsewhere.

    The lists follow the rules of `rank`: junk and images of the query's identity under its own camera are
    left out, ties go by gallery index. Under an image stand its distance and camera, under a query the rank
    of its first right image; an empty place means that the gallery has no more.

    Args:
      query_images, gallery_images: index -> uint8 [height, width, 3], as a function or a sequence; only those
        that are shown are asked for.
      distances: floating [q, g], smaller is nearer.
      query_ids, gallery_ids, query_cameras, gallery_cameras: integers [q] or [g].
      path: the PNG file to write, whole or not at all.
      title: for example "ViT-S, 30 epochs: mAP 61.3 %".
      subtitle: a second, fainter line.
      queries: rows of `distances` to show; by default eight, spread evenly over those that have a right
        image.
      top: length of the lists.

    Raises:
      ValueError: shapes that do not fit, or no query to show.
    """
    distances = np.asarray(distances)
    query_ids, query_cameras = np.asarray(query_ids), np.asarray(query_cameras)
    gallery_ids, gallery_cameras = np.asarray(gallery_ids), np.asarray(gallery_cameras)
    wanted = [(len(query_ids), len(gallery_ids)), (len(query_cameras), len(gallery_cameras))]
    if any(distances.shape != shape for shape in wanted):
        raise ValueError(f"distances must have the shapes {wanted} of ids and cameras, got {distances.shape}")

    def answer(query: int) -> "_Answer":
        same = gallery_ids == query_ids[query]
        kept = np.flatnonzero(~(same & (gallery_cameras == query_cameras[query])) & (gallery_ids != JUNK))
        order = kept[np.argsort(distances[query][kept], kind="stable")]
        return _Answer(query, order[:top], distances[query][order[:top]], same[order])

    answers = [answer(query) for query in (range(len(query_ids)) if queries is None else queries)]
    if queries is None:
        answers = [one for one in answers if one.right.any()]
        answers = (
            [answers[i] for i in np.unique(np.linspace(0, len(answers) - 1, 8).astype(int))]
            if answers
            else []
        )
    if not answers:
        raise ValueError(
            "there is no query to show: none has a gallery image of its identity under another camera"
        )

    layout = _Layout()
    width = 2 * layout.margin + (top + 1) * layout.tile + top * layout.gap + layout.gutter
    sheet = Image.new("RGB", (width, layout.header + len(answers) * layout.row + layout.margin), PAPER)
    _header(sheet, layout, title, subtitle)
    for number, one in enumerate(answers):
        y = layout.header + number * layout.row
        first = f"first hit at {int(one.right.argmax()) + 1:,}" if one.right.any() else "no hit in gallery"
        _tile(sheet, layout, layout.margin, y, query_images, one.query, ASKED)
        _caption(sheet, layout, layout.margin, y, f"camera {query_cameras[one.query]}", first)
        for place, image in enumerate(one.nearest):
            x = layout.margin + layout.tile + layout.gutter + layout.gap + place * (layout.tile + layout.gap)
            _tile(sheet, layout, x, y, gallery_images, image, RIGHT if one.right[place] else WRONG)
            _mark(sheet, layout, x, y, bool(one.right[place]))
            _caption(sheet, layout, x, y, f"{one.distances[place]:.3f}", f"camera {gallery_cameras[image]}")
    _write_png(sheet, path)


class _Answer(NamedTuple):
    query: int
    nearest: np.ndarray  # int [<= top]: gallery indices
    distances: np.ndarray  # [<= top]
    right: np.ndarray  # bool [kept]: in the order of the whole ranking


def _header(sheet: Image.Image, layout: _Layout, title: str, subtitle: str) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((layout.margin, 20), title, INK, _font(22, bold=True))
    draw.text((layout.margin, 52), subtitle, FAINT, _font(14))
    x, font = sheet.width - layout.margin, _font(14)
    for colour, text in ((WRONG, "another person"), (RIGHT, "same person"), (ASKED, "query")):
        x -= round(draw.textlength(text, font))
        draw.text((x, 52), text, FAINT, font)
        draw.rounded_rectangle((x - 20, 54, x - 8, 66), 3, colour)
        x -= 20 + 18


def _tile(
    sheet: Image.Image, layout: _Layout, x: int, y: int, images: Images, index: int, colour: str
) -> None:
    """The image in the middle of a coloured frame, as large as fits, its aspect kept."""
    pixels = np.asarray(images(int(index)) if callable(images) else images[int(index)])
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"image {index} must be uint8 [height, width, 3], got {pixels.dtype} {pixels.shape}")
    border, height = layout.border, layout.height
    draw = ImageDraw.Draw(sheet)
    draw.rounded_rectangle((x, y, x + layout.tile - 1, y + height + 2 * border - 1), border, colour)
    draw.rectangle((x + border, y + border, x + border + layout.width - 1, y + border + height - 1), TILE)
    scale = min(layout.width / pixels.shape[1], height / pixels.shape[0])
    size = tuple(max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.LANCZOS)
    sheet.paste(image, (x + border + (layout.width - size[0]) // 2, y + border + (height - size[1]) // 2))


def _mark(sheet: Image.Image, layout: _Layout, x: int, y: int, right: bool) -> None:
    """A tick or a cross in the upper right corner: right and wrong must not be told by colour alone."""
    # Drawn four times too large and reduced, since Pillow draws without antialiasing.
    badge = Image.new("L", (88, 88), 0)
    draw = ImageDraw.Draw(badge)
    strokes = [((24, 46), (38, 60), (64, 30))] if right else [((28, 28), (60, 60)), ((60, 28), (28, 60))]
    disc = Image.new("L", badge.size, 0)
    ImageDraw.Draw(disc).ellipse((0, 0, 87, 87), 255)
    for stroke in strokes:
        draw.line(stroke, 255, 11, joint="curve")
    corner = x + layout.tile - 22, y
    for mask, colour in ((disc, RIGHT if right else WRONG), (badge, PAPER)):
        sheet.paste(
            colour, (*corner, corner[0] + 22, corner[1] + 22), mask.resize((22, 22), Image.Resampling.BOX)
        )


def _caption(sheet: Image.Image, layout: _Layout, x: int, y: int, first: str, second: str) -> None:
    draw, middle = ImageDraw.Draw(sheet), x + layout.tile // 2
    top = y + layout.height + 2 * layout.border + 3
    draw.text((middle, top), first, INK, _font(13), anchor="ma")
    draw.text((middle, top + 16), second, FAINT, _font(11), anchor="ma")


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _write_png(image: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_atomically(Path(path), buffer.getvalue())


# --- loss and mAP over time ---

Rows = Sequence[Mapping[str, float | None]]


def learning_curves(
    runs: Rows | Mapping[str, Rows],
    path: Path,
    *,
    references: Mapping[str, float] | None = None,
    title: str = "",
    loss: str = "loss",
    score: str = "mAP",
    score_label: str | None = None,
    seconds: str = "seconds",
) -> None:
    """Draws the loss and the retrieval score of one run, or of several in colours, over the steps.

    Args:
      runs: rows as in `metrics.jsonl`, each with "step" and any of the other keys; or such rows by the name
        of the run. A figure that is absent, null or not finite is left out. With a single run whose rows tell
        the seconds since its start a second axis shows the time.
      path: the PNG file to write, whole or not at all.
      references: scores by name, drawn as dashed horizontal lines: untrained network, raw pixels, colour
        histogram.
      title: stands above the picture.
      loss, score, seconds: keys of the rows.
      score_label: what stands at the axis of the score; by default the key.

    Raises:
      ValueError: no row has a finite loss or score.
    """
    by_name = dict(runs) if isinstance(runs, Mapping) else {"": runs}
    figure = Figure(figsize=(9, 7), dpi=130, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    losses = [_draw_loss(above, _series(rows, loss), _colour(n)) for n, rows in enumerate(by_name.values())]
    labels = [
        label
        for n, (name, rows) in enumerate(by_name.items())
        for label in _draw_score(below, _series(rows, score), _colour(n), name)
    ]
    if not any(losses) and not labels:
        raise ValueError(f"no row has a finite {loss!r} or {score!r}: there is nothing to draw")
    _write_labels(below, labels + _draw_references(below, references or {}, len(by_name)))
    _dress(above, loss)
    _dress(below, score_label or score)
    below.set_xlabel("step", color=FAINT)
    below.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(by_name) == 1:
        _time_axis(above, _series(next(iter(by_name.values())), seconds))
    if title:
        figure.suptitle(
            textwrap.fill(title, 85), x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(Path(path), buffer.getvalue())


def _colour(number: int) -> str:
    return LINES[number % len(LINES)]


def _series(rows: Rows, key: str) -> np.ndarray:
    """Steps and finite values of `key`, float64 [2, n]."""
    pairs = [(row["step"], row[key]) for row in rows if row.get(key) is not None and np.isfinite(row[key])]
    return np.array(pairs, np.float64).reshape(-1, 2).T


def _draw_loss(axes: Axes, series: np.ndarray, colour: str) -> bool:
    """The values faintly, and a running mean over a twentieth of them on top."""
    steps, values = series
    if len(values) < 40:
        axes.plot(steps, values, color=colour, lw=1.8, marker="o" if len(values) == 1 else None)
        return len(values) > 0
    axes.plot(steps, values, color=colour, lw=0.8, alpha=0.3)
    reach = max(2, len(values) // 40)
    sums = np.cumsum(np.insert(values, 0, 0))
    start = np.maximum(np.arange(len(values)) - reach, 0)
    stop = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    axes.plot(steps, (sums[stop] - sums[start]) / (stop - start), color=colour, lw=2)
    return True


class _Label(NamedTuple):
    height: float
    text: str
    colour: str
    weight: str


def _draw_score(axes: Axes, series: np.ndarray, colour: str, name: str) -> list[_Label]:
    steps, values = series
    if not len(values):
        return []
    axes.plot(steps, values, color=colour, lw=2, marker="o", ms=5, mec=PAPER, mew=1)
    return [_Label(values[-1], f"{name} {values[-1]:.3f}".strip(), colour, "bold")]


def _draw_references(axes: Axes, references: Mapping[str, float], used: int) -> list[_Label]:
    """Dashed lines, in grey and in the colours that the runs have left."""
    colours = (FAINT, *LINES[used:])
    labels = []
    for number, (name, value) in enumerate(references.items()):
        colour = colours[number % len(colours)]
        axes.axhline(value, color=colour, lw=1.4, ls=(0, (5, 4)), zorder=1)
        labels.append(_Label(value, f"{name} {value:.3f}", colour, "normal"))
    return labels


def _write_labels(axes: Axes, labels: list[_Label]) -> None:
    """Names at the right end of their lines, moved apart where they would overlap."""
    labels = sorted(labels)
    top = max((label.height for label in labels), default=1) * 1.08 or 1.0
    top = max(top, axes.get_ylim()[1])
    axes.set_ylim(0, top)
    distance, heights = 0.052 * top, []
    for label in labels:
        heights.append(max(label.height, heights[-1] + distance) if heights else label.height)
    ceiling = top
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], ceiling)
        ceiling = heights[number] - distance
    for label, height in zip(labels, heights, strict=True):
        axes.annotate(
            label.text,
            (1.01, height),
            xycoords=("axes fraction", "data"),
            va="center",
            color=label.colour,
            fontweight=label.weight,
            annotation_clip=False,
        )


def _dress(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c9d0")
    axes.tick_params(colors=FAINT, length=3)
    axes.grid(axis="y", color="#e6e9ed", lw=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)


def _time_axis(axes: Axes, series: np.ndarray) -> None:
    """The time since the start along the upper edge, in the unit that fits."""
    steps, seconds = series
    if len(steps) < 2 or not (np.diff(steps) > 0).all() or not (np.diff(seconds) > 0).all():
        return
    unit, name = next(
        (u, n) for u, n in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if seconds[-1] >= u or u == 1
    )
    upper = axes.secondary_xaxis(
        "top", functions=(_line(steps, seconds / unit), _line(seconds / unit, steps))
    )
    upper.set_xlabel(name, color=FAINT)
    upper.tick_params(colors=FAINT, length=3)
    upper.spines["top"].set_visible(False)


def _line(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Linear interpolation that goes straight on beyond both ends, as matplotlib asks for points outside."""
    slope = (y[-1] - y[0]) / (x[-1] - x[0])

    def interpolate(at: np.ndarray) -> np.ndarray:
        at = np.asarray(at, np.float64)
        inside = np.interp(at, x, y)
        return inside + slope * (np.minimum(at - x[0], 0) + np.maximum(at - x[-1], 0))

    return interpolate
