"""Writes report.html and report.json."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cion_jax.core.files import write_atomically, write_json
from cion_jax.evaluation.label_report import charts
from cion_jax.evaluation.label_report.bins import Bins
from cion_jax.evaluation.label_report.description import Level, Run
from cion_jax.evaluation.label_report.figures import as_json, of_run
from cion_jax.evaluation.label_report.sentences import count, percent
from cion_jax.evaluation.label_report.strips import gallery_html
from cion_jax.evaluation.label_report.style import CSS
from cion_jax.evaluation.label_report.thumbnails import Picture, Thumbnails


def write(run: Run, directory: Path, *, picture: Picture | None = None, most_pictures: int = 600) -> Path:
    """Writes `report.html`, which needs no other file, and `report.json` with the same figures.

    Args:
      run: what was done.
      directory: made if absent; both files are written whole or not at all.
      picture: row of a tile -> uint8 [height, width, 3], RGB, or None; without it galleries show empty places.
      most_pictures: that the page embeds, about 4 KB each; further places stay empty.

    Returns:
      The path of the page.

    Raises:
      ValueError: the callback gives something that is no picture.
    """
    directory = Path(directory)
    shown = of_run(run)
    page = _page(run, shown, Thumbnails(picture, most=most_pictures))
    write_json(directory / "report.json", as_json(run, shown))
    # Names of files need not be UTF-8; what is not is shown by its code.
    write_atomically(directory / "report.html", page.encode(errors="backslashreplace"))
    return directory / "report.html"


def _page(run: Run, shown: Mapping[str, Any], thumbnails: Thumbnails) -> str:
    sections = [
        ("levels", "Level by level", _levels(run)),
        ("truth", "Against the truth", _truth(run)),
        ("distances", "Distances and thresholds", _distances(run, shown)),
        ("sizes", "Sizes", _sizes(run, shown)),
        *((f"g{k}", one.title, gallery_html(one, thumbnails)) for k, one in enumerate(run.galleries)),
        ("settings", "Settings", _settings(run)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{escape(title)}</h2>{text}</section>' for name, title, text in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(run.title)}: labels</title>'
        f"<style>{CSS}</style></head><body><main>{_head(run, shown)}<nav>{links}</nav>{body}"
        "<footer>Pictures in this file may show people. Share it as carefully as the images themselves."
        "</footer></main></body></html>\n"
    )


def _head(run: Run, shown: Mapping[str, Any]) -> str:
    first, last = run.levels[0], run.levels[-1]
    figures = [
        (f"{last.identities:,}", f"identities, from {run.tracklets or first.identities:,} tracklets"),
        (
            f"{last.images:,}",
            f"images kept, {percent(last.images / max(first.images, 1))} of {first.images:,}",
        ),
    ]
    if last.quality:
        figures += [
            (
                percent(last.quality["pair_precision"]),
                "pair precision: pairs in an identity that are one person",
            ),
            (percent(last.quality["pair_recall"]), "pair recall: pairs of a person that are in one identity"),
        ]
    elif len(run.sizes):
        figures.append((f"{np.median(run.sizes):,.0f}", "images in the median identity"))
    if first.noise is not None and last.noise is not None:
        figures.append((f"{last.noise:.3g}", f"noise per identity; raw tracklets had {first.noise:.3g}"))
    tiles = "".join(
        f'<div class="figure"><b>{escape(value)}</b><span>{escape(words)}</span></div>'
        for value, words in figures
    )
    text = "".join(f"<p>{escape(one)}</p>" for one in shown["summary"])
    warnings = "".join(
        f'<div class="warning"><b>Look at this:</b>{escape(one)}</div>' for one in shown["warnings"]
    )
    return (
        f'<h1>{escape(run.title)}</h1><div class="faint">From tracklets to identities: what denoising did, '
        f'and what to look at before the labels are used</div><div class="figures">{tiles}</div>{_share(run)}'
        f"{warnings}{text}"
    )


def _share(run: Run) -> str:
    """One bar of all images: where they stayed, moved, or were removed."""
    total, kept = run.levels[0].images, run.levels[-1].images
    moved = min(sum(level.moved for level in run.levels), kept)
    parts = [
        ("stayed in their tracklet", kept - moved),
        ("moved to another", moved),
        ("removed", total - kept),
    ]
    if not total or parts[0][1] == total:
        return ""
    bar = "".join(
        f'<i class="c{k}" style="flex:{number}" title="{number:,} {words}"></i>'
        for k, (words, number) in enumerate(parts)
        if number > 0
    )
    legend = "".join(
        f'<span><i class="c{k}"></i>{number:,} {words} ({percent(number / total)})</span>'
        for k, (words, number) in enumerate(parts)
    )
    return f'<div class="share">{bar}</div><div class="legend">{legend}</div>'


def _levels(run: Run) -> str:
    highest = max((level.noise or 0 for level in run.levels), default=0)

    def cells(level: Level) -> list[str]:
        noise = "–"
        if level.noise is not None:
            width = 100 * level.noise / highest if highest else 0
            noise = f'{level.noise:,.3g}<span class="bar" style="width:{width:.1f}%"></span>'
        numbers = (level.identities, level.images, level.removed, level.moved, level.merges)
        measured = (level.consistency, level.discrimination)
        seconds = "–" if level.seconds is None else f"{level.seconds:,.1f} s"
        return [escape(level.name), *map(_number, numbers), *map(_number, measured), noise, seconds]

    heads = ["after", "identities", "images", "removed", "moved", "merged", "inconsistent images"]
    heads += ["pairs too near", "noise", "time"]
    rows = [cells(level) for level in run.levels]
    if all(level.seconds is None for level in run.levels):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    if all(level.noise is None for level in run.levels):
        keep = [
            k
            for k, head in enumerate(heads)
            if head not in ("inconsistent images", "pairs too near", "noise")
        ]
        heads, rows = [heads[k] for k in keep], [[row[k] for k in keep] for row in rows]
    return (
        "<p class='faint'>Inconsistent images lie at sigma_cst or farther from the centre of their group; pairs too "
        "near are ordered pairs of groups at sigma_drm or nearer; noise is both, per group.</p>"
        + _table(heads, rows)
    )


def _truth(run: Run) -> str:
    known = [level for level in run.levels if level.quality]
    if not known:
        return ""
    fractions = {
        "pair P": "pair_precision",
        "pair R": "pair_recall",
        "pair F": "pair_f",
        "BCubed P": "bcubed_precision",
        "BCubed R": "bcubed_recall",
        "BCubed F": "bcubed_f",
        "purity": "purity",
        "V": "v_measure",
        "ARI": "ari",
    }
    counts = {"split": "split", "mixed": "merged", "of nobody": "false_positives_kept"}
    rows = [
        [
            escape(level.name),
            *(f"{level.quality[key]:.3f}" for key in fractions.values()),
            *(f"{level.quality[key]:,}" for key in counts.values()),
        ]
        for level in known
    ]
    chart = ""
    if len(known) > 1:
        series = {
            name: [level.quality[key] for level in known]
            for name, key in (("precision", "pair_precision"), ("recall", "pair_recall"), ("F", "pair_f"))
        }
        drawn = charts.over_levels(
            [level.name.split(":")[0] for level in known],
            series,
            label="Pair precision, recall and F after each level",
        )
        chart = f'<figure style="max-width:760px">{drawn}</figure>'
    return (
        "<p class='faint'>Recall counts removed images as lost. Split: people in several identities; mixed: identities "
        "with several people; of nobody: kept images that show no person.</p>"
        + chart
        + _table(["after", *fractions, *counts], rows)
    )


def _distances(run: Run, shown: Mapping[str, Any]) -> str:
    figures = []
    if shown["inside"].counts:
        drawn = charts.distances(
            shown["inside"],
            threshold=run.sigma_cst,
            name="sigma_cst",
            x_label="cosine distance of an image to the mean of the others of its group",
            y_label="images",
            label="Distances inside groups, before and after",
        )
        figures.append(
            _figure(
                "Is an image like its group?",
                shown["inside"],
                drawn,
                "The threshold should stand right of the hump of good images. A hump cut in two says that sigma_cst is "
                "too small; a second hump left of it, that different people pass.",
            )
        )
    if shown["between"].counts:
        drawn = charts.distances(
            shown["between"],
            threshold=run.sigma_drm,
            name="sigma_drm",
            x_label="cosine distance between centroids",
            y_label="pairs",
            label="Distances between groups of one identity, and to the nearest of another",
        )
        figures.append(
            _figure(
                "Are two groups one person?",
                shown["between"],
                drawn,
                "A gap around the threshold makes a safe decision. Where both sides touch it, some links are guesses: "
                "see the doubtful links and near misses below.",
            )
        )
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _figure(title: str, shown: Bins, drawn: str, words: str) -> str:
    # Drawn in the colours of their place; with one series only the first colour is used.
    legend = "".join(
        f'<span><i class="k{k}"></i>{escape(name)}</span>' for k, name in enumerate(shown.counts)
    )
    bounds = zip(shown.edges, shown.edges[1:], *shown.counts.values(), strict=False)
    rows = [[f"{low:.3f}–{high:.3f}", *(f"{number:,}" for number in counts)] for low, high, *counts in bounds]
    return (
        f'<figure><h3>{escape(title)}</h3><div class="legend">{legend}</div>{drawn}'
        f"<figcaption>{escape(words)}</figcaption>{_hidden_table(['distance', *shown.counts], rows)}</figure>"
    )


def _hidden_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The figures of a chart, for those who cannot see it or point at it."""
    return f"<details><summary>The figures</summary>{_table(heads, rows)}</details>"


