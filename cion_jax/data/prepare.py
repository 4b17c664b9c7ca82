"""Preparing: from a folder, an annotation file or the synthetic generator to a data set of records."""

import csv
import dataclasses
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_directory
from cion_jax.core.progress import Progress
from cion_jax.core.target_lock import lock_target
from cion_jax.data import importers
from cion_jax.data.encode import FittedImage, fit_jpeg
from cion_jax.data.importers import synthetic
from cion_jax.data.importers.row import ImageRow, Numbering, SkippedFile
from cion_jax.data.ordered import chunks, ordered_map
from cion_jax.data.record_schema import Record
from cion_jax.data.record_writer import RecordWriter, full_disk_named
from cion_jax.data.records import SUMMARY_FILE

# Part of every summary and cache key: raise it when the same source gives other records.
FORMAT = 2
MAX_SIZE = (384, 192)
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
    shard_bytes: int = 256 * 2**20,
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
        rows,
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
    intake = _Intake(on_bad_image, MAX_SIZE, 256 * 2**20, None)
    return _write(rows, Path(target), intake, label=label, total=total, about=about, names=Numbering())


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
    intake = _Intake("error", MAX_SIZE, 256 * 2**20, None)
    about = {"source": "synthetic", "importer": "synthetic", "spec": dataclasses.asdict(spec)}
    rows = synthetic.rows(spec, workers=workers, generator=generator)
    total = synthetic.count(spec, generator=generator)
    return _write(
        rows, Path(target), intake, label="synthetic people", total=total, about=about, names=Numbering()
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
        self.images[row.split] += 1
        self.identities[row.split].add(row.identity)

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


def _write(
    rows: Iterable[ImageRow | SkippedFile],
    target: Path,
    intake: _Intake,
    *,
    label: str,
    total: int,
    about: dict[str, Any],
    names: Numbering,
) -> dict[str, Any]:
    with full_disk_named(target), lock_target(target, "prepare"):
        _make_way(target)
        return _write_folder(rows, target, intake, label=label, total=total, about=about, names=names)


def _write_folder(
    rows: Iterable[ImageRow | SkippedFile],
    target: Path,
    intake: _Intake,
    *,
    label: str,
    total: int,
    about: dict[str, Any],
    names: Numbering,
) -> dict[str, Any]:
    """The records, whole or not at all, in a target that no other process writes."""
    with atomic_directory(target) as folder:
        writer = RecordWriter(folder, shard_bytes=intake.shard_bytes)
        try:
            with (folder / SKIPPED_FILE).open(
                "w", newline="", encoding="utf-8", errors="backslashreplace"
            ) as file:
                skipped = csv.writer(file)
                skipped.writerow(["path", "reason"])
                tally = _Tally(writer, skipped, intake.on_bad_image)
                with Progress(f"Preparing {label}", total) as progress:
                    for row, result in _fitted(rows, intake):
                        tally.take(row, result)
                        progress.advance(note=f"{tally.left_out:,} left out" if tally.left_out else "")
            tally.check_any(about["source"])
            sizes = writer.finish()
        except BaseException:
            writer.abandon()
            raise
        _write_names(folder, names)
        summary = {
            "format": FORMAT,
            **about,
            "max_size": list(intake.max_size),
            "on_bad_image": intake.on_bad_image,
            "images": dict(tally.images),
            "identities": {split: len(found) for split, found in tally.identities.items()},
            "skipped": tally.left_out,
            "files": sizes,
        }
        # The folder as a whole is atomic, so its files need not be.
        (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return summary


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
        return fit_jpeg(row.file if isinstance(row.file, bytes) else Path(row.file).read_bytes(), max_size)
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
