"""Merges the closest pair of groups first, again and again: an option beyond the paper's closure.

A group stands for the sum of its images' unit features, so that its direction gets steadier as it grows, and a chain of
look-alikes does not pull everything together as the closure of a relation does. Groups seen in the same frame are not
merged: nobody is in two places. Only pairs within a looser distance are ever looked at, so that the work stays sparse.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cion_jax.denoise import near, rows
from cion_jax.denoise.closure import Components
from cion_jax.denoise.watching import Watch, unwatched

# Pairs up to this multiple of sigma are candidates: a group's direction moves as it grows, which brings some of them
# within sigma that were not.
LOOSE = 1.25
# A group has so many candidates at most, the nearest, once there are too many of all to be kept: features or thresholds
# by which everybody is near to everybody.
_NEAREST, _MOST_PAIRS = 100, 20_000_000


class Merged(NamedTuple):
    """Identities int64 [t], numbered by their first group, and what a person should know."""

    identities: np.ndarray
    warnings: list[str]


def merge_closest(
    sums: np.ndarray,
    sigma: float,
    *,
    ends: np.ndarray,
    moments: Sequence[np.ndarray] | None = None,
    loose: float = LOOSE,
    watch: Watch = unwatched,
    label: str = "comparing",
) -> Merged:
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
      Of equally close pairs the earlier is merged first.
    """
    pairs, warnings = _candidates(sums, ends, max(loose, 1.0) * sigma, watch, label)
    components = Components(len(sums))
    components.link(pairs[:, 0], pairs[:, 1])
    component = components.labels()
    merged = Components(len(sums))
    members = np.argsort(component, kind="stable")
    of_pair = component[pairs[:, 0]]
    order = np.argsort(of_pair, kind="stable")
    numbers = np.arange(component.max(initial=-1) + 2)
    starts, pair_starts = (
        np.searchsorted(component[members], numbers),
        np.searchsorted(of_pair[order], numbers),
    )
    with watch(f"{label}, merging", len(pairs), "pairs") as counter:
        for number in np.flatnonzero(np.diff(pair_starts)):
            inside = members[starts[number] : starts[number + 1]]
            part = pairs[order[pair_starts[number] : pair_starts[number + 1]]]
            seen = None if moments is None else [moments[k] for k in inside]
            found = _Component(sums[inside], np.searchsorted(inside, part), seen).merge(sigma)
            merged.link(inside[found[:, 0]], inside[found[:, 1]])
            counter.advance(len(part))
    return Merged(merged.labels(), warnings)


def _candidates(
    sums: np.ndarray, ends: np.ndarray, reach: float, watch: Watch, label: str
) -> tuple[np.ndarray, list[str]]:
    """Pairs int32 [pairs, 2] within `reach`, and a warning where they are not all.

    If there are more than can be kept, they are the pairs of which one is among the other's 100 nearest of all.
    Pruning on the way never drops such a pair, and the last pruning drops all others. So the order in which pairs come,
    and with it the tiles and the kind of device, do not matter.
    """
    kept, waiting, pruned = [np.zeros((0, 2), np.int32)], 0, False
    most = max(_MOST_PAIRS, 2 * _NEAREST * len(sums))
    for i, j in near.near_pairs(sums, ends, reach, watch=watch, label=label):
        kept.append(np.stack([i, j], axis=1).astype(np.int32))
        waiting += len(i)
        if waiting > most:
            kept, pruned = [_nearest(sums, np.concatenate(kept))], True
            waiting = len(kept[0])
    if not pruned:
        return np.concatenate(kept), []
    warning = (
        f"more than {most:,} pairs lie within {reach:.3f}: only the {_NEAREST} nearest of each group were followed. "
        "sigma_drm is too large for these features, or they tell people hardly apart"
    )
    return _nearest(sums, np.concatenate(kept)), [warning]


def _nearest(sums: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pairs [n, 2] of which one is among the other's 100 nearest; of equally near ones the earlier."""
    distance = np.tile(near.distances(sums, pairs[:, 0], pairs[:, 1]), 2)
    group, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((other, distance, group))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order], side="left")
    return pairs[(rank < _NEAREST).reshape(2, -1).any(axis=0)]