def _sizes(run: Run, shown: Mapping[str, Any]) -> str:
    figures = []
    for title, key, unit, words in (
        ("How large are identities?", "sizes", "images", _size_words(run)),
        ("How many were joined?", "components", run.component_unit, _component_words(run)),
    ):
        if shown[key]:
            drawn = charts.sizes(
                shown[key], x_label=f"{unit} in an identity", y_label="identities", unit=unit, label=title
            )
            rows = [
                [f"{one.low:,}–{one.high:,}", f"{one.groups:,}", f"{one.members:,}"] for one in shown[key]
            ]
            figures.append(
                f"<figure><h3>{title}</h3>{drawn}<figcaption>{escape(words)}</figcaption>"
                f"{_hidden_table([unit, 'identities', f'all their {unit}'], rows)}</figure>"
            )
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _size_words(run: Run) -> str:
    small = int((run.sizes < 4).sum())
    return f"{count(small, 'identity')} with fewer than four images; the largest has {run.sizes.max(initial=0):,}."


def _component_words(run: Run) -> str:
    largest, total = int(run.components.max(initial=0)), max(int(run.components.sum()), 1)
    return (
        f"The largest identity was linked from {largest:,} {run.component_unit}, {percent(largest / total)} of all. "
        f"Beyond {percent(run.guard)} in a large data set, expect a chain of false links."
    )


def _settings(run: Run) -> str:
    values = {"sigma_cst": f"{run.sigma_cst:g}", "sigma_drm": f"{run.sigma_drm:g}", **run.settings}
    rows = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in values.items()
    )
    return f"<dl>{rows}</dl>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"
