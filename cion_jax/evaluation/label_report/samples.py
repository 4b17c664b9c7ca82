"""Distances to draw, measured on a sample: a histogram needs no more, and data sets have millions of images."""

from typing import NamedTuple

import numpy as np

from cion_jax.evaluation.label_report.examples import Links
from cion_jax.evaluation.label_report.members import Members

_ROWS, _COLUMNS = 256, 1 << 15  # sampled centroids, and those they are compared with, at a time


def inside(features: np.ndarray, labels: np.ndarray, *, most: int = 100_000, seed: int = 0) -> np.ndarray:
    """Cosine distances of images to the mean of the others of their group.

    Args:
      features: floating [n, d], any scale; may be memory-mapped, only the rows of sampled groups are read.
      labels: integers [n], -1 in no group; groups of one are left out.
      most: images; groups are drawn whole until they are reached.
      seed: of the draw.

    Returns:
      float64 [at most n].
    """
    members = Members(labels)
    names = np.random.default_rng(seed).permutation(members.names[members.sizes > 1])
    found, count = [np.zeros(0)], 0
    for name in names:
        rows = _unit(features[members(name)])
        others = rows.sum(axis=0) - rows
        length = np.maximum(np.linalg.norm(others, axis=1), 1e-12)
        found.append(1 - np.einsum("ij,ij->i", rows, others) / length)
        count += len(rows)
        if count >= most:
            break
    return np.concatenate(found)


class Between(NamedTuple):
    """Distances between centroids of parts.

    Attributes:
      linked, apart: float64, of sampled parts to the nearest part of their own identity, and of another one.
      missed: the nearest pairs found of different identities.
    """

    linked: np.ndarray
    apart: np.ndarray
    missed: Links


def between(
    centroids: np.ndarray,
    identities: np.ndarray,
    *,
    half_width: int | None = None,
    most: int = 2000,
    pairs: int = 200,
    seed: int = 0,
) -> Between:
    """How near parts are to one another, by whether they ended in one identity.

    Args:
      centroids: floating [parts, d], any length but zero, in the order that the sliding range goes by.
      identities: integers [parts]; parts of -1 are left out.
      half_width: how many parts ahead and behind each is compared with; None for all.
      most: sampled parts; the cost is that of `most` rows against the window, or against all.
      pairs: length of the list of near misses.
      seed: of the sample.
    """
    used = np.flatnonzero(np.asarray(identities) >= 0)
    names = np.asarray(identities)[used]
    reach = len(used) if half_width is None else half_width
    sample = np.sort(np.random.default_rng(seed).permutation(len(used))[:most])
    nearest = {
        True: [np.zeros((2, 0))],
        False: [np.zeros((2, 0))],
    }  # distance, and position of the other part
    for first in range(0, len(sample), _ROWS):
        rows = sample[first : first + _ROWS]
        best = {same: np.full((2, len(rows)), np.inf) for same in nearest}
        low, high = max(rows[0] - reach, 0), min(rows[-1] + reach + 1, len(used))
        mine = _unit(centroids[used[rows]])
        for start in range(low, high, _COLUMNS):
            columns = np.arange(start, min(start + _COLUMNS, high))
            distance = 1 - mine @ _unit(centroids[used[columns]]).T
            gap = np.abs(columns - rows[:, None])
            distance[(gap == 0) | (gap > reach)] = np.inf
            same = names[columns] == names[rows][:, None]
            for which, so_far in best.items():
                closest = np.where(same == which, distance, np.inf)
                at = closest.argmin(axis=1)
                value = closest[np.arange(len(rows)), at]
                better = value < so_far[0]
                so_far[:, better] = value[better], columns[at[better]]
        for which, so_far in best.items():
            nearest[which].append(so_far)
    linked, (apart, other) = (np.concatenate(nearest[which], axis=1) for which in (True, False))
    order = np.argsort(apart, kind="stable")[: min(pairs, int(np.isfinite(apart).sum()))]
    missed = Links(used[sample[order]], used[other[order].astype(np.int64)], apart[order])
    return Between(linked[0][np.isfinite(linked[0])], apart[np.isfinite(apart)], missed)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
