"""From the plan to decoded batches on the host. The loader only reads and decodes; crops are made on the device.

An element is a chunk of rows of one batch, so that threads or worker processes decode one batch together and record
reads come in bunches. Chunk c of step s holds rows that follow from (seed, s, c) alone: an iterator can start at any
step, under any number of workers, and a host reads its own rows only.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import grain
import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data.curriculum import Curriculum
from cion_jax.data.decode import decode_jpeg
from cion_jax.data.ordered import available_cores

CHUNK_LIMIT = 32  # rows; past this the gain of reading in bunches is gone and the first batch comes late


class Images(Protocol):
    """What the loader needs of a record set."""

    columns: dict[str, np.ndarray]

    def __getitems__(self, indices: list[int]) -> list[Any]: ...


class BatchChunks:
    """Random access to the chunks of this host's part of every batch.

    Args:
      records: a record set.
      curriculum: the plan of the run.
      canvas: height and width of the zero-padded images; every record must fit.
      host: number of this process.
      hosts: processes that share a batch.

    Raises:
      UserError: the batch does not divide by the hosts.
    """

    def __init__(
        self, records: Images, curriculum: Curriculum, canvas: tuple[int, int], host: int = 0, hosts: int = 1
    ):
        if curriculum.batch_size % hosts:
            raise UserError(f"data.batch_size={curriculum.batch_size} does not divide by {hosts} processes")
        self._records, self._curriculum, self._canvas = records, curriculum, canvas
        self._local = curriculum.batch_size // hosts
        self._first = host * self._local
        self.chunk = _chunk_size(self._local)
        self.chunks_per_batch = self._local // self.chunk

    def __len__(self) -> int:
        return self._curriculum.total_steps * self.chunks_per_batch

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        step, part = divmod(int(index), self.chunks_per_batch)
        start = self._first + part * self.chunk
        rows = self._curriculum.rows(step)[start : start + self.chunk]
        return decode_rows(self._records, rows, self._canvas)


def decode_rows(records: Images, rows: np.ndarray, canvas: tuple[int, int]) -> dict[str, np.ndarray]:
    """Reads and decodes records into one zero-padded array.

    Returns:
      "image" uint8 [n, height, width, 3], true area at the top left; "size" int32 [n, 2], true height and width;
      "identity" int32 [n]; "record" int64 [n].

    Raises:
      UserError: a record that does not decode, named by its path.
    """
    images = np.zeros((len(rows), *canvas, 3), np.uint8)
    sizes = np.zeros((len(rows), 2), np.int32)
    for i, record in enumerate(records.__getitems__([int(r) for r in rows])):
        try:
            image = decode_jpeg(record.image)
        except ValueError as error:
            raise UserError(
                f"record {int(rows[i])} ({record.path}) does not decode: {error}. "
                "The data set is damaged: delete its folder and prepare it again"
            ) from error
        height, width = image.shape[:2]
        if height > canvas[0] or width > canvas[1]:
            raise UserError(
                f"record {int(rows[i])} ({record.path}) is {height}x{width}, larger than its index says; "
                "delete the data set's folder and prepare it again"
            )
        images[i, :height, :width] = image
        sizes[i] = height, width
    return {
        "image": images,
        "size": sizes,
        "identity": records.columns["identity"][rows].astype(np.int32),
        "record": np.asarray(rows, np.int64),
    }


def canvas_of(records: Images) -> tuple[int, int]:
    """Height and width that hold every image of the record set."""
    return int(records.columns["height"].max()), int(records.columns["width"].max())


def training_batches(
    chunks: BatchChunks, first_step: int, *, threads: int = 0, workers: int = 0, batches_ahead: int = 2
) -> Iterator[dict[str, np.ndarray]]:
    """This host's rows of every batch from `first_step` to the end of the run.

    Args:
      chunks: the source.
      first_step: where to start; what comes does not depend on where earlier iterators started.
      threads: decoding threads per process; 0: one per core.
      workers: worker processes; 0: decode in threads of this process.
      batches_ahead: batches decoded ahead of use; more where that leaves threads without work.
    """
    dataset = grain.MapDataset.source(chunks)[first_step * chunks.chunks_per_batch :]
    stream = _stream(dataset, chunks.chunks_per_batch, threads, batches_ahead)
    if workers:
        _parse_absl_flags()
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(stream)


def evaluation_batches(
    records: Images,
    batch_size: int,
    canvas: tuple[int, int],
    *,
    threads: int = 0,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """All records in order, in batches of one shape; "valid" bool [n] is False on padding rows.

    Process `host` gets its contiguous `batch_size / hosts` rows of every batch. `threads`: decoding threads; 0: one per
    core.
    """
    local, total = batch_size // hosts, len(records.columns["identity"])
    chunk = _chunk_size(local)
    starts = [
        start
        for batch in range(host * local, total + host * local, batch_size)
        for start in range(batch, batch + local, chunk)
    ]

    def load(start: int) -> dict[str, np.ndarray]:
        rows = np.arange(start, start + chunk)
        decoded = decode_rows(records, np.minimum(rows, total - 1), canvas)
        return decoded | {"valid": rows < total}

    return iter(_stream(grain.MapDataset.source(starts).map(load), local // chunk, threads, batches_ahead=2))


def _chunk_size(rows: int) -> int:
    """The largest number of rows, up to CHUNK_LIMIT, that divides a batch."""
    return max(size for size in range(1, CHUNK_LIMIT + 1) if rows % size == 0)


def _stream(
    chunks: grain.MapDataset, chunks_per_batch: int, threads: int, batches_ahead: int
) -> grain.IterDataset:
    """Batches of decoded chunks, some batches ahead of use, and enough chunks ahead that all threads have work."""
    threads = threads or available_cores()
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(batches_ahead * chunks_per_batch, threads)
    )
    return chunks.to_iter_dataset(options).batch(chunks_per_batch, batch_fn=_join)


def _join(chunks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _parse_absl_flags() -> None:
    # grain's worker processes read absl flags; library users may not have parsed any.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
