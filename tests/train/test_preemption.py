import signal
import threading

import jax
import pytest

from cion_jax.train import preemption
from cion_jax.train.preemption import PreemptionWatch


@pytest.fixture(autouse=True)
def handler():
    """A handler of the surroundings, which must be there again afterwards."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_noticed_at_the_next_poll_and_stays(handler):
    with PreemptionWatch() as watch:
        assert not watch.reached()
        signal.raise_signal(signal.SIGTERM)
        assert watch.reached() and watch.reached()


def test_afterwards_the_signal_is_its_former_owners(handler):
    with pytest.raises(KeyError), PreemptionWatch():
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_second_watch_knows_nothing_of_the_first(handler):
    with PreemptionWatch():
        signal.raise_signal(signal.SIGTERM)
    with PreemptionWatch() as watch:
        assert not watch.reached()


def test_in_a_thread_that_may_set_no_handler_it_only_never_fires():
    found = []

    def watch():
        with PreemptionWatch() as watch:
            found.append(watch.reached())

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert found == [False]


def test_in_a_cluster_the_service_is_asked_at_numbered_polls_and_keeps_the_signal(handler, monkeypatch):
    polls = []

    def service(number):
        polls.append(number)
        return number == 3

    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(preemption.multihost_utils, "reached_preemption_sync_point", service)
    with PreemptionWatch() as watch:
        assert signal.getsignal(signal.SIGTERM) is handler, "a handler of ours would hide the service's"
        assert [watch.reached() for _ in range(5)] == [False, False, True, True, True]
    # Once agreed on, there is no sync point any more: a poll of one process alone would wait for ever.
    assert polls == [1, 2, 3]
