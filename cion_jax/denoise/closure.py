"""Connected components of links that arrive in pieces."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

_PENDING = 4_000_000  # links kept before they are folded into components: 64 MB


class Components:
    """The transitive closure of a relation on 0..count-1; the order in which links come does not matter."""

    def __init__(self, count: int):
        self._labels = np.arange(count)
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = 0

    def link(self, i: np.ndarray, j: np.ndarray) -> None:
        """Links i[k] with j[k], int [pairs]."""
        if len(i):
            self._pending.append((np.asarray(i), np.asarray(j)))
            self._waiting += len(i)
        if self._waiting >= _PENDING:
            self._fold()

    def labels(self) -> np.ndarray:
        """int64 [count]: the component of each element, numbered from 0 in the order of their first elements."""
        self._fold()
        return self._labels.copy()

    def _fold(self) -> None:
        if not self._pending:
            return
        i, j = (self._labels[np.concatenate(part)] for part in zip(*self._pending, strict=True))
        self._pending, self._waiting = [], 0
        count = int(self._labels.max()) + 1
        graph = sparse.coo_matrix((np.ones(len(i), bool), (i, j)), shape=(count, count))
        _, component = csgraph.connected_components(graph, directed=False)
        _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        self._labels = rank[inverse][self._labels]
