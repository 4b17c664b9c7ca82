"""Sums of unit features per group, in float64 and in the order of rows: what centroids are compared by."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from cion_jax.denoise import rows

_BLOCK_ROWS = 65_536  # rows in float64 at a time


def unit_blocks(features: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows with a label >= 0, block by block: (their numbers int64 [b], unit rows float64 [b, d])."""
    for start in range(0, len(features), _BLOCK_ROWS):
        part = start + np.flatnonzero(labels[start : start + _BLOCK_ROWS] >= 0)
        if len(part):
            yield part, rows.unit(features[part], names=part)


def of_labels(features: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Sums of the unit features of every label 0..count-1: float64 [count, d]."""
    total = np.zeros((count, features.shape[1]))
    for part, unit in unit_blocks(features, labels):
        add(total, unit, labels[part])
    return total


def add(total: np.ndarray, unit: np.ndarray, labels: np.ndarray) -> None:
    """Adds unit rows [b, d] to the sums [count, d] of their labels [b] >= 0, in the order of rows."""
    # Only the labels that occur: a product with all of them would touch the whole of `total` for each block.
    names, place = np.unique(labels, return_inverse=True)
    chosen = sparse.csr_matrix((np.ones(len(unit)), (place, np.arange(len(unit)))), (len(names), len(unit)))
    total[names] += chosen @ unit


def distances_to(unit: np.ndarray, total: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 - cos of unit rows [b, d] to the sums [count, d] of their labels [b]; 1 where a sum is zero."""
    return 1 - np.einsum("bd,bd->b", unit, rows.unit_or_zero(total[labels]))
