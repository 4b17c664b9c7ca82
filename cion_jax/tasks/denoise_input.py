"""What denoising reads: features with tracklets, videos and frames, in an order that the levels take."""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.denoise import frames
from cion_jax.tasks import truth as truths
from cion_jax.tasks.feature_sources import Features, open_features

_IDS = ("tracklet", "video", "frame")
_UNKNOWN = -1
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Images:
    """Images with features: those of a video side by side, by frame.

    Videos stand in the order of their numbers, which is the order that the sliding range of level 3 goes by, and images
    of one frame by tracklet: the order of rows in the source has no say.

    Attributes:
      features: [n, d], read by slices and row numbers; from files where they lie in shards.
      columns: int64 arrays [n] "tracklet", "video", "frame", "camera" and "identity" (-1 where unknown).
      paths: str [n]; empty where unknown.
      rows: int64 [n], the row of each in the source, which messages and users call it by.
      about: what extract says of the features: source, model and so on; {} if it did not make them.
      fingerprint: of all that.
    """

    features: Any
    columns: dict[str, np.ndarray]
    paths: np.ndarray
    rows: np.ndarray
    about: dict[str, Any]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.rows)


class Ordered:
    """Rows of an array in another order, read when asked for."""

    ndim = 2

    def __init__(self, features: Any, order: np.ndarray):
        self._features, self._order = features, order

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._order), self._features.shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self._features.dtype

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows) -> np.ndarray:
        return self._features[self._order[rows]]


def read(source: str) -> Images:
    """Images of tracklets with their features, from a folder of shards, an .npz or a .parquet file.

    Raises:
      UserError: features that cannot be read, or ids that are missing.
    """
    found = open_features(source)
    columns = {name: _id(found, name) for name in _IDS}
    for name in ("camera", "identity"):
        known = found.numbers(name)
        columns[name] = np.full(len(found), _UNKNOWN) if known is None else known
    order = found.usable[_order(columns, found.usable)]
    digest = hashlib.sha256(found.fingerprint.encode())
    for name in _IDS:
        digest.update(columns[name].tobytes())
    straight = len(order) == len(found) and (order == np.arange(len(found))).all()
    return Images(
        found.features if straight else Ordered(found.features, order),
        {name: column[order] for name, column in columns.items()},
        found.paths()[order],
        order,
        found.about,
        digest.hexdigest(),
    )


class Labelled(NamedTuple):
    """Features [n, d] and identities int64 [n], -1 for nobody."""

    features: Any
    identities: np.ndarray
    fingerprint: str


def read_labelled(source: str) -> Labelled:
    """Features of images whose identities are known.

    Raises:
      UserError: features that cannot be read, not one identity, or identities that are the tracklets.
    """
    found = open_features(source)
    identities = found.numbers("identity")
    if identities is None or not (identities >= 0).any():
        raise UserError(f"labelled={source} does not say whom its images show: it needs a column identity")
    if _are_tracklets(found, identities):
        raise UserError(
            f"labelled={source} does not say whom its images show: its identities are its tracklets. Give features of "
            "images whose people are known, or leave labelled out"
        )
    digest = hashlib.sha256(found.fingerprint.encode() + identities.tobytes())
    features = Ordered(found.features, found.usable)
    return Labelled(features, np.maximum(identities[found.usable], _UNKNOWN), digest.hexdigest())


def read_truth(truth: str, images: Images) -> np.ndarray | None:
    """True identities [n] for measuring, -1 where unknown; None without truth.

    Raises:
      UserError: a table that cannot be used or knows none of the images, or identities that are the tracklets.
    """
    if not truth:
        return None
    if truth == "identity":
        true = images.columns["identity"]
        if truths.are_tracklets(true, images.columns["tracklet"], images.columns["video"]):
            raise UserError(
                "truth=identity, but the identities of the features are their tracklets: give a .csv with columns path "
                "and identity, or leave truth out"
            )
        why = "the features have no column identity, or nobody in it"
    else:
        known = truths.read_table(truth)
        true = np.array([known.get(path, _UNKNOWN) for path in images.paths.tolist()], np.int64)
        why = f"their paths are like {images.paths[0]!r}" if images.paths[0] else "they have no paths"
    if not (true >= 0).any():
        raise UserError(f"truth={truth} knows none of the images: {why}")
    return np.maximum(true, _UNKNOWN)


def require_frames(images: Images, what: str) -> None:
    """Raises UserError if frames, which `what` needs, are unknown or cannot be true (`frames.check`)."""
    unknown = images.columns["frame"] < 0
    problem = f"{_name(images, int(np.argmax(unknown)))} has no frame number" if unknown.any() else ""
    if not problem:
        try:
            frames.check(*(images.columns[name] for name in _IDS))
        except ValueError as error:
            problem = str(error)
    if problem:
        raise UserError(
            f"{problem}, which {what} needs: extract from tracklets (docs/video.md), "
            "or do without (--config.options.cannot_link=no --config.calibrate=no)"
        )


def told(source: str, images: Images, error: ValueError) -> UserError:
    """An error of the levels as the user sees it: the levels count rows in their own order, not in the source's."""
    return UserError(f"{source}: {without_direction(images) or error}")


def without_direction(images: Images) -> str:
    """What is wrong with the first image whose features are zero, NaN or infinite; empty if all are good."""
    for start in range(0, len(images), _BLOCK_ROWS):
        block = np.asarray(images.features[start : start + _BLOCK_ROWS])
        finite = np.isfinite(block).all(axis=1)
        bad = np.flatnonzero(~finite | ~block.any(axis=1))
        if len(bad):
            what = "are zero: they have no direction" if finite[bad[0]] else "hold NaN or infinity"
            return f"the features of {_name(images, start + int(bad[0]))} {what}"
    return ""


def _name(images: Images, k: int) -> str:
    """An image as the user knows it."""
    path = f" ({images.paths[k]})" if images.paths[k] else ""
    return f"row {images.rows[k]}{path}"


def _id(found: Features, name: str) -> np.ndarray:
    """One of the ids that every image has to have."""
    numbers = found.numbers(name)
    if numbers is None:
        raise UserError(
            f"{found.source} does not say the {name} of its images: extract from tracklets (docs/video.md)"
        )
    unknown = numbers[found.usable] < 0
    if unknown.any() and name != "frame":
        row = found.usable[int(np.argmax(unknown))]
        raise UserError(
            f"{found.source}: row {row} has no {name}: extract from tracklets, or from a table with that column "
            "(docs/video.md)"
        )
    return numbers


def _are_tracklets(found: Features, identities: np.ndarray) -> bool:
    """As `truth.are_tracklets`, where tracklets are told; importers without videos take each identity for one."""
    columns = [found.numbers(name) for name in _IDS]
    told = all(column is not None and (column[found.usable] >= 0).all() for column in columns)
    return told and truths.are_tracklets(identities, *columns[:2])


def _order(columns: dict[str, np.ndarray], usable: np.ndarray) -> np.ndarray:
    """Usable rows by video, frame and tracklet; what is equal in all three stays in the order of rows."""
    return np.lexsort([columns[name][usable] for name in ("tracklet", "frame", "video")])
