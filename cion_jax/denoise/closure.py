"""Connected components of links that arrive in pieces."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

_PENDING = 4_000_000  # links kept before they are folded into components: 64 MB


class Components:
    """The transitive closure of a relation on 0..count-1; the order in which links come does not matter.

    Args:
      count: how many.
      forest: whether to keep, of all links, as many as hold the components together.
    """

    def __init__(self, count: int, *, forest: bool = False):
        self._labels = np.arange(count)
        self._forest = [np.zeros((0, 2), np.int64)] if forest else None
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

    def forest(self) -> np.ndarray:
        """int64 [count - components, 2]: links that came and hold the components together, none to spare."""
        self._fold()
        return np.concatenate(self._forest)

    def _fold(self) -> None:
        if not self._pending:
            return
        links = np.stack([np.concatenate(part) for part in zip(*self._pending, strict=True)], axis=1)
        self._pending, self._waiting = [], 0
        i, j = self._labels[links].T
        count = int(self._labels.max()) + 1
        if self._forest is not None:
            self._forest.append(links[_spanning(i, j, count)])
        graph = sparse.coo_matrix((np.ones(len(i), bool), (i, j)), shape=(count, count))
        _, component = csgraph.connected_components(graph, directed=False)
        _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        self._labels = rank[inverse][self._labels]


def _spanning(i: np.ndarray, j: np.ndarray, count: int) -> np.ndarray:
    """Which of the links between components i [links] and j [links] span them: the first of those that would do."""
    low, high = np.minimum(i, j), np.maximum(i, j)
    _, first = np.unique(low * count + high, return_index=True)
    first = first[low[first] != high[first]]
    # Weights are places plus one, since a weight of zero is no edge.
    graph = sparse.coo_matrix((first + 1.0, (low[first], high[first])), shape=(count, count))
    return np.sort(csgraph.minimum_spanning_tree(graph).data.astype(np.int64) - 1)
