"""Work spread over a pool with the results in order and a bounded number of them in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def available_cores() -> int:
    """Cores that this process may use: fewer than the machine has under SLURM and in containers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Splits `items` into lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def ordered_map(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], *, window: int
) -> Iterator[tuple[T, R]]:
    """Yields (item, function(item)) in the order of `items`, at most `window` ahead of the consumer.

    `Executor.map` would read all of `items` at once; here a source of millions streams.
    """
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= window:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()
