"""Tracklets with known truth, as numbers: features of invented people, or of labelled images, made noisy.

For tests and benchmarks of denoising, which need many tracklets, the truth about each image, and no pictures. An
invented world can be of any size: features are made in blocks, into a memory-mapped file if asked.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_file
from cion_jax.data.synthetic_people import generator
from cion_jax.data.tracklet_noise import BLOCK, PRESETS, Noise, Plan, plan
from cion_jax.data.tracklet_noise import Kind as Kind

# Squared length of the direction that all features share: people are 0.3 alike, as networks see them.
_COMMON = 0.3
_SMALL = 0.05  # of a near-duplicate's own noise, relative to the image


class Tracklets(NamedTuple):
    """Images in tracklets; the rows of a video are contiguous, and so are those of a tracklet, in frame order.

    Attributes:
      features: [n, d] of unit length; float32, or float16 and memory-mapped.
      tracklets: int64 [n], numbered from 0, each in one video.
      videos, frames: int64 [n].
      identities: int64 [n], the truth; -1 shows nobody, or two people.
      kinds: int8 [n], of `Kind`.
    """

    features: np.ndarray
    tracklets: np.ndarray
    videos: np.ndarray
    frames: np.ndarray
    identities: np.ndarray
    kinds: np.ndarray


@dataclasses.dataclass(frozen=True)
class World:
    """Invented people and the videos they are seen in.

    A feature is norm(u + a v + b e): u the person, v the person's looks in one video, e the image. u is
    norm(sqrt(.3) mu + sqrt(w) g + sqrt(.7 - w) z): mu shared by all, g by a group of look-alikes, z one's own.

    Attributes:
      seed: of everything, >= 0.
      people: number of people.
      people_per_video: people seen in a video, on average.
      group: size of groups of look-alikes. Half of the people keep near their group, so that look-alikes meet.
      likeness: cosine of the u of two look-alikes, 0.3..1.
      most_videos: a person is seen in one to so many videos.
      distance: mean distance, in videos, between two of them.
      far: share of appearances anywhere instead.
      images: fewest and most images of a clean track (log-uniform).
      video_frames: frames of a video; longer tracks begin at 0.
      width: d.
      look: a, median over appearances; image: b, median over images. As set, leave-one-out distances of clean
        tracks have a median of .05-.08 and stay below .15 in 97.5 %.

    Raises:
      UserError: a value that makes no world; the message names the key.
    """

    seed: int = 0
    people: int = 600
    people_per_video: int = 12
    group: int = 4
    likeness: float = 0.75
    most_videos: int = 4
    distance: float = 3.0
    far: float = 0.05
    images: tuple[int, int] = (6, 60)
    video_frames: int = 200
    width: int = 128
    look: float = 0.3
    image: float = 0.36

    def __post_init__(self):
        least = {"seed": 0, "people": 2, "people_per_video": 1, "group": 1, "most_videos": 1, "width": 8}
        for name, bound in (least | {"video_frames": 1, "distance": 1.0, "look": 0.0, "image": 0.0}).items():
            _require(getattr(self, name) >= bound, name, getattr(self, name), f"is below {bound}")
        _require(0 <= self.far <= 1, "far", self.far, "is not between 0 and 1")
        _require(0.3 <= self.likeness <= 1, "likeness", self.likeness, "is not between 0.3 and 1")
        _require(1 <= self.images[0] <= self.images[1], "images", self.images, "is not 1 <= fewest <= most")


def _require(good: bool, name: str, value, why: str) -> None:
    if not good:
        raise UserError(f"synthetic tracklets: {name} = {value!r} {why}")


def generate(
    world: World | None = None,
    noise: Noise | str = "medium",
    *,
    path: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tracklets:
    """Tracklets of invented people; a pure function of `world` and `noise`.

    Args:
      world: who is there; `World()` by default.
      noise: what goes wrong, or a name of `tracklet_noise.PRESETS`.
      path: a .npy file to write features to, float16, whole or not at all; they come back memory-mapped, read-only.
        Without it float32 in memory.
      progress: called with the number of images just made.

    Raises:
      UserError: an unknown preset.
    """
    world = world or World()
    seen = _appearances(world)
    people = _people(world)
    count = seen.images
    which = np.repeat(np.arange(len(count)), count)
    frame = seen.start[which] + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    what = plan(
        seen.person[which],
        seen.video[which],
        frame,
        which,
        people,
        _noise(noise),
        seed=_plan_seed(world.seed),
    )
    looks = _looks(world, len(count))

    def clean(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """New pictures of whom the clean images show."""
        part = which[images]
        own = rng.standard_normal((len(images), world.width), np.float32)
        strength = np.exp(0.18 * rng.standard_normal(len(images), np.float32))
        own *= (world.image / np.sqrt(world.width) * strength)[:, None]
        own += people[seen.person[part]]
        own += looks[part]
        return _unit(own)

    strange = _strangers_of_world(world, people)
    features = _features(what, clean, strange, world.width, world.seed, path, progress)
    return Tracklets(features, what.tracklet, what.video, what.frame, what.identity, what.kind)


def from_labelled(
    features: np.ndarray,
    identities: np.ndarray,
    cameras: np.ndarray,
    frames: np.ndarray | None = None,
    *,
    noise: Noise | str = "medium",
    images_per_video: int = 400,
    longest: int = 40,
    seed: int = 0,
) -> Tracklets:
    """Noisy tracklets from the features of labelled images.

    The images of a camera, in time order, are cut into videos of equal numbers of images; what a video has of an
    identity, in runs of at most `longest` images, are its tracks. Boxes on nobody, for which there are no images, are
    other images' deviations from the mean with random signs.

    Args:
      features: floating [n, d], any scale.
      identities: integers [n]; rows below 0 are left out.
      cameras: integers [n].
      frames: integers [n], times within a camera; by default the order of the rows.
      noise: what goes wrong, or a name of `tracklet_noise.PRESETS`.
      images_per_video, longest: as above.
      seed: >= 0.

    Returns:
      Tracklets whose identities are the given numbers; features float32.

    Raises:
      ValueError: lengths that differ, or a feature that is zero or not finite (its row is named).
    """
    features = np.asarray(features, np.float32)
    frames = np.arange(len(features)) if frames is None else np.asarray(frames)
    columns = [np.asarray(identities), np.asarray(cameras), frames]
    if features.ndim != 2 or any(column.shape != features.shape[:1] for column in columns):
        shapes = [column.shape for column in columns]
        raise ValueError(f"features {features.shape} do not fit identities, cameras, frames {shapes}")
    length = np.linalg.norm(features, axis=1)
    wrong = np.flatnonzero(~(np.isfinite(length) & (length > 0)))
    if len(wrong):
        raise ValueError(f"feature {wrong[0]} is zero or not finite")
    rows = np.flatnonzero(columns[0] >= 0)
    rows = rows[np.lexsort((columns[2][rows], columns[1][rows]))]
    names, person = np.unique(columns[0][rows], return_inverse=True)
    unit, camera, frame = _unit(features[rows]), columns[1][rows], columns[2][rows]
    video, track = _tracks(camera, person, images_per_video, longest)
    prototypes = _unit(_sums(unit, person, len(names)))
    what = plan(person, video, frame, track, prototypes, _noise(noise), seed=_plan_seed(seed))
    strange = _strangers_of_images(unit)
    made = _features(what, lambda images, _: unit[images].copy(), strange, unit.shape[1], seed, None, None)
    identity = np.where(what.identity < 0, -1, names[what.identity] if len(names) else -1)
    return Tracklets(made, what.tracklet, what.video, what.frame, identity.astype(np.int64), what.kind)


def _noise(noise: Noise | str) -> Noise:
    if isinstance(noise, str) and noise not in PRESETS:
        raise UserError(f"tracklet noise {noise!r} is not one of {', '.join(PRESETS)}")
    return PRESETS[noise] if isinstance(noise, str) else noise


def _plan_seed(seed: int) -> int:
    return int(generator(seed, 20).integers(2**31))


# Who is seen where ----------------------------------------------------------------------------------


class _Appearances(NamedTuple):
    """One person in one video, sorted by video; int64 [appearances]."""

    person: np.ndarray
    video: np.ndarray
    start: np.ndarray  # frame
    images: np.ndarray


def _appearances(world: World) -> _Appearances:
    rng = generator(world.seed, 21)
    people = world.people
    times = rng.integers(1, world.most_videos + 1, people)
    videos = max(1, round(people * (world.most_videos + 1) / 2 / world.people_per_video))
    # Half of the people begin near the first of their group.
    group = np.arange(people) // world.group
    home = rng.integers(0, videos, group[-1] + 1)[group] + rng.integers(-1, 2, people)
    home = np.where(rng.random(people) < 0.5, home, rng.integers(0, videos, people)) % videos
    steps = rng.geometric(1 / world.distance, (people, world.most_videos))
    steps[:, 0] = 0
    where = home[:, None] + np.cumsum(steps, axis=1)
    anywhere = rng.integers(0, videos, where.shape)
    # Whoever walks out at the end comes in at the beginning: the number of people stays even.
    where = np.where(rng.random(where.shape) < world.far, anywhere, where) % videos
    seen = np.arange(world.most_videos) < times[:, None]
    person = np.broadcast_to(np.arange(people)[:, None], where.shape)[seen]
    key = np.unique(where[seen].astype(np.int64) * people + person)
    video, person = np.divmod(key, people)
    low, high = np.log(world.images[0]), np.log(world.images[1] + 1)
    images = np.exp(rng.uniform(low, high, len(key))).astype(np.int64).clip(*world.images)
    start = (rng.random(len(key)) * np.maximum(world.video_frames - images + 1, 1)).astype(np.int64)
    return _Appearances(person, video, start, images)


def _tracks(
    camera: np.ndarray, person: np.ndarray, images_per_video: int, longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Videos and tracks of images sorted by (camera, time), int64 [n] each."""
    if not len(camera):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = np.flatnonzero(np.diff(camera, prepend=camera[0] - 1))
    within = np.arange(len(camera)) - np.repeat(first, np.diff(first, append=len(camera)))
    block = within // images_per_video
    new = np.ones(len(camera), bool)
    new[1:] = (camera[1:] != camera[:-1]) | (block[1:] != block[:-1])
    video = np.cumsum(new) - 1
    # The number of an image among those of its person in its video.
    order = np.lexsort((np.arange(len(camera)), person, video))
    key = video[order] * (person.max() + 1) + person[order]
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    number = np.arange(len(key)) - np.repeat(first, np.diff(first, append=len(key)))
    track = np.empty(len(key), np.int64)
    track[order] = np.cumsum(number % longest == 0) - 1
    return video, track


