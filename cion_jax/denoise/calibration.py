"""Thresholds for any extractor, from the data alone or from a labelled set.

sigma_cst and sigma_drm of the paper belong to its extractor. What tracklets tell of another one without truth: most of
them hold one person, so what most of them look like inside is what one person looks like; and two that were seen in one
frame are two people, so their distances are those of different people, under the very same conditions.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from cion_jax.denoise import agglomerate, near, ragged, rows, sums
from cion_jax.denoise import frames as seen
from cion_jax.denoise.single_tracklet import keep_rows, leave_one_out

TYPICAL = 0.975  # share of a typical tracklet's images that sigma_cst leaves in it
FALSE_MERGES = 0.05  # identities expected to be merged with another's, as a share of all
MIN_IMAGES = 5  # of a tracklet that tells what one person looks like
MIN_SEEN = 3  # of a tracklet that stands for a person in a pair
MIN_TRACKLETS, MIN_PAIRS = 20, 50  # fewer prove nothing
_SEEN_BELOW = 5  # pairs that have to lie below a quantile for it to be read off; rarer ones are extrapolated
_ROUNDS = 10  # sigma_drm and the number of people depend on one another; a few rounds settle it
_SAMPLE = 20_000  # tracklets looked at: more do not change a quantile


class Calibration(NamedTuple):
    """Thresholds and the evidence for them.

    Attributes:
      sigma_cst, sigma_drm: the thresholds.
      tracklets: how many the first stands on; pairs: how many of different people the second stands on.
      inside: float64 [images], leave-one-out distances in the typical half of tracklets.
      apart: float64 [pairs], distances between tracklets of different people, ascending.
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
    false_merges: float = FALSE_MERGES,
) -> Calibration:
    """Thresholds from unlabelled tracklets.

    sigma_cst is what 97.5 % of the images of the median tracklet stay below, so that a typical tracklet keeps its
    images although others hold two people.

    sigma_drm follows from how near tracklets come to one another that were seen in one frame, and from the number of
    people K: where a share q of the pairs of different people lies below it, (K - 1) q / 2 of the identities are
    expected to be merged with another's, and that shall be `false_merges`. K is what merging at sigma_drm leaves, so
    both are found together, from many people and a small sigma_drm on.

    Args:
      features: floating point [n, d].
      tracklets, videos, frames: integers [n], as for `denoise_videos`; frame numbers are those of the video.
      false_merges: share of identities that may be merged with another's.

    Raises:
      ValueError: too few tracklets of five images, or too few that were seen together, to tell anything.
    """
    features = rows.checked_features(features)
    count = len(features)
    videos = rows.checked_ids("videos", videos, count)
    groups = ragged.group(rows.checked_ids("tracklets", tracklets, count), videos)
    chosen = _sample(groups)
    row = np.flatnonzero(np.isin(groups.video[groups.of_row], chosen))
    group = _renumbered(groups.of_row[row])
    unit = rows.unit(features[row], names=row)
    by_group = np.argsort(group, kind="stable")
    unit, group, row = unit[by_group], group[by_group], row[by_group]
    starts = np.searchsorted(group, np.arange(group.max(initial=-1) + 2))
    sigma_cst, inside, used = _inside(unit, starts)
    keep = keep_rows(unit, starts, sigma_cst)
    unit, group = unit[keep], group[keep]
    moment = seen.moments(videos, rows.checked_ids("frames", frames, count))[row[keep]]
    total = np.zeros((len(starts) - 1, unit.shape[1]))
    sums.add(total, unit, group)
    apart = _apart(total, group, moment, sigma_cst)
    standing = np.bincount(group, minlength=len(total)) >= MIN_SEEN
    moments = seen.of_groups(moment, group, len(total))
    sigma_drm = _sigma_drm(
        total[standing],
        [moments[k] for k in np.flatnonzero(standing)],
        apart,
        false_merges,
        len(groups) / len(total),
    )
    return Calibration(sigma_cst, sigma_drm, used, len(apart), inside, apart)


