"""Synthetic people as a source of rows: rendered by a pool of processes, given as JPEG bytes."""

import importlib
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from cion_jax.data.encode import encode_jpeg
from cion_jax.data.importers.row import ImageRow
from cion_jax.data.ordered import chunks, ordered_map
from cion_jax.data.record_schema import COLUMNS, SPLITS

GENERATOR = "cion_jax.data.synthetic"
_QUALITY = 90
_CHUNK = 16
# Starting processes takes a second or two each: not worth it for less.
_INLINE_BELOW = 200
_NUMBERS = tuple(name for name in COLUMNS if name not in ("height", "width"))


def count(spec: Any, *, generator: str = GENERATOR) -> int:
    """How many images the data set has, over all splits."""
    module = importlib.import_module(generator)
    return sum(module.count(spec, split) for split in SPLITS)


def rows(spec: Any, *, workers: int | None = None, generator: str = GENERATOR) -> Iterator[ImageRow]:
    """Yields all images of a synthetic data set, split by split.

    Args:
      spec: the generator's `SyntheticSpec`.
      workers: processes; all cores if None; 0 renders in this process.
      generator: module with `table(spec, split)`, `render(spec, split, index)` and `count(spec, split)`.
    """
    module = importlib.import_module(generator)
    workers = (os.cpu_count() or 1) if workers is None else workers
    jobs = [(s, numbers) for s in SPLITS for numbers in chunks(range(module.count(spec, s)), _CHUNK)]
    tables = {split: module.table(spec, split) for split in SPLITS if module.count(spec, split)}
    for (split, numbers), images in _rendered(spec, jobs, workers, generator):
        for number, jpeg in zip(numbers, images, strict=True):
            values = {name: int(tables[split][name][number]) for name in _NUMBERS}
            yield ImageRow(split=split, file=jpeg, path=f"synthetic/{split}/{number:06}.jpg", **values)


def _rendered(spec, jobs: list, workers: int, generator: str) -> Iterator[tuple[tuple, list[bytes]]]:
    work = partial(_render, generator, spec)
    done = 0
    if workers > 0 and sum(len(numbers) for _, numbers in jobs) > _INLINE_BELOW:
        # Spawned, not forked: the caller may hold JAX's threads.
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                for job, images in ordered_map(pool, work, jobs, window=4 * workers):
                    done += 1
                    yield job, images
        except BrokenProcessPool:
            # A program without `if __name__ == "__main__"`, or one read from a pipe, cannot be spawned.
            pass
    for job in jobs[done:]:
        yield job, work(job)


def _render(generator: str, spec, job: tuple[str, list[int]]) -> list[bytes]:
    split, numbers = job
    module = importlib.import_module(generator)
    return [encode_jpeg(module.render(spec, split, number), quality=_QUALITY) for number in numbers]
