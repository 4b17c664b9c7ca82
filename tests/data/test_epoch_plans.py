"""Plans of epochs: each made once however many threads ask, and the next one before it is needed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cion_jax.data.epoch_plans import KEPT, EpochPlans

WAIT = 5.0  # seconds; a test that needs them has failed


class Maker:
    """Makes plans, slowly, and remembers for which keys and in which threads."""

    def __init__(self, seconds=0.0):
        self.made, self.threads, self.seconds = [], [], seconds
        self.running, self.most = 0, 0
        self._lock = threading.Lock()

    def __call__(self, key):
        with self._lock:
            self.made.append(key)
            self.threads.append(threading.current_thread())
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        with self._lock:
            self.running -= 1
        return f"plan {key}"

    def has_made(self, *keys):
        end = time.monotonic() + WAIT
        while not (set(keys) <= set(self.made) and not self.running):
            assert time.monotonic() < end, f"{keys} were not made, only {self.made}"
            time.sleep(0.005)
        return True


def test_threads_that_ask_at_once_share_one_plan():
    make = Maker(seconds=0.2)
    plans = EpochPlans(make)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: plans.get(1, None), range(8)))
    assert found == ["plan 1"] * 8
    assert make.made == [1], "threads made plans of their own"


def test_the_next_plan_is_made_in_the_background():
    make = Maker()
    plans = EpochPlans(make)
    plans.get(1, 2)
    assert make.has_made(1, 2)
    assert plans.get(2, 3) == "plan 2"
    assert make.has_made(3)
    assert make.made == [1, 2, 3]
    assert make.threads[1] is not threading.current_thread()
    assert make.threads[1].daemon, "a plan that nobody needs must not delay the end of the process"


def test_the_present_plan_does_not_wait_for_the_next():
    make = Maker(seconds=0.3)
    plans = EpochPlans(make)
    plans.get(1, None)
    start = time.monotonic()
    assert [plans.get(1, 2) for _ in range(20)] == ["plan 1"] * 20
    assert time.monotonic() - start < 0.2
    assert make.has_made(2) and make.made == [1, 2]


def test_a_plan_under_way_in_the_background_is_awaited():
    make = Maker(seconds=0.2)
    plans = EpochPlans(make)
    plans.get(1, 2)
    assert plans.get(2, None) == "plan 2"
    assert make.made == [1, 2]


def test_few_plans_are_kept_and_those_in_use_longest():
    make = Maker()
    plans = EpochPlans(make)
    for key in range(1, KEPT + 2):
        plans.get(1, None)  # a slow thread is still there
        plans.get(key, None)
    assert make.made == list(range(1, KEPT + 2))
    plans.get(2, None)
    assert make.made[-1] == 2, "plans pile up in memory"


def test_steps_in_any_order_do_not_start_a_herd_of_threads():
    make = Maker(seconds=0.02)
    plans = EpochPlans(make)
    for key in range(0, 60, 2):
        plans.get(key, key + 1)
    assert make.most <= 2, "one plan ahead at a time, besides the one asked for"


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()])
def test_a_plan_that_failed_is_made_again_when_asked_for_again(error):
    answers = [error]

    def make(key):
        if answers:
            raise answers.pop()
        return key

    plans = EpochPlans(make)
    with pytest.raises(type(error)):
        plans.get(1, None)
    assert plans.get(1, None) == 1


def test_a_plan_that_failed_in_the_background_is_made_again_when_it_is_needed():
    failed = threading.Event()

    def make(key):
        if key == 2 and not failed.is_set():
            failed.set()
            raise MemoryError
        return key

    plans = EpochPlans(make)
    plans.get(1, 2)
    assert failed.wait(WAIT)
    end = time.monotonic() + WAIT
    while True:
        try:
            assert plans.get(2, None) == 2
            break
        except MemoryError:  # asked for while it was failing
            assert time.monotonic() < end


def test_without_a_thread_the_next_plan_is_made_at_once(monkeypatch):
    def fail(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    make = Maker()
    plans = EpochPlans(make)
    assert plans.get(1, 2) == "plan 1"
    assert plans.get(2, None) == "plan 2"
    assert make.made == [1, 2]
