"""Batched reading over several ArrayRecord files, and files that are not whole."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_record.python import array_record_module

from cion_jax.core.errors import UserError
from cion_jax.data.record_shards import MOST_READS, READS_PER_THREAD, Shard, ShardReader

COUNTS = (3, 1, 40)


@pytest.fixture
def shards(tmp_path):
    number = 0
    made = []
    for place, count in enumerate(COUNTS):
        file = tmp_path / f"part-{place}"
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1,uncompressed")
        for _ in range(count):
            writer.write(content(number))
            number += 1
        writer.close()
        made.append(Shard(file, count))
    return made


def content(number):
    return b"%d:" % number + np.random.default_rng(number).bytes(3000)


def test_records_come_in_the_order_asked_for(shards):
    reader = ShardReader(shards)
    asked = [43, 0, 3, 2, 2, 17, 4]
    assert len(reader) == 44
    assert reader.read(asked) == [content(i) for i in asked]
    assert reader.read(np.array(asked)) == [content(i) for i in asked]
    assert reader.read([]) == []


@pytest.mark.parametrize("index", [-1, 44])
def test_numbers_outside_raise(shards, index):
    with pytest.raises(IndexError, match=f"{index} of 44"):
        ShardReader(shards).read([0, index])


def test_a_pickled_reader_reads_again(shards):
    reader = ShardReader(shards)
    reader.read([0, 20])
    data = pickle.dumps(reader)
    assert len(data) < 2000
    assert pickle.loads(data).read([5]) == [content(5)]


def test_threads_share_a_reader(shards):
    reader = ShardReader(shards)

    def work(seed):
        asked = np.random.default_rng(seed).integers(0, 44, 16).tolist()
        return reader.read(asked) == [content(i) for i in asked]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))


def test_a_record_can_be_located(shards):
    assert ShardReader(shards).locate(6) == f"record 2 of {shards[2].file}"


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1])
def test_a_cut_file_is_named(shards, keep):
    file = shards[2].file
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    reader = ShardReader(shards)
    assert reader.read([0]) == [content(0)]
    with pytest.raises(UserError, match="part-2 is damaged or cut short"):
        reader.read([0, 30])


def test_a_flipped_byte_is_noticed_and_its_file_named(shards):
    file = shards[2].file
    data = bytearray(file.read_bytes())
    place = bytes(data).index(content(30)) + 1500
    data[place] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"part-2 is damaged.*hash"):
        ShardReader(shards).read([30])


def test_a_missing_file_is_named(shards):
    shards[1].file.unlink()
    with pytest.raises(UserError, match="part-1 is missing"):
        ShardReader(shards).read([3])


def test_a_file_with_another_number_of_records_is_named(shards):
    wrong = [Shard(shards[0].file, 4), *shards[1:]]
    with pytest.raises(UserError, match=r"part-0 .*3 records where 4 belong"):
        ShardReader(wrong).read([0])


@pytest.mark.parametrize("threads", [1, 4])
def test_the_threads_that_read_decide_how_many_files_are_read_side_by_side(tmp_path, monkeypatch, threads):
    reading, most, lock = [], [], threading.Lock()

    def slow(self, job):
        with lock:
            reading.append(job)
            most.append(len(reading))
        time.sleep(0.1)
        with lock:
            reading.remove(job)
        return [b""] * len(job[1])

    monkeypatch.setattr(ShardReader, "_read_shard", slow)
    files = 2 * READS_PER_THREAD * threads
    reader = pickle.loads(
        pickle.dumps(ShardReader([Shard(tmp_path / str(i), 1) for i in range(files)], threads))
    )
    reader.read(range(files))
    assert max(most) == READS_PER_THREAD * threads


def test_reads_side_by_side_have_a_limit(tmp_path):
    reader = ShardReader([Shard(tmp_path / "x", 1)], threads=10_000)
    assert reader._threads()._max_workers == MOST_READS
