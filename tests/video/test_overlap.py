"""Work ahead and in the background gives what working in turn gives."""

import threading
import time

import pytest

from cion_jax.video.overlap import Background, run_ahead


def test_items_come_in_order_and_no_more_than_asked_for_are_made():
    made = []

    def items():
        for n in range(100):
            made.append((n, threading.get_ident()))
            yield n

    ahead = run_ahead(items(), 3)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert 3 <= len(made) <= 5, "one taken, three wait, one in the hand"
    assert list(ahead) == list(range(1, 100))
    assert made[0][1] != threading.get_ident()


def test_an_error_comes_behind_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("third")

    with pytest.raises(ValueError, match="third"):
        list(run_ahead(items(), 8))
    ahead = run_ahead(items(), 8)
    assert [next(ahead), next(ahead)] == [1, 2]


def test_closing_ends_the_thread_and_closes_the_source():
    closed, before = [], threading.active_count()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.get_ident())

    ahead = run_ahead(items(), 2)
    next(ahead)
    ahead.close()
    assert closed and closed[0] != threading.get_ident() and threading.active_count() == before


def test_background_calls_are_all_done_and_bounded():
    done, running, most = [], set(), [0]
    lock = threading.Lock()

    def work(n):
        with lock:
            running.add(n)
            most[0] = max(most[0], len(running))
        time.sleep(0.01)
        with lock:
            running.discard(n)
            done.append(n)

    background = Background(2, 4)
    for n in range(12):
        background.call(work, n)
        assert n - len(done) <= 4, "the caller waits for room"
    background.finish()
    assert sorted(done) == list(range(12)) and most[0] == 2


def test_the_first_error_of_a_background_call_is_raised():
    def fail():
        raise OSError(28, "No space left on device")

    background = Background(1, 2)
    background.call(fail)
    with pytest.raises(OSError, match="No space"):
        for _ in range(100):
            background.call(time.sleep, 0.001)
    background = Background(1, 2)
    background.call(fail)
    with pytest.raises(OSError, match="No space"):
        background.finish()
    background.cancel()
