"""Denoising measured where the truth is known: every option's effect, level by level, beside clustering baselines.

    python -m benchmarks.denoise [--tracklets noisy_tracklets.npz ...] [--labelled features.npz ...] [--people 300]
        [--presets light medium heavy] [--seeds 0 1] [--cuts 0] [--summary] [--baselines] [--json FILE]
        [--markdown FILE]

Data: invented tracklets (level A: `synthetic_tracklets.World` with every preset and seed); features of labelled images
cut into noisy tracklets (level B, --labelled: an .npz of the task extract with identity and camera); tracklets of a
real tracker with truth (--tracklets: arrays features, tracklet, video, frame, identity). Thresholds of `recommended`
come from `denoise.calibrate`, without the truth; beside them stands the sigma_drm near them that the truth likes best.
Baselines run over a range of thresholds, and the best one by truth is shown.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import denoise_baselines, report
from cion_jax import denoise
from cion_jax.data import synthetic_tracklets
from cion_jax.data.tracklet_noise import PRESETS
from cion_jax.evaluation import label_quality

# Every option alone, on top of the paper's levels and on top of `recommended` (taken away where it is in it).
ON_PAPER = (
    {"half_width": None},
    {"cannot_link": True},
    {"split": True},
    {"rebirth": 3},
    {"mutual": 3},
    {"max_share": 0.01},
    {"max_radius": 0.3},
    {"second_look": True},
    {"give_back": True},
    {"merging": "agglomerative"},
)
ON_RECOMMENDED = (
    {"cannot_link": False},
    {"split": False},
    {"rebirth": 0},
    {"give_back": False},
    {"merging": "closure"},
    {"merging": "closure", "mutual": 3},
    {"merging": "closure", "max_radius": 0.5},
    {"second_look": True},
    {"half_width": 1000},
    {"min_images": 3},
)


# Multiples of the sigma_drm of `calibrate`, tried to see what a better one would have brought.
AROUND = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5)


class Data(NamedTuple):
    """Tracklets with truth; integers [n]."""

    name: str
    features: np.ndarray
    tracklets: np.ndarray
    videos: np.ndarray
    frames: np.ndarray
    true: np.ndarray


def sources(options: argparse.Namespace) -> Iterator[Data]:
    """The data sets asked for."""
    for file in options.tracklets:
        stored = np.load(file)
        yield Data(
            file.stem, *(stored[key] for key in ("features", "tracklet", "video", "frame", "identity"))
        )
    for file in options.labelled:
        stored = np.load(file)
        for cut, preset in itertools.product(options.cuts, options.presets):
            made = synthetic_tracklets.from_labelled(
                stored["features"],
                stored["identity"],
                stored["camera"],
                _walking_together(stored["identity"], stored["camera"]),
                noise=preset,
                images_per_video=100,
                seed=cut,
            )
            yield Data(f"{file.stem}{cut or ''} {preset}", *made[:5])
    for seed in options.seeds:
        for preset in options.presets:
            world = synthetic_tracklets.World(seed=seed, people=options.people, width=128)
            made = synthetic_tracklets.generate(world, preset)
            yield Data(f"A{seed} {preset}", *made[:5])


def _walking_together(identities: np.ndarray, cameras: np.ndarray, people: int = 12) -> np.ndarray:
    """Frames for labelled images that have none: twelve people at a time pass a camera side by side; int64 [n]."""
    _, person = np.unique(identities, return_inverse=True)
    order = np.lexsort((np.arange(len(person)), person, cameras))
    key = cameras[order].astype(np.int64) * (person.max() + 1) + person[order]
    first = np.searchsorted(key, key, side="left")
    place = np.empty(len(person), np.int64)
    place[order] = np.arange(len(person)) - first
    return person // people * 1000 + place


def measure(data: Data, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a method: name, quality, seconds."""
    rows = []

    def run(name: str, settings: denoise.Settings, all_levels: bool = False) -> None:
        start = time.perf_counter()
        try:
            found = denoise.run(data.features, data.tracklets, data.videos, data.frames, settings=settings)
        except ValueError as error:
            rows.append({"method": name, "failed": str(error)})
            return
        seconds = time.perf_counter() - start
        if all_levels:
            rows.extend(_row(f"{name}, {level}", labels, data.true) for level, labels in found.levels.items())
        else:
            rows.append(_row(name, found.labels, data.true) | {"seconds": seconds})

    run("paper", denoise.paper(), all_levels=True)
    for changes in ON_PAPER if not options.summary else ():
        run(f"paper, {_words(changes)}", denoise.paper(**changes))
    thresholds = _calibrated(data, rows)
    if thresholds is not None:
        run("paper, calibrated", denoise.paper(**thresholds))
        run("recommended", denoise.recommended(**thresholds), all_levels=True)
        for changes in ON_RECOMMENDED if not options.summary else ():
            run(f"recommended, {_words(changes)}", denoise.recommended(**thresholds, **changes))
        rows.append(_best(data, thresholds))
    if options.baselines:
        rows += _baselines(data)
    return [row | {"data": data.name} for row in rows]


