"""Charts as inline SVG whose colours are those of the page, so that they follow its light and dark looks."""

import math
from collections.abc import Sequence
from html import escape

from cion_jax.evaluation.label_report.bins import Bins, SizeBin

_WIDTH, _HEIGHT = 500, 230
_WIDE = 700  # of the chart over levels
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 26, 42


def distances(bins: Bins, *, threshold: float, name: str, x_label: str, y_label: str, label: str) -> str:
    """Filled steps per series, with the threshold as a line; every bin tells its counts when pointed at.

    Args:
      bins: of `bins.of_distances`.
      threshold: where the line stands.
      name: of the threshold, for example "sigma_cst".
      x_label, y_label: of the axes.
      label: the chart in words, for those who cannot see it.
    """
    edges, series = bins
    top = max((max(counts) for counts in series.values()), default=0)
    x, y, parts = _frame(edges[-1], top, x_label, y_label)
    for number, (title, counts) in enumerate(series.items()):
        parts.append(f'<g class="s{number}"><title>{escape(title)}</title>{_steps(edges, counts, x, y)}</g>')
    at = x(threshold)
    side = "end" if at > _WIDTH * 0.7 else "start"
    shift = -6 if side == "end" else 6
    parts.append(
        f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 8}" y2="{y(0):.1f}"/>'
        f'<text class="mark" x="{at + shift:.1f}" y="{_TOP - 12}" text-anchor="{side}">'
        f"{escape(name)} = {threshold:g}</text>"
    )
    for k in range(len(edges) - 1):
        beyond = " and beyond" if k == len(edges) - 2 else ""
        words = ", ".join(f"{title}: {counts[k]:,}" for title, counts in series.items())
        parts.append(
            f'<rect class="reach" x="{x(edges[k]):.2f}" y="{_TOP}" width="{x(edges[k + 1]) - x(edges[k]):.2f}" '
            f'height="{y(0) - _TOP:.1f}"><title>{edges[k]:.3f}–{edges[k + 1]:.3f}{beyond} · {escape(words)}'
            "</title></rect>"
        )
    return _svg(parts, label)


def sizes(bins: Sequence[SizeBin], *, x_label: str, y_label: str, unit: str, label: str) -> str:
    """Columns, one for each range of sizes, with their counts above."""
    top = max(one.groups for one in bins)
    parts = [*_grid(top, y_label), _axis_title(x_label)]
    y = _scale(top)
    slot = (_WIDTH - _LEFT - _RIGHT) / max(len(bins), 6)
    for k, (low, high, groups, members) in enumerate(bins):
        left, width = _LEFT + (k + 0.14) * slot, 0.72 * slot
        middle = left + width / 2
        span = f"{low:,}" if low == high else f"{_short(low)}–{_short(high)}"
        words = f"{span} {unit}: {groups:,} identities with {members:,} {unit}"
        parts.append(
            f"<g><title>{escape(words)}</title>{_column(left, y(groups), width, y(0) - y(groups))}"
            f'<text class="value" x="{middle:.1f}" y="{y(groups) - 5:.1f}">{_short(groups) if groups else ""}</text>'
            f'<text class="tick" x="{middle:.1f}" y="{y(0) + 16:.1f}" text-anchor="middle">{span}</text></g>'
        )
    return _svg(parts, label)


