"""What denoising reads: features with tracklets, videos and frames, in an order that the levels take."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from cion_jax.core.errors import UserError
from cion_jax.tasks import feature_shards

_IDS = ("tracklet", "video", "frame")


class Images(NamedTuple):
    """Images with features, those of a video side by side, by frame.

    Attributes:
      features: [n, d], read by slices and row numbers; from files where they lie in shards.
      columns: int64 arrays [n] "tracklet", "video", "frame", "camera" and "identity" (-1 where unknown).
      paths: str [n]; empty where unknown.
      about: what extract says of the features: source, model and so on; {} if it did not make them.
      fingerprint: of all that.
    """

    features: Any
    columns: dict[str, np.ndarray]
    paths: np.ndarray
    about: dict[str, Any]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.paths)


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
    """Features from a folder of shards, an .npz or a .parquet file.

    Raises:
      UserError: no such file, another kind of file, or ids that are missing.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"source={source} does not exist")
    if path.is_dir():
        features, columns, about = _shards(path)
    elif path.suffix == ".npz":
        features, columns, about = _npz(path)
    elif path.suffix == ".parquet":
        features, columns, about = _parquet(path)
    else:
        raise UserError(f"source={source} is no folder of features, .npz or .parquet: make one with extract")
    count = len(features)
    ids = {name: _ids(source, columns, name, count) for name in _IDS}
    for name in ("camera", "identity"):
        ids[name] = np.asarray(columns.get(name, np.full(count, -1)), np.int64)
    paths = np.asarray(columns.get("path", np.full(count, "")), object)
    rows = columns.get("_row", np.arange(count))
    order = rows[_order(ids["video"][rows], ids["frame"][rows])]
    digest = hashlib.sha256(
        json.dumps([about, count, str(path.absolute()), path.stat().st_mtime_ns]).encode()
    )
    for name in _IDS:
        digest.update(ids[name].tobytes())
    straight = len(order) == count and (order == np.arange(count)).all()
    return Images(
        features if straight else Ordered(features, order),
        {name: column[order] for name, column in ids.items()},
        paths[order],
        about,
        digest.hexdigest(),
    )


def read_truth(truth: str, images: Images) -> np.ndarray | None:
    """True identities [n] for measuring, -1 where unknown; None without truth.

    Raises:
      UserError: a table that is missing or lacks a column, or that knows none of the images.
    """
    if not truth:
        return None
    if truth == "identity":
        return images.columns["identity"]
    try:
        with Path(truth).expanduser().open(newline="") as opened:
            known = {row["path"]: int(row["identity"]) for row in csv.DictReader(opened)}
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"truth={truth} must be a .csv with columns path and identity ({error})") from error
    true = np.array([known.get(path, -1) for path in images.paths.tolist()], np.int64)
    if not (true >= 0).any():
        raise UserError(f"truth={truth} knows none of the images: their paths are like {images.paths[0]!r}")
    return true


def _shards(path: Path):
    if not feature_shards.is_store(path):
        raise UserError(f"source={path} holds no features: make them with extract")
    if left := len(feature_shards.missing(path)):
        raise UserError(f"source={path} is not finished, {left} shards are missing: run extract again")
    columns = feature_shards.read_images(path)
    count = len(columns["path"])
    bad = [row for row, _ in feature_shards.unreadable(path)]
    columns["_row"] = np.setdiff1d(np.arange(count), np.array(bad, np.int64))
    return feature_shards.Stored(path), columns, feature_shards.manifest(path)


def _npz(path: Path):
    try:
        with np.load(path) as stored:
            columns = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if "features" not in columns:
        raise UserError(f"{path} has no array 'features'; it has {', '.join(columns)}")
    features = columns.pop("features")
    about = json.loads(str(columns.pop("about"))) if "about" in columns else {}
    return features, {name: column for name, column in columns.items() if column.ndim == 1}, about


def _parquet(path: Path):
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if "feature" not in table.column_names:
        raise UserError(f"{path} has no column 'feature'; it has {', '.join(table.column_names)}")
    lists = table["feature"].combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "feature"}
    about = json.loads((table.schema.metadata or {}).get(b"cion_jax", b"{}"))
    return flat.reshape(len(table), -1), columns, about


def _ids(source: str, columns: dict, name: str, count: int) -> np.ndarray:
    found = columns.get(name, columns.get(f"{name}s"))
    if found is None:
        raise UserError(
            f"{source} does not say the {name} of its images: extract from tracklets (docs/video.md)"
        )
    found = np.asarray(found)
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise UserError(f"{source}: {name} must be {count:,} whole numbers, not {found.dtype} {found.shape}")
    if (found < 0).any() and name != "frame":
        raise UserError(f"{source}: row {int(np.argmax(found < 0))} has no {name}: extract from tracklets")
    return found.astype(np.int64)


def _order(video: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Rows by video, in the order in which videos first come, and by frame."""
    _, first, number = np.unique(video, return_index=True, return_inverse=True)
    return np.lexsort((np.arange(len(video)), frame, np.argsort(np.argsort(first))[number]))
