"""Chooses what a curator should see of a run: identities, removed and moved images, doubtful links."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from cion_jax.evaluation.label_quality import OUT, person_of_group
from cion_jax.evaluation.label_report.description import Gallery, Group, Strip, Tile
from cion_jax.evaluation.label_report.members import Members

_TILES = 12  # of an identity
_BESIDE = 5  # of a tracklet or an identity beside an image


class Links(NamedTuple):
    """Pairs of parts that were compared across videos, or within one.

    Attributes:
      first, second: integers [pairs], of `Denoised.parts`.
      distance: floating [pairs], between their centroids.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray


class Names(NamedTuple):
    """What the user calls the images and groups of `Denoised`.

    Attributes:
      tracklets: integers [n], the tracklet of each image as the source numbers it; with the video it names one.
      identities: integers [identities], the number of each of `Denoised.labels` in the final labels, -1 for one that
        is not among them.
      image: row -> path, or another name of the image.
    """

    tracklets: np.ndarray
    identities: np.ndarray
    image: Callable[[int], str]


class Denoised(NamedTuple):
    """Labels of every image before, between and after; all integers [n].

    Attributes:
      tracklets, videos: as given; a tracklet lies in one video.
      placed: the tracklet of each image after reallocation, -1 where none took it; as numbered in `tracklets`.
      parts: what links join: identities of single videos, -1 for none.
      labels: final identities, -1 discarded.
      distances: floating [n]; of removed images the distance from the rest of their tracklet, of moved ones that to
        where they are now; None if unknown.
      linked: pairs that were linked; None if unknown.
      missed: pairs that nearly were; None if unknown.
      looseness: floating, by number of the identity: how far its images are from its centre, which is
        1 - |sum of unit features| / images on average; None if unknown.
      true: the truth, -1 nobody; None if unknown.
      names: what the user calls all that; None: the numbers above.
    """

    tracklets: np.ndarray
    videos: np.ndarray
    placed: np.ndarray
    parts: np.ndarray
    labels: np.ndarray
    distances: np.ndarray | None = None
    linked: Links | None = None
    missed: Links | None = None
    looseness: np.ndarray | None = None
    true: np.ndarray | None = None
    names: Names | None = None


def galleries(run: Denoised, *, strips: int = 10, seed: int = 0) -> list[Gallery]:
    """Strips of pictures from all over the run; a pure function of its arguments.

    Args:
      run: the labels.
      strips: at most so many of each kind.
      seed: of the identities shown that are not chosen for being odd.

    Returns:
      Doubtful links, identities, removed images, moved images, and near misses: those of them that there are.
    """
    run = run._replace(**{name: np.asarray(getattr(run, name)) for name in ("tracklets", "videos", "labels")})
    show = _Shower(run)
    kinds: Sequence[tuple[str, str, Callable[[], list[Strip]]]] = (
        (
            "Most doubtful links",
            "The longest links that hold identities together: without one of them its identity would need a still "
            "longer link, or fall apart. If the two sides show different people, sigma_drm is too large.",
            lambda: _links(show, run.linked, strips, bridges=True),
        ),
        (
            "Identities",
            "The largest ones, the loosest ones, and a random draw; pictures are spread over the videos. An identity "
            "with two people in it hurts training more than two identities with one person.",
            lambda: _identities(show, strips, seed),
        ),
        (
            "Removed images",
            "From those just beyond the threshold to the most distant, beside the tracklet they came from. If the "
            "first ones show the same person, sigma_cst is too small.",
            lambda: _removed(show, strips),
        ),
        (
            "Moved images",
            "Images that another tracklet took, between where they came from and where they are now.",
            lambda: _moved(show, strips),
        ),
        (
            "Near misses",
            "The closest pairs that were not linked and are in different identities. If both sides show one person, "
            "sigma_drm is too small.",
            lambda: _links(show, run.missed, strips, bridges=False),
        ),
    )
    found = [Gallery(title, explanation, make()) for title, explanation, make in kinds]
    return [gallery for gallery in found if gallery.strips]


