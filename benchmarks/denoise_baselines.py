"""What denoising has to beat: raw tracklets, density and agglomerative clustering, connected components.

Every method runs over a small range of its threshold, and the setting that the truth likes best is marked: a bound that
nobody reaches who does not know the truth. DBSCAN and HDBSCAN need scikit-learn, which is no dependency of the package.

    python -m benchmarks.denoise_baselines --data noisy_tracklets.npz     # arrays: features, tracklet, video, identity
    python -m benchmarks.denoise_baselines --preset medium [--people 200] [--seed 0] [--json FILE]
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks import report
from cion_jax.data import synthetic_tracklets
from cion_jax.data.tracklet_noise import PRESETS
from cion_jax.evaluation import label_quality

DISTANCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
SCIKIT = "needs scikit-learn: pip install scikit-learn"
# Points from which on a method is skipped: those that hold all distances, and those that go through them in blocks.
MOST_HELD, MOST_BLOCKED = 6_000, 40_000


class Row(NamedTuple):
    """One method at one setting.

    Attributes:
      name, setting: in words.
      quality: of `label_quality`; None if the method did not run.
      seconds: wall time, the shared part of a sweep (a tree) included; None if it did not run.
      best: whether of all settings of the method this one has the highest pair F: chosen by the truth.
      note: why it did not run.
      labels: int64 [n].
    """

    name: str
    setting: str
    quality: dict[str, float] | None
    seconds: float | None
    best: bool = False
    note: str = ""
    labels: np.ndarray | None = None


def baselines(
    features: np.ndarray,
    tracklets: np.ndarray,
    true: np.ndarray,
    *,
    distances: Sequence[float] = DISTANCES,
    sizes: Sequence[int] = (5, 10, 20),
    most_held: int = MOST_HELD,
    most_blocked: int = MOST_BLOCKED,
) -> list[Row]:
    """Labels by every baseline, measured.

    Args:
      features: floating [n, d], any scale.
      tracklets: integers [n] >= 0.
      true: integers [n], -1 nobody.
      distances: cosine distances to try as threshold.
      sizes: smallest clusters to try with HDBSCAN on images.
      most_held, most_blocked: numbers of points above which methods of quadratic memory, or time, are left out.

    Returns:
      Rows by method; a method that could not run has one row that says why.

    Raises:
      ValueError: no images.
    """
    if not len(features):
        raise ValueError("there is nothing to cluster: no images")
    images = _unit(np.asarray(features, np.float32))
    _, of_image = np.unique(tracklets, return_inverse=True)
    sums = np.zeros((of_image.max(initial=-1) + 1, images.shape[1]), np.float64)
    np.add.at(sums, of_image, images)
    centroids = _unit(sums).astype(np.float32)
    rows = [
        _row("raw tracklets", "", lambda: of_image, true),
        _row("whole tracklets, joined by the truth", "", lambda: _by_truth(of_image, true), true),
    ]
    for name, points, spread in (
        ("images", images, lambda labels: labels),
        ("tracklets", centroids, lambda labels: labels[of_image]),
    ):
        for method, most, run in (
            ("connected components", most_blocked, lambda p: components(p, distances)),
            ("agglomerative, average", most_held, lambda p: agglomerative(p, distances, "average")),
            ("agglomerative, complete", most_held, lambda p: agglomerative(p, distances, "complete")),
            ("DBSCAN", most_blocked, lambda p, n=name: dbscan(p, distances, 4 if n == "images" else 2)),
            ("HDBSCAN", most_held, lambda p, n=name: hdbscan(p, sizes if n == "images" else (2, 3, 5))),
        ):
            rows += _sweep(f"{method} on {name}", points, most, run, spread, true)
    return rows


Labelled = Iterable[tuple[str, np.ndarray, float]]  # setting, labels, seconds


def _sweep(
    name: str,
    points: np.ndarray,
    most: int,
    run: Callable[[np.ndarray], Labelled],
    spread: Callable[[np.ndarray], np.ndarray],
    true: np.ndarray,
) -> list[Row]:
    """All settings of a method, the best one marked."""
    if len(points) > most:
        return [Row(name, "", None, None, note=f"left out: {len(points):,} points, more than {most:,}")]
    rows = []
    try:
        for setting, labels, seconds in run(points):
            labels = spread(labels)
            rows.append(Row(name, setting, label_quality(labels, true), seconds, labels=labels))
    except ImportError:
        return [Row(name, "", None, None, note=SCIKIT)]
    best = max(range(len(rows)), key=lambda k: rows[k].quality["pair_f"], default=None)
    return [row._replace(best=k == best) for k, row in enumerate(rows)]


def _row(name: str, setting: str, work: Callable[[], np.ndarray], true: np.ndarray) -> Row:
    start = time.perf_counter()
    labels = work()
    seconds = time.perf_counter() - start
    return Row(name, setting, label_quality(labels, true), seconds, labels=labels)


def _by_truth(tracklets: np.ndarray, true: np.ndarray) -> np.ndarray:
    """What joining whole tracklets can reach at most: each goes to its most frequent person, or to nobody."""
    people = int(true.max(initial=-1)) + 1
    table = coo_array(
        (np.ones(len(true), np.int64), (tracklets, np.where(true < 0, people, true))),
        shape=(tracklets.max(initial=-1) + 1, people + 1),
    ).tocsr()
    person = np.full(table.shape[0], -1)
    if people and table.shape[0]:
        somebody = table[:, :people]
        has = np.diff(somebody.indptr) > 0
        person[has] = np.asarray(somebody.argmax(axis=1)).ravel()[has]
    return person[tracklets]


def components(points: np.ndarray, distances: Sequence[float], block: int = 2048) -> Iterator:
    """Whatever hangs together by links of at most a distance: CION's closure without its levels."""
    for distance in distances:
        start = time.perf_counter()
        first, second = [], []
        for low in range(0, len(points), block):
            near = points[low : low + block] @ points[low:].T >= 1 - distance
            i, j = np.nonzero(near)
            first.append((i + low)[i < j])
            second.append((j + low)[i < j])
        pairs = np.concatenate(first), np.concatenate(second)
        graph = coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(len(points), len(points)))
        labels = connected_components(graph, directed=False)[1].astype(np.int64)
        yield f"distance {distance:g}", labels, time.perf_counter() - start


