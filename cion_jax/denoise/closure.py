"""Connected components of links that arrive in pieces."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

_PENDING = 4_000_000  # links kept before they are folded into components: 64 MB


class Components:
    """The transitive closure of a relation on 0..count-1; the order in which links come does not matter.

    Args:
      count: how many.
      forest: whether to keep, of all links, the lightest that hold the components together.
    """

    def __init__(self, count: int, *, forest: bool = False):
        self._labels = np.arange(count)
        self._forest = (np.zeros((0, 2), np.int64), np.zeros(0)) if forest else None
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._waiting = 0

    def link(self, i: np.ndarray, j: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Links i[k] with j[k], int [pairs]; weights float [pairs] above -1, for the forest."""
        if len(i):
            self._pending.append(
                (np.asarray(i), np.asarray(j), np.zeros(len(i)) if weight is None else weight)
            )
            self._waiting += len(i)
        if self._waiting >= _PENDING:
            self._fold()

    def labels(self) -> np.ndarray:
        """int64 [count]: the component of each element, numbered from 0 in the order of their first elements."""
        self._fold()
        return self._labels.copy()

    def forest(self) -> np.ndarray:
        """int64 [count - components, 2]: a minimum spanning forest of the links that came, smaller end first."""
        self._fold()
        return self._forest[0]

    def _fold(self) -> None:
        if not self._pending:
            return
        i, j, weight = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        self._pending, self._waiting = [], 0
        if self._forest is not None:
            links, weights = self._forest
            links = np.concatenate([links, np.stack([i, j], axis=1)])
            self._forest = _lightest(links, np.concatenate([weights, weight]), len(self._labels))
        i, j = self._labels[i], self._labels[j]
        count = int(self._labels.max()) + 1
        graph = sparse.coo_matrix((np.ones(len(i), bool), (i, j)), shape=(count, count))
        _, component = csgraph.connected_components(graph, directed=False)
        _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        self._labels = rank[inverse][self._labels]


def _lightest(links: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The minimum spanning forest of links [links, 2] between 0..count-1, and its weights."""
    links = np.sort(links, axis=1)
    order = np.lexsort((weights, links[:, 1], links[:, 0]))
    links, weights = links[order], weights[order]
    # Of equal links the lightest, and none from an element to itself.
    good = links[:, 0] != links[:, 1]
    good[1:] &= (np.diff(links, axis=0) != 0).any(axis=1)
    links, weights = links[good], weights[good]
    # Plus one, since a weight of zero is no edge.
    tree = csgraph.minimum_spanning_tree(sparse.coo_matrix((weights + 1, links.T), (count, count))).tocoo()
    return np.sort(np.stack([tree.row, tree.col], axis=1).astype(np.int64), axis=1), tree.data - 1
