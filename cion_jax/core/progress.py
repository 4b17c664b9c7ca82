"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Counts towards `total` (None when unknown) and shows done/total, rate and the time left.

    On a terminal it draws one bar; elsewhere it prints a line at most every `log_seconds`. Use as a context manager.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        *,
        unit: str = "images",
        initial: int = 0,
        log_seconds: float = 15.0,
        stream: TextIO | None = None,
    ):
        self._label, self._total, self._unit = label, total, unit
        self._done, self._initial = initial, initial
        self._log_seconds = log_seconds
        self._stream = stream or sys.stderr
        self._start = self._last_line = time.monotonic()
        self._note = ""
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(
                desc=label, total=total, initial=initial, unit=f" {unit}", file=self._stream, dynamic_ncols=True
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Adds `count` finished units; `note` (for example the loss) stands behind the figures."""
        self._done += count
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= self._log_seconds:
            self._print_line()

    def close(self) -> None:
        """Shows the final count."""
        if self._bar is not None:
            self._bar.close()
        elif self._done > self._initial:
            self._print_line()

    def _print_line(self) -> None:
        now = time.monotonic()
        self._last_line = now
        rate = (self._done - self._initial) / max(now - self._start, 1e-9)
        total = "?" if self._total is None else f"{self._total:,}"
        left = ""
        if self._total is not None and rate > 0:
            left = f", {duration(max(self._total - self._done, 0) / rate)} left"
        note = f", {self._note}" if self._note else ""
        self._stream.write(f"{self._label}: {self._done:,}/{total} {self._unit}, {rate:,.1f}/s{left}{note}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
