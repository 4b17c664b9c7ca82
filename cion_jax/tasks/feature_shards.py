"""A folder of features: shards that are written one by one and read where they lie, with ids and a manifest.

manifest.json            model, its digest, size, normalisation, number of images, width, rows of a shard
images.parquet           path, split, identity, tracklet, video, camera, frame of every row
features-00000.npy       float16 or float32 [rows, d]; there when the shard is done
unreadable-00000.json    rows of it without an image, with the reason; their features are zero
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_file, write_json

MANIFEST, IMAGES = "manifest.json", "images.parquet"


def is_store(folder: Path) -> bool:
    """Whether `folder` holds features in shards."""
    return (Path(folder) / MANIFEST).is_file()


def begin(
    folder: Path, about: Mapping[str, Any], paths: Sequence[str], columns: Mapping[str, np.ndarray]
) -> None:
    """Starts a store, or checks that the one there is of the same work on the same images.

    Paths that are no UTF-8 are written with \\xNN in place of their bytes.

    Raises:
      UserError: the folder holds features of something else; the message says what differs.
    """
    paths = [path.encode(errors="backslashreplace").decode() for path in paths]
    if not is_store(folder):
        table = pa.table(
            {"path": pa.array(paths, pa.string())}
            | {name: pa.array(column) for name, column in columns.items()}
        )
        with atomic_file(folder / IMAGES) as partial:
            pyarrow.parquet.write_table(table, partial)
        write_json(folder / MANIFEST, dict(about))
        return
    there = manifest(folder)
    wanted = json.loads(json.dumps(dict(about)))
    # A digest names the weights wherever they lie.
    spared = {"commit", "weights"} if wanted.get("digest") else {"commit"}
    if differs := [key for key in wanted if key not in spared and there.get(key) != wanted[key]]:
        what = ", ".join(f"{key} {there.get(key)!r}, not {wanted[key]!r}" for key in differs)
        raise UserError(f"{folder} holds features of other work ({what}): give another target, or remove it")
    known = read_images(folder)
    same = known["path"].tolist() == paths and all(
        np.array_equal(known.get(name), column) for name, column in columns.items()
    )
    if not same:
        raise UserError(
            f"{folder} holds features of other images, the source has changed: give another target, or remove it"
        )


def manifest(folder: Path) -> dict[str, Any]:
    """What the store says of itself."""
    try:
        return json.loads((Path(folder) / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{Path(folder) / MANIFEST} cannot be read ({error}): extract again") from error


def missing(folder: Path) -> list[tuple[int, int, int]]:
    """Shards that are not there yet: (number, first row, row after the last)."""
    return [part for part in _shards(manifest(folder)) if not _file(folder, part[0]).is_file()]


def write_shard(
    folder: Path, number: int, features: np.ndarray, unreadable: Sequence[tuple[int, str]]
) -> None:
    """Writes a shard, whole or not at all; `unreadable` holds (row of the shard, reason)."""
    write_json(_reasons(folder, number), [[int(row), reason] for row, reason in unreadable])
    with atomic_file(_file(folder, number)) as partial, partial.open("wb") as file:
        np.save(file, features)


def unreadable(folder: Path) -> list[tuple[int, str]]:
    """(row, reason) of all images without features."""
    found = []
    for number, first, _ in _shards(manifest(folder)):
        file = _reasons(folder, number)
        try:
            rows = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): remove {_file(folder, number)} and extract again"
            ) from error
        found += [(first + row, reason) for row, reason in rows]
    return found


def read_images(folder: Path) -> dict[str, np.ndarray]:
    """The columns of the table of images.

    Raises:
      UserError: the table is missing or damaged.
    """
    file = Path(folder) / IMAGES
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file} cannot be read ({error}): extract again, into an empty folder") from error
    return {name: table[name].to_numpy() for name in table.column_names}


def remove(folder: Path) -> None:
    """Removes a store, and nothing else that lies in its folder."""
    # The manifest last: without it, shards that stay would be taken for those of the next store.
    for file in reversed(files(folder)):
        file.unlink(missing_ok=True)


def files(folder: Path) -> list[Path]:
    """All files that the features are read from."""
    folder = Path(folder)
    parts = [file(folder, number) for number, _, _ in _shards(manifest(folder)) for file in (_file, _reasons)]
    return [folder / MANIFEST, folder / IMAGES, *parts]


class Stored:
    """Features in shards as one array [n, d]: rows by slice or by numbers, read from the files when asked for.

    Raises:
      UserError: a shard is missing, or has another shape or type than the manifest says.
    """

    ndim = 2

    def __init__(self, folder: Path):
        about = manifest(folder)
        self._rows, self._shape = about["shard_rows"], (about["images"], about["width"])
        self.dtype = np.dtype(about["dtype"])
        self._parts = [self._open(folder, *part) for part in _shards(about)]

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        found = np.empty((len(rows), self._shape[1]), self.dtype)
        shard = rows // self._rows
        for number in np.unique(shard):
            inside = shard == number
            found[inside] = self._parts[number][rows[inside] - number * self._rows]
        return found

    def _open(self, folder: Path, number: int, first: int, last: int) -> np.ndarray:
        file = _file(folder, number)
        try:
            part = np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): run extract again, it fills the gap"
            ) from error
        if part.shape != (last - first, self._shape[1]) or part.dtype != self.dtype:
            raise UserError(f"{file} is {part.dtype} {part.shape}, not what {MANIFEST} says: extract again")
        return part


def _shards(about: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    rows, images = about["shard_rows"], about["images"]
    for number, first in enumerate(range(0, images, rows)):
        yield number, first, min(first + rows, images)


def _file(folder: Path, number: int) -> Path:
    return Path(folder) / f"features-{number:05}.npy"


def _reasons(folder: Path, number: int) -> Path:
    return Path(folder) / f"unreadable-{number:05}.json"
