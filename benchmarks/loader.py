"""How fast does the input side go: decoding, reading, the whole loader, the plan of an epoch, the first batch?

`python -m benchmarks.loader [--noise 12] [--json FILE]`. Pictures are synthetic people drawn here, 256x128, as JPEGs
of quality 90, read from a warm page cache: smooth pictures, 7 kB each, that decode faster than photographs; with
`--noise 12` they take 14 kB. Beside images/s by the clock stand images per second of processor time, the rate of one
core. Other loads touch it less than the clock, but do: the same decoding gave 10,700 and 7,400 in two runs on a busy
machine. Compare within a run.

The plan is taken for 3.9 million records of 247,000 identities, each figure in a process of its own, whose peak
memory it is. Beside it: the same plan as Python loops (shuffle each identity, draw P identities, pop a group from
each), on a set smaller by a factor and scaled linearly, which flatters it: its list removals grow faster.

The start of an epoch is the time until `--plan-threads` threads, as many decode, all have their rows of its first
batches; for the first epoch of a run, and for the second, which begins `--pause` seconds later.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import report

QUALITY = 90
DISTINCT = 64  # pictures drawn; the records repeat them
PHASES = (2, 4, 6, 8)


# --- pictures ---


@dataclasses.dataclass(frozen=True)
class Made:
    """The same pictures as records and as files."""

    folder: Path
    files: list[Path]
    jpegs: list[bytes]
    count: int

    def open(self):
        from cion_jax.data import records

        return records.open_split(self.folder / "records", "train")


@contextlib.contextmanager
def made_records(size: tuple[int, int], count: int, noise: float = 0.0) -> Iterator[Made]:
    """A folder of `count` records of pictures of `size`, four to an identity, for as long as the context lasts.

    `noise` (standard deviation in grey levels) is added to the pictures: it makes JPEGs as heavy as photographs.
    """
    from cion_jax.data import encode, synthetic
    from cion_jax.data.record_schema import Record
    from cion_jax.data.record_writer import RecordWriter

    spec = synthetic.SyntheticSpec(identities=40, height=size[0], width=size[1])
    distinct = min(count, DISTINCT)
    rng = np.random.default_rng(0)
    jpegs = []
    for index in range(distinct):
        picture = synthetic.render(spec, "train", index)
        noisy = np.clip(picture + rng.normal(0.0, noise, picture.shape), 0, 255).astype(np.uint8)
        jpegs.append(encode.encode_jpeg(noisy, quality=QUALITY))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "records").mkdir()
        writer = RecordWriter(folder / "records")
        files = []
        for index in range(count):
            jpeg, person = jpegs[index % distinct], index // 4
            file = folder / f"{index:06}.jpg"
            file.write_bytes(jpeg)
            files.append(file)
            writer.add("train", Record(jpeg, *size, person, person, 0, index % 4, 0, file.name))
        writer.finish()
        yield Made(folder, files, jpegs, count)


def pillow_decode(data: bytes) -> np.ndarray:
    """What a plain PyTorch data set does to a JPEG."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


# --- rates ---


