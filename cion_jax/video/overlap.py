"""Threads for work on a video that can go on at the same time: the results are those of working in turn."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
_CHECK_SECONDS = 0.1  # how often a thread that waits for room sees that nobody wants more
_END = object()


def run_ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """Yields the items in order while a thread makes the next ones.

    Args:
      items: are made in the thread, one after another. An error is raised behind the items before it.
      depth: how many finished items wait at most.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> bool:
        while not stop.is_set():
            try:
                ready.put((item, error), timeout=_CHECK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:  # it is raised again by the thread that takes the items
            put(_END, error)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()  # files are closed by the thread that opened them

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


class Background:
    """Calls functions in threads, in any order, while the caller goes on.

    Args:
      threads: how many calls run at a time.
      waiting: how many calls may be running or waiting; `call` waits for room, so that memory has a limit.
    """

    def __init__(self, threads: int, waiting: int):
        self._pool = ThreadPoolExecutor(threads)
        self._room = threading.Semaphore(waiting)
        self._error: BaseException | None = None

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Has `function(*arguments)` called; raises the error of an earlier call."""
        self._room.acquire()
        if self._error is not None:
            self._room.release()
            raise self._error
        self._pool.submit(self._run, function, arguments)

    def finish(self) -> None:
        """Waits for all calls; raises the first error among them."""
        self._pool.shutdown(wait=True)
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """Waits for the calls that run, leaves out those that wait, and raises nothing."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, function: Callable[..., Any], arguments: tuple) -> None:
        try:
            if self._error is None:
                function(*arguments)
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._room.release()
