"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Counts towards `total` (None when unknown) and shows done/total, rate and the time left.

    On a terminal it draws one bar; elsewhere it prints a line at most every `log_seconds`. Where a unit stands for
    `weight` things (a step for a batch of images), their rate is shown too. Use as a context manager.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        *,
        unit: str = "images",
        initial: int = 0,
        weight: int = 1,
        weight_unit: str = "",
        log_seconds: float = 15.0,
        stream: TextIO | None = None,
    ):
        self._label, self._total, self._unit = label, total, unit
        self._done, self._initial = initial, initial
        self._weight, self._weight_unit = weight, weight_unit
        self._log_seconds = log_seconds
        self._stream = stream or sys.stderr
        self._start = self._last_line = time.monotonic()
        self._note = ""
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(
                desc=label,
                total=total,
                initial=initial,
                unit=f" {unit}",
                file=self._stream,
                dynamic_ncols=True,
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
            self._bar.set_postfix_str(
                ", ".join(filter(None, [self._note, self._weighted_rate()])), refresh=False
            )
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
        self._last_line = time.monotonic()
        rate = self._rate()
        total = "?" if self._total is None else f"{self._total:,}"
        left = ""
        if self._total is not None and rate > 0:
            left = f", {duration(max(self._total - self._done, 0) / rate)} left"
        notes = "".join(f", {note}" for note in (self._note, self._weighted_rate()) if note)
        self._stream.write(
            f"{self._label}: {self._done:,}/{total} {self._unit}, {rate:,.1f}/s{left}{notes}\n"
        )
        self._stream.flush()

    def _rate(self) -> float:
        return (self._done - self._initial) / max(time.monotonic() - self._start, 1e-9)

    def _weighted_rate(self) -> str:
        return f"{self._rate() * self._weight:,.1f} {self._weight_unit}/s" if self._weight_unit else ""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
