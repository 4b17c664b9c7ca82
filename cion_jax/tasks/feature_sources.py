"""Features with the columns beside them, from whatever `extract` writes and from files made like it."""

import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from cion_jax.core.errors import UserError
from cion_jax.tasks import feature_shards

_NUMBERS = ("identity", "tracklet", "video", "camera", "frame")
# Whatever else is in a file stays there.
_READ = {"features", "about", "path", *_NUMBERS, *(f"{name}s" for name in _NUMBERS)}


@dataclass(frozen=True, eq=False)
class Features:
    """Features as they stand in their file or folder.

    Attributes:
      source: what the user calls it, for messages.
      features: floating point [n, d]; in memory, or from files where they lie in shards.
      columns: arrays [n] by name.
      usable: int64, the rows that have features, ascending; an image that could not be read has none.
      about: what extract says of them: source, model and so on; {} if it did not make them.
      fingerprint: of the file or files, by path, size and time of change.
    """

    source: str
    features: Any
    columns: dict[str, np.ndarray]
    usable: np.ndarray
    about: dict[str, Any]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.features)

    def numbers(self, name: str) -> np.ndarray | None:
        """A column of whole numbers as int64 [n], also under its plural; None if there is none.

        Raises:
          UserError: it is something else.
        """
        found = self.columns.get(name, self.columns.get(f"{name}s"))
        if found is None:
            return None
        found = np.asarray(found)
        if found.shape != (len(self),) or not np.issubdtype(found.dtype, np.integer):
            what = f"{found.dtype} {found.shape}"
            raise UserError(f"{self.source}: {name} must be {len(self):,} whole numbers, not {what}")
        if found.size and found.max() > np.iinfo(np.int64).max:
            raise UserError(
                f"{self.source}: {name} {found.max()} in row {found.argmax()} is more than 64 bits with sign hold: "
                "renumber it"
            )
        return found.astype(np.int64)

    def paths(self) -> np.ndarray:
        """str [n], empty where unknown."""
        found = np.asarray(self.columns.get("path", np.full(len(self), "")))
        if found.shape != (len(self),) or found.dtype.kind not in "UO":
            raise UserError(
                f"{self.source}: path must be {len(self):,} texts, not {found.dtype} {found.shape}"
            )
        return found.astype(object)


def open_features(source: str) -> Features:
    """Features from a folder of shards, an .npz or a .parquet file.

    Raises:
      UserError: no such file, another kind of file, one that is damaged or unfinished or holds no features.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"{source} does not exist")
    if path.is_dir():
        found = _shards(source, path)
    elif path.suffix == ".npz":
        found = _npz(source, path)
    elif path.suffix == ".parquet":
        found = _parquet(source, path)
    else:
        raise UserError(f"{source} is no folder of features, .npz or .parquet: make one with extract")
    shape, dtype = found.features.shape, found.features.dtype
    if len(shape) != 2 or not np.issubdtype(dtype, np.floating):
        raise UserError(f"{source}: features must be floating point [images, width], not {dtype} {shape}")
    if not len(found.usable):
        raise UserError(f"{source} holds no image with features")
    return found


def _shards(source: str, path: Path) -> Features:
    if not feature_shards.is_store(path):
        raise UserError(f"{source} holds no features: make them with extract")
    if left := len(feature_shards.missing(path)):
        raise UserError(f"{source} is not finished, {left} shards are missing: run extract again")
    features, columns = feature_shards.Stored(path), feature_shards.read_images(path)
    bad = [row for row, _ in feature_shards.unreadable(path)]
    usable = np.setdiff1d(np.arange(len(features)), np.array(bad, np.int64))
    about = feature_shards.manifest(path)
    return Features(source, features, columns, usable, about, _fingerprint(path, feature_shards.files(path)))


def _npz(source: str, path: Path) -> Features:
    try:
        with np.load(path) as stored:
            if "features" not in stored:
                raise UserError(
                    f"{source} has no array 'features'; it has {', '.join(stored.files) or 'none'}"
                )
            columns = {name: stored[name] for name in stored.files if name in _READ}
        about = json.loads(str(columns.pop("about", "{}")))
    # A damaged archive is a BadZipFile; a .npy under another name is no context.
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{source} cannot be read: {error}") from error
    features = columns.pop("features")
    usable = np.arange(len(features)) if features.ndim else np.zeros(0, np.int64)
    return Features(source, features, columns, usable, about, _fingerprint(path, [path]))


def _parquet(source: str, path: Path) -> Features:
    try:
        names = pyarrow.parquet.read_schema(path).names
        table = pyarrow.parquet.read_table(
            path, columns=[name for name in names if name in {"feature"} | _READ]
        )
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{source} cannot be read: {error}") from error
    if "feature" not in table.column_names:
        raise UserError(f"{source} has no column 'feature'; it has {', '.join(names)}")
    features = _matrix(source, table["feature"])
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "feature"}
    about = json.loads((table.schema.metadata or {}).get(b"cion_jax", b"{}"))
    return Features(source, features, columns, np.arange(len(table)), about, _fingerprint(path, [path]))


def _matrix(source: str, column: pa.ChunkedArray) -> np.ndarray:
    """Lists of one length as [n, d]."""
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    widths = set(pa.compute.unique(pa.compute.list_value_length(column)).to_pylist()) if lists else set()
    if not len(column):
        return np.zeros((0, 1), np.float32)
    if len(widths) != 1 or column.null_count:
        raise UserError(f"{source}: 'feature' must hold one list of numbers a row, all of one length")
    parts = [part.flatten().to_numpy(zero_copy_only=False) for part in column.chunks]
    return np.concatenate(parts).reshape(len(column), -1)


def _fingerprint(path: Path, files: Iterable[Path]) -> str:
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([str(path.absolute()), stats]).encode()).hexdigest()