def over_levels(names: Sequence[str], series: dict[str, Sequence[float]], *, label: str) -> str:
    """Fractions as lines over the levels, named at their right ends."""
    room = 130  # for the names
    last = max(len(names) - 1, 1)
    parts = _grid(1.0, "", ends=_WIDE - room)
    y = _scale(1.0)

    def x(k: int) -> float:
        return _LEFT + 40 + k * (_WIDE - room - 40 - _LEFT - 24) / last

    for k, name in enumerate(names):
        parts.append(
            f'<text class="tick" x="{x(k):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle">{escape(name)}</text>'
        )
    heights = _apart([y(values[-1]) for values in series.values()], 17)
    for number, ((title, values), height) in enumerate(zip(series.items(), heights, strict=True)):
        points = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value in enumerate(values))
        dots = "".join(
            f'<circle cx="{x(k):.1f}" cy="{y(value):.1f}" r="4"><title>{escape(title)}, {escape(names[k])}: '
            f"{value:.3f}</title></circle>"
            for k, value in enumerate(values)
        )
        parts.append(
            f'<g class="line l{number}"><polyline points="{points}"/>{dots}<text x="{x(len(values) - 1) + 12:.1f}" '
            f'y="{height + 4:.1f}">{escape(title)} {values[-1]:.3f}</text></g>'
        )
    return _svg(parts, label, _WIDE)


def _svg(parts: Sequence[str], label: str, width: int = _WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label="{escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )


def _frame(right: float, top: float, x_label: str, y_label: str):
    """Scales x and y, and the grid and axes of a chart of distances from 0 to `right`."""
    y = _scale(top)

    def x(value: float) -> float:
        return _LEFT + value / right * (_WIDTH - _LEFT - _RIGHT)

    parts = _grid(top, y_label)
    for value in _ticks(right, 7):
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{y(0) + 16:.1f}" text-anchor="middle">{value:g}</text>'
        )
    return x, y, [*parts, _axis_title(x_label)]


def _axis_title(text: str) -> str:
    return (
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _scale(top: float):
    floor, ceiling = _HEIGHT - _BOTTOM, _TOP
    return lambda value: floor - (value / top if top else 0) * (floor - ceiling)


def _grid(top: float, y_label: str, *, ends: float = _WIDTH - _RIGHT) -> list[str]:
    y, parts = _scale(top), []
    for value in [0.0, *_ticks(top, 4)]:
        kind = "grid" if value else "base"
        parts.append(
            f'<line class="{kind}" x1="{_LEFT}" x2="{ends}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    parts.append(f'<text class="axis" x="4" y="11">{escape(y_label)}</text>')
    return parts


def _ticks(top: float, about: int) -> list[float]:
    """Round numbers above 0 up to `top`."""
    if top <= 0:
        return []
    rough = top / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    return [round(step * k, 10) for k in range(1, int(top / step + 1e-9) + 1)]


def _steps(edges: Sequence[float], counts: Sequence[int], x, y) -> str:
    path = [f"M{x(edges[0]):.1f} {y(0):.1f}"]
    for k, count in enumerate(counts):
        path.append(f"V{y(count):.1f}H{x(edges[k + 1]):.1f}")
    return f'<path d="{"".join(path)}V{y(0):.1f}Z"/>'


def _column(left: float, top: float, width: float, height: float) -> str:
    """A bar with rounded upper corners."""
    r = min(4.0, height, width / 2)
    if height <= 0:
        return ""
    return (
        f'<path class="column" d="M{left:.1f} {top + height:.1f}v{-(height - r):.1f}q0 {-r:.1f} {r:.1f} {-r:.1f}'
        f'h{width - 2 * r:.1f}q{r:.1f} 0 {r:.1f} {r:.1f}v{height - r:.1f}z"/>'
    )


def _apart(heights: Sequence[float], distance: float) -> list[float]:
    """Heights of labels, moved so that none overlap and none leaves the chart."""
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    placed: list[float] = []
    for k in order:
        placed.append(max(heights[k], placed[-1] + distance) if placed else heights[k])
    ceiling = float(_HEIGHT - _BOTTOM)
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], ceiling)
        ceiling = placed[k] - distance
    back = [0.0] * len(heights)
    for place, k in enumerate(order):
        back[k] = placed[place]
    return back


def _short(value: float) -> str:
    """1,234 as 1.2k, where there is no room for more."""
    for bound, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= bound:
            scaled = value / (1e3 if letter == "k" else bound)
            return f"{scaled:.3g}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
