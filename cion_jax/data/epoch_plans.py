"""A cache of plans: each made once however many threads ask, and the next one made before it is needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Plan = TypeVar("Plan")

# The plan in use, the one before it that slower threads still read, and the one ahead.
KEPT = 3


class EpochPlans(Generic[Plan]):
    """Gives plans by key. Thread-safe.

    Args:
      make: makes the plan of a key; called once per key, as long as the plan is kept, and in any thread.
    """

    def __init__(self, make: Callable[[Hashable], Plan]):
        self._make = make
        self._lock = threading.Lock()
        self._plans: OrderedDict[Hashable, Future] = OrderedDict()
        self._planning_ahead = False

    def get(self, key: Hashable, following: Hashable | None) -> Plan:
        """The plan of `key`. Starts to make that of `following` in the background, unless it is None.

        The first thread that asks for a plan makes it, and the others wait. Raises what `make` raises.
        """
        with self._lock:
            future, mine = self._entry(key)
            ahead = None
            if following is not None and following not in self._plans and not self._planning_ahead:
                ahead, _ = self._entry(following)
                self._planning_ahead = True
        if mine:
            self._fulfil(key, future)
        if ahead is not None:
            # A daemon: a plan that nobody will need must not delay the end of the process.
            work = threading.Thread(target=self._fulfil_ahead, args=(following, ahead), daemon=True)
            try:
                work.start()
            except RuntimeError:  # the system has no thread left; others may wait for this plan already
                self._fulfil_ahead(following, ahead)
        return future.result()

    def _entry(self, key: Hashable) -> tuple[Future, bool]:
        """The future of a plan, and whether it is new, that is, the caller has to fulfil it. Call under the lock."""
        future = self._plans.get(key)
        new = future is None
        if new:
            future = self._plans[key] = Future()
        self._plans.move_to_end(key)
        while len(self._plans) > KEPT:
            self._plans.popitem(last=False)
        return future, new

    def _fulfil(self, key: Hashable, future: Future) -> None:
        try:
            future.set_result(self._make(key))
        except BaseException as error:  # the waiting threads must hear of it, whatever it is
            with self._lock:
                if self._plans.get(key) is future:
                    del self._plans[key]  # whoever asks next tries again
            future.set_exception(error)

    def _fulfil_ahead(self, key: Hashable, future: Future) -> None:
        try:
            self._fulfil(key, future)
        finally:
            with self._lock:
                self._planning_ahead = False
