"""A CSV or Parquet table with the schema's columns, one row an image.

Required: `path` (of the image; absolute, or relative to the table's folder) and `identity`. Optional: `split`
(train, query or gallery; train if absent), `tracklet`, `video`, `camera`, `frame`. Columns named x_... are
the user's own and are ignored; any other name is an error, since it may be a slip.

How the numbers are made: whole numbers are kept. In a Parquet column of strings, or a CSV column whose first
value is not a whole number, all values are names, numbered by first appearance; the names are kept beside the
data (identities.csv, ...). Without `tracklet`, each (identity, video, camera) is one, numbered by first
appearance; without `video` or `frame`, they are unknown and -1; without `camera`, it is 0.
"""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cion_jax.core.errors import UserError
from cion_jax.data.importers.row import UNKNOWN, ImageRow, Numbering, SkippedFile, listed
from cion_jax.data.record_schema import SPLITS

LAYOUT = "table: a .csv or .parquet file with columns path, identity [split, tracklet, video, camera, frame]"
REQUIRED = ("path", "identity")
NAMED = ("identity", "tracklet", "video", "camera")
TELLING = ("tracklet", "video", "frame")
OPTIONAL = ("split", "tracklet", "video", "camera", "frame")
_SUFFIXES = (".csv", ".parquet")
_BATCH_ROWS = 16_384


def detect(path: Path) -> bool:
    """Whether the path is a .csv or .parquet file, or a folder with one that fits; with several, `rows` asks."""
    path = Path(path)
    if path.is_file():
        return path.suffix.lower() in _SUFFIXES
    return bool(_tables_in(path))


def count(path: Path) -> int:
    """How many rows there are; for CSV the number of lines less the header."""
    file = table_file(path)
    if file.suffix.lower() == ".parquet":
        return _parquet(file).metadata.num_rows
    with file.open("rb") as opened:
        blocks = iter(lambda: opened.read(1 << 20), b"")
        return max(sum(block.count(b"\n") for block in blocks) - 1, 0)


def table_file(path: Path) -> Path:
    """The table that `path` names: itself, or the only one in the folder.

    Of several, it is the only one that tells tracklet, video or frame: truth may lie beside tracklets.

    Raises:
      UserError: there is none, or more than one.
    """
    path = Path(path)
    if path.is_file():
        return path
    found = _tables_in(path)
    telling = [file for file in found if not set(TELLING).isdisjoint(_column_names(file))]
    for chosen in (found, telling):
        if len(chosen) == 1:
            return chosen[0]
    what = f"several ({listed(file.name for file in found)})" if found else "none"
    raise UserError(
        f"{path} should hold exactly one table with the columns {' and '.join(REQUIRED)}, but has "
        f"{what}. Name the file itself as the source."
    )


def rows(path: Path, numbering: Numbering | None = None) -> Iterator[ImageRow | SkippedFile]:
    """Yields the images in the order of the table.

    Args:
      path: the table, or the folder that holds it.
      numbering: receives the names of columns that are not numbers.

    Raises:
      UserError: missing or unknown columns, an empty cell, a wrong type or value; names the row (from 1) and
        the column.
    """
    file = table_file(Path(path))
    numbering = numbering if numbering is not None else Numbering()
    names = _column_names(file)
    _check_columns(file, names)
    typed = file.suffix.lower() == ".parquet"
    columns: dict[str, Callable] = {"path": _path, "identity": _Numbers("identity", numbering, typed)}
    for name in OPTIONAL:
        if name in names:
            columns[name] = _split if name == "split" else _Numbers(name, numbering, typed)
    tracklets = Numbering()
    root, number = str(file.parent), 0
    for number, cells in enumerate(_cells(file, list(columns)), start=1):
        row = _converted(file, number, columns, cells)
        identity, video, camera = row["identity"], row.get("video", UNKNOWN), row.get("camera", 0)
        tracklet = row.get("tracklet")
        if tracklet is None:
            tracklet = tracklets.number("tracklet", (identity, video, camera))
        frame, split, relative = row.get("frame", UNKNOWN), row.get("split", "train"), row["path"]
        # os.path, not pathlib: it is several times faster, and rows come in millions.
        image = os.path.join(root, relative)  # noqa: PTH118
        yield ImageRow(split, image, identity, tracklet, video, camera, frame, relative)
    if number == 0:
        raise UserError(f"{file} has no rows.")