class _Component:
    """Groups that hang together by candidate pairs, being merged.

    A group that has taken another in goes on under the smaller number. Each has one entry in the queue: its nearest
    candidate when its entry was made. An entry is put right only when its turn comes: distances of groups that have
    not changed are in it or above it, and whoever has changed has a new entry, so the least entry that is still true is
    the closest pair of all. So the memory is that of the candidates.

    Args:
      sums: float64 [m, d].
      pairs: integers [pairs, 2], candidates.
      seen: the moments of every group, or None.
    """

    def __init__(self, sums: np.ndarray, pairs: np.ndarray, seen: list[np.ndarray] | None):
        count = len(sums)
        self._total = sums
        self._length = np.linalg.norm(sums, axis=1)
        self._seen = None if seen is None else [set(some.tolist()) for some in seen]
        self._home = np.arange(count)  # of a group that was taken in: the one that took it
        self._version = [0] * count
        ends = np.concatenate([pairs, pairs[:, ::-1]])
        ends = ends[np.argsort(ends[:, 0], kind="stable"), :]
        starts = np.searchsorted(ends[:, 0], np.arange(1, count))
        self._around = np.split(ends[:, 1].astype(np.int32), starts)

    def merge(self, sigma: float) -> np.ndarray:
        """Pairs int64 [merges, 2] merged, each under the numbers of two first members."""
        queue: list[tuple] = []
        for group in range(len(self._total)):
            self._put(queue, group, sigma)
        done = []
        while queue:
            _, low, high, of_low, of_high, owner = heapq.heappop(queue)
            true_low, true_high = self._version[low] == of_low, self._version[high] == of_high
            if true_low and true_high:
                done.append((low, high))
                self._join(low, high)
                self._put(queue, low, sigma)
            elif true_low if owner == low else true_high:
                self._put(queue, owner, sigma)  # its nearest has changed
        return np.array(done, np.int64).reshape(-1, 2)

    def _put(self, queue: list[tuple], group: int, sigma: float) -> None:
        """Enters a group's nearest candidate that it may be merged with, if there is one within sigma."""
        around = np.unique(self._now(self._around[group]))
        around = self._around[group] = around[around != group]
        distance = self._distances(group, around)
        allowed = np.ones(len(around), bool)
        for k in np.lexsort((around, distance)):
            other = int(around[k])
            if distance[k] > sigma:
                break
            if self._seen is None or self._seen[group].isdisjoint(self._seen[other]):
                low, high = min(group, other), max(group, other)
                versions = self._version[low], self._version[high]
                heapq.heappush(queue, (float(distance[k]), low, high, *versions, group))
                break
            allowed[k] = False  # for good: moments only become more
        self._around[group] = around[allowed]

    def _join(self, low: int, high: int) -> None:
        self._total[low] += self._total[high]
        self._length[low] = np.linalg.norm(self._total[low])
        self._version[low] += 1
        self._version[high] = -1
        self._home[high] = low
        self._around[low] = np.concatenate([self._around[low], self._around[high]])
        self._around[high] = np.zeros(0, np.int32)
        if self._seen is not None:
            self._seen[low] |= self._seen[high]
            self._seen[high] = set()

    def _now(self, groups: np.ndarray) -> np.ndarray:
        """The groups that took these in."""
        while True:
            home = self._home[groups]
            if np.array_equal(home, groups):
                return groups
            self._home[groups] = self._home[home]  # half as far for the next who asks
            groups = home.astype(np.int32)

    def _distances(self, group: int, others: np.ndarray) -> np.ndarray:
        """1 - cos, by the same operations whichever of two is asked; at 1 where a sum has cancelled."""
        dot = np.einsum(
            "nd,nd->n",
            self._total[others],
            np.broadcast_to(self._total[group], (len(others), self._total.shape[1])),
        )
        length = self._length[others] * self._length[group]
        some = (self._length[others] > rows.NO_LENGTH) & (self._length[group] > rows.NO_LENGTH)
        return 1 - np.divide(dot, length, out=np.zeros(len(others)), where=some)
