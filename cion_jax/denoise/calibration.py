"""Thresholds for any extractor, from the data alone or from a labelled set.

sigma_cst and sigma_drm of the paper belong to its extractor. What tracklets tell of another one without truth: most of
them hold one person, so what most of them look like inside is what one person looks like; and two that were seen in one
frame are two people, so their distances are those of different people, under the very same conditions.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cion_jax.denoise import frames as seen
from cion_jax.denoise import near, ragged, rows, sums
from cion_jax.denoise.single_tracklet import keep_rows, leave_one_out

TYPICAL = 0.975  # share of a typical tracklet's images that sigma_cst leaves in it
# Share of all links, as far as people seen together tell, beyond which no gap is looked for: two of three are right.
FALSE_LINKS = 1 / 3
MIN_IMAGES = 5  # of a tracklet that tells what one person looks like
MIN_SEEN = 3  # of a tracklet that stands for a person in a pair
MIN_TRACKLETS, MIN_PAIRS = 20, 50  # fewer prove nothing
_FAR = 0.05  # share of pairs of different people beyond which distances are not looked at
# Of the histogram of distances, in medians of people seen together: networks differ in how far apart all people are.
_BIN, _SMOOTH = 1 / 160, 1 / 40  # the second is the standard deviation that it is smoothed by
_HUMP = 1 / 8  # nothing so near to the top of a hump is higher
_EMPTY = 0.01  # of the density of the hump: places this little above the emptiest are as empty
_FEW = 3  # pairs of different people: one or two that are near may be one person under two boxes
# In how many of so many resampled sets of tracklets the hump has to be higher than the gap. Pairs of one tracklet lie
# close together, so that counting pairs would take the clumps of a few people for gaps.
_SURE, _RESAMPLED = 190, 200
# One person twice in a frame, under two boxes or where a tracker confused two people, is no pair of different people.
# They are as near as the halves of most tracklets, or not much further than tracklets of one person usually are.
_HALVES, _DOUBLE = 0.95, 1.5  # share of tracklets; times the distance of the hump
_PAIR_ROWS = 512  # identities compared with all others at a time
# Tracklets and images looked at, more or less: more do not change a quantile. They are whole stretches of time, so that
# those who were seen together are in it together.
_SAMPLE, _SAMPLE_IMAGES, _STRETCH = 20_000, 200_000, 500


_NOT_APART = (
    "people seen together are as near to one another as a tracklet is to itself: these features do not tell people "
    "apart. Give sigma_cst and sigma_drm yourself, or take another extractor"
)


class Calibration(NamedTuple):
    """Thresholds and the evidence for them.

    Attributes:
      sigma_cst, sigma_drm: the thresholds.
      tracklets: how many the first stands on; pairs: how many of different people the second stands on.
      inside: float64 [images], leave-one-out distances in the typical half of tracklets.
      apart: float64 [pairs], distances between different people, ascending.
    """

    sigma_cst: float
    sigma_drm: float
    tracklets: int
    pairs: int
    inside: np.ndarray
    apart: np.ndarray


def calibrate(
    features: np.ndarray,
    tracklets: np.ndarray,
    videos: np.ndarray,
    frames: np.ndarray,
    *,
    false_links: float = FALSE_LINKS,
) -> Calibration:
    """Thresholds from unlabelled tracklets.

    sigma_cst is what 97.5 % of the images of the median tracklet stay below, so that a typical tracklet keeps its
    images although others hold two people.

    sigma_drm lies where the distances between tracklets leave a gap: at the emptiest place beyond the hump of pairs
    of one person. Look-alikes may make a hump of their own further out, so the gap is not looked for beyond the
    distance where false links take over; and where there is no gap, sigma_drm lies there itself. Tracklets seen in
    one frame are two people, unless they are as near as a tracklet is to itself: the share of them within a distance,
    times the number of all pairs, is the number of false links to expect there.

    Args:
      features: floating point [n, d].
      tracklets, videos, frames: integers [n], as for `denoise_videos`; frame numbers are those of the video.
      false_links: share of all links that false ones may have where the gap is looked for. The result hardly depends
        on it where there is a gap.

    Raises:
      ValueError: too few tracklets of five images, or too few that were seen together, to tell anything; people
        whom the features do not tell apart; or frames that are none (`frames.check`).
    """
    features = rows.checked_features(features)
    given = {"tracklets": tracklets, "videos": videos, "frames": frames}
    tracklets, videos, frames = (rows.checked_ids(name, ids, len(features)) for name, ids in given.items())
    seen.check(tracklets, videos, frames)
    groups = ragged.group(tracklets, videos)
    row = np.flatnonzero(_sample(groups, frames)[groups.of_row])
    group = _renumbered(groups.of_row[row])
    unit = rows.unit(features[row], names=row)
    by_group = np.argsort(group, kind="stable")
    unit, group, row = unit[by_group], group[by_group], row[by_group]
    starts = np.searchsorted(group, np.arange(group.max(initial=-1) + 2))
    inside = _Inside.of(unit, starts)
    keep = _one_person(unit, starts, inside)
    moment = seen.moments(videos, frames)[row[keep]]
    unit, group = unit[keep], group[keep]
    pairs = _Pairs.of(unit, group, moment, len(starts) - 1, doubled=_halves(unit, group))
    return Calibration(
        inside.sigma_cst,
        pairs.threshold(false_links),
        inside.tracklets,
        len(pairs.apart),
        inside.typical,
        pairs.apart,
    )


def calibrate_labelled(
    features: np.ndarray, identities: np.ndarray, *, false_links: float = 1e-5, limit: int = 10_000
) -> Calibration:
    """Thresholds from labelled images of the same extractor.

    sigma_cst is what 97.5 % of the images stay below, to the mean of the others of their identity; sigma_drm the
    distance up to which a share `false_links` of the pairs of identities would be linked.

    Args:
      features: floating point [n, d]; identities: integers [n], -1 for nobody.
      false_links: share of pairs of different people that may be linked.
      limit: identities looked at, the first ones; all their pairs are.

    Raises:
      ValueError: too few identities of five images, or of pairs, to tell anything.
    """
    features = rows.checked_features(features)
    labels = rows.first_appearance(rows.checked_ids("identities", identities, len(features)))
    chosen = np.flatnonzero((labels >= 0) & (labels < limit))
    order = chosen[np.argsort(labels[chosen], kind="stable")]
    group = labels[order]
    unit = rows.unit(features[order], names=order)
    starts = np.searchsorted(group, np.arange(group.max(initial=-1) + 2))
    inside = [_leave_one_out(unit, starts, k) for k in np.flatnonzero(np.diff(starts) >= MIN_IMAGES)]
    _enough(len(inside), MIN_PAIRS)
    total = np.zeros((len(starts) - 1, unit.shape[1]))
    sums.add(total, unit, group)
    apart = np.sort(_all_pairs(total))
    _enough(MIN_TRACKLETS, len(apart))
    inside_all = np.concatenate(inside)
    return Calibration(
        float(np.quantile(inside_all, TYPICAL)),
        float(np.quantile(apart, false_links)),
        len(inside),
        len(apart),
        inside_all,
        apart,
    )


def _all_pairs(total: np.ndarray) -> np.ndarray:
    """Distances of all pairs i < j of sums [t, d], some rows of them at a time; float64 [t (t - 1) / 2]."""
    unit = rows.unit_or_zero(total)
    found = [np.zeros(0)]
    for first in range(0, len(unit), _PAIR_ROWS):
        block = 1 - unit[first : first + _PAIR_ROWS] @ unit[first:].T
        found.append(block[np.triu(np.ones(block.shape, bool), 1)])
    return np.concatenate(found)


def _sample(groups: ragged.Tracklets, frames: np.ndarray) -> np.ndarray:
    """Tracklets of stretches of 500 of a video, as they begin, evenly over the set; bool [t]."""
    share = min(1.0, _SAMPLE / max(len(groups), 1), _SAMPLE_IMAGES / max(len(groups.rows), 1))
    begin = frames[groups.rows[groups.starts[:-1]]]
    order = np.lexsort((begin, groups.video))
    place = np.arange(len(order)) - np.searchsorted(groups.video[order], groups.video[order], side="left")
    _, stretch = np.unique(np.stack([groups.video[order], place // _STRETCH]), axis=1, return_inverse=True)
    count = int(stretch.max(initial=-1)) + 1
    chosen = np.linspace(0, count - 1, max(int(count * share), 1)).astype(np.int64)
    taken = np.zeros(len(groups), bool)
    taken[order] = np.isin(stretch, chosen)
    return taken


def _renumbered(group: np.ndarray) -> np.ndarray:
    return np.unique(group, return_inverse=True)[1]


def _leave_one_out(unit: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    part = unit[starts[k] : starts[k + 1]]
    return leave_one_out(part, part.sum(axis=0))


class _Inside(NamedTuple):
    """What tracklets look like inside.

    Attributes:
      sigma_cst: as in Calibration.
      strict: what 97.5 % of the images of the cleanest quarter, and of the cleaner half, of tracklets stay below, and
        sigma_cst.
      tracklets: how many have images enough to tell.
      typical: leave-one-out distances in the cleaner half of them.
    """

    sigma_cst: float
    strict: tuple[float, ...]
    tracklets: int
    typical: np.ndarray

    @classmethod
    def of(cls, unit: np.ndarray, starts: np.ndarray) -> "_Inside":
        long = np.flatnonzero(np.diff(starts) >= MIN_IMAGES)
        _enough(len(long), MIN_PAIRS)
        distances = [_leave_one_out(unit, starts, k) for k in long]
        width = np.array([np.quantile(d, TYPICAL) for d in distances])
        cleanest = np.argsort([np.quantile(d, 0.9) for d in distances], kind="stable")
        quarter = np.concatenate([distances[k] for k in cleanest[: -(-len(long) // 4)]])
        half = np.concatenate([distances[k] for k in cleanest[: -(-len(long) // 2)]])
        sigma_cst = float(np.median(width))
        strict = (*(float(np.quantile(some, TYPICAL)) for some in (quarter, half)), sigma_cst)
        return cls(sigma_cst, strict, len(long), half)


class _Pairs(NamedTuple):
    """How near tracklets are to one another.

    Attributes:
      apart: distances of pairs of different people, ascending.
      near: distances of all other pairs up to `limit`, ascending.
      ends: int32 [pairs, 2], the two tracklets of each of those, numbered from 0.
      tracklets: how many there are.
      hump: the distance that pairs of one person usually have, 0 where it cannot be told.
      limit: no distance beyond it is looked at.
    """

    apart: np.ndarray
    near: np.ndarray
    ends: np.ndarray
    tracklets: int
    hump: float
    limit: float

    @classmethod
    def of(
        cls, unit: np.ndarray, group: np.ndarray, moment: np.ndarray, count: int, *, doubled: float
    ) -> "_Pairs":
        total = np.zeros((count, unit.shape[1]))
        sums.add(total, unit, group)
        enough = np.bincount(group, minlength=count) >= MIN_SEEN
        together = seen.together(moment, group)
        together = together[enough[together].all(axis=1)]
        _enough(MIN_TRACKLETS, len(together))
        apart = np.sort(near.distances(total, together[:, 0], together[:, 1]))
        two = apart > doubled  # rarely not
        if two.mean() < 0.5:
            raise ValueError(_NOT_APART)
        apart = apart[two]
        _enough(MIN_TRACKLETS, len(apart))
        limit = float(np.quantile(apart, _FAR))
        standing = np.flatnonzero(enough)
        others, ends = _others(total, standing, together, limit)
        hump = _hump(*_histogram(others, limit, np.median(apart)))
        apart = apart[apart > _DOUBLE * hump]
        _enough(MIN_TRACKLETS, len(apart))
        return cls(apart, others, ends, len(standing), hump, limit)

    def threshold(self, false_links: float) -> float:
        """The emptiest distance between the hump of one person's pairs and where those of two people take over."""
        place, density = _histogram(self.near, self.limit, np.median(self.apart))
        links = np.searchsorted(self.near, place, side="right")
        false = np.searchsorted(self.apart, place, side="right")
        count = self.tracklets * (self.tracklets - 1) // 2
        expected = np.where(false < _FEW, 0, count * false / len(self.apart))
        taken_over = expected > false_links * links
        end = int(np.argmax(taken_over)) if taken_over.any() else len(place)
        if not end:
            raise ValueError(_NOT_APART)
        start = int(np.searchsorted(place, self.hump))
        between = density[start:end]
        if self.hump and len(between) and self._stands_out(place[start + np.argmin(between)]):
            return float(place[start + _middle_of_gap(between)])
        # Pairs of one person and of two pass into one another. What is left is to go as far as links are mostly right.
        return float(place[end - 1])

    def _stands_out(self, gap: float) -> bool:
        """Whether more pairs lie about the hump than about the gap, had other tracklets been seen too.

        The bootstrap over tracklets (Efron, 1979), each drawn as often as chance has it; a pair counts the product.
        """
        width = np.sqrt(np.pi) * _SMOOTH * np.median(self.apart)  # of a box with the weight of the Gaussian
        rng = np.random.default_rng(0)
        at_hump, at_gap = (self.ends[np.abs(self.near - place) < width] for place in (self.hump, gap))
        higher = 0
        for _ in range(_RESAMPLED):
            times = np.bincount(rng.integers(0, self.tracklets, self.tracklets), minlength=self.tracklets)
            higher += times[at_hump].prod(axis=1).sum() > times[at_gap].prod(axis=1).sum()
        return higher >= _SURE


