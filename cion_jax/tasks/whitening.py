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

_ROWS = 16_384


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
    mean, matrix = whitening(_blocks(features, tracklet, good), shrinkage)
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
    blocks: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """The map after which the images of a tracklet vary alike in all directions: (x - mean) @ matrix.

    Args:
      blocks: called for pairs of features float [rows, d] and their tracklets, integers from 0 [rows].
      shrinkage: share of the covariance within tracklets that is replaced by the same variance everywhere: frames that
        follow one another tell little, and directions that hardly vary are noise. 1 only centres.

    Returns:
      mean float64 [d], matrix float64 [d, d].

    Raises:
      UserError: no tracklet has two images that differ.
    """
    total, square, count = np.zeros((0, 0)), 0.0, np.zeros(0, np.int64)
    for x, tracklet in blocks():
        x = np.asarray(x, np.float64)
        size = max(int(tracklet.max(initial=-1)) + 1, len(total))
        total = np.pad(total.reshape(-1, x.shape[1]), ((0, size - len(total)), (0, 0)))
        sums.add(total, x, tracklet)
        count = np.bincount(tracklet, minlength=size) + np.pad(count, (0, size - len(count)))
        square = square + x.T @ x
    images = max(int(count.sum()), 1)
    seen = count > 0
    within = (square - (total[seen].T / count[seen]) @ total[seen]) / images
    width = len(within) if np.ndim(within) else 0
    variance = np.trace(within) / width if width else 0.0
    if not variance > 1e-12:
        raise UserError("no tracklet has two images that differ: there is nothing to whiten by")
    smooth = (1 - shrinkage) * within + max(shrinkage, 1e-9) * variance * np.eye(width)
    return total.sum(axis=0) / images, np.linalg.inv(np.linalg.cholesky(smooth)).T


def _blocks(
    features: feature_shards.Stored, tracklet: np.ndarray, good: np.ndarray
) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    rows = np.flatnonzero(good)

    def blocks():
        for first in range(0, len(rows), _ROWS):
            part = rows[first : first + _ROWS]
            yield features[part], tracklet[part]

    return blocks
