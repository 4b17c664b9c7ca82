"""Tables of crops: one a video while work goes on, and one of all of them that data sets are made from."""

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cion_jax.core.files import atomic_file, write_atomically
from cion_jax.video.crops import COLUMNS, Columns

KINDS = ("parquet", "csv")
_WHOLE, _FLOATS = COLUMNS[:3], COLUMNS[3:]
_LOCAL = pa.schema(
    [
        ("path", pa.string()),
        *((name, pa.int64()) for name in _WHOLE),
        *((name, pa.float32()) for name in _FLOATS),
    ]
)
# The names that data sets are imported by; a column x_... is the user's own there.
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        *((name, pa.int64()) for name in ("identity", "tracklet", "video")),
        *((name, pa.int32()) for name in ("camera", "frame")),
        *((f"x_{name}", pa.float32()) for name in _FLOATS),
    ]
)


class Counts(NamedTuple):
    """What a table holds."""

    crops: int = 0
    tracklets: int = 0
    videos: int = 0


def write_rows(file: Path, rows: Columns) -> None:
    """Writes the crops of one video, as `CropFolder.finish` gives them, whole or not at all."""
    table = pa.table({name: rows[name] for name in _LOCAL.names}).cast(_LOCAL)
    with atomic_file(file) as partial:
        pyarrow.parquet.write_table(table, partial)


def read_rows(file: Path) -> Columns:
    """The columns that `write_rows` wrote: "path" a list, the others arrays."""
    table = pyarrow.parquet.read_table(file)
    return {
        name: table[name].to_pylist() if name == "path" else table[name].to_numpy()
        for name in table.column_names
    }


class Numbers:
    """Numbers segments and tracklets over all videos, by the order in which they are handed in.

    Every (video, segment) that has crops is a video, every tracklet an identity of its own.
    """

    def __init__(self):
        self.counts = Counts()

    def add(self, prefix: str, camera: int, local: Columns) -> Columns:
        """The columns of `SCHEMA` for one video.

        Args:
          prefix: the folder that the paths are in, relative to the table; "" if they are complete.
          camera: its number.
          local: as `read_rows` gives them; boxes and scores may be missing.
        """
        tracklets, tracklet = np.unique(local["tracklet"], return_inverse=True)
        segments, segment = np.unique(local["segment"], return_inverse=True)
        crops, before, videos = self.counts
        tracklet = before + tracklet
        self.counts = Counts(crops + len(tracklet), before + len(tracklets), videos + len(segments))
        return {
            "path": [f"{prefix}/{path}" if prefix else path for path in local["path"]],
            "identity": tracklet,
            "tracklet": tracklet,
            "video": videos + segment,
            "camera": np.full(len(tracklet), camera),
            "frame": local["frame"],
            **{f"x_{name}": local[name] for name in _FLOATS if name in local},
        }


def write(file: Path, parts: Iterable[Columns]) -> None:
    """Writes the table of all crops, Parquet or CSV as the suffix says, whole or not at all.

    Args:
      file: .parquet or .csv.
      parts: columns of `SCHEMA`, one part at a time in memory.
    """
    with atomic_file(file) as partial, _writer(file, partial) as writer:
        for part in parts:
            table = pa.table({name: part[name] for name in SCHEMA.names if name in part})
            missing = [field for field in SCHEMA if field.name not in part]
            for field in missing:
                table = table.append_column(field.name, pa.nulls(len(table), field.type))
            writer.write_table(table.select(SCHEMA.names).cast(SCHEMA))


def write_csv(file: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a small table for people, whole or not at all; bytes of names that are no UTF-8 become \\xNN."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(head)
    table.writerows(rows)
    write_atomically(file, text.getvalue().encode(errors="backslashreplace"))


@contextlib.contextmanager
def _writer(file: Path, partial: Path) -> Iterator[Any]:
    if file.suffix == ".parquet":
        with pyarrow.parquet.ParquetWriter(partial, SCHEMA) as writer:
            yield writer
    else:
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        with pyarrow.csv.CSVWriter(partial, SCHEMA, write_options=options) as writer:
            yield writer
