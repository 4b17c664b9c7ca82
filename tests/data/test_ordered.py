"""Order and bounded look-ahead of the work pool."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cion_jax.data.ordered import chunks, ordered_map


def test_chunks_cover_everything_in_order():
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []


def test_results_come_in_order_though_work_ends_out_of_order():
    def work(i):
        time.sleep(0.01 if i % 2 == 0 else 0)
        return i * i

    with ThreadPoolExecutor(4) as pool:
        assert list(ordered_map(pool, work, range(20), window=8)) == [(i, i * i) for i in range(20)]


def test_the_source_is_never_read_far_ahead():
    taken = []

    def source():
        for i in range(1000):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        results = ordered_map(pool, lambda i: i, source(), window=5)
        next(results)
        assert len(taken) <= 5
        results.close()


def test_an_error_of_the_work_arrives_and_waiting_work_is_dropped():
    started = threading.Event()

    def work(i):
        if i == 0:
            raise RuntimeError("broken")
        started.wait(0.01)
        return i

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="broken"):
        list(ordered_map(pool, work, range(50), window=10))
