"""Merges the closest pair of groups first, again and again: an option beyond the paper's closure.

A group stands for the sum of its images' unit features, so that its direction gets steadier as it grows, and a chain of
look-alikes does not pull everything together as the closure of a relation does. Groups seen in the same frame are not
merged: nobody is in two places. Only pairs within a looser distance are ever looked at, so that the work stays sparse.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from cion_jax.denoise import near, rows
from cion_jax.denoise.closure import Components
from cion_jax.denoise.watching import Watch, unwatched

# Pairs up to this multiple of sigma are candidates: a group's direction moves as it grows, which brings some of them
# within sigma that were not.
LOOSE = 1.25


def merge_closest(
    sums: np.ndarray,
    sigma: float,
    *,
    ends: np.ndarray,
    moments: Sequence[np.ndarray] | None = None,
    loose: float = LOOSE,
    watch: Watch = unwatched,
    label: str = "comparing",
) -> np.ndarray:
    """Identities of groups, by merging the closest pair while it is within sigma.

    Args:
      sums: float64 [t, d], sums of unit features.
      sigma: cosine distance up to which groups are merged.
      ends: int64 [t], not decreasing: groups i < j are candidates only if j < ends[i].
      moments: for each group the ids (of a video and a frame) at which it was seen; groups that share one are never
        merged. None: nothing forbids.
      loose: candidates are the pairs within loose * sigma, at least sigma.
      watch, label: who is told how far it is, and under which name.

    Returns:
      int64 [t]: identities numbered by their first group. Of equally close pairs the earlier is merged first.
    """
    reach = max(loose, 1.0) * sigma
    pairs = [np.stack(found) for found in near.near_pairs(sums, ends, reach, watch=watch, label=label)]
    i, j = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    components = Components(len(sums))
    components.link(i, j)
    component = components.labels()
    merged = Components(len(sums))
    members = np.argsort(component, kind="stable")
    starts = np.searchsorted(component[members], np.arange(component.max(initial=-1) + 2))
    edges = np.argsort(component[i], kind="stable")
    edge_starts = np.searchsorted(component[i][edges], np.arange(component.max(initial=-1) + 2))
    with watch(f"{label}, merging", len(i), "pairs") as counter:
        for number in np.flatnonzero(np.diff(edge_starts)):
            inside = members[starts[number] : starts[number + 1]]
            links = edges[edge_starts[number] : edge_starts[number + 1]]
            seen = [set(moments[k].tolist()) for k in inside] if moments is not None else None
            a, b = _merge(
                sums[inside],
                np.searchsorted(inside, i[links]),
                np.searchsorted(inside, j[links]),
                sigma,
                seen,
            )
            merged.link(inside[a], inside[b])
            counter.advance(len(links))
    return merged.labels()


def _merge(
    sums: np.ndarray, i: np.ndarray, j: np.ndarray, sigma: float, seen: list[set] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Merges within one component of candidates: the pairs merged, each under the numbers of two first members."""
    total = np.array(sums, np.float64)
    unit = rows.unit_or_zero(total)
    neighbours: list[set] = [set() for _ in total]
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        neighbours[a].add(b)
        neighbours[b].add(a)
    version = [0] * len(total)

    def allowed(a: int, b: int) -> bool:
        return seen is None or seen[a].isdisjoint(seen[b])

    distance = 1 - np.einsum("nd,nd->n", unit[i], unit[j])
    close = np.flatnonzero(distance <= sigma)
    queue = [
        (d, a, b, 0, 0)
        for d, a, b in zip(distance[close].tolist(), i[close].tolist(), j[close].tolist(), strict=True)
        if allowed(a, b)
    ]
    heapq.heapify(queue)
    merged = []
    while queue:
        _, a, b, of_a, of_b = heapq.heappop(queue)
        if version[a] != of_a or version[b] != of_b:
            continue  # one of the two has grown or gone since
        merged.append((a, b))
        total[a] += total[b]
        unit[a] = rows.unit_or_zero(total[a][None])[0]
        version[a], version[b] = version[a] + 1, -1
        if seen is not None:
            seen[a] |= seen[b]
            seen[b] = set()
        around = (neighbours[a] | neighbours[b]) - {a, b}
        neighbours[a], neighbours[b] = around, set()
        for c in around:
            neighbours[c].discard(b)
            neighbours[c].add(a)
        others = np.fromiter(sorted(around), np.int64, len(around))
        distance = 1 - np.einsum("nd,d->n", unit[others], unit[a])
        for d, c in zip(distance.tolist(), others.tolist(), strict=True):
            if d <= sigma and allowed(a, c):
                low, high = min(a, c), max(a, c)
                heapq.heappush(queue, (d, low, high, version[low], version[high]))
    done = np.array(merged, np.int64).reshape(-1, 2)
    return done[:, 0], done[:, 1]
