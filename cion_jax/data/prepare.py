"""Preparing: from a folder, an annotation file or the synthetic generator to a data set of records."""

import contextlib
import csv
import dataclasses
import glob
import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_directory
from cion_jax.core.progress import Progress
from cion_jax.core.target_lock import lock_target
from cion_jax.data import importers
from cion_jax.data.encode import FittedImage, fit_jpeg
from cion_jax.data.image_file import read_image_file
from cion_jax.data.importers import synthetic
from cion_jax.data.importers.row import ImageRow, Numbering, SkippedFile
from cion_jax.data.ordered import chunks, ordered_map
from cion_jax.data.record_ledger import LEDGER_FILE, Ledger, read_ledger, write_ledger
from cion_jax.data.record_schema import Record
from cion_jax.data.record_writer import RecordWriter, full_disk_named, reclaim_shards
from cion_jax.data.records import SUMMARY_FILE

# Part of every summary and cache key: raise it when the same source gives other records.
FORMAT = 2
MAX_SIZE = (384, 192)
SHARD_BYTES = 256 * 2**20
SKIPPED_FILE = "skipped.csv"
_NAME_FILES = {
    "identity": "identities.csv",
    "tracklet": "tracklets.csv",
    "video": "videos.csv",
    "camera": "cameras.csv",
}
_CHUNK = 16
# When so many images have failed and none was good, the paths are wrong and the rest is not tried.
_HOPELESS = 1000


def prepare(
    source: Path | str,
    target: Path | str,
    *,
    importer: str = "auto",
    on_bad_image: str = "skip",
    max_size: tuple[int, int] = MAX_SIZE,
    shard_bytes: int = SHARD_BYTES,
    workers: int | None = None,
) -> dict[str, Any]:
    """Imports a folder or annotation file as a data set of records.

    Memory stays constant: rows stream from the importer through a pool of decoding threads into the files. A
    run that is interrupted leaves no `target`.

    Args:
      source: what to import; see `importers.layouts()`.
      target: the folder to make; it must not exist, or be empty.
      importer: a name of `importers.IMPORTERS`, or "auto".
      on_bad_image: "skip" lists bad images in skipped.csv with the reason; "error" stops at the first.
      max_size: largest height and width in pixels; larger images are reduced, aspect kept.
      shard_bytes: size at which a new file begins.
      workers: decoding threads; the number of cores if None.

    Returns:
      The summary that stands in prepared.json: images and identities per split, number of skipped files,
      settings.

    Raises:
      UserError: nothing there, an unknown layout, no readable image, a bad image under "error", a wrong
        annotation, a full disk, a target that is taken.
    """
    source = Path(source)
    name, module = importers.choose(source, importer)
    numbering = Numbering()
    intake = _Intake(on_bad_image, max_size, shard_bytes, workers)
    about = {"source": str(source.absolute()), "importer": name}
    rows = module.rows(source, numbering)
    return _write(
        lambda _: rows,
        Path(target),
        intake,
        label=source.name,
        total=module.count(source),
        about=about,
        names=numbering,
    )


def prepare_rows(
    rows: Iterable[ImageRow | SkippedFile],
    target: Path | str,
    *,
    label: str,
    total: int,
    about: dict[str, Any],
    on_bad_image: str = "skip",
) -> dict[str, Any]:
    """Writes given rows as a data set of records.

    Args:
      rows: what an importer would give.
      target: the folder to make.
      label, total: for the progress display.
      about: "source" and "importer", for the summary.
      on_bad_image: as for `prepare`.

    Returns:
      The summary, as `prepare`.
    """
    intake = _Intake(on_bad_image, MAX_SIZE, SHARD_BYTES, None)
    names = Numbering()
    return _write(lambda _: rows, Path(target), intake, label=label, total=total, about=about, names=names)


def resume_rows(
    rows_from: Callable[[int], Iterable[ImageRow | SkippedFile]],
    target: Path | str,
    *,
    label: str,
    total: int,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Writes rows as `prepare_rows` does, and goes on with what a killed run of the same work has written.

    Until it is whole the data set lies in the folder .NAME.partial-KEY beside the target, where KEY stands for `about`.
    A ledger there says which shards are finished. What killed runs of other work left beside the target is removed.

    Args:
      rows_from: gives the rows from a number on; the same rows in the same order at every call.
      target, label, total: as for `prepare_rows`.
      about: for the summary, as for `prepare_rows`; equal only for equal rows.

    Returns:
      The summary, as `prepare`.
    """
    intake = _Intake("skip", MAX_SIZE, SHARD_BYTES, None)
    partial, names = name_partial_folder(Path(target), about), Numbering()
    return _write(
        rows_from,
        Path(target),
        intake,
        label=label,
        total=total,
        about=about,
        names=names,
        partial=partial,
    )


def name_partial_folder(target: Path, about: dict[str, Any]) -> Path:
    """Where `resume_rows` keeps unfinished records of the rows that `about` stands for."""
    work = json.dumps([FORMAT, MAX_SIZE, SHARD_BYTES, about], sort_keys=True)
    return target.parent / f".{target.name}.partial-{hashlib.sha256(work.encode()).hexdigest()[:16]}"


def remove_partials(target: Path, keep: Path | None = None) -> None:
    """Removes what killed runs left unfinished beside `target`, except the folder `keep`. The caller holds its lock."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.partial-*"):
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)


