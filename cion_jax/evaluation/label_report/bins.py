"""Histograms as plain lists: for the page and for report.json."""

from typing import NamedTuple

import numpy as np


class Bins(NamedTuple):
    """Counts of one or more series in common bins.

    Attributes:
      edges: floats [bins + 1].
      counts: by name of the series, integers [bins].
    """

    edges: list[float]
    counts: dict[str, list[int]]


def of_distances(series: dict[str, np.ndarray], threshold: float, *, bins: int = 50) -> Bins:
    """Histograms of distances from 0 on, with an edge at the threshold, so that no bin lies on both sides.

    The last bin also counts what is farther than its edge: a long tail must not flatten the rest.
    """
    series = {name: np.asarray(values, np.float64) for name, values in series.items() if len(values)}
    if not series:
        return Bins([], {})
    everything = np.concatenate(list(series.values()))
    top = max(1.5 * threshold, float(np.quantile(everything, 0.995)), 0.02)
    top = min(top, 0.8 * bins * threshold) if threshold > 0 else top
    below = max(1, round(bins * threshold / top)) if 0 < threshold < top else 0
    step = threshold / below if below else top / bins
    edges = step * np.arange(int(np.ceil(top / step)) + 1)
    if below:
        edges[below] = threshold
    counts = {
        # A distance below zero is rounding, one beyond the last edge belongs to its bin.
        name: np.histogram(values.clip(0, np.nextafter(edges[-1], 0)), edges)[0].tolist()
        for name, values in series.items()
    }
    return Bins(edges.tolist(), counts)


class SizeBin(NamedTuple):
    """Groups of `low` to `high` members."""

    low: int
    high: int
    groups: int
    members: int


def of_sizes(sizes: np.ndarray) -> list[SizeBin]:
    """Groups by size in steps of powers of two: 1, 2, 3-4, 5-8, ... up to the largest."""
    sizes = np.asarray(sizes, np.int64)
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return []
    # 2^(k-1) < size <= 2^k.
    power = np.ceil(np.log2(sizes)).astype(int)
    found = []
    for k in range(power.max() + 1):
        mine = sizes[power == k]
        found.append(SizeBin(2 ** (k - 1) + 1 if k else 1, 2**k, len(mine), int(mine.sum())))
    return found
