"""What a detector and a tracker do to clean tracks: identity switches, cuts, boxes on nobody, occlusion.

Only the plan is made here, from who is seen where and when: which image stands in which tracklet, and what happens
to it. `synthetic_tracklets` turns a plan into features. The truth is kept for every image.
"""

import dataclasses
import enum
import math
from typing import NamedTuple

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data.synthetic_people import generator

# No image whose row is a multiple of it is a near-duplicate, so that blocks of rows can be made on their own.
BLOCK = 1 << 14


class Kind(enum.IntEnum):
    """What happened to an image."""

    CLEAN = 0
    SWITCHED = 1  # of another person than the tracklet's first images
    BACKGROUND = 2  # shows nobody
    TWO_PEOPLE = 3  # a box around two people: counts as nobody
    OCCLUDED = 4  # 30-60 % of the person hidden, or half a body; the person's all the same
    DUPLICATE = 5  # nearly the frame before


@dataclasses.dataclass(frozen=True)
class Noise:
    """How often things go wrong.

    Attributes:
      switches: share of tracklets (of four images or more) that end on another person of the video: their last
        10-50 % of images are taken from that person's tracklet, and the rest of the person lost goes on under a
        new number, as with real trackers. Half of these others are the most alike of the video.
      cuts: mean number of cuts of a track, Poisson.
      background: share of images on nobody, half within tracklets and half in short tracklets of their own.
      two_people: share of images that show two people.
      occlusion: share of images with 30-60 % hidden.
      duplicates: share of images that nearly repeat the frame before.
    """

    switches: float = 0.0
    cuts: float = 0.0
    background: float = 0.0
    two_people: float = 0.0
    occlusion: float = 0.0
    duplicates: float = 0.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            most = 20.0 if name == "cuts" else 1.0
            if not (math.isfinite(value) and 0 <= value <= most):
                raise UserError(f"tracklet noise: {name} = {value!r} is not between 0 and {most:g}")


PRESETS: dict[str, Noise] = {
    "clean": Noise(),
    "light": Noise(0.1, 0.5, 0.01, 0.005, 0.03, 0.1),
    "medium": Noise(0.2, 1.0, 0.02, 0.01, 0.06, 0.1),
    "heavy": Noise(0.4, 2.0, 0.04, 0.02, 0.12, 0.1),
}


class Plan(NamedTuple):
    """What every image of the result is made of; all [n], tracklets in order of (video, first frame).

    Attributes:
      source: int64, the clean image that is seen; -1 in boxes on nobody that replace no image.
      partner: int64, the second person's image in boxes around two people, else -1.
      tracklet: int64, numbered from 0 by first appearance; rows of one are contiguous and in frame order.
      video, frame: int64.
      identity: int64, the truth, -1 where nobody (or more than one) is seen.
      kind: int8, of `Kind`.
    """

    source: np.ndarray
    partner: np.ndarray
    tracklet: np.ndarray
    video: np.ndarray
    frame: np.ndarray
    identity: np.ndarray
    kind: np.ndarray


def plan(
    identity: np.ndarray,
    video: np.ndarray,
    frame: np.ndarray,
    track: np.ndarray,
    prototypes: np.ndarray,
    noise: Noise,
    *,
    seed: int,
) -> Plan:
    """Draws what goes wrong; a pure function of its arguments.

    Args:
      identity: integers >= 0 [n], the person of each clean image, an index into `prototypes`.
      video, frame: integers [n].
      track: integers [n]: a clean track is one person in one video.
      prototypes: unit float [people, d], by which people are alike.
      noise: how often.
      seed: >= 0.

    Returns:
      A plan of n images and the boxes on nobody that stand alone.

    Raises:
      ValueError: columns of different lengths.
    """
    columns = [np.asarray(column) for column in (identity, video, frame, track)]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise ValueError(f"identity, video, frame and track have shapes {[c.shape for c in columns]}")
    identity, video, frame, track = columns
    order = np.lexsort((frame, track, video))
    identity, video, frame, track = (column[order].astype(np.int64) for column in columns)
    tracklet = _cut(track, noise.cuts, generator(seed, 1))
    tracklet, switched = _switch(
        tracklet, identity, video, frame, prototypes, noise.switches, generator(seed, 2)
    )
    kind = np.where(switched, Kind.SWITCHED, Kind.CLEAN).astype(np.int8)
    nowhere = np.full(len(order), -1)
    rows = Plan(order, nowhere, tracklet, video, frame, identity, kind)
    rows = _spoil(rows, noise, generator(seed, 3))
    rows = _in_order(_add_boxes_on_nobody(rows, noise.background / 2, generator(seed, 4)))
    return _repeat_frames(rows, noise.duplicates, generator(seed, 5))


def _starts(groups: np.ndarray) -> np.ndarray:
    """First rows of runs of equal values."""
    return np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))