def _one_person(unit: np.ndarray, starts: np.ndarray, inside: _Inside) -> np.ndarray:
    """Images that are left at a stricter threshold, bool [n]: what holds two people is near to both.

    It is that of the cleanest quarter of tracklets. These may be people who stood still, and those who walk lose most
    of their images by it; then the cleaner half is asked, and all at last.
    """
    sizes = np.diff(starts)
    for sigma in inside.strict:
        keep = keep_rows(unit, starts, sigma)
        left = np.add.reduceat(keep, starts[:-1])
        if np.mean((2 * left < sizes)[sizes >= MIN_IMAGES]) <= 0.5:
            break
    return keep


def _halves(unit: np.ndarray, group: np.ndarray) -> float:
    """How far the first half of a tracklet is from the second, in 95 % of tracklets of six images or more."""
    size = np.bincount(group)
    place = np.arange(len(group)) - (np.cumsum(size) - size)[group]
    half = 2 * group + (2 * place >= size[group])
    total = np.zeros((2 * len(size), unit.shape[1]))
    sums.add(total, unit, half)
    long = np.flatnonzero(size >= 2 * MIN_SEEN)
    apart = near.distances(total, 2 * long, 2 * long + 1)
    return float(np.quantile(apart, _HALVES)) if len(apart) else 0.0


