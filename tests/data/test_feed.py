"""The feed keeps order and errors, stays bounded, ends its thread, and overlaps with the consumer."""

import itertools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.data.feed import place_ahead


def test_every_batch_comes_once_and_in_order():
    assert list(place_ahead(iter(range(20)), lambda x: 2 * x)) == [2 * x for x in range(20)]


def test_no_more_is_placed_than_asked_for_plus_ahead():
    placed = []
    feed = place_ahead(itertools.count(), lambda x: placed.append(x) or x, ahead=2)
    assert next(feed) == 0
    time.sleep(0.2)
    # One is out, two wait, one more is in the thread's hand.
    assert len(placed) <= 4, f"{len(placed)} batches are on the device at once"
    feed.close()


@pytest.mark.parametrize("place", [lambda x: 1 / (3 - x), None])
def test_an_error_comes_with_its_batch_and_not_before(place):
    def batches():
        yield from range(3)
        raise ZeroDivisionError("the loader")

    feed = place_ahead(iter(range(9)) if place else batches(), place or (lambda x: x))
    assert len([next(feed) for _ in range(3)]) == 3
    with pytest.raises(ZeroDivisionError):
        next(feed)


def test_the_thread_ends_with_its_consumer():
    feed = place_ahead(itertools.count(), lambda x: x)
    next(feed)
    feed.close()
    assert not [t for t in threading.enumerate() if t.name == "place_ahead"], "the thread outlives the loop"


def test_upload_and_step_overlap():
    """Timestamps: the next batch is placed while the step of the present one runs."""
    size = 400

    @jax.jit
    def step(x):
        return jax.lax.fori_loop(0, 12, lambda _, y: y @ x / size, x)

    x = jnp.ones((size, size))
    step(x).block_until_ready()
    placing, stepping = [], []

    def place(batch):
        begin = time.perf_counter()
        time.sleep(0.05)  # a join and a copy of this length; both leave Python's lock free
        found = jax.device_put(batch)
        placing.append((begin, time.perf_counter()))
        return found

    for batch in place_ahead((np.ones((8, 8), np.float32) for _ in range(6)), place, ahead=1):
        begin = time.perf_counter()
        time.sleep(0.05)
        step(x + batch[0, 0] * 0).block_until_ready()
        stepping.append((begin, time.perf_counter()))
    shared = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in placing for b in stepping)
    total = sum(end - begin for begin, end in placing[1:])
    assert shared > 0.5 * total, f"only {shared / total:.0%} of the placing runs beside steps"
