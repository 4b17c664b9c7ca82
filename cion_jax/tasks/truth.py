"""Truth: identities that somebody knows, by path; and what is none, although it looks like it."""

import csv
from pathlib import Path

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data.importers.row import listed


def are_tracklets(identities: np.ndarray, tracklets: np.ndarray, videos: np.ndarray) -> bool:
    """Whether identities only name tracklets anew, as the table of the task `tracklets` does; integers [n] each.

    Nothing can be measured by them: every tracklet would be right, every merge wrong. Images of nobody (-1) do not
    count, and a single tracklet tells nothing.
    """
    known = identities >= 0
    tracklet = np.unique(np.stack([videos[known], tracklets[known]]), axis=1, return_inverse=True)[1].reshape(
        -1
    )
    identity = np.unique(identities[known], return_inverse=True)[1]
    pairs = len(np.unique(np.stack([identity, tracklet]), axis=1).T)
    return pairs > 1 and pairs == identity.max() + 1 == tracklet.max() + 1


def read_table(truth: str) -> dict[str, int]:
    """Identities by path from a .csv.

    Raises:
      UserError: no such file, another kind of file, or a path with two identities.
    """
    known: dict[str, int] = {}
    other: dict[str, int] = {}
    try:
        # Spreadsheets put a byte order mark before the first name.
        with Path(truth).expanduser().open(newline="", encoding="utf-8-sig") as opened:
            for row in csv.DictReader(opened):
                path, identity = row["path"], int(row["identity"])
                if known.setdefault(path, identity) != identity:
                    other.setdefault(path, identity)
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"truth={truth} must be a .csv with columns path and identity, a whole number ({error})"
        ) from error
    if other:
        rows = listed(f"{path} is {known[path]} and {identity}" for path, identity in other.items())
        raise UserError(
            f"truth={truth} contradicts itself on {len(other):,} images: {rows}. Leave one row for each"
        )
    return known