# What it looks like ---------------------------------------------------------------------------------


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, in place."""
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows


def _people(world: World) -> np.ndarray:
    """u, float32 [people, width]."""
    rng = generator(world.seed, 22)
    draw = rng.standard_normal
    common = _unit(draw((1, world.width), np.float32))
    groups = _unit(draw(((world.people - 1) // world.group + 1, world.width), np.float32))
    own = _unit(draw((world.people, world.width), np.float32))
    own *= np.float32(np.sqrt(1 - world.likeness))
    own += np.float32(np.sqrt(_COMMON)) * common
    own += np.float32(np.sqrt(world.likeness - _COMMON)) * groups[np.arange(world.people) // world.group]
    return _unit(own)


def _looks(world: World, appearances: int) -> np.ndarray:
    """a v, float32 [appearances, width]; some videos change a person more than others."""
    rng = generator(world.seed, 23)
    v = _unit(rng.standard_normal((appearances, world.width), np.float32))
    v *= (world.look * np.exp(0.25 * rng.standard_normal(appearances, np.float32)))[:, None]
    return v


def _sums(rows: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    sums = np.zeros((groups, rows.shape[1]), np.float32)
    np.add.at(sums, group, rows)
    return sums


Strangers = Callable[[int, np.random.Generator], np.ndarray]


def _strangers_of_world(world: World, people: np.ndarray) -> Strangers:
    """Walls, poles and cars: they share the common direction with people, and little else."""
    common = people.mean(axis=0)
    common /= np.linalg.norm(common)
    things = _unit(generator(world.seed, 24).standard_normal((64, world.width), np.float32))

    def strange(count: int, rng: np.random.Generator) -> np.ndarray:
        rows = rng.standard_normal((count, world.width), np.float32)
        rows *= 0.7 / np.sqrt(np.float32(world.width))
        rows += np.float32(np.sqrt(_COMMON)) * common + 0.6 * things[rng.integers(len(things), size=count)]
        return _unit(rows)

    return strange


def _strangers_of_images(unit: np.ndarray) -> Strangers:
    mean = unit.mean(axis=0) if len(unit) else np.zeros(unit.shape[1], np.float32)

    def strange(count: int, rng: np.random.Generator) -> np.ndarray:
        away = unit[rng.integers(len(unit), size=count)] - mean
        return _unit(away * rng.choice(np.array([-1, 1], np.float32), away.shape) + mean)

    return strange


def _features(
    what: Plan,
    clean: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    strange: Strangers,
    width: int,
    seed: int,
    path: Path | None,
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """The features of a plan, block by block; every block has random numbers of its own."""
    shape = (len(what.kind), width)
    if path is None:
        made = np.empty(shape, np.float32)
        _fill(made, what, clean, strange, seed, progress)
        return made
    with atomic_file(Path(path)) as partial:
        made = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        _fill(made, what, clean, strange, seed, progress)
        made.flush()
    return np.load(path, mmap_mode="r")


def _fill(made: np.ndarray, what: Plan, clean, strange: Strangers, seed: int, progress) -> None:
    for first in range(0, len(made), BLOCK):
        rows = slice(first, min(first + BLOCK, len(made)))
        made[rows] = _block(
            Plan(*(column[rows] for column in what)), clean, strange, generator(seed, 25, first)
        )
        if progress:
            progress(rows.stop - rows.start)


def _block(what: Plan, clean, strange: Strangers, rng: np.random.Generator) -> np.ndarray:
    """float32 [rows, width], unit length."""
    kind = what.kind
    nobody = what.source < 0
    some = np.flatnonzero(~nobody)
    if not len(some):
        return strange(len(kind), rng)
    first = clean(what.source[some], rng)
    features = np.empty((len(kind), first.shape[1]), np.float32)
    features[some] = first
    features[nobody] = strange(int(nobody.sum()), rng)

    two = np.flatnonzero(kind == Kind.TWO_PEOPLE)
    features[two] = _unit(features[two] + clean(what.partner[two], rng))
    hidden = np.flatnonzero(kind == Kind.OCCLUDED)
    part = rng.uniform(0.3, 0.6, (len(hidden), 1)).astype(np.float32)
    features[hidden] = _unit((1 - part) * features[hidden] + part * strange(len(hidden), rng))

    again = np.flatnonzero(kind == Kind.DUPLICATE)
    original = np.maximum.accumulate(np.where(kind == Kind.DUPLICATE, 0, np.arange(len(kind))))
    change = rng.standard_normal((len(again), features.shape[1]), np.float32)
    change *= np.float32(_SMALL / np.sqrt(features.shape[1]))
    features[again] = _unit(features[original[again]] + change)
    return features