def prepare_synthetic(
    spec: Any, target: Path | str, *, workers: int | None = None, generator: str = synthetic.GENERATOR
) -> dict[str, Any]:
    """Renders a synthetic data set into records.

    Args:
      spec: a `cion_jax.data.synthetic.SyntheticSpec`.
      target: the folder to make.
      workers: rendering processes; all cores if None; 0 renders in this process.
      generator: the module that renders.

    Returns:
      The summary, as `prepare`.
    """
    intake = _Intake("error", MAX_SIZE, SHARD_BYTES, None)
    about = {"source": "synthetic", "importer": "synthetic", "spec": dataclasses.asdict(spec)}
    rows = synthetic.rows(spec, workers=workers, generator=generator)
    total = synthetic.count(spec, generator=generator)
    return _write(
        lambda _: rows,
        Path(target),
        intake,
        label="synthetic people",
        total=total,
        about=about,
        names=Numbering(),
    )


@dataclasses.dataclass(frozen=True)
class _Intake:
    """How images are taken in."""

    on_bad_image: str
    max_size: tuple[int, int]
    shard_bytes: int
    workers: int | None

    def __post_init__(self):
        if self.on_bad_image not in ("skip", "error"):
            raise UserError(f"on_bad_image is {self.on_bad_image!r}, neither 'skip' nor 'error'.")
        if len(self.max_size) != 2 or min(self.max_size) < 1:
            raise UserError(f"max_size is {self.max_size!r}, not a height and a width in pixels.")


class _Tally:
    """Sends rows to the writer or to the list of skipped files, and counts them."""

    def __init__(self, writer: RecordWriter, skipped: Any, on_bad_image: str):
        self._writer, self._skipped, self._on_bad_image = writer, skipped, on_bad_image
        self.images: Counter[str] = Counter()
        self.identities: dict[str, set[int]] = defaultdict(set)
        self.left_out = 0
        self._first_failure = ""

    def resume(self, ledger: Ledger) -> None:
        """Counts what a killed run has stored, and takes its shards over."""
        for split, record in self._writer.adopt(ledger.shards):
            self._count(split, record.identity)
        self.left_out, self._first_failure = ledger.left_out, ledger.first_failure

    def ledger(self, rows: int, skipped_bytes: int) -> Ledger:
        """What is finished after `rows` rows of the source."""
        shards = self._writer.finished_shards
        return Ledger(rows, shards, self.left_out, self._first_failure, skipped_bytes)

    def take(self, row: ImageRow | SkippedFile, result: FittedImage | str) -> None:
        if isinstance(row, SkippedFile):
            self._skip(row.path, row.reason, is_image=row.is_image)
        elif isinstance(result, str):
            self._skip(row.path, result, is_image=True)
        else:
            self._write(row, result)

    def check_any(self, source: str) -> None:
        """Raises UserError when nothing was stored."""
        if not self.images:
            example = (
                f": all {self.left_out:,} files were left out, first {self._first_failure}"
                if self.left_out
                else ""
            )
            raise UserError(f"no image found in {source}{example}.")

    def _write(self, row: ImageRow, image: FittedImage) -> None:
        record = Record(
            *image, row.identity, row.tracklet, row.video, row.camera, row.frame, row.path
        )  # in the order of its fields: jpeg, height, width, then the numbers
        try:
            self._writer.add(row.split, record)
        except ValueError as error:
            raise UserError(f"{row.path}: {error}. Correct the annotation of this image.") from error
        self._count(row.split, row.identity)

    def _count(self, split: str, identity: int) -> None:
        self.images[split] += 1
        self.identities[split].add(identity)

    def _skip(self, path: str, reason: str, *, is_image: bool) -> None:
        if is_image and self._on_bad_image == "error":
            raise UserError(f"{path}: {reason}. Set on_bad_image to 'skip' to leave such images out.")
        self._skipped.writerow([path, reason])
        self.left_out += 1
        self._first_failure = self._first_failure or f"{path} ({reason})"
        if not self.images and self.left_out == _HOPELESS:
            raise UserError(
                f"none of the first {_HOPELESS:,} images could be taken, first {self._first_failure}."
            )


RowsFrom = Callable[[int], Iterable[ImageRow | SkippedFile]]


