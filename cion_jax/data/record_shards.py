"""The ArrayRecord files of one split, read in batches by record number."""

import bisect
import itertools
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cion_jax.core.errors import UserError
from cion_jax.data.ordered import available_cores

# No read-ahead and no threads inside the reader: they serve sequential reading and slow random access.
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_READER_BUFFER = 32_768
# Shards are read side by side, which hides the latency of a cold or remote disk: 8 reads of 10 ms give 800 images/s to
# a decoding thread, about what it decodes. 256 such reads give more images than one process can pass on.
READS_PER_THREAD = 8
MOST_READS = 256


@dataclass(frozen=True)
class Shard:
    """One ArrayRecord file and the number of records that the metadata promise."""

    file: Path
    count: int


class ShardReader:
    """Random access to serialised records. Thread-safe; pickles without open files.

    Args:
      shards: the files.
      threads: threads that will call `read` at the same time; 0: one per core. They decide how many files are read
        side by side.
    """

    def __init__(self, shards: Sequence[Shard], threads: int = 0):
        self.shards, self._callers = tuple(shards), threads
        self._ends = list(itertools.accumulate(shard.count for shard in self.shards))
        self._open_nothing()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Reads the records of these numbers, in their order.

        Raises:
          IndexError: a number outside 0..len-1.
          UserError: a file is missing, cut short or damaged; the message names it.
        """
        places = defaultdict(list)  # shard -> [(position in the shard, place in the answer)]
        for place, index in enumerate(indices):
            if not 0 <= index < len(self):
                raise IndexError(f"record {index} of {len(self)}")
            shard = bisect.bisect_right(self._ends, index)
            start = self._ends[shard] - self.shards[shard].count
            places[shard].append((int(index) - start, place))
        answer: list[bytes] = [b""] * len(indices)
        jobs = [(shard, [position for position, _ in wanted]) for shard, wanted in places.items()]
        results = (
            map(self._read_shard, jobs) if len(jobs) == 1 else self._threads().map(self._read_shard, jobs)
        )
        for wanted, records in zip(places.values(), results, strict=True):
            for (_, place), record in zip(wanted, records, strict=True):
                answer[place] = record
        return answer

    def locate(self, index: int) -> str:
        """Names a record for a message: its file and its number therein."""
        shard = bisect.bisect_right(self._ends, index)
        return f"record {index - (self._ends[shard] - self.shards[shard].count)} of {self.shards[shard].file}"

    def __getstate__(self) -> dict:
        return {"shards": self.shards, "_ends": self._ends, "_callers": self._callers}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open_nothing()

    def _open_nothing(self) -> None:
        self._readers = [None] * len(self.shards)
        self._pool = None
        self._lock = threading.Lock()

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                reads = min(READS_PER_THREAD * (self._callers or available_cores()), MOST_READS)
                self._pool = ThreadPoolExecutor(reads, thread_name_prefix="records")
            return self._pool

    def _read_shard(self, job: tuple[int, list[int]]) -> list[bytes]:
        shard, positions = job
        reader = self._readers[shard]
        if reader is None:
            with self._lock:
                reader = self._readers[shard]
                if reader is None:
                    reader = self._readers[shard] = open_shard(self.shards[shard])
        try:
            return reader.read(positions)
        except (RuntimeError, IndexError, ValueError) as error:
            raise _damaged(self.shards[shard].file, error) from error


def open_shard(shard: Shard):
    """Opens an ArrayRecord file for random access and checks that it is whole.

    Raises:
      UserError: it is missing, cut short, damaged, or holds another number of records than the metadata say.
    """
    from array_record.python import array_record_module

    if not shard.file.is_file():
        raise UserError(
            f"{shard.file} is missing: the data set is incomplete. Copy it again or prepare it anew."
        )
    reader = array_record_module.ArrayRecordReader(
        str(shard.file), options=_READER_OPTIONS, file_reader_buffer_size=_READER_BUFFER
    )
    if not reader.ok():
        try:
            reader.read([0])  # the only way to the reason
        except (RuntimeError, IndexError) as error:
            raise _damaged(shard.file, error) from error
        raise _damaged(shard.file, "it does not open")
    if reader.num_records() != shard.count:
        raise _damaged(shard.file, f"{reader.num_records():,} records where {shard.count:,} belong")
    return reader


def _damaged(file: Path, reason: object) -> UserError:
    return UserError(
        f"{file} is damaged or cut short ({reason}). "
        "Copy the data set again, or delete its folder and prepare it anew."
    )