class _Shower:
    """The run with its groups at hand, and what the truth says of them."""

    def __init__(self, run: Denoised):
        self.run = run
        self.tracklets, self.placed = Members(run.tracklets), Members(run.placed)
        self.parts, self.labels = Members(run.parts), Members(run.labels)
        self.knows = run.true is not None
        if self.knows:
            self.person = person_of_group(run.labels, run.true)
            self.person_before = person_of_group(run.tracklets, run.true)

    def note(self, row: int) -> str:
        """How far an image is from where it belongs, and its name."""
        distance = "" if self.run.distances is None else f"distance {self.run.distances[row]:.3f}"
        return "; ".join(filter(None, (distance, self.image_name(row))))

    def image_name(self, row: int) -> str:
        """As the user calls the image; "" if unknown."""
        return "" if self.run.names is None else self.run.names.image(int(row))

    def tracklet_name(self, tracklet: int) -> str:
        """As the source numbers a tracklet."""
        if self.run.names is None:
            return f"tracklet {tracklet}"
        return f"tracklet {self.run.names.tracklets[self.tracklets(tracklet)[0]]}"

    def identity_number(self, identity: int) -> int:
        """As the final labels number an identity; -1 for one that is not among them."""
        return identity if self.run.names is None else int(self.run.names.identities[identity])

    def identity_name(self, identity: int) -> str:
        """The same in words."""
        number = self.identity_number(identity)
        return "identity not drawn" if number < 0 else f"identity {number}"

    def final(self, rows: np.ndarray) -> int:
        """The identity in which most of the rows ended; -1 if none is in any."""
        labels = self.run.labels[rows]
        return _most_frequent(labels[labels >= 0]) if (labels >= 0).any() else -1

    def tile(self, row: int, wrong: bool = False) -> Tile:
        return Tile(int(row), wrong=bool(wrong), name=self.image_name(row))

    def tiles(self, rows: np.ndarray) -> list[Tile]:
        """Tiles marked where they are of another person than most of their final identity."""
        wrong = np.zeros(len(rows), bool)
        if self.knows:
            wrong = (self.run.labels[rows] >= 0) & (self.run.true[rows] != self.person[rows])
        return [self.tile(row, one) for row, one in zip(rows, wrong, strict=True)]

    def identity(self, rows: np.ndarray, most: int) -> list[Group]:
        """Pictures of an identity by video, spread over videos and time."""
        videos = np.unique(self.run.videos[rows])
        chosen = _spread(videos, max(1, most // 2))
        each = max(1, most // max(len(chosen), 1))
        return [
            Group(f"video {video}", self.tiles(_spread(rows[self.run.videos[rows] == video], each)))
            for video in chosen
        ]

    def part(self, name: int, label: str = "") -> Group:
        rows = self.parts(name)
        videos = np.unique(self.run.videos[rows]) if len(rows) else [0]
        return Group(label or f"video {videos[0]}", self.tiles(_spread(rows, _BESIDE)))


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """`count` of the values at even distances, in order, ends included where there are two or more."""
    if len(values) <= count:
        return values
    if count == 1:
        return values[len(values) // 2 : len(values) // 2 + 1]
    return values[np.linspace(0, len(values) - 1, count).round().astype(int)]


def _identities(show: _Shower, strips: int, seed: int) -> list[Strip]:
    names, sizes, loose = show.labels.names, show.labels.sizes, show.run.looseness
    if not len(names):
        return []
    third = max(1, strips // 3)
    # Identities of one picture show nothing, so they come last.
    drawn = np.random.default_rng(seed).permutation(len(names))
    orders = {"largest": np.argsort(-sizes, kind="stable")}
    if loose is not None:
        orders["loosest"] = np.argsort(-np.asarray(loose)[names], kind="stable")
    orders["random draw"] = drawn[np.argsort(sizes[drawn] < 2, kind="stable")]
    chosen: dict[int, str] = {}
    for why, order in orders.items():
        room = strips - len(chosen) if why == "random draw" else third
        fresh = [int(name) for name in names[order[: 2 * strips]] if int(name) not in chosen]
        chosen |= dict.fromkeys(fresh[:room], why)
    return [_identity(show, name, why) for name, why in chosen.items()]


def _identity(show: _Shower, name: int, why: str) -> Strip:
    rows = show.labels(name)
    videos = len(np.unique(show.run.videos[rows]))
    tracklets = len(np.unique(show.run.tracklets[rows]))
    note = f"{why}: {_count(len(rows), 'image')}, {_count(tracklets, 'tracklet')}, {_count(videos, 'video')}"
    title = show.identity_name(name).capitalize()
    if not show.knows:
        return Strip(title, show.identity(rows, _TILES), note)
    true = show.run.true[rows]
    mine, nobody = rows[true == show.person[rows]], rows[true == OUT]
    others = rows[(true != OUT) & (true != show.person[rows])]
    if show.person[rows[0]] == OUT:
        return Strip(title, show.identity(nobody, _TILES), f"{note}; nobody, says the truth", True)
    groups = show.identity(mine, _TILES)
    for strange, words in ((others, "of other people"), (nobody, "of nobody, says the truth")):
        if len(strange):
            note += f"; {_count(len(strange), 'image')} {words}"
            groups.append(Group(words, show.tiles(_spread(strange, _BESIDE - 1))))
    if len(mine) == len(rows):
        note += "; one person"
    return Strip(title, groups, note, bool(len(others)))


def _removed(show: _Shower, strips: int) -> list[Strip]:
    found = []
    for row in _by_distance(show, np.flatnonzero(show.run.labels < 0), strips):
        tracklet = int(show.run.tracklets[row])
        others = show.tracklets(tracklet)
        others = others[others != row]
        kept = others[(show.run.labels[others] >= 0) & (np.asarray(show.run.placed)[others] == tracklet)]
        wrong = show.knows and bool(show.run.true[row] == show.person_before[row] != OUT)
        note = show.note(row)
        if show.knows:
            note += "; the truth: " + ("the same person" if wrong else "not the tracklet's person")
        groups = [
            Group("removed", [show.tile(row, wrong)]),
            Group("its tracklet", show.tiles(_spread(kept if len(kept) else others, 2 * _BESIDE))),
        ]
        title = f"{show.tracklet_name(tracklet).capitalize()}, video {show.run.videos[row]}"
        found.append(Strip(title, groups, note.strip("; "), wrong))
    return found


def _moved(show: _Shower, strips: int) -> list[Strip]:
    run, found = show.run, []
    moved = (run.labels >= 0) & (np.asarray(run.placed) != run.tracklets)
    for row in _by_distance(show, np.flatnonzero(moved), strips):
        source, target = int(run.tracklets[row]), int(run.placed[row])
        before = show.placed(source) if len(show.placed(source)) else show.tracklets(source)
        after = show.placed(target) if target >= 0 else show.labels(int(run.labels[row]))
        # What moved along from elsewhere says little about the target.
        stayed = after[(run.tracklets[after] == target) if target >= 0 else (after != row)]
        wrong = show.knows and bool(run.true[row] != show.person[row])
        note = show.note(row)
        if show.knows:
            note += "; the truth: " + ("another person than there" if wrong else "the person there")
        groups = [
            Group(f"from {show.tracklet_name(source)}", show.tiles(_spread(before[before != row], _BESIDE))),
            Group("moved", [show.tile(row, wrong)]),
            Group(
                "to "
                + (show.tracklet_name(target) if target >= 0 else show.identity_name(int(run.labels[row]))),
                show.tiles(_spread(stayed if len(stayed) else after[after != row], _BESIDE)),
            ),
        ]
        found.append(Strip(f"Video {run.videos[row]}", groups, note.strip("; "), wrong))
    return found


def _by_distance(show: _Shower, rows: np.ndarray, count: int) -> np.ndarray:
    """Rows from the nearest to the farthest; from all over the run where distances are unknown."""
    if show.run.distances is not None:
        rows = rows[np.argsort(np.asarray(show.run.distances)[rows], kind="stable")]
    return _spread(rows, count)


def _links(show: _Shower, links: Links | None, strips: int, *, bridges: bool) -> list[Strip]:
    if links is None or not len(links.distance):
        return []
    first, second, distance = (np.asarray(column) for column in links)
    if bridges:
        first, second, distance = _bridges(first, second, distance)
    order = np.argsort(-distance if bridges else distance, kind="stable")
    found, shown = [], set()
    for k in order:
        ends = int(first[k]), int(second[k])
        rows = [show.parts(end) for end in ends]
        if not all(map(len, rows)):
            continue
        identities = tuple(sorted(show.final(side) for side in rows))
        # The last passes may have left out a side, or given it to another identity.
        if identities[0] < 0 or (identities[0] == identities[1]) != bridges:
            continue
        # One pair of identities is shown once: many of its parts may be near.
        if not bridges and identities in shown:
            continue
        shown.add(identities)
        found.append(_link(show, ends, rows, float(distance[k]), identities, bridges))
        if len(found) == strips:
            break
    return found


def _link(show: _Shower, ends, rows, distance: float, identities, linked: bool) -> Strip:
    note, wrong = "", False
    if show.knows:
        people = [_most_frequent(show.run.true[side]) for side in rows]
        same = people[0] == people[1] != OUT
        wrong = same != linked
        note = "the truth: " + ("one person" if same else "different people")
    if linked:
        which = show.identity_name(identities[0])
    elif min(numbers := [show.identity_number(one) for one in identities]) >= 0:
        which = f"identities {numbers[0]} and {numbers[1]}"
    else:
        which = " and ".join(map(show.identity_name, identities))
    return Strip(f"Distance {distance:.3f}, {which}", [show.part(end) for end in ends], note, wrong)


def _bridges(first: np.ndarray, second: np.ndarray, distance: np.ndarray):
    """The links of the minimum spanning forest: without one of them an identity would need a longer one, or break."""
    names, ends = np.unique(np.concatenate([first, second]), return_inverse=True)
    one, two = ends[: len(first)], ends[len(first) :]
    low, high = np.minimum(one, two), np.maximum(one, two)
    order = np.lexsort((distance, high, low))
    keep = order[np.diff(low[order] * len(names) + high[order], prepend=-1) > 0]
    # A distance of nothing would count as no link.
    weights = np.maximum(distance[keep].astype(np.float64), 1e-9)
    graph = coo_array((weights, (low[keep], high[keep])), shape=(len(names), len(names)))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    return names[tree.row], names[tree.col], tree.data


def _most_frequent(true: np.ndarray) -> int:
    values, counts = np.unique(true, return_counts=True)
    return int(values[counts.argmax()])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