def _calibrated(data: Data, rows: list[dict[str, Any]]) -> dict[str, float] | None:
    start = time.perf_counter()
    try:
        found = denoise.calibrate(data.features, data.tracklets, data.videos, data.frames)
    except ValueError as error:
        rows.append({"method": "calibrate", "failed": str(error)})
        return None
    print(
        f"{data.name}: sigma_cst {found.sigma_cst:.3f}, sigma_drm {found.sigma_drm:.3f} from the data in "
        f"{time.perf_counter() - start:.1f} s",
        flush=True,
    )
    return {"sigma_cst": found.sigma_cst, "sigma_drm": found.sigma_drm}


def _best(data: Data, thresholds: dict[str, float]) -> dict[str, Any]:
    """`recommended` with the sigma_drm around the calibrated one that the truth likes best."""
    tried = []
    for factor in AROUND:
        settings = denoise.recommended(**thresholds | {"sigma_drm": factor * thresholds["sigma_drm"]})
        labels = denoise.run(
            data.features, data.tracklets, data.videos, data.frames, settings=settings
        ).labels
        tried.append(_row("recommended, sigma_drm by truth", labels, data.true) | {"factor": factor})
    return max(tried, key=lambda row: row["pair_f"])


def _baselines(data: Data) -> Iterator[dict[str, Any]]:
    for row in denoise_baselines.baselines(data.features, data.tracklets, data.true):
        if row.quality is None:
            yield {"method": row.name, "failed": row.note}
        elif row.best or not row.setting:
            yield {"method": f"{row.name}, best by truth", **_figures(row.quality), "seconds": row.seconds}


def _words(changes: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in changes.items())


def _row(name: str, labels: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    return {"method": name, **_figures(label_quality(labels, true))}


def _figures(quality: dict[str, Any]) -> dict[str, Any]:
    keys = ("pair_precision", "pair_recall", "pair_f", "bcubed_f", "identities", "true_identities")
    return {key: quality[key] for key in keys}


def table(rows: list[dict[str, Any]], shown: Callable[[dict[str, Any]], str]) -> str:
    """Methods down, data sets across, as Markdown."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    lines = [f"| method | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        found = {row["data"]: row for row in rows if row["method"] == method}
        cells = [shown(found[name]) if name in found else "" for name in names]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if "failed" in row:
        return "refused"
    return f"{row['pair_precision']:.3f} / {row['pair_recall']:.3f} / **{row['pair_f']:.3f}** ({row['identities']})"


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    report.limit_cores(options.cores)
    rows: list[dict[str, Any]] = []
    for data in sources(options):
        people = len(np.unique(data.true[data.true >= 0]))
        print(f"{data.name}: {len(data.true):,} images of {people:,} people", flush=True)
        rows += measure(data, options)
        text = table(rows, _cell)
        if options.json:
            options.json.write_text(json.dumps({"machine": report.machine(), "rows": rows}, indent=1))
        if options.markdown:
            options.markdown.write_text(text + "\n")
    print("\npairwise precision / recall / F (identities)\n\n" + text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tracklets", type=Path, nargs="*", default=[], help=".npz of a real tracker's tracklets with truth")
    add("--labelled", type=Path, nargs="*", default=[], help=".npz of features of labelled images")
    add("--people", type=int, default=300, help="of an invented world")
    add("--presets", nargs="+", choices=list(PRESETS), default=["light", "medium", "heavy"])
    add("--seeds", type=int, nargs="*", default=[0])
    add(
        "--cuts",
        type=int,
        nargs="+",
        default=[0],
        help="seeds by which labelled images are cut into tracklets",
    )
    add("--summary", action="store_true", help="leave out the effects of single options")
    add("--baselines", action="store_true")
    add("--cores", type=int, default=0, help="use this many processor cores; 0: all")
    add("--json", type=Path)
    add("--markdown", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
