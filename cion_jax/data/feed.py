"""The next batches on their way to the devices while the present step runs."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

B = TypeVar("B")
P = TypeVar("P")
CHECK_SECONDS = 0.1  # how soon the thread notices that the consumer has left


def place_ahead(batches: Iterator[B], place: Callable[[B], P], *, ahead: int = 2) -> Iterator[P]:
    """Yields place(batch) for every batch, in order. A thread fetches and places the next ones in the meantime.

    Joining the parts of a batch and copying it to a device take tens of milliseconds, in which Python's lock is
    mostly free. In the thread of the training loop they would come between two steps.

    Args:
      batches: host batches; read by the thread alone.
      place: puts one batch on the devices. It must not run a computation that spans processes, since the order of
        those must be the same everywhere.
      ahead: batches that are placed and not yet asked for; each takes memory on the devices.

    Raises:
      Exception: whatever `batches` or `place` raises, when its batch is asked for.
    """
    waiting: queue.Queue = queue.Queue(maxsize=ahead)
    left = threading.Event()

    def put(item: tuple[str, Any]) -> bool:
        while not left.is_set():
            try:
                waiting.put(item, timeout=CHECK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(("batch", place(batch))):
                    return
            put(("end", None))
        except BaseException as error:  # handed to the consumer, which raises it
            put(("error", error))

    thread = threading.Thread(target=work, name="place_ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        left.set()
        thread.join()
