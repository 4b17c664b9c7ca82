"""The loader: the rows of the plan, decoded, wherever one starts and however many hosts share a batch."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.data import loader
from cion_jax.data.curriculum import Curriculum
from cion_jax.data.record_schema import Record

COUNT = 40


def jpeg(index, height, width):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (5 * index, 100, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


class Records:
    """Forty plain pictures of ten people, in sizes of their own; number `broken` is no JPEG."""

    def __init__(self, broken=None):
        self.columns = {
            "identity": np.arange(COUNT) // 4,
            "height": 20 + np.arange(COUNT) % 7,
            "width": 10 + np.arange(COUNT) % 5,
        }
        self._broken = broken

    def __len__(self):
        return COUNT

    def __getitems__(self, indices):
        return [self._record(i) for i in indices]

    def _record(self, index):
        height, width = int(self.columns["height"][index]), int(self.columns["width"][index])
        data = b"no picture" if index == self._broken else jpeg(index, height, width)
        return Record(data, height, width, index // 4, 0, 0, 0, index, f"people/{index}.jpg")


def curriculum(batch_size=12):
    return Curriculum(
        Records().columns["identity"], batch_size=batch_size, epochs=3, stages=((0, 2),), seed=1
    )


def batches(first_step=0, host=0, hosts=1, **options):
    chunks = loader.BatchChunks(Records(), curriculum(), (26, 14), host, hosts)
    return list(loader.training_batches(chunks, first_step, **options))


def test_batches_hold_the_rows_of_the_plan_in_order():
    plan, found = curriculum(), batches()
    assert len(found) == plan.total_steps
    for step, batch in enumerate(found):
        np.testing.assert_array_equal(batch["record"], plan.rows(step))
        np.testing.assert_array_equal(batch["identity"], plan.rows(step) // 4)


def test_pictures_lie_in_the_corner_of_a_black_canvas():
    batch = batches()[0]
    assert batch["image"].shape == (12, 26, 14, 3)
    for image, (height, width), record in zip(batch["image"], batch["size"], batch["record"], strict=True):
        assert (height, width) == (20 + record % 7, 10 + record % 5)
        assert abs(int(image[:height, :width, 0].mean()) - 5 * int(record)) <= 2
        assert not image[height:].any()
        assert not image[:, width:].any()


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 3, "batches_ahead": 1}])
def test_what_comes_depends_neither_on_the_start_nor_on_threads(options):
    whole, late = batches(), batches(first_step=4, **options)
    assert len(late) == len(whole) - 4
    for one, other in zip(whole[4:], late, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_worker_processes_change_nothing():
    for one, other in zip(batches(), batches(workers=2), strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_hosts_share_a_batch_in_contiguous_parts():
    whole, parts = batches(), [batches(host=h, hosts=3) for h in range(3)]
    for step, batch in enumerate(whole):
        joined = np.concatenate([part[step]["record"] for part in parts])
        np.testing.assert_array_equal(joined, batch["record"])


def test_a_damaged_record_is_named():
    with pytest.raises(UserError, match=r"record 7 \(people/7.jpg\) does not decode.*prepare it again"):
        loader.decode_rows(Records(broken=7), np.array([6, 7]), (26, 14))


def test_a_picture_larger_than_the_canvas_is_named():
    with pytest.raises(UserError, match=r"record 6 \(people/6.jpg\) is 26x11, larger"):
        loader.decode_rows(Records(), np.array([6]), (25, 14))


def test_a_batch_that_hosts_cannot_share_is_refused():
    with pytest.raises(UserError, match="does not divide by 5"):
        loader.BatchChunks(Records(), curriculum(), (26, 14), 0, 5)


@pytest.mark.parametrize("hosts", [1, 2])
def test_evaluation_takes_every_record_once_in_batches_of_one_shape(hosts):
    found = [
        list(loader.evaluation_batches(Records(), 16, (26, 14), host=h, hosts=hosts)) for h in range(hosts)
    ]
    assert {batch["image"].shape for part in found for batch in part} == {(16 // hosts, 26, 14, 3)}
    assert len({len(part) for part in found}) == 1, "processes must agree on the number of batches"
    rows = [np.concatenate([part[t]["record"] for part in found]) for t in range(len(found[0]))]
    valid = [np.concatenate([part[t]["valid"] for part in found]) for t in range(len(found[0]))]
    np.testing.assert_array_equal(np.concatenate(rows)[np.concatenate(valid)], np.arange(COUNT))


class SlowRecords(Records):
    """Counts how many threads read at the same time."""

    def __init__(self):
        super().__init__()
        self.reading = self.most = 0
        self._lock = threading.Lock()

    def __getitems__(self, indices):
        with self._lock:
            self.reading += 1
            self.most = max(self.most, self.reading)
        time.sleep(0.03)
        with self._lock:
            self.reading -= 1
        return super().__getitems__(indices)


@pytest.mark.parametrize("threads", [1, 8])
def test_evaluation_decodes_in_as_many_threads_as_asked_for(threads):
    records = SlowRecords()
    found = list(loader.evaluation_batches(records, 2, (26, 14), threads=threads))
    assert len(found) == COUNT // 2
    assert records.most == threads


@pytest.mark.parametrize("threads", [1, 8])
def test_training_decodes_small_batches_in_as_many_threads_as_asked_for(threads):
    records = SlowRecords()
    chunks = loader.BatchChunks(records, curriculum(batch_size=4), (26, 14))
    assert chunks.chunks_per_batch == 1
    assert len(list(loader.training_batches(chunks, 0, threads=threads))) == curriculum(4).total_steps
    assert records.most == threads
