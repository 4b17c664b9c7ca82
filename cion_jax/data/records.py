"""Prepared data sets: opening a folder of ArrayRecord files with TFDS metadata, and reading its records.

Opening never runs code that a data set's files name or contain.
"""

import functools
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.core.progress import Progress
from cion_jax.data import record_index
from cion_jax.data.record_layout import INFO_FILE, read_layout
from cion_jax.data.record_schema import Record, RecordParser
from cion_jax.data.record_shards import Shard, ShardReader

# Written last by `prepare`: counts, settings and the size in bytes of every file.
SUMMARY_FILE = "prepared.json"
_SCAN_BATCH = 256


class RecordSet:
    """The records of one split, by number. Thread-safe; pickles small and reopens its files on arrival.

    `rs[i]` is one `Record`, `rs.__getitems__([...])` reads many at once and is several times faster a record,
    `rs.columns` are the numbers of all records without reading any.
    """

    def __init__(self, directory: Path, split: str, shards: Sequence[Shard], threads: int = 0):
        self.directory, self.split = Path(directory), split
        self._shards = ShardReader(shards, threads)
        self._start_lazy_parts()

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: int) -> Record:
        """Reads one record.

        Raises:
          IndexError: there is no such record.
          UserError: its file is missing or damaged.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Record]:
        """Reads many records, in the order asked for. Raises what `rs[i]` raises."""
        return [self._parsed(*pair) for pair in zip(indices, self._shards.read(indices), strict=True)]

    def __iter__(self) -> Iterator[Record]:
        for start in range(0, len(self), _SCAN_BATCH):
            yield from self.__getitems__(range(start, min(start + _SCAN_BATCH, len(self))))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Arrays [records]: identity, tracklet, video (int64), camera, frame, height, width (int32).

        They come from the sidecar index. A foreign data set without one is scanned once, and the index is
        kept beside it if the folder can be written to.

        Raises:
          UserError: the index does not belong to the records.
        """
        with self._lock:
            if self._columns is None:
                file = record_index.index_file(self.directory, self.split)
                if file.is_file():
                    self._columns = record_index.read_index(file, len(self))
                else:
                    self._columns = record_index.build_index(file, self._scan())
            return self._columns

    @property
    def fingerprint(self) -> str:
        """Tells data sets apart: equal if and only if split, length and all columns are."""
        columns = self.columns
        if self._fingerprint is None:
            self._fingerprint = record_index.fingerprint(self.split, columns)
        return self._fingerprint

    def __repr__(self) -> str:
        return f"RecordSet({str(self.directory)!r}, {self.split!r}, {len(self):,} records)"

    def __getstate__(self) -> dict:
        return {"directory": self.directory, "split": self.split, "_shards": self._shards}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._start_lazy_parts()

    def _start_lazy_parts(self) -> None:
        self._lock = threading.Lock()
        self._columns = self._fingerprint = None

    @functools.cached_property
    def _parser(self) -> RecordParser:
        return RecordParser()

    def _parsed(self, index: int, data: bytes) -> Record:
        try:
            return self._parser(data)
        except ValueError as error:
            raise UserError(f"{self._shards.locate(index)}: {error}") from error

    def _scan(self) -> Iterator[Record]:
        with Progress(f"Indexing {self.directory.name} {self.split}", len(self), unit="records") as progress:
            for record in self:
                yield record
                progress.advance()


def is_prepared(directory: Path) -> bool:
    """Whether the folder holds TFDS metadata, that is, is or claims to be a prepared data set."""
    return (Path(directory) / INFO_FILE).is_file()


def splits(directory: Path) -> dict[str, int]:
    """Names the splits of a prepared data set and counts their records: {"train": 12936, ...}.

    Raises:
      UserError: the folder is not a prepared data set, or not one of this schema.
    """
    return {
        name: sum(shard.count for shard in shards) for name, shards in read_layout(Path(directory)).items()
    }


def open_split(directory: Path, split: str, threads: int = 0) -> RecordSet:
    """Opens one split of a prepared data set, after a check that its files have their full size.

    Args:
      directory: the data set.
      split: "train", "query" or "gallery".
      threads: threads that will read records at the same time; 0: one per core.

    Raises:
      UserError: no such folder, split or file, or a file of another size than was written.
    """
    directory = Path(directory)
    layout = read_layout(directory)
    if split not in layout:
        raise UserError(
            f"{directory} has no split {split!r}, only {', '.join(map(repr, layout)) or 'none at all'}."
        )
    sizes = _written_sizes(directory)
    for shard in layout[split]:
        if not shard.file.is_file():
            raise UserError(
                f"{shard.file} is missing: the data set is incomplete. Copy it again or prepare it anew."
            )
        size, expected = shard.file.stat().st_size, sizes.get(shard.file.name)
        if expected is not None and size != expected:
            raise UserError(
                f"{shard.file} has {size:,} bytes where {expected:,} were written: it is cut short or "
                "changed. Copy the data set again, or delete its folder and prepare it anew."
            )
    return RecordSet(directory, split, layout[split], threads)


def _written_sizes(directory: Path) -> dict[str, int]:
    file = directory / SUMMARY_FILE
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text())["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({error!r}). Copy the data set again or prepare it anew."
        ) from error
