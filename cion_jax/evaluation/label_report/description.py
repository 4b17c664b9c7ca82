"""What a report is made from: a plain description of a denoising run, without features or models."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def _nothing() -> np.ndarray:
    return np.zeros(0)


@dataclasses.dataclass(frozen=True)
class Level:
    """The labels after one level; the first of a run are the raw tracklets.

    Attributes:
      name: for example "level 1: single tracklet".
      identities: groups of images.
      images: those in a group.
      removed: images that this level took out of all groups.
      moved: images that it gave to another group, not counting those that went there with all of theirs.
      merges: by how many groups became fewer through merging.
      consistency, discrimination, noise: of `denoise.noise`: inconsistent images, ordered pairs of groups that are
        not told apart, and their sum per group; None if not measured.
      quality: of `label_quality`, where the truth is known.
      seconds: wall time; None if not measured.
    """

    name: str
    identities: int
    images: int
    removed: int = 0
    moved: int = 0
    merges: int = 0
    consistency: float | None = None
    discrimination: float | None = None
    noise: float | None = None
    quality: Mapping[str, float] | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, name: str, labels: np.ndarray, before: np.ndarray | None = None, **others: Any) -> "Level":
        """Counts identities, images, and images removed since the labels `before`; -1 is in no group."""
        labels = np.asarray(labels)
        kept = labels >= 0
        removed = 0 if before is None else int((~kept & (np.asarray(before) >= 0)).sum())
        return cls(name, len(np.unique(labels[kept])), int(kept.sum()), removed=removed, **others)


@dataclasses.dataclass(frozen=True)
class Tile:
    """A picture to show.

    Attributes:
      row: the number that the `picture` callback takes.
      caption: a few words below it.
      wrong: where the truth is known, whether it is of another person than it should be.
      name: what the user calls the image: its path, for example.
    """

    row: int
    caption: str = ""
    wrong: bool = False
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Pictures side by side under one label, for example those of a video."""

    label: str
    tiles: Sequence[Tile]


@dataclasses.dataclass(frozen=True)
class Strip:
    """A row of groups: an identity, or a removed image beside its tracklet. `wrong` where the truth says so."""

    title: str
    groups: Sequence[Group]
    note: str = ""
    wrong: bool = False


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Strips of one kind, and what to look for in them."""

    title: str
    explanation: str
    strips: Sequence[Strip]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A denoising run.

    Attributes:
      title: for example the name of the data set.
      levels: raw tracklets first, the final labels last.
      sigma_cst, sigma_drm: thresholds in force.
      videos, tracklets: how many there were at first; None if unknown.
      settings: anything else worth keeping, shown as text.
      sizes: integers [identities], images of each final identity.
      components: integers [identities], what each of them was linked from: tracklets, or identities of single videos.
      component_unit: what `components` counts.
      guard: share of all units from which on the largest component is suspicious.
      inside_before, inside_after: floating [any number], distances of images to the mean of the others of their
        group, raw and final; a sample will do.
      linked, apart: floating, distances between centroids of one identity (that were linked, or of each to the
        nearest), and of every centroid, or a sample, to the nearest of another identity.
      galleries: what to look at, the most useful first.
      warnings: sentences about anything that went wrong.
    """

    title: str
    levels: Sequence[Level]
    sigma_cst: float
    sigma_drm: float
    videos: int | None = None
    tracklets: int | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sizes: np.ndarray = dataclasses.field(default_factory=_nothing)
    components: np.ndarray = dataclasses.field(default_factory=_nothing)
    component_unit: str = "tracklets"
    guard: float = 0.01
    inside_before: np.ndarray = dataclasses.field(default_factory=_nothing)
    inside_after: np.ndarray = dataclasses.field(default_factory=_nothing)
    linked: np.ndarray = dataclasses.field(default_factory=_nothing)
    apart: np.ndarray = dataclasses.field(default_factory=_nothing)
    galleries: Sequence[Gallery] = ()
    warnings: Sequence[str] = ()

    def __post_init__(self):
        if not self.levels:
            raise ValueError("a report needs the labels of one level at least")
        for name in ("sizes", "components", "inside_before", "inside_after", "linked", "apart"):
            values = np.asarray(getattr(self, name))
            if values.ndim != 1 or not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite numbers [any], got shape {values.shape}")
            object.__setattr__(self, name, values)
