"""A procedural data set of synthetic people: all runs without a download or a picture of a real person.

Several cameras see every identity in several tracklets. Cameras differ in colour cast, gamma, sharpness,
place and viewing direction; pictures differ in pose, light, box and occlusion. Colour alone does not tell
identities apart: they come in look-alike groups that share a palette (`synthetic_people`). Every picture is a
pure function of the specification, the split and the index.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data import synthetic_scene as scene
from cion_jax.data.synthetic_drawing import Canvas
from cion_jax.data.synthetic_figure import Figure
from cion_jax.data.synthetic_people import Person, cast, draw_palette, draw_person, generator
from cion_jax.data.synthetic_skeleton import Pose

SPLITS = ("train", "query", "gallery")
COLUMNS = ("identity", "tracklet", "video", "camera", "frame")
_FRAMES_APART = 6  # video frames between two pictures of a tracklet


@dataclasses.dataclass(frozen=True)
class SyntheticSpec:
    """What a synthetic data set looks like; equal specifications give equal data sets.

    `dataclasses.asdict` makes it JSON, `SyntheticSpec(**json)` brings it back.

    Attributes:
      seed: of everything, >= 0.
      identities: training identities, numbered from 0.
      eval_identities: identities of query and gallery, numbered after those of training; nobody is in both.
      cameras: number of cameras.
      videos_per_camera: number of videos that a camera recorded.
      tracklets_per_identity: fewest and most tracklets of a training identity.
      images_per_tracklet: fewest and most pictures of a tracklet.
      height, width: of the pictures, pixels.
      lookalikes: size of the groups that share colours; 1 gives everybody colours of their own.
      occlusion: share of the pictures with something in front of the person.
      passers_by: share of the pictures with another person behind.
      colour_shift: how much cameras and light change colours; 0 not at all, 1 as intended.
      degradation: how much blur, low resolution and noise cameras add; 0 none, 1 as intended.
      jitter: how badly the person's box is placed; 0 perfectly, 1 as a detector would.
      daylight: how much light differs between tracklets of one camera; 0 not at all, 1 as intended.
      walk: how far people walk through the place within a tracklet; 0 treads on the spot, 1 a step, 10 half across.

    Raises:
      UserError: a value that makes no data set; the message names the key.
    """

    seed: int = 0
    identities: int = 240
    eval_identities: int = 60
    cameras: int = 6
    videos_per_camera: int = 3
    tracklets_per_identity: tuple[int, int] = (1, 6)
    images_per_tracklet: tuple[int, int] = (1, 9)
    height: int = 256
    width: int = 128
    lookalikes: int = 5
    occlusion: float = 0.25
    passers_by: float = 0.2
    colour_shift: float = 1.0
    degradation: float = 1.0
    jitter: float = 1.0
    daylight: float = 1.0
    walk: float = 1.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, _integers_pair(field.name, value))
            elif isinstance(field.default, int):
                _require(_is_integer(value), field.name, value, "is not an integer")
            else:
                number = _is_integer(value) or isinstance(value, float)
                _require(number and math.isfinite(value), field.name, value, "is not a number")
                object.__setattr__(self, field.name, float(value))
        self._check_ranges()

    def _check_ranges(self) -> None:
        least = {
            "seed": 0,
            "identities": 1,
            "eval_identities": 0,
            "cameras": 1,
            "videos_per_camera": 1,
            "height": 16,
            "width": 8,
            "lookalikes": 1,
            "colour_shift": 0.0,
            "degradation": 0.0,
            "jitter": 0.0,
            "daylight": 0.0,
            "walk": 0.0,
        }
        for name, bound in least.items():
            _require(getattr(self, name) >= bound, name, getattr(self, name), f"is below {bound}")
        most = {
            "lookalikes": 16,
            "occlusion": 1.0,
            "passers_by": 1.0,
            "colour_shift": 2.0,
            "degradation": 1.8,
            "jitter": 2.0,
            "daylight": 2.0,
            "walk": 100.0,
            "height": 8 * self.width,
            "width": 2 * self.height,
        }
        for name, bound in most.items():
            value = getattr(self, name)
            _require(0 <= value <= bound, name, value, f"is not between 0 and {bound}")
        if self.eval_identities:
            _require(self.cameras >= 2, "cameras", self.cameras, "is too few: queries need a second camera")
            for name in ("tracklets_per_identity", "images_per_tracklet"):
                value = getattr(self, name)
                _require(
                    value[1] >= 2,
                    name,
                    value,
                    "leaves a query without a match: its larger number must be >= 2",
                )


def _is_integer(value) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _integers_pair(name: str, value) -> tuple[int, int]:
    good = isinstance(value, Sequence) and len(value) == 2 and all(map(_is_integer, value))
    _require(good and 1 <= value[0] <= value[1], name, value, "is not a pair 1 <= fewest <= most of integers")
    return int(value[0]), int(value[1])


def _require(good: bool, name: str, value, why: str) -> None:
    if not good:
        raise UserError(f"synthetic data: {name} = {value!r} {why}")


# Who is seen where and when -------------------------------------------------------------------------


def count(spec: SyntheticSpec, split: str) -> int:
    """Number of pictures in a split."""
    return len(_rows(spec, split)["identity"])


def table(spec: SyntheticSpec, split: str) -> dict[str, np.ndarray]:
    """The labels of a split, int64 [count] each: identity, tracklet, video, camera, frame.

    Rows are ordered by (video, tracklet, frame). A tracklet's number is unique in training, and again in
    query and gallery together; a video's number is unique over all cameras. Query holds one picture of every
    (identity, camera), gallery the rest; every query has a match from another camera in the gallery.

    Raises:
      UserError: no such split.
    """
    return {name: column.copy() for name, column in _rows(spec, split).items()}


def person(spec: SyntheticSpec, identity: int) -> Person:
    """Everything about an identity (as numbered in `table`) that is the same in all its pictures."""
    world = int(identity >= spec.identities)
    people = cast(spec.seed, world, (spec.identities, spec.eval_identities)[world], spec.lookalikes)
    return people[identity - world * spec.identities]


@functools.lru_cache(maxsize=16)
def _rows(spec: SyntheticSpec, split: str) -> dict[str, np.ndarray]:
    if split not in SPLITS:
        raise UserError(f"synthetic data: no split {split!r}; there are {', '.join(SPLITS)}")
    world = int(split != "train")
    rows = _world(spec, world)
    if world:
        # The first picture of every (identity, camera), in the order of a shuffle, becomes the query.
        order = generator(spec.seed, 5).permutation(len(rows["identity"]))
        pair = rows["identity"] * spec.cameras + rows["camera"]
        _, first = np.unique(pair[order], return_index=True)
        chosen = np.zeros(len(pair), bool)
        chosen[order[first]] = True
        rows = {name: column[chosen if split == "query" else ~chosen] for name, column in rows.items()}
    for column in rows.values():
        column.setflags(write=False)
    return rows


def _world(spec: SyntheticSpec, world: int) -> dict[str, np.ndarray]:
    """All pictures of training (0) or evaluation (1), ordered by (video, tracklet, frame)."""
    tracklets = []  # (video, first frame, identity, pictures)
    start = world * spec.identities
    for identity in range(start, start + (spec.identities, spec.eval_identities)[world]):
        rng = generator(spec.seed, 6, world, identity - start)
        tracklets += [
            (*place, identity, pictures) for place, pictures in _appearances(spec, rng, bool(world))
        ]
    tracklets.sort()
    columns = {name: [] for name in COLUMNS}
    for number, (video, first, identity, pictures) in enumerate(tracklets):
        columns["identity"] += [identity] * pictures
        columns["tracklet"] += [number] * pictures
        columns["video"] += [video] * pictures
        columns["camera"] += [video // spec.videos_per_camera] * pictures
        columns["frame"] += [first + _FRAMES_APART * k for k in range(pictures)]
    return {name: np.array(column, np.int64) for name, column in columns.items()}


def _appearances(spec: SyntheticSpec, rng: np.random.Generator, evaluation: bool) -> list:
    """Where and how often one identity is seen: [((video, first frame), pictures)].

    Numbers of pictures are log-uniform, so that a few identities have hardly any and a few have very many. In
    evaluation an identity is seen by two cameras at least, and twice in every tracklet: one is the query.
    """
    fewest, most = spec.tracklets_per_identity
    low, high = spec.images_per_tracklet
    if evaluation:
        fewest, low = max(2, fewest), max(2, low)
    tracklets = int(rng.integers(fewest, most + 1))
    # Other cameras first; who is seen more often than there are cameras comes back to one of them.
    order = rng.permutation(spec.cameras)
    cameras = [order[k % spec.cameras] for k in range(tracklets)]
    if tracklets > 2 and rng.random() < 0.3:
        cameras[-1] = cameras[0]
    seen = []
    for camera in cameras:
        video = int(camera) * spec.videos_per_camera + int(rng.integers(spec.videos_per_camera))
        pictures = int(math.exp(rng.uniform(math.log(low), math.log(high + 1))))
        seen.append(((video, int(rng.integers(5000))), min(max(pictures, low), high)))
    return seen


# What it looks like ---------------------------------------------------------------------------------


def render(spec: SyntheticSpec, split: str, index: int) -> np.ndarray:
    """Picture `index` of a split: uint8 [height, width, 3], RGB. Depends on its arguments alone.

    Raises:
      IndexError: no such picture.
    """
    rows = _rows(spec, split)
    if not 0 <= index < len(rows["identity"]):
        raise IndexError(f"picture {index} of split {split!r}, which has {len(rows['identity'])}")
    identity, tracklet, _, number, frame = (int(rows[name][index]) for name in COLUMNS)
    world = int(split != "train")
    eye = scene.camera(spec.seed, number, spec.cameras, spec.colour_shift, spec.degradation)
    walk = _Walk.draw(generator(spec.seed, 7, world, tracklet), eye, spec)
    rng = generator(spec.seed, 8, world, tracklet, frame)
    return _picture(spec, person(spec, identity), eye, number, walk, frame, rng)


@dataclasses.dataclass(frozen=True)
class _Walk:
    """What is the same in all pictures of a tracklet: direction, gait, light and where it begins."""

    yaw: float
    stride: float
    pace: float  # radians of the walking cycle per frame
    phase: float
    bend: float
    arms: str
    exposure: tuple[float, float, float]  # factors of red, green and blue: sun or shade, morning or evening
    offset: float
    drift: float  # of the background per frame

    @classmethod
    def draw(cls, rng: np.random.Generator, eye: scene.Camera, spec: SyntheticSpec) -> "_Walk":
        yaw = eye.yaw + math.pi * rng.integers(2) + rng.normal(0, 0.3)
        standing = rng.random() < 0.2
        return cls(
            yaw=yaw,
            stride=rng.uniform(0.02, 0.08) if standing else rng.uniform(0.25, 0.5),
            pace=rng.uniform(0.15, 0.3),
            phase=rng.uniform(0, 2 * math.pi),
            bend=rng.uniform(0.1, 0.7),
            arms=str(rng.choice(("swing", "phone", "pockets"), p=(0.7, 0.15, 0.15))),
            exposure=_daylight(rng, spec.colour_shift * spec.daylight),
            offset=rng.random(),
            drift=0.0 if standing else 0.0015 * spec.walk * math.sin(yaw),
        )


def _daylight(rng: np.random.Generator, colour_shift: float) -> tuple[float, float, float]:
    bright, warm = colour_shift * rng.normal(0, 0.12), colour_shift * rng.normal(0, 0.05)
    return math.exp(bright + warm), math.exp(bright), math.exp(bright - warm)


def _picture(
    spec: SyntheticSpec, who: Person, eye: scene.Camera, number: int, walk: _Walk, frame: int, rng
) -> np.ndarray:
    """Place, passer-by, person, occluder, camera: in this order."""
    height, width = spec.height, spec.width
    shift = spec.jitter * rng.normal(0, 1, 2) * (0.02, 0.022)
    zoom = math.exp(spec.jitter * rng.normal(0, 0.06))
    position = (walk.offset + walk.drift * (frame % 97)) % 1.0
    view = (-float(shift[0]), -float(shift[1]), zoom)
    image = scene.background(spec.seed, eye, number, position, view, (height, width))
    canvas = Canvas(image.copy(), eye.light, outline=max(1.0, 0.011 * height))

    scale = 0.9 * zoom * height
    feet = (width / 2 + shift[0] * scale, (0.5 + 0.455 * zoom + shift[1]) * height)
    if rng.random() < spec.passers_by:
        away = rng.choice((-1, 1)) * rng.uniform(0.3, 0.6) * width
        smaller = rng.uniform(0.55, 0.85)
        spot = (feet[0] + away, feet[1] - (1 - smaller) * 0.3 * scale)
        _stranger(canvas, rng, eye, spot, smaller * scale)
    pose = Pose(
        yaw=walk.yaw + rng.normal(0, 0.12),
        head=rng.normal(0, 0.3),
        stride=walk.stride * rng.uniform(0.8, 1.2),
        phase=walk.phase + walk.pace * frame + rng.normal(0, 0.2),
        bend=max(0.0, walk.bend + rng.normal(0, 0.1)),
        arms=walk.arms,
        pitch=eye.pitch,
    )
    Figure(canvas, who, pose, feet, scale).draw()
    if rng.random() < spec.occlusion:
        if rng.random() < 0.2:
            away = rng.choice((-1, 1)) * rng.uniform(0.28, 0.42) * width
            _stranger(canvas, rng, eye, (feet[0] + away, feet[1] + 0.06 * scale), 1.05 * scale)
        else:
            scene.occlude(canvas, rng)
    flicker = math.exp(spec.colour_shift * rng.normal(0, 0.05))
    return scene.expose(canvas.image, eye, tuple(flicker * gain for gain in walk.exposure), rng)


def _stranger(canvas: Canvas, rng: np.random.Generator, eye: scene.Camera, feet, scale: float) -> None:
    """Somebody who is no identity of the data set."""
    who = draw_person(rng, draw_palette(rng))
    pose = Pose(yaw=rng.uniform(0, 2 * math.pi), phase=rng.uniform(0, 2 * math.pi), pitch=eye.pitch)
    Figure(canvas, who, pose, feet, scale).draw()
