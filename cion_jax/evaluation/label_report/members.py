"""Rows by group."""

import numpy as np


class Members:
    """Rows of every group, without going through all rows for each; those below 0 are in none.

    Attributes:
      names: integers [groups], ascending.
      sizes: integers [groups].
    """

    def __init__(self, groups: np.ndarray):
        groups = np.asarray(groups)
        rows = np.flatnonzero(groups >= 0)
        self._rows = rows[np.argsort(groups[rows], kind="stable")]
        self.names, self._first = np.unique(groups[self._rows], return_index=True)
        self.sizes = np.diff(self._first, append=len(rows))

    def __call__(self, name: int) -> np.ndarray:
        """Rows of a group in ascending order; none if there is no such group."""
        at = np.searchsorted(self.names, name)
        if at == len(self.names) or self.names[at] != name:
            return np.zeros(0, np.int64)
        return self._rows[self._first[at] : self._first[at] + self.sizes[at]]
