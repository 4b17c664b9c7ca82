"""Rows of features and of ids: what is accepted, and unit vectors made of them."""

import numpy as np

NO_LENGTH = 1e-12  # a sum of unit vectors this short has cancelled; what direction is left is rounding


def checked_features(features: np.ndarray) -> np.ndarray:
    """`features` as an array [n, d]; memory-mapped ones, and whatever else is read by slices and row numbers, as is.

    Raises:
      ValueError: not two-dimensional, or not floating point.
    """
    if not hasattr(features, "shape") or not hasattr(features, "dtype"):
        features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"features must be [n, d], not of shape {features.shape}")
    if not np.issubdtype(features.dtype, np.floating):
        raise ValueError(f"features must be floating point, not {features.dtype}")
    return features


def checked_ids(name: str, ids: np.ndarray, rows: int) -> np.ndarray:
    """`ids` as int64 [rows]; raises ValueError naming them when they are something else."""
    ids = np.asarray(ids)
    if ids.shape != (rows,):
        raise ValueError(f"{name} must hold one id per row of features, [{rows}], not of shape {ids.shape}")
    if rows and not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be integers, not {ids.dtype}")
    return ids.astype(np.int64)


def unit(features: np.ndarray, first_row: int = 0, names: np.ndarray | None = None) -> np.ndarray:
    """Rows of length one in float64 [n, d]: what every decision is defined on.

    Args:
      features: [n, d].
      first_row: what row 0 is called in a message, where `features` is a part of something larger.
      names: [n] what each row is called instead.

    Raises:
      ValueError: a row holds NaN or infinity or is zero; the message names it.
    """
    rows = np.asarray(features, np.float64)
    # Scaled by its largest entry first: squares of float16's or float32's extremes would overflow or vanish.
    largest = np.max(np.abs(rows), axis=1, initial=0.0)
    bad = ~np.isfinite(largest) | (largest == 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        what = "is zero: it has no direction" if largest[row] == 0 else "holds NaN or infinity"
        name = first_row + row if names is None else names[row]
        raise ValueError(f"row {name} of features {what} ({int(bad.sum())} such rows among those looked at)")
    rows = rows / largest[:, None]
    return rows / np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]


def first_appearance(labels: np.ndarray) -> np.ndarray:
    """Labels renamed 0, 1, ... in the order in which they first appear; negative ones become -1."""
    labels = np.asarray(labels)
    result = np.full(labels.shape, -1, np.int64)
    kept = labels >= 0
    _, first, inverse = np.unique(labels[kept], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result[kept] = rank[inverse]
    return result


def unit_or_zero(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, d] at length one in float64; sums that cancel become zero."""
    vectors = np.asarray(vectors, np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > NO_LENGTH)