def _others(
    total: np.ndarray, standing: np.ndarray, together: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs up to `limit` not seen together: distances [pairs], ascending, and places in `standing` [pairs, 2]."""
    vectors = total[standing]
    number = np.full(len(total), -1)
    number[standing] = np.arange(len(standing))
    known = np.sort(number[together[:, 0]] * len(standing) + number[together[:, 1]])
    apart, ends = [np.zeros(0)], [np.zeros((0, 2), np.int32)]
    for i, j in near.near_pairs(vectors, np.full(len(standing), len(standing)), limit):
        new = ~np.isin(i * len(standing) + j, known)
        apart.append(near.distances(vectors, i[new], j[new]))
        ends.append(np.stack([i[new], j[new]], axis=1).astype(np.int32))
    distance = np.concatenate(apart)
    order = np.argsort(distance, kind="stable")
    return distance[order], np.concatenate(ends)[order]


def _middle_of_gap(density: np.ndarray) -> int:
    """The middle of the run of places about as empty as the emptiest one."""
    empty = density <= density.min() + _EMPTY * density.max()
    first = last = int(np.argmin(density))
    while first > 0 and empty[first - 1]:
        first -= 1
    while last + 1 < len(density) and empty[last + 1]:
        last += 1
    return (first + last) // 2


def _histogram(distances: np.ndarray, limit: float, typical: float) -> tuple[np.ndarray, np.ndarray]:
    """Places 0..limit and how dense distances [n] are there, smoothed; `typical` is the median between people."""
    if not typical > 0:
        raise ValueError(_NOT_APART)
    step = _BIN * typical
    edges = np.arange(0, limit + step, step)
    count, _ = np.histogram(distances, edges)
    smooth = ndimage.gaussian_filter1d(count.astype(float), _SMOOTH / _BIN, mode="nearest")
    return (edges[1:] + edges[:-1]) / 2, smooth


def _hump(place: np.ndarray, density: np.ndarray) -> float:
    """Where pairs of one person are densest: the first place that nothing near it surpasses; 0 where there is none.

    What only rises towards the end of what is looked at is no hump: its top may lie beyond.
    """
    near_it = round(_HUMP / _BIN)
    around = ndimage.maximum_filter1d(density, 2 * near_it + 1, mode="nearest")
    highest = np.flatnonzero((density >= around) & (density > 0))
    return float(place[highest[0]]) if len(highest) and highest[0] + near_it < len(place) else 0.0


def _enough(tracklets: int, pairs: int) -> None:
    if tracklets < MIN_TRACKLETS:
        raise ValueError(
            f"only {tracklets} tracklets or identities have {MIN_IMAGES} images or more; {MIN_TRACKLETS} are needed to "
            "tell what one person looks like: give sigma_cst and sigma_drm yourself"
        )
    if pairs < MIN_PAIRS:
        raise ValueError(
            f"only {pairs} pairs of different people are known; {MIN_PAIRS} are needed to tell people apart: give "
            "sigma_cst and sigma_drm yourself"
        )
