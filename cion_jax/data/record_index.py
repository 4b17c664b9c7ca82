"""The sidecar index of a split: the numbers of all records as columns, to plan epochs without reading."""

import contextlib
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically
from cion_jax.data.record_schema import COLUMNS, Record

Columns = dict[str, np.ndarray]
_ROWS_AT_ONCE = 65_536


def index_file(directory: Path, split: str) -> Path:
    """Where the index of `split` lies."""
    return Path(directory) / f"index-{split}.parquet"


class IndexWriter:
    """Appends rows to a Parquet file, holding no more than one row group in memory. Use as a context manager.

    Args:
      target: a path, or a file object opened for writing bytes.
    """

    def __init__(self, target):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, dtype in COLUMNS.items()])
        self._writer = pq.ParquetWriter(target, self._schema, compression="zstd")
        self._rows: dict[str, list[int]] = {name: [] for name in COLUMNS}

    def add(self, record: Record) -> None:
        """Appends the numbers of one record."""
        for name, values in self._rows.items():
            values.append(getattr(record, name))
        if len(self._rows["identity"]) == _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Writes what is left and the footer; a file without it does not read."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows["identity"]:
            self._writer.write_table(pa.table(self._rows, schema=self._schema))
            self._rows = {name: [] for name in COLUMNS}


def read_index(file: Path, count: int) -> Columns:
    """Reads an index of `count` records.

    Returns:
      One array [count] per name of `record_schema.COLUMNS`, of the dtype given there; read-only.

    Raises:
      UserError: the file is damaged or belongs to other records.
    """
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=list(COLUMNS))
        columns = {name: table[name].to_numpy().astype(dtype, copy=False) for name, dtype in COLUMNS.items()}
    except Exception as error:  # pyarrow has many ways to say that a file is no good
        raise UserError(
            f"{file} cannot be read ({error}). Delete it: it is built anew from the records."
        ) from error
    if table.num_rows != count:
        raise UserError(
            f"{file} lists {table.num_rows:,} records where the data set has {count:,}. "
            "Delete it: it is built anew from the records."
        )
    return _frozen(columns)


def build_index(file: Path, records: Iterable[Record]) -> Columns:
    """Makes a missing index by reading every record, and keeps it at `file` if that can be."""
    buffer = io.BytesIO()
    count = 0
    with IndexWriter(buffer) as writer:
        for record in records:
            writer.add(record)
            count += 1
    # A read-only data set still works; it is scanned once per process.
    with contextlib.suppress(OSError):
        write_atomically(file, buffer.getvalue())
    buffer.seek(0)
    return read_index(buffer, count)


def fingerprint(split: str, columns: Mapping[str, np.ndarray]) -> str:
    """A hash of all that decides which records are drawn: the split's name, its length and its columns."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{split}:{len(columns['identity'])}:".encode())
    for name, dtype in COLUMNS.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(columns[name], dtype=np.dtype(dtype).newbyteorder("<")).data)
    return digest.hexdigest()


def _frozen(columns: Columns) -> Columns:
    for values in columns.values():
        values.flags.writeable = False
    return columns
