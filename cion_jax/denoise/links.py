"""Links between groups that the closure goes over, and guards against what a few wrong ones can do to it.

With a chance p of a false link per pair, the range of 2 r_s pairs per tracklet joins everything into one component from
about p = 1 / (2 r_s) on. Options beyond the paper: only links that are mutual among the nearest, and components that
are too large or too wide merged again by `agglomerate`, which does not chain.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cion_jax.denoise import agglomerate, near, rows
from cion_jax.denoise.closure import Components
from cion_jax.denoise.watching import Watch, unwatched

# Links whose distances are looked at for the shortest; what comes after these counts as far as sigma. With so many,
# sigma is too large for the features anyway.
_WEIGHED = 20_000_000


class Linked(NamedTuple):
    """Identities int64 [t]; what a person should know; and links int64 [links, 2].

    Of all links that were followed, the shortest that hold the components together (a minimum spanning forest): all may
    be a thousand times as many. Where a component was merged again, only those whose two ends are in one identity.
    """

    identities: np.ndarray
    links: np.ndarray
    warnings: list[str]


def close_over(
    sums: np.ndarray,
    ends: np.ndarray,
    sigma: float,
    *,
    mutual: int = 0,
    max_share: float = 1.0,
    max_radius: float = 2.0,
    moments: list[np.ndarray] | None = None,
    watch: Watch = unwatched,
    label: str = "comparing",
) -> Linked:
    """The closure of "within sigma", as level 3 has it, with its options.

    Args:
      sums, ends, sigma: as for `near.near_pairs`.
      mutual: follow a link only if each of the two is among the other's so many nearest; 0: follow all.
      max_share: components with a larger share of the groups than this are merged again, closest pair first.
      max_radius: so are those with a group further than this from their mean, in cosine distance.
      moments: for each group the ids (of a video and a frame) at which it was seen; groups that share one are not
        linked directly, though others may still join them.
      watch, label: who is told how far it is, and under which name.
    """
    components = Components(len(sums), forest=True)
    pairs = _allowed(near.near_pairs(sums, ends, sigma, watch=watch, label=label), moments)
    weighed = 0
    for i, j in _mutual(sums, pairs, mutual) if mutual else pairs:
        components.link(i, j, near.distances(sums, i, j) if weighed < _WEIGHED else np.full(len(i), sigma))
        weighed += len(i)
    identities = components.labels()
    wrong, warnings = _guard(sums, identities, max_share, max_radius)
    kept = components.forest()
    if len(wrong):
        identities, more = _again(sums, ends, sigma, identities, wrong, moments)
        kept, warnings = kept[identities[kept[:, 0]] == identities[kept[:, 1]]], warnings + more
    return Linked(identities, kept, warnings)


Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


def _allowed(pairs: Pairs, moments: list[np.ndarray] | None) -> Pairs:
    """Pairs of groups that were not seen together."""
    for i, j in pairs:
        if moments is not None:
            apart = np.array(
                [not np.isin(moments[a], moments[b]).any() for a, b in zip(i, j, strict=True)], bool
            )
            i, j = i[apart], j[apart]
        yield i, j


def _mutual(sums: np.ndarray, pairs: Pairs, count: int) -> Pairs:
    """Pairs that are mutual among the nearest `count`: all are looked at before the first comes."""
    found = [np.stack(some, axis=1) for some in pairs]
    links = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    links = mutual_links(links, near.distances(sums, links[:, 0], links[:, 1]), count)
    yield links[:, 0], links[:, 1]


def mutual_links(links: np.ndarray, distance: np.ndarray, count: int) -> np.ndarray:
    """Links [links, 2] whose two ends each have the other among their `count` nearest by distance [links]."""
    ends = np.concatenate([links, links[:, ::-1]])
    order = np.lexsort((ends[:, 1], np.tile(distance, 2), ends[:, 0]))
    starts = np.searchsorted(ends[order, 0], ends[order, 0], side="left")
    rank = np.empty(len(ends), np.int64)
    rank[order] = np.arange(len(ends)) - starts
    near_enough = (rank < count).reshape(2, -1).all(axis=0)
    return links[near_enough]


def _guard(
    sums: np.ndarray, identities: np.ndarray, max_share: float, max_radius: float
) -> tuple[np.ndarray, list[str]]:
    """Components to merge again, and warnings about them."""
    count = int(identities.max(initial=-1)) + 1
    sizes = np.bincount(identities, minlength=count)
    # A pair or a handful of a small collection is no giant, whatever its share.
    large = (sizes > max_share * len(sums)) & (sizes > 2)
    wide = np.zeros(count, bool)
    if max_radius < 2:
        means = np.zeros((count, sums.shape[1]))
        np.add.at(means, identities, sums)
        means = rows.unit_or_zero(means)
        radius = 1 - np.einsum("td,td->t", rows.unit_or_zero(sums), means[identities])
        wide[identities[radius > max_radius]] = True
    warnings = []
    if large.any():
        warnings.append(
            f"{int(large.sum())} identities held more than {max_share:.1%} of all {len(sums):,} groups, the largest "
            f"{int(sizes.max()):,}: links chain; merged again, closest pair first"
        )
    if wide.any():
        warnings.append(
            f"{int(wide.sum())} identities reached further than {max_radius} from their mean; merged again, closest "
            "pair first"
        )
    return np.flatnonzero(large | wide), warnings


def _again(
    sums: np.ndarray,
    ends: np.ndarray,
    sigma: float,
    identities: np.ndarray,
    wrong: np.ndarray,
    moments: list[np.ndarray] | None,
) -> tuple[np.ndarray, list[str]]:
    """Identities with the components `wrong` merged closest pair first, and warnings, each once."""
    result, fresh = identities.copy(), int(identities.max()) + 1
    warnings: dict[str, None] = {}
    for component in wrong:
        inside = np.flatnonzero(identities == component)
        merged = agglomerate.merge_closest(
            sums[inside],
            sigma,
            ends=np.searchsorted(inside, ends[inside]),
            moments=None if moments is None else [moments[k] for k in inside],
        )
        result[inside] = fresh + merged.identities
        fresh += int(merged.identities.max()) + 1
        warnings |= dict.fromkeys(merged.warnings)
    return rows.first_appearance(result), list(warnings)