def _cut(track: np.ndarray, cuts: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers of tracklets: a new one at every new track and at every cut."""
    starts = _starts(track)
    lengths = np.diff(starts, append=len(track))
    # Cuts in the gaps of a track are as good as Poisson when gaps are many.
    chance = np.repeat(np.minimum(cuts / np.maximum(lengths - 1, 1), 0.5), lengths)
    new = rng.random(len(track)) < chance
    new[starts] = True
    return np.cumsum(new) - 1


def _switch(
    tracklet: np.ndarray,
    identity: np.ndarray,
    video: np.ndarray,
    frame: np.ndarray,
    prototypes: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Gives the ends of some tracklets images of another person; (tracklets, whether an image was taken so)."""
    tracklet, taken = tracklet.copy(), np.zeros(len(tracklet), bool)
    starts = _starts(tracklet)
    length = np.diff(starts, append=len(tracklet))
    stops = starts + length
    chosen = np.flatnonzero((rng.random(len(starts)) < share) & (length >= 4))
    tail = np.maximum(1, np.round(rng.uniform(0.1, 0.5, len(chosen)) * length[chosen]).astype(int))
    nearest, place = rng.random(len(chosen)) < 0.5, rng.random(len(chosen))
    of_video = video[starts]
    low, high = (
        np.searchsorted(of_video, of_video[chosen]),
        np.searchsorted(of_video, of_video[chosen], "right"),
    )
    person, last = identity[starts], frame[stops - 1]
    free, new = np.ones(len(starts), bool), len(starts)
    for event, (one, images) in enumerate(zip(chosen, tail, strict=True)):
        since = frame[stops[one] - images]
        rivals = np.arange(low[event], high[event])
        # Somebody else who is seen then or later, and who has no part in another switch.
        rivals = rivals[(person[rivals] != person[one]) & (last[rivals] >= since) & free[rivals]]
        if not free[one] or not len(rivals):
            continue
        if nearest[event]:
            other = rivals[np.argmax(prototypes[person[rivals]] @ prototypes[person[one]])]
        else:
            other = rivals[int(place[event] * len(rivals))]
        first = starts[other] + np.searchsorted(frame[starts[other] : stops[other]], since)
        rows = slice(first, min(first + images, stops[other]))
        tracklet[rows], taken[rows] = one, True
        tracklet[stops[one] - images : stops[one]] = new
        free[[one, other]], new = False, new + 1
    return tracklet, taken


def _spoil(rows: Plan, noise: Noise, rng: np.random.Generator) -> Plan:
    """Occlusion, two people in a box, and boxes on nobody that replace an image; switched ones stay."""
    n = len(rows.kind)
    draw = rng.random(n)
    shares = (noise.background / 2, noise.two_people, noise.occlusion)
    edges = np.cumsum(shares)
    kinds = np.array([Kind.BACKGROUND, Kind.TWO_PEOPLE, Kind.OCCLUDED, Kind.CLEAN], np.int8)
    drawn = kinds[np.searchsorted(edges, draw, "right")]
    kind = np.where(rows.kind == Kind.CLEAN, drawn, rows.kind)
    # The second person of a box: of the same video if another one is in it. Rows are sorted by video.
    low, high = (np.searchsorted(rows.video, rows.video, side) for side in ("left", "right"))
    partner = low + (rng.random(n) * (high - low)).astype(np.int64)
    alone = rows.identity[partner] == rows.identity
    kind = np.where((kind == Kind.TWO_PEOPLE) & alone, Kind.CLEAN, kind)
    nobody = np.isin(kind, (Kind.BACKGROUND, Kind.TWO_PEOPLE))
    return rows._replace(
        kind=kind,
        identity=np.where(nobody, -1, rows.identity),
        partner=np.where(kind == Kind.TWO_PEOPLE, rows.source[partner] if n else partner, -1),
        source=np.where(kind == Kind.BACKGROUND, -1, rows.source),
    )


def _add_boxes_on_nobody(rows: Plan, share: float, rng: np.random.Generator) -> Plan:
    """Tracklets of one to eight boxes on nobody, in videos and at times where images are."""
    images = round(share * len(rows.kind))
    if not images:
        return rows
    lengths = rng.integers(1, 9, images)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), images)) + 1]
    where = rng.integers(0, len(rows.kind), len(lengths))
    which = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    nowhere = np.full(len(which), -1)
    added = Plan(
        nowhere,
        nowhere,
        rows.tracklet.max() + 1 + which,
        rows.video[where][which],
        rows.frame[where][which] + within,
        nowhere,
        np.full(len(which), Kind.BACKGROUND, np.int8),
    )
    return Plan(*(np.concatenate(pair) for pair in zip(rows, added, strict=True)))


def _in_order(rows: Plan) -> Plan:
    """Sorts by (video, first frame of the tracklet, tracklet, frame) and numbers tracklets in this order."""
    if not len(rows.kind):
        return rows
    first = np.full(rows.tracklet.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, rows.tracklet, rows.frame)
    order = np.lexsort((rows.frame, rows.tracklet, first[rows.tracklet], rows.video))
    rows = Plan(*(column[order] for column in rows))
    number = np.zeros(len(order), np.int64)
    number[_starts(rows.tracklet)] = 1
    return rows._replace(tracklet=np.cumsum(number) - 1)


def _repeat_frames(rows: Plan, share: float, rng: np.random.Generator) -> Plan:
    """Marks clean images that follow one of their person in their tracklet as near-duplicates of it."""
    n = len(rows.kind)
    clean = rows.kind == Kind.CLEAN
    follows = np.zeros(n, bool)
    follows[1:] = clean[1:] & clean[:-1] & (rows.tracklet[1:] == rows.tracklet[:-1])
    follows &= (rng.random(n) < share) & (np.arange(n) % BLOCK > 0)
    return rows._replace(kind=np.where(follows, np.int8(Kind.DUPLICATE), rows.kind))