def calibrate_labelled(
    features: np.ndarray, identities: np.ndarray, *, false_links: float = 1e-5, limit: int = 20_000
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
    first, second = np.triu_indices(len(total), 1)
    apart = np.sort(near.distances(total, first, second))
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


def _sample(groups: ragged.Tracklets) -> np.ndarray:
    """Videos evenly over the set that hold some 20,000 tracklets together."""
    count = int(groups.video.max(initial=-1)) + 1
    share = min(1.0, _SAMPLE / max(len(groups), 1))
    return np.unique(np.linspace(0, count - 1, max(int(count * share), 1)).astype(np.int64))


def _renumbered(group: np.ndarray) -> np.ndarray:
    return np.unique(group, return_inverse=True)[1]


def _leave_one_out(unit: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    part = unit[starts[k] : starts[k + 1]]
    return leave_one_out(part, part.sum(axis=0))


def _inside(unit: np.ndarray, starts: np.ndarray) -> tuple[float, np.ndarray, int]:
    """sigma_cst, leave-one-out distances of the typical half of tracklets, how many tracklets there are to tell."""
    distances = [_leave_one_out(unit, starts, k) for k in np.flatnonzero(np.diff(starts) >= MIN_IMAGES)]
    _enough(len(distances), MIN_PAIRS)
    width = np.array([np.quantile(d, TYPICAL) for d in distances])
    typical = np.flatnonzero(width <= np.median(width))
    return float(np.median(width)), np.concatenate([distances[k] for k in typical]), len(distances)


def _apart(total: np.ndarray, group: np.ndarray, moment: np.ndarray, sigma_cst: float) -> np.ndarray:
    """Distances of groups that were seen in one frame, ascending: sums [t, d], of rows groups [n], moments [n]."""
    pairs = seen.together(moment, group)
    pairs = pairs[(np.bincount(group, minlength=len(total))[pairs] >= MIN_SEEN).all(axis=1)]
    distance = near.distances(total, pairs[:, 0], pairs[:, 1])
    # Nearer than the images of one tracklet are to one another: one person under two boxes, not two people.
    distance = np.sort(distance[distance >= sigma_cst])
    _enough(MIN_TRACKLETS, len(distance))
    return distance


def _sigma_drm(
    total: np.ndarray, moments: list[np.ndarray], apart: np.ndarray, false_merges: float, scale: float
) -> float:
    """The threshold at which the people it leaves are expected to be merged falsely as rarely as wanted.

    Args:
      total: sums of the tracklets of a sample [t, d]; moments: when each was seen.
      apart: distances of different people, ascending.
      scale: how many times larger the whole set is.
    """
    people, sigma = len(total), 0.0
    for _ in range(_ROUNDS):
        last, sigma = sigma, quantile(apart, 2 * false_merges / max(people * scale - 1, 1))
        if sigma <= last:
            break
        merged = agglomerate.merge_closest(
            total, sigma, ends=np.full(len(total), len(total)), moments=moments, loose=1.0
        )
        people = int(merged.max()) + 1
    return float(sigma)


def quantile(ascending: np.ndarray, share: float) -> float:
    """The distance below which a share of the population lies, as far as a sample [pairs] tells.

    Where fewer than five of the sample would lie below, it is extrapolated from there on with the slope of the normal
    distribution that has the sample's median and five per cent point. At most the median.
    """
    share = min(share, 0.5)
    seen_share = _SEEN_BELOW / len(ascending)
    if share >= seen_share:
        return float(np.quantile(ascending, share))
    median, low = np.quantile(ascending, [0.5, 0.05])
    spread = (low - median) / special.ndtri(0.05)
    start = float(np.quantile(ascending, seen_share))
    return max(start + float(spread) * float(special.ndtri(share) - special.ndtri(seen_share)), 0.0)


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
