"""How long work tells how far it is: the caller hands in what counts, by default nothing does."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Counter(Protocol):
    """Counts finished units, as `core.progress.Progress` does."""

    def advance(self, count: int = 1) -> None:
        """Adds `count` finished units."""


# (label, total, unit of what is counted) -> a counter, open as long as the work takes.
Watch = Callable[[str, int, str], AbstractContextManager[Counter]]


class _Nobody:
    def advance(self, count: int = 1) -> None:
        pass


def unwatched(label: str, total: int, unit: str) -> AbstractContextManager[Counter]:
    """Counts nothing."""
    return nullcontext(_Nobody())