def part_works(made: Made) -> dict[str, Callable[[], int]]:
    """Decoding and reading, each in one thread."""
    from cion_jax.data import decode
    from cion_jax.data.loader import CHUNK_LIMIT, canvas_of, decode_rows

    records = made.open()
    canvas = canvas_of(records)
    order = np.random.default_rng(0).permutation(made.count)
    chunks = np.array_split(order, max(1, made.count // CHUNK_LIMIT))
    singles = order[: max(1, made.count // 8)].tolist()  # the slow way: fewer do
    jpegs = [made.jpegs[index % len(made.jpegs)] for index in range(made.count)]

    def over(items: list, run: Callable[[Any], Any], images: int) -> Callable[[], int]:
        def work() -> int:
            for item in items:
                run(item)
            return images

        return work

    count = made.count
    return {
        "Pillow decoding in a loop": over(jpegs, pillow_decode, count),
        "decode_jpeg in a loop": over(jpegs, decode.decode_jpeg, count),
        "records, read one by one": over(singles, records.__getitem__, len(singles)),
        f"records, read by {CHUNK_LIMIT}": over(
            chunks, lambda rows: records.__getitems__(rows.tolist()), count
        ),
        "read, decode, into canvas": over(chunks, lambda rows: decode_rows(records, rows, canvas), count),
        "JPEG files with Pillow in a loop": over(
            order.tolist(), lambda row: pillow_decode(made.files[row].read_bytes()), count
        ),
    }


def loader_work(made: Made, batch: int, threads: int) -> Callable[[], int]:
    """The training loader from start to end over as many batches as the records fill."""
    from cion_jax.data.curriculum import Curriculum
    from cion_jax.data.loader import BatchChunks, canvas_of, training_batches

    records = made.open()
    steps = max(1, made.count // batch)
    curriculum = Curriculum(
        records.columns["identity"], batch_size=batch, epochs=1, stages=((0, 2),), seed=0, steps=steps
    )
    chunks = BatchChunks(records, curriculum, canvas_of(records))

    def work() -> int:
        # Started anew in each turn: a stream that is already running has decoded ahead, outside the clock.
        return sum(len(b["image"]) for b in training_batches(chunks, 0, threads=threads))

    return work


def loader_works(made: Made, batch: int) -> dict[str, Callable[[], int]]:
    return {
        f"loader, {threads} thread{'s' if threads > 1 else ''}": loader_work(made, batch, threads)
        for threads in sorted({1, report.cores()})
    }


# --- the plan of an epoch ---


def identities(records: int, people: int) -> np.ndarray:
    """Identities of `records` records of `people` people, a few with many images and many with a few, shuffled."""
    rng = np.random.default_rng(0)
    weights = rng.lognormal(0.0, 0.8, people)
    extra = rng.choice(people, records - people, p=weights / weights.sum())
    labels = np.concatenate([np.arange(people), extra]).astype(np.int32)
    return rng.permutation(labels)


def plan(records: int, people: int, batch: int, images_per_identity: int) -> dict[str, float]:
    """Seconds and peak memory to set up a sampler and plan an epoch; run it in a process of its own.

    `images_per_identity` 0: the whole curriculum, that is the samplers of all phases and the first batch.
    """
    from cion_jax.data.curriculum import Curriculum
    from cion_jax.data.sampler import IdentitySampler

    labels = identities(records, people)
    before, start, processor = report.peak_megabytes(), time.perf_counter(), time.process_time()
    if images_per_identity:
        sampler = IdentitySampler(labels, batch // images_per_identity, images_per_identity)
        ready = time.perf_counter() - start
        batches = len(sampler.epoch(0, 0))
    else:
        stages = [(10 * phase, n) for phase, n in enumerate(PHASES)]
        curriculum = Curriculum(labels, batch_size=batch, epochs=40, stages=stages, seed=0)
        ready = time.perf_counter() - start
        curriculum.rows(0)
        batches = curriculum.total_steps
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "seconds_to_set_up": ready,
        "peak_mb": report.peak_megabytes(),
        "peak_mb_before": before,
        "batches": batches,
    }


def loop_plan(labels: np.ndarray, people_per_batch: int, images_per_identity: int) -> list[list[int]]:
    """An epoch as reference implementations plan it, image lists and random draws in Python."""
    rng = random.Random(0)
    images = defaultdict(list)
    for record, label in enumerate(labels.tolist()):
        images[label].append(record)
    groups = {}
    for label, own in images.items():
        if len(own) < images_per_identity:
            own = own + rng.choices(own, k=images_per_identity - len(own))
        rng.shuffle(own)
        whole = len(own) // images_per_identity * images_per_identity
        groups[label] = [own[i : i + images_per_identity] for i in range(0, whole, images_per_identity)]
    available, batches = list(groups), []
    while len(available) >= people_per_batch:
        batch = []
        for label in rng.sample(available, people_per_batch):
            batch += groups[label].pop()
            if not groups[label]:
                available.remove(label)
        batches.append(batch)
    return batches


def plan_rates(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for n in (*PHASES, 0):
        figures = in_fresh_process(
            "plan",
            records=options.records,
            people=options.people,
            batch=options.plan_batch,
            images_per_identity=n,
        )
        row = {"images per identity": str(n) if n else "all phases", **figures, "loops_seconds_scaled": None}
        if n:
            row["loops_seconds_scaled"] = loop_seconds(options, n)
        rows.append(row)
    return rows


def epoch_start_rates(options: argparse.Namespace) -> list[dict[str, Any]]:
    figures = in_fresh_process(
        "epoch_start",
        records=options.records,
        people=options.people,
        batch=options.plan_batch,
        threads=options.plan_threads,
        pause=options.pause,
    )
    return [
        {
            "epoch": name,
            "seconds": figures[f"{name}_seconds"],
            "plans made": figures[f"{name}_plans"],
            "peak MB": figures[f"{name}_peak_mb"],
            "of it before": figures["peak_mb_before"],
        }
        for name in ("first", "second")
    ]


def loop_seconds(options: argparse.Namespace, images_per_identity: int) -> float:
    """Seconds of `loop_plan` on a set smaller by `loop_scale`, times that factor."""
    scale = options.loop_scale
    labels = identities(options.records // scale, options.people // scale)
    people_per_batch = options.plan_batch // images_per_identity
    start = time.perf_counter()
    loop_plan(labels, people_per_batch, images_per_identity)
    return (time.perf_counter() - start) * scale


def epoch_start(records: int, people: int, batch: int, threads: int, pause: float) -> dict[str, Any]:
    """Seconds until all of `threads` threads have rows of the first batches of an epoch, plans made, peak memory.

    Run it in a process of its own. "first" and "second" epoch of a run; `pause`: seconds between them.
    """
    from cion_jax.data.curriculum import Curriculum
    from cion_jax.data.sampler import IdentitySampler

    planned: list[int] = []
    make_plan = IdentitySampler.epoch

    def counted(self, seed: int, epoch: int) -> np.ndarray:
        planned.append(epoch)
        return make_plan(self, seed, epoch)

    IdentitySampler.epoch = counted
    stages = ((0, PHASES[0]),)
    curriculum = Curriculum(identities(records, people), batch_size=batch, epochs=4, stages=stages, seed=0)
    result: dict[str, Any] = {"peak_mb_before": report.peak_megabytes()}
    for epoch, name in enumerate(("first", "second")):
        first_step = epoch * curriculum.phases[0].epoch_length
        result[f"{name}_seconds"] = _together(curriculum.rows, first_step, threads)
        result[f"{name}_peak_mb"] = report.peak_megabytes()
        time.sleep(pause)
    return result | {"first_plans": planned.count(0), "second_plans": planned.count(1)}


def _together(rows: Callable[[int], np.ndarray], first_step: int, threads: int) -> float:
    """Seconds until every one of the threads has rows; they begin at once."""
    barrier = threading.Barrier(threads + 1)

    def work() -> None:
        barrier.wait()
        rows(first_step)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start


# --- the first batch ---


def first_batch(folder: str, batch: int) -> dict[str, float]:
    """Seconds from a fresh process to the first batch, by stage."""
    marks = [time.perf_counter()]
    from cion_jax.data import loader, records
    from cion_jax.data.curriculum import Curriculum

    marks.append(time.perf_counter())
    opened = records.open_split(Path(folder), "train")
    labels, canvas = opened.columns["identity"], loader.canvas_of(opened)
    marks.append(time.perf_counter())
    curriculum = Curriculum(labels, batch_size=batch, epochs=1, stages=((0, 2),), seed=0)
    chunks = loader.BatchChunks(opened, curriculum, canvas)
    stream = loader.training_batches(chunks, 0)
    next(stream)
    marks.append(time.perf_counter())
    next(stream)
    marks.append(time.perf_counter())
    names = ("imports", "open data set", "first batch", "second batch")
    return {name: after - before for name, before, after in zip(names, marks, marks[1:], strict=False)}


def in_fresh_process(function: str, **arguments: Any) -> dict[str, Any]:
    """Result of a function of this file in an interpreter of its own."""
    code = (
        "import json, sys; from benchmarks import loader; "
        "print(json.dumps(getattr(loader, sys.argv[1])(**json.loads(sys.argv[2]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, function, json.dumps(arguments)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


# --- all of it ---


def measure(options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": report.machine(), "batch": options.batch}
    with made_records((options.height, options.width), options.images, options.noise) as made:
        result["jpeg_kb"] = sum(map(len, made.jpegs)) / len(made.jpegs) / 1000
        result["size"], result["noise"] = [options.height, options.width], options.noise
        result["rates"] = report.take_turns(
            part_works(made) | loader_works(made, options.batch), options.rounds
        )
        folder = str(made.folder / "records")
        result["first_batch_seconds"] = in_fresh_process("first_batch", folder=folder, batch=options.batch)
    result["plan_of"] = {
        "records": options.records,
        "identities": options.people,
        "batch": options.plan_batch,
        "loops_scaled_by": options.loop_scale,
        "threads": options.plan_threads,
        "pause": options.pause,
    }
    result["plan"] = plan_rates(options) if options.plan else []
    result["epoch_start"] = epoch_start_rates(options) if options.plan else []
    return result


def show(result: dict[str, Any]) -> None:
    machine, (height, width) = result["machine"], result["size"]
    print(f"{machine['cores']} cores, load {machine['load_average']} at the start")
    base = result["rates"]["Pillow decoding in a loop"]["core"]["median"]
    rows = [
        {
            "images/s": name,
            "by the clock": rate["wall"],
            "per core": rate["core"],
            "against Pillow": rate["core"]["median"] / base,
        }
        for name, rate in result["rates"].items()
    ]
    report.show_table(f"{height}x{width}, {result['jpeg_kb']:.1f} kB a JPEG, batch {result['batch']}", rows)
    of = result["plan_of"]
    rows = [
        {
            "images per identity": row["images per identity"],
            "seconds": row["seconds"],
            "CPU seconds": row["processor_seconds"],
            "peak MB": row["peak_mb"],
            "of it before": row["peak_mb_before"],
            "batches": row["batches"],
            "Python loops, s": row["loops_seconds_scaled"],
        }
        for row in result["plan"]
    ]
    report.show_table(
        f"Plan of an epoch: {of['records']:,} records, {of['identities']:,} identities, batch {of['batch']} "
        f"(loops: 1/{of['loops_scaled_by']} of it, scaled)",
        rows,
    )
    report.show_table(
        f"Start of an epoch of the same records, {of['threads']} threads, {of['pause']} s between the epochs",
        result["epoch_start"],
    )
    first = result["first_batch_seconds"]
    report.show_table(
        f"From a fresh process to batch {result['batch']}",
        [{"stage": stage, "seconds": seconds} for stage, seconds in first.items()],
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--height", type=int, default=256)
    add("--width", type=int, default=128)
    add("--images", type=int, default=3840, help="records to read in each turn")
    add("--noise", type=float, default=0.0, help="grey levels of noise on the pictures, for heavier JPEGs")
    add("--plan", action=argparse.BooleanOptionalAction, default=True, help="measure the epoch's plan too")
    add("--batch", type=int, default=120)
    add("--rounds", type=int, default=5)
    add("--records", type=int, default=3_898_086, help="records of the planned epoch")
    add("--people", type=int, default=246_904, help="identities of the planned epoch")
    add("--plan-batch", type=int, default=960)
    add("--plan-threads", type=int, default=8, help="threads that wait for the plan of an epoch")
    add("--pause", type=float, default=30.0, help="seconds between the first and the second epoch")
    add("--loop-scale", type=int, default=50, help="the Python loops plan one part in so many")
    add("--quick", action="store_true", help="tiny sizes: a test that it runs, not a measurement")
    add("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.height, options.width, options.images, options.batch, options.rounds = 64, 32, 64, 16, 1
        options.records, options.people, options.plan_batch, options.loop_scale = 20_000, 1_500, 24, 5
        options.pause = 0.2
    return options


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    result = measure(options)
    show(result)
    report.write(result, options.json)
    return result


if __name__ == "__main__":
    main()
