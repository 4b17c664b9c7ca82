"""Synthetic people as a tracker gives them: several in a frame, tracklets cut and switched, the truth kept.

`synthetic` draws people; here they walk through the same seconds of a video, and `tracklet_noise` does to their tracks
what a tracker does. The module has the functions of a generator for `prepare.prepare_synthetic`.
"""

import dataclasses
import functools

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data import synthetic
from cion_jax.data.synthetic import SyntheticSpec
from cion_jax.data.synthetic_people import generator
from cion_jax.data.tracklet_noise import Noise, Plan, plan

_PAUSE = 3  # frames before somebody who has left a video comes back to it


@dataclasses.dataclass(frozen=True)
class VideoSpec:
    """Videos of synthetic people and what is wrong with their tracklets.

    Attributes:
      people: who is there and what they look like. Pictures of a tracklet are of consecutive frames here.
      switches: share of tracklets that end on another person, half of these with the same colours.
      cuts: mean number of cuts of a track.
      video_frames: frames within which tracks begin: the fewer, the more people share a frame.

    Raises:
      UserError: a value that makes no videos; the message names the key.
    """

    people: SyntheticSpec
    switches: float = 0.2
    cuts: float = 1.0
    video_frames: int = 40

    def __post_init__(self):
        Noise(switches=self.switches, cuts=self.cuts)
        if self.video_frames < 1:
            raise UserError(f"synthetic videos: video_frames = {self.video_frames} is below 1")


def count(spec: VideoSpec, split: str) -> int:
    """Number of pictures in a split."""
    return synthetic.count(spec.people, split)


def table(spec: VideoSpec, split: str) -> dict[str, np.ndarray]:
    """The labels of a split, int64 [count] each: identity (the truth), tracklet, video, camera, frame.

    Query and gallery are those of `synthetic`. Training rows are ordered by video, tracklet and frame; a tracklet has
    a number of its own over all videos.
    """
    if split != "train":
        return synthetic.table(spec.people, split)
    found = _plan(spec)
    return {
        "identity": found.identity.copy(),
        "tracklet": found.tracklet.copy(),
        "video": found.video.copy(),
        "camera": found.video // spec.people.videos_per_camera,
        "frame": found.frame.copy(),
    }


def render(spec: VideoSpec, split: str, index: int) -> np.ndarray:
    """Picture `index` of a split: uint8 [height, width, 3], RGB."""
    if split == "train":
        index = int(_plan(spec).source[index])
    return synthetic.render(spec.people, split, index)


@functools.lru_cache(maxsize=4)
def _plan(spec: VideoSpec) -> Plan:
    clean = synthetic.table(spec.people, "train")
    return plan(
        clean["identity"],
        clean["video"],
        _frames(spec, clean),
        clean["tracklet"],
        _alike(spec.people),
        Noise(switches=spec.switches, cuts=spec.cuts),
        seed=spec.people.seed,
    )


def _frames(spec: VideoSpec, clean: dict[str, np.ndarray]) -> np.ndarray:
    """Tracks begin anywhere within `video_frames`; nobody is seen twice in a frame."""
    rng = generator(spec.people.seed, 30)
    frame = np.empty(len(clean["tracklet"]), np.int64)
    back: dict[tuple[int, int], int] = {}
    starts = np.flatnonzero(np.diff(clean["tracklet"], prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(frame)], strict=True):
        who = int(clean["video"][first]), int(clean["identity"][first])
        begin = max(int(rng.integers(spec.video_frames)), back.get(who, 0))
        frame[first:last] = begin + np.arange(last - first)
        back[who] = begin + (last - first) + _PAUSE
    return frame


def _alike(people: SyntheticSpec) -> np.ndarray:
    """Unit vectors [identities, d]: those who share colours are alike."""
    rows = generator(people.seed, 31).standard_normal((people.identities, 32))
    groups = generator(people.seed, 32).standard_normal((people.identities, 32))
    rows += 2 * groups[np.arange(people.identities) // people.lookalikes]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