def agglomerative(points: np.ndarray, distances: Sequence[float], kind: str) -> Iterator:
    """Closest pair first, cut at a distance; one tree serves all cuts."""
    if len(points) < 2:
        yield "", np.zeros(len(points), np.int64), 0.0
        return
    start = time.perf_counter()
    tree = linkage(points.astype(np.float64), kind, metric="cosine")
    grown = time.perf_counter() - start
    for distance in distances:
        start = time.perf_counter()
        labels = fcluster(tree, distance, "distance").astype(np.int64)
        yield f"distance {distance:g}", labels, grown + time.perf_counter() - start


def dbscan(points: np.ndarray, distances: Sequence[float], neighbours: int) -> Iterator:
    """Density clustering; what is in no dense place is discarded."""
    from sklearn.cluster import DBSCAN

    for distance in distances:
        start = time.perf_counter()
        # On unit vectors the Euclidean distance is sqrt(2 * cosine distance).
        found = DBSCAN(eps=float(np.sqrt(2 * distance)), min_samples=neighbours).fit_predict(points)
        yield (
            f"eps {distance:g}, {neighbours} neighbours",
            found.astype(np.int64),
            time.perf_counter() - start,
        )


def hdbscan(points: np.ndarray, sizes: Sequence[int]) -> Iterator:
    """Density clustering without a threshold."""
    from sklearn.cluster import HDBSCAN

    for size in sizes:
        if size > len(points):
            continue
        start = time.perf_counter()
        found = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(points)
        yield f"clusters of {size} or more", found.astype(np.int64), time.perf_counter() - start


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def table(rows: Sequence[Row], *, best_only: bool = True) -> list[dict[str, Any]]:
    """Rows for `report.show_table` and JSON; of a sweep only the setting that is best by truth, if so asked."""
    shown = []
    for row in rows:
        if row.quality is None:
            shown.append({"method": row.name, "setting": row.note})
        elif row.best or not row.setting or not best_only:
            q = row.quality
            shown.append(
                {
                    "method": row.name,
                    "setting": row.setting + (" (best by truth)" if row.best else ""),
                    "P": q["pair_precision"],
                    "R": q["pair_recall"],
                    "F": q["pair_f"],
                    "BCubed F": q["bcubed_f"],
                    "V": q["v_measure"],
                    "kept": q["kept"] / max(q["images"], 1),
                    "of nobody": q["false_positives_kept"],
                    "identities": q["identities"],
                    "people": q["true_identities"],
                    "seconds": row.seconds,
                }
            )
    # The table takes its columns from the first row.
    return sorted(shown, key=lambda line: "F" not in line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="an .npz with features, tracklet, identity")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="medium")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="every setting, not only the best by truth")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.data:
        with np.load(options.data) as file:
            features, tracklets, true = file["features"], file["tracklet"], file["identity"]
        title = options.data.name
    else:
        world = synthetic_tracklets.World(seed=options.seed, people=options.people)
        made = synthetic_tracklets.generate(world, options.preset)
        features, tracklets, true = made.features, made.tracklets, made.identities
        title = f"synthetic tracklets, {options.people} people, {options.preset} noise, seed {options.seed}"
    rows = baselines(features, tracklets, true)
    shown = table(rows, best_only=not options.all)
    report.show_table(f"{title}: {len(true):,} images in {len(np.unique(tracklets)):,} tracklets", shown)
    result = {"machine": report.machine(), "data": title, "rows": table(rows, best_only=False)}
    report.write(result, options.json)


if __name__ == "__main__":
    main()