def _write(
    rows_from: RowsFrom,
    target: Path,
    intake: _Intake,
    *,
    label: str,
    total: int,
    about: dict[str, Any],
    names: Numbering,
    partial: Path | None = None,
) -> dict[str, Any]:
    """The records, whole or not at all, by one process at a time; with `partial` what it holds is gone on with."""
    with full_disk_named(target), lock_target(target, "prepare"):
        _make_way(target)
        remove_partials(target, keep=partial)
        with atomic_directory(target) if partial is None else _lasting_directory(partial, target) as folder:
            summary = _fill(folder, rows_from, intake, label, total, about["source"], partial is not None)
            _write_names(folder, names)
            summary = {"format": FORMAT, **about} | summary
            # The folder as a whole is atomic, so its files need not be.
            (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return summary


@contextlib.contextmanager
def _lasting_directory(partial: Path, target: Path) -> Iterator[Path]:
    """As `atomic_directory`, but where the block fails the folder stays if a shard in it is finished."""
    partial.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.rename(target)
        (target / LEDGER_FILE).unlink(missing_ok=True)
    except BaseException:
        if not (partial / LEDGER_FILE).exists():
            shutil.rmtree(partial, ignore_errors=True)
        raise


def _fill(
    folder: Path,
    rows_from: RowsFrom,
    intake: _Intake,
    label: str,
    total: int,
    source: str,
    keeps_ledger: bool,
) -> dict[str, Any]:
    """Writes all shards, the index, the metadata and the list of skipped files; what the summary says of them."""
    done = _cleared(folder) if keeps_ledger else Ledger()
    writer = RecordWriter(folder, shard_bytes=intake.shard_bytes)
    try:
        with _list_of_skipped(folder, done) as file:
            tally = _Tally(writer, csv.writer(file), intake.on_bad_image)
            tally.resume(done)
            known = done.shards
            with Progress(f"Preparing {label}", total, initial=done.rows) as progress:
                for rows, (row, result) in enumerate(_fitted(rows_from(done.rows), intake), done.rows + 1):
                    tally.take(row, result)
                    if keeps_ledger and writer.finished_shards not in ({}, known):
                        known = writer.finished_shards
                        file.flush()
                        write_ledger(folder, tally.ledger(rows, file.buffer.tell()))
                    progress.advance(note=f"{tally.left_out:,} left out" if tally.left_out else "")
        tally.check_any(source)
        sizes = writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return {
        "max_size": list(intake.max_size),
        "on_bad_image": intake.on_bad_image,
        "images": dict(tally.images),
        "identities": {split: len(found) for split, found in tally.identities.items()},
        "skipped": tally.left_out,
        "files": sizes,
    }


def _cleared(folder: Path) -> Ledger:
    """The ledger of a killed run, once everything else that it left is gone: what it had begun is done again."""
    ledger = read_ledger(folder)
    kept = [folder / LEDGER_FILE, folder / SKIPPED_FILE, *reclaim_shards(folder, ledger.shards)]
    for file in set(folder.iterdir()) - set(kept):
        file.unlink()
    return ledger


def _list_of_skipped(folder: Path, done: Ledger) -> TextIO:
    """The open list of skipped files, as long as the ledger says."""
    path = folder / SKIPPED_FILE
    if done.skipped_bytes:
        os.truncate(path, done.skipped_bytes)
    file = path.open(
        "a" if done.skipped_bytes else "w", newline="", encoding="utf-8", errors="backslashreplace"
    )
    if not done.skipped_bytes:
        csv.writer(file).writerow(["path", "reason"])
    return file


def _fitted(
    rows: Iterable[ImageRow | SkippedFile], intake: _Intake
) -> Iterator[tuple[ImageRow | SkippedFile, FittedImage | str]]:
    """Pairs every row with its image or with the reason why there is none, in order."""
    workers = intake.workers or os.cpu_count() or 1

    def fit(chunk: list) -> list[FittedImage | str]:
        return ["" if isinstance(row, SkippedFile) else _fit(row, intake.max_size) for row in chunk]

    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for chunk, results in ordered_map(pool, fit, chunks(rows, _CHUNK), window=4 * workers):
            yield from zip(chunk, results, strict=True)


def _fit(row: ImageRow, max_size: tuple[int, int]) -> FittedImage | str:
    try:
        return fit_jpeg(row.file if isinstance(row.file, bytes) else read_image_file(row.file), max_size)
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)


def _write_names(folder: Path, numbering: Numbering) -> None:
    for kind, names in numbering.names.items():
        with (folder / _NAME_FILES[kind]).open(
            "w", newline="", encoding="utf-8", errors="backslashreplace"
        ) as file:
            table = csv.writer(file)
            table.writerow(["number", "name"])
            table.writerows((number, name) for name, number in names.items())


def _make_way(target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    if target.exists():
        raise UserError(f"{target} exists already. Remove it or choose another target.")
