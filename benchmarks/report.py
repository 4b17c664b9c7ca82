"""What the benchmarks share: the machine in words, spread of repeated timings, tables, JSON."""

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Name and load of the machine; on a shared one only ratios taken side by side mean anything."""
    return {
        "system": platform.platform(terse=True),
        "cores": cores(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
    }


def limit_cores(count: int) -> None:
    """Keeps this process, and what it starts, to `count` cores; 0 leaves it alone.

    To be called before JAX or PyTorch make their threads. On a machine that others use too, threads that wait for
    one another lose far more than their share; one core does not.
    """
    if count and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def peak_megabytes() -> float:
    """Largest resident memory of this process so far, MiB (getrusage would count the parent's before exec)."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Rate:
    """Images/s of one piece of work over several turns, by the clock and per second of this process's CPU time."""

    def __init__(self):
        self.wall: list[float] = []
        self.core: list[float] = []

    def add(self, work: Callable[[], int]) -> None:
        """Runs `work`, which gives the number of images that it went through."""
        wall, processor = time.perf_counter(), time.process_time()
        images = work()
        self.core.append(images / max(time.process_time() - processor, 1e-9))
        self.wall.append(images / max(time.perf_counter() - wall, 1e-9))

    def figures(self) -> dict[str, Any]:
        return {"wall": spread(self.wall), "core": spread(self.core)}


def take_turns(works: dict[str, Callable[[], int]], rounds: int) -> dict[str, Any]:
    """Rates of several pieces of work that take turns, so that a passing load meets them all."""
    rates = {name: Rate() for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].add(work)
    return {name: rate.figures() for name, rate in rates.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of repeated measurements."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def brief(value: Any) -> str:
    """A table's entry: three significant digits, "-" for nothing, a spread as "median (low-high)"."""
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return f"{brief(value['median'])} ({brief(value['low'])}-{brief(value['high'])})"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows of equal keys under their keys; the first column is left-aligned."""
    if not rows:
        return
    heads = list(rows[0])
    cells = [heads, *([brief(row.get(head)) for head in heads] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    print(f"\n{title}")
    for line in cells:
        first, *rest = (
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip(), flush=True)


def write(result: Mapping[str, Any], file: Path | None) -> None:
    """Writes the figures as JSON, if a file is asked for."""
    if file:
        file.write_text(json.dumps(result, indent=2) + "\n")
