"""Features whose directions count by what they tell: whitened by what varies within tracklets (WCCN).

A backbone that has learned from little data uses few of its directions, most of them for pose, light and place in the
box. Images of one tracklet show mostly one person, so what varies among them is what a distance between people should
not see. Within-class covariance normalisation with the tracklets as classes (Hatch et al., 2006, for speakers) needs no
truth.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target
from cion_jax.denoise import sums
from cion_jax.tasks import feature_shards
from cion_jax.tasks.outputs import Speaker

_ROWS = 16_384  # images, or tracklets, at a time


def run(config: ConfigDict, workdir: Path) -> None:
    """Whitens the shards of config.source into config.target; what is there already is not done again.

    Raises:
      UserError: a shrinkage outside 0..1, features that are not finished, or no tracklet of two images.
    """
    del workdir
    if not 0 <= config.shrinkage <= 1:
        raise UserError(f"whitening.shrinkage={config.shrinkage} must be between 0 and 1")
    source, target = Path(config.source), Path(config.target)
    with lock_target(target, "whitening"):
        _whiten(source, target, config.shrinkage)
    Speaker()(f"{target} holds the features, whitened by what varies within tracklets")


def _whiten(source: Path, target: Path, shrinkage: float) -> None:
    """Writes the shards that are missing, in a target that no other process writes."""
    columns = feature_shards.read_images(source)
    bad = dict(feature_shards.unreadable(source))
    good = np.ones(len(columns["path"]), bool)
    good[list(bad)] = False
    features = feature_shards.Stored(source)
    pair = np.stack([columns["video"], columns["tracklet"]], axis=1)
    tracklet = np.unique(pair, axis=0, return_inverse=True)[1].reshape(-1)
    count = int(tracklet.max(initial=-1)) + 1
    mean, matrix = whitening(_blocks(features, tracklet, good), shrinkage, tracklets=count)
    about = feature_shards.manifest(source) | {"whitened": shrinkage}
    paths = columns.pop("path").tolist()
    feature_shards.begin(target, about, paths, columns)
    for number, first, last in feature_shards.missing(target):
        found = np.asarray(features[first:last], np.float64)
        found = (found - mean) @ matrix
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        found[~good[first:last]] = 0
        left = [(row - first, bad[row]) for row in bad if first <= row < last]
        feature_shards.write_shard(target, number, found.astype(features.dtype), left)


def whitening(
    blocks: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], shrinkage: float, *, tracklets: int
) -> tuple[np.ndarray, np.ndarray]:
    """The map after which the images of a tracklet vary alike in all directions: (x - mean) @ matrix.

    Args:
      blocks: called for pairs of features float [rows, d] and their tracklets, integers 0..tracklets-1 [rows].
      shrinkage: share of the covariance within tracklets that is replaced by the same variance everywhere: frames that
        follow one another tell little, and directions that hardly vary are noise. 1 only centres.
      tracklets: how many there are. Their sums, float64 [tracklets, d], are what takes memory.

    Returns:
      mean float64 [d], matrix float64 [d, d].

    Raises:
      UserError: no tracklet has two images that differ.
    """
    total, square, count = None, 0.0, np.zeros(tracklets, np.int64)
    for x, tracklet in blocks():
        x = np.asarray(x, np.float64)
        total = np.zeros((tracklets, x.shape[1])) if total is None else total
        sums.add(total, x, tracklet)
        np.add.at(count, tracklet, 1)
        square = square + x.T @ x
    if total is None:
        total = np.zeros((tracklets, 0))
    images = max(int(count.sum()), 1)
    within = (square - _sum_between(total, count)) / images
    width = len(within)
    variance = np.trace(within) / width if width else 0.0
    if not variance > 1e-12:
        raise UserError("no tracklet has two images that differ: there is nothing to whiten by")
    smooth = (1 - shrinkage) * within + max(shrinkage, 1e-9) * variance * np.eye(width)
    return total.sum(axis=0) / images, np.linalg.inv(np.linalg.cholesky(smooth)).T


def _sum_between(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """What the means of tracklets explain: sum of total total^T / count, from sums [t, d] and counts [t]."""
    found = np.zeros((total.shape[1], total.shape[1]))
    for first in range(0, len(total), _ROWS):
        part = total[first : first + _ROWS]
        found += (part / np.maximum(count[first : first + _ROWS], 1)[:, None]).T @ part
    return found


def _blocks(
    features: feature_shards.Stored, tracklet: np.ndarray, good: np.ndarray
) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    rows = np.flatnonzero(good)

    def blocks():
        for first in range(0, len(rows), _ROWS):
            part = rows[first : first + _ROWS]
            yield features[part], tracklet[part]

    return blocks