def _check_columns(file: Path, names: list[str]) -> None:
    if missing := [name for name in REQUIRED if name not in names]:
        raise UserError(f"{file} lacks the column {' and '.join(missing)}; it has {listed(names, 10)}.")
    known = (*REQUIRED, *OPTIONAL)
    if unknown := [name for name in names if name not in known and not name.startswith("x_")]:
        raise UserError(
            f"{file} has unknown columns: {listed(unknown)}. Known are {', '.join(known)}; "
            "put x_ before the name of a column that is to be ignored."
        )
    if len(set(names)) < len(names):
        raise UserError(f"{file} has two columns of the same name.")


def _converted(file: Path, number: int, columns: dict[str, Callable], cells: tuple) -> dict:
    row = {}
    for (name, convert), cell in zip(columns.items(), cells, strict=True):
        try:
            if cell is None or cell == "":
                raise ValueError("the cell is empty")
            row[name] = convert(cell)
        except ValueError as error:
            raise UserError(f"{file}, row {number:,}, column {name!r}: {error}.") from error
    return row


class _Numbers:
    """Reads a column of whole numbers, or numbers a column of names; its first cell decides which it is."""

    def __init__(self, name: str, numbering: Numbering, typed: bool):
        self._name, self._numbering, self._typed = name, numbering, typed
        self._has_names: bool | None = None

    def __call__(self, cell: object) -> int:
        if self._has_names is None:
            # A typed (Parquet) string is a name even where it looks like a number.
            self._has_names = isinstance(cell, str) and (self._typed or not _is_whole(cell))
            if self._has_names and self._name not in NAMED:
                raise ValueError(f"{cell!r:.80} is not a whole number")
        if self._has_names:
            return self._numbering.number(self._name, cell)
        if type(cell) is int or (isinstance(cell, str) and _is_whole(cell)):
            return int(cell)
        hint = "; the rows before hold numbers" if self._name in NAMED and isinstance(cell, str) else ""
        raise ValueError(f"{cell!r:.80} is not a whole number{hint}")


def _is_whole(text: str) -> bool:
    text = text.strip()
    return text.removeprefix("-").isdecimal() and text.isascii()


def _path(cell: object) -> str:
    if not isinstance(cell, str):
        raise ValueError(f"{cell!r:.80} is not a path")
    return cell


def _split(cell: object) -> str:
    if cell not in SPLITS:
        raise ValueError(f"{cell!r:.80} is not one of {', '.join(SPLITS)}")
    return cell


def _column_names(file: Path) -> list[str]:
    if file.suffix.lower() == ".parquet":
        return list(_parquet(file).schema_arrow.names)
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            return next(csv.reader(opened), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is not a CSV table in UTF-8: {error}") from error


def _cells(file: Path, names: list[str]) -> Iterator[tuple]:
    """The rows as tuples in the order of `names`: strings from CSV, what the column holds from Parquet."""
    try:
        for batch in _batches(file, names):
            yield from zip(*(batch[name].to_pylist() for name in names), strict=True)
    except pa.ArrowInvalid as error:
        raise UserError(f"{file} is not a readable table: {error}") from error


def _batches(file: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    if file.suffix.lower() == ".parquet":
        return _parquet(file).iter_batches(_BATCH_ROWS, columns=names)
    return pyarrow.csv.open_csv(
        file,
        # One thread, so that errors name the row; all cells as text, so that types do not hang on the first
        # block.
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _parquet(file: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is not a readable Parquet file: {error}") from error


def _tables_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            try:
                names = _column_names(file)
            except UserError:
                continue
            if all(name in names for name in REQUIRED):
                found.append(file)
    return found
