"""Writing records: ArrayRecord shards, the sidecar index of each split, and the metadata that TFDS wants."""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cion_jax.core.errors import UserError
from cion_jax.data import record_schema
from cion_jax.data.record_index import IndexWriter, index_file
from cion_jax.data.record_schema import Record, RecordParser
from cion_jax.data.record_shards import Shard, ShardReader

DATASET_NAME = "cion"
# One record to a group for fast random access; JPEGs do not compress any further.
_WRITER_OPTIONS = "group_size:1,uncompressed"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_READ_AT_ONCE = 256  # records


def reclaim_shards(directory: Path, shards: Mapping[str, Sequence[int]]) -> list[Path]:
    """The files of finished shards that a killed run left, under the names that `RecordWriter.adopt` takes.

    Args:
      directory: of the data set in the making.
      shards: records of every finished shard, by split.
    """
    files = []
    for split, counts in shards.items():
        for number in range(len(counts)):
            files.append(_unfinished(directory, split, number))
            # A run that was killed at its very end has given the shards their final names.
            for renamed in directory.glob(f"{_final_name(split, number)}-of-*"):
                renamed.rename(files[-1])
    return files


class RecordWriter:
    """Writes records one by one into a folder that nobody reads yet (see `core.files.atomic_directory`).

    Args:
      directory: an existing folder.
      shard_bytes: a new file begins when one has grown past this size.
    """

    def __init__(self, directory: Path, *, shard_bytes: int = 256 * 2**20):
        self._directory, self._shard_bytes = Path(directory), shard_bytes
        self._splits: dict[str, _SplitWriter] = {}

    def add(self, split: str, record: Record) -> None:
        """Appends a record to a split.

        Raises:
          ValueError: an unknown split, or a number out of range.
        """
        if split not in record_schema.SPLITS:
            raise ValueError(f"split is {split!r}, not one of {', '.join(record_schema.SPLITS)}")
        record_schema.check(split, record)
        if split not in self._splits:
            self._splits[split] = _SplitWriter(self._directory, split, self._shard_bytes)
        self._splits[split].add(record)

    @property
    def finished_shards(self) -> dict[str, list[int]]:
        """Records of every shard, by split, where no shard is open; {} otherwise."""
        if any(split.is_open for split in self._splits.values()):
            return {}
        return {name: list(split.shard_lengths) for name, split in self._splits.items()}

    def adopt(self, shards: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Record]]:
        """Takes over shards that a killed run finished in this folder, before anything is added.

        Args:
          shards: records of every finished shard, by split: `finished_shards` of that run; see `reclaim_shards`.

        Yields:
          (split, record) of all of them: they are read, since the index of the killed run is lost.

        Raises:
          UserError: a shard is missing or damaged.
        """
        for split, counts in shards.items():
            self._splits[split] = _SplitWriter(self._directory, split, self._shard_bytes)
            for record in self._splits[split].adopt(counts):
                yield split, record

    def finish(self) -> dict[str, int]:
        """Closes all files and writes the TFDS metadata.

        Returns:
          The size in bytes of every data file, by name.
        """
        import tensorflow_datasets as tfds

        for split in self._splits.values():
            split.close()
        template = tfds.core.ShardedFileTemplate(
            data_dir=self._directory,
            template=_TEMPLATE,
            dataset_name=DATASET_NAME,
            filetype_suffix="array_record",
        )
        tfds.folder_dataset.write_metadata(
            data_dir=self._directory,
            features=record_schema.tfds_features(),
            split_infos=[
                tfds.core.SplitInfo(
                    name=name,
                    shard_lengths=split.shard_lengths,
                    num_bytes=split.num_bytes,
                    filename_template=template.replace(split=name),
                )
                for name, split in self._splits.items()
            ],
            version="1.0.0",
            filename_template=template,
            check_data=False,
            description="Images of persons with identity, tracklet, video, camera and frame numbers.",
        )
        return {file.name: file.stat().st_size for split in self._splits.values() for file in split.files}

    def abandon(self) -> None:
        """Closes all files without finishing, so that the folder can be removed."""
        for split in self._splits.values():
            with contextlib.suppress(Exception):
                split.close()


class _SplitWriter:
    """The shards and the index of one split."""

    def __init__(self, directory: Path, split: str, shard_bytes: int):
        self._directory, self._split, self._shard_bytes = directory, split, shard_bytes
        self._index = IndexWriter(index_file(directory, split))
        self._writer = None
        self._open_bytes = 0
        self.shard_lengths: list[int] = []
        self.num_bytes = 0
        self.files: list[Path] = []

    def add(self, record: Record) -> None:
        if self._writer is None:
            self._begin_shard()
        data = record_schema.serialise(record)
        self._writer.write(data)
        self._index.add(record)
        self.shard_lengths[-1] += 1
        self.num_bytes += len(data)
        self._open_bytes += len(data)
        if self._open_bytes >= self._shard_bytes:
            self._end_shard()

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def adopt(self, counts: Sequence[int]) -> Iterator[Record]:
        self.files = [_unfinished(self._directory, self._split, number) for number in range(len(counts))]
        self.shard_lengths = list(counts)
        reader = ShardReader([Shard(*pair) for pair in zip(self.files, counts, strict=True)])
        parse = RecordParser()
        for first in range(0, len(reader), _READ_AT_ONCE):
            for data in reader.read(range(first, min(first + _READ_AT_ONCE, len(reader)))):
                record = parse(data)
                self._index.add(record)
                self.num_bytes += len(data)
                yield record

    def close(self) -> None:
        self._end_shard()
        self._index.close()
        # Only now is the number of shards known that every name must carry.
        for number, file in enumerate(self.files):
            name = f"{_final_name(self._split, number)}-of-{len(self.files):05}"
            self.files[number] = file.rename(self._directory / name)

    def _begin_shard(self) -> None:
        from array_record.python import array_record_module

        file = _unfinished(self._directory, self._split, len(self.files))
        self._writer = array_record_module.ArrayRecordWriter(str(file), _WRITER_OPTIONS)
        self.files.append(file)
        self.shard_lengths.append(0)
        self._open_bytes = 0

    def _end_shard(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()  # reports here, and only here, that some write before has failed
            with self.files[-1].open("rb") as file:
                os.fsync(file.fileno())  # before a ledger says that the shard is there


def _unfinished(directory: Path, split: str, number: int) -> Path:
    return directory / f"{split}-{number:05}.unfinished"


def _final_name(split: str, number: int) -> str:
    """Without the number of all shards."""
    return f"{DATASET_NAME}-{split}.array_record-{number:05}"


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turns a full disk or a lack of permission inside the block into a UserError that names the folder."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        text = str(error)
        # ArrayRecord reports the operating system's failures as RuntimeError, with the system's words inside.
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "quota exceeded" in text:
            raise UserError(
                f"the disk is full: {folder} could not be written. Free some space there."
            ) from error
        if number in (errno.EACCES, errno.EROFS):
            raise UserError(
                f"{folder} cannot be written to ({error.strerror}). Choose another folder."
            ) from error
        raise
