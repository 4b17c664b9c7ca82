"""Do loading and training overlap? The time of a step with batches placed in its own thread and in another.

Trains a few steps of a real configuration on noise pictures, twice in turns: the next batch is joined and copied to the
device by the loop itself, or by the thread of `cion_jax.data.feed`. Prints, in milliseconds per step:

- step: from one step to the next;
- call: how long the call of the update blocks the host. Near the whole step, the host waits for the device and cannot
  prepare anything by itself; a small share of it, dispatch is asynchronous;
- ready: from the call to the end of the computation;
- place: joining and copying one batch.
- beside: share of the placing that runs while the device computes a step, from timestamps, in percent.

    python -m benchmarks.overlap [--config configs/demo.py] [--batch 48] [--steps 20] [--json FILE] [-- key=value ...]
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from cion_jax.core import command_line
from cion_jax.core import mesh as meshes
from cion_jax.data import feed
from cion_jax.data.curriculum import Curriculum
from cion_jax.methods.distill import Distill, Settings
from cion_jax.tasks import settings
from cion_jax.tasks.programs import StepPrograms
from cion_jax.train.schedules import Schedules

WARM_UP = 3  # steps that are not counted: the first compile
CHUNKS = 8  # parts that the loader joins to one batch


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures both ways in turns and prints a table."""
    options = parse(arguments)
    config = command_line.parse(
        ["overlap", f"--config={options.config}", *(f"--config.{key}" for key in options.overrides)],
        about=__doc__,
    ).config
    programs, state = build(config, options)
    turns = {"by the loop": [], "by the thread": []}
    for _ in range(options.turns):
        for name, rows in turns.items():
            state, row = measure(programs, state, options, threaded=name == "by the thread")
            rows.append(row)
    table = {
        name: {key: float(np.median([r[key] for r in rows])) for key in rows[0]}
        for name, rows in turns.items()
    }
    report(table, options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `arguments` stands in for that of the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/demo.py")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument(
        "--canvas", type=int, nargs=2, default=(384, 192), help="height and width of the pictures"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings like model.name=vit_tiny")
    return parser.parse_args(arguments)


def build(config, options: argparse.Namespace) -> tuple[StepPrograms, object]:
    """The compiled step of the configuration, and a fresh state."""
    mesh = meshes.make_mesh(config.mesh.fsdp)
    identities = np.repeat(np.arange(options.batch), 16)
    curriculum = Curriculum(
        identities,
        batch_size=options.batch,
        epochs=1,
        stages=config.train.curriculum[:1],
        seed=0,
        steps=10**6,
    )
    backbone, head = settings.modules(config)
    schedules = Schedules(1000, 0, 1e-4, 1e-4, (0.04, 0.04), (0.99, 0.99))
    method = Distill(
        backbone, head, schedules, Settings(accumulate=config.train.accumulate, shards=mesh.size)
    )
    programs = StepPrograms(config, mesh, method, curriculum, tuple(options.canvas))
    start = time.perf_counter()
    programs.update(curriculum.phases[0])
    print(
        f"{jax.devices()[0].device_kind}: {config.model.name} compiled in {time.perf_counter() - start:.0f} s"
    )
    state = jax.jit(programs.init, out_shardings=programs.layout)(jax.random.key(0))
    return programs, state


def measure(programs: StepPrograms, state, options: argparse.Namespace, *, threaded: bool):
    """Trains WARM_UP + steps steps; (state, medians in milliseconds)."""
    placing: list[tuple[float, float]] = []
    computing: list[tuple[float, float]] = []

    def place(parts: list[dict[str, np.ndarray]]) -> dict[str, jax.Array]:
        begin = time.perf_counter()
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        placed = programs.place(joined)
        jax.block_until_ready(placed)
        placing.append((begin, time.perf_counter()))
        return placed

    batches = (
        feed.place_ahead(host_batches(options), place) if threaded else map(place, host_batches(options))
    )
    times: dict[str, list[float]] = {"step": [], "call": [], "ready": []}
    last = time.perf_counter()
    for step, batch in zip(range(WARM_UP + options.steps), batches, strict=False):
        begin = time.perf_counter()
        state, metrics = programs.step(step, state, batch)
        called = time.perf_counter()
        jax.block_until_ready(metrics)
        now = time.perf_counter()
        computing.append((begin, now))
        for name, seconds in (("step", now - last), ("call", called - begin), ("ready", now - begin)):
            times[name].append(seconds)
        last = now
    if threaded:
        batches.close()
    times["place"] = [end - begin for begin, end in placing]
    medians = {name: 1e3 * float(np.median(values[WARM_UP:])) for name, values in times.items()}
    return state, medians | {"beside": share_beside(placing[WARM_UP:], computing)}


def share_beside(placing: list[tuple[float, float]], computing: list[tuple[float, float]]) -> float:
    """Percent of the placing's time that lies in the time of a computation."""
    shared = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in placing for b in computing)
    return 100 * shared / sum(end - begin for begin, end in placing)


def host_batches(options: argparse.Namespace) -> Iterator[list[dict[str, np.ndarray]]]:
    """Batches in parts, as decoding threads leave them; the pictures are noise and come again."""
    rows, rng = -(-options.batch // CHUNKS), np.random.default_rng(0)
    parts = [
        {
            "image": rng.integers(0, 256, (len(numbers), *options.canvas, 3), np.uint8),
            "size": np.tile(np.int32(options.canvas), (len(numbers), 1)),
            "record": numbers,
        }
        for numbers in np.split(np.arange(options.batch), range(rows, options.batch, rows))
    ]
    while True:
        yield parts


def report(table: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    """Prints the table and writes it as JSON."""
    columns = ["step", "call", "ready", "place", "beside"]
    print(
        f"{'placed':<14}" + "".join(f"{name:>10}" for name in columns) + "   milliseconds, medians; percent"
    )
    for name, row in table.items():
        print(f"{name:<14}" + "".join(f"{row[key]:>10.1f}" for key in columns))
    print(f"the call blocks for {call_share(table):.0%} of a step's computation")
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


def call_share(table: dict[str, dict[str, float]]) -> float:
    """Share of the computation during which the call of the step has not returned."""
    return table["by the thread"]["call"] / table["by the thread"]["ready"]


if __name__ == "__main__":
    main()
