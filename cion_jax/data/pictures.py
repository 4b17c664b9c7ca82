"""The pictures of any source, read where they lie: for work that needs each of them once, without preparing."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data import importers, records
from cion_jax.data.encode import fit_pixels
from cion_jax.data.image_file import read_image_file
from cion_jax.data.importers import folders
from cion_jax.data.importers.row import UNKNOWN, ImageRow, Numbering, SkippedFile, is_image_name
from cion_jax.data.ordered import chunks, ordered_map

PLAIN = "images"  # the layout of files that belong to nobody in particular
LIST_SUFFIX = ".txt"
NUMBERS = ("identity", "tracklet", "video", "camera", "frame")
_RECORDS_AT_ONCE = 1024
_CHUNK = 16  # images that a thread decodes at a time
_STEP = 64  # pixels: canvases grow by it, so that few shapes occur


class Picture(NamedTuple):
    """A picture as it was read: pixels uint8 [height, width, 3], or None and the reason why not."""

    path: str
    pixels: np.ndarray | None
    reason: str = ""


class Pictures(NamedTuple):
    """The pictures of a source.

    Attributes:
      layout: "records", a name of `importers.IMPORTERS`, or "images".
      columns: arrays [n]: "split" (str), and int64 "identity", "tracklet", "video", "camera", "frame", -1 where
        unknown.
      paths: source paths of all rows.
      file: row number -> the image's file, or its bytes.
      read: row numbers, largest (height, width) -> their pictures, reduced to that size. Thread-safe.
      skipped: (path, reason) of image files that belong to no row.
      names: names of identities and cameras by their number, where the source has names.
    """

    layout: str
    columns: dict[str, np.ndarray]
    paths: Callable[[], list[str]]
    file: Callable[[int], Path | str | bytes]
    read: Callable[[Sequence[int], tuple[int, int]], list[Picture]]
    skipped: list[tuple[str, str]]
    names: dict[str, list]

    def __len__(self) -> int:
        return len(self.columns["identity"])


def open_pictures(source: Path, *, importer: str = "auto", split: str = "") -> Pictures:
    """Lists the pictures of a source without reading them.

    Args:
      source: a prepared data set; a folder or file of a layout that `prepare` imports; any other folder, whose
        images are taken however they are nested; a .txt file with one path a line, relative to its folder; or an
        image.
      importer: a name of `importers.IMPORTERS`, "images", or "auto": what the source looks like. A folder of
        folders counts as one identity each only if no image lies elsewhere.
      split: only this one; all if empty.

    Raises:
      UserError: a source that is missing or without images, an unknown importer or split, a wrong annotation.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise UserError(f"{source} does not exist.")
    if records.is_prepared(source):
        return _of_records(source, split)
    if importer not in ("auto", PLAIN, *importers.IMPORTERS):
        raise UserError(
            f"importer is {importer!r}, not one of auto, {PLAIN}, {', '.join(importers.IMPORTERS)}."
        )
    numbering = Numbering()
    layout, found = _rows(source, importer, numbering)
    rows = [row for row in found if isinstance(row, ImageRow) and (not split or row.split == split)]
    if not rows:
        where = f" of the split {split!r}" if split else ""
        raise UserError(f"{source} holds no images{where}.")
    skipped = [(row.path, row.reason) for row in found if isinstance(row, SkippedFile) and row.is_image]
    columns = {"split": np.array([row.split for row in rows])} | {
        name: np.array([getattr(row, name) for row in rows], np.int64) for name in NUMBERS
    }
    names = {kind: list(known) for kind, known in numbering.names.items() if kind in columns}
    return Pictures(
        layout,
        columns,
        lambda: [row.path for row in rows],
        lambda number: rows[number].file,
        lambda numbers, size: [_read(rows[n], size) for n in numbers],
        skipped,
        names,
    )


def part(pictures: Pictures, first: int, last: int) -> Pictures:
    """Rows first..last-1 of `pictures`, as rows 0 and following."""
    return Pictures(
        pictures.layout,
        {name: column[first:last] for name, column in pictures.columns.items()},
        lambda: pictures.paths()[first:last],
        lambda number: pictures.file(first + number),
        lambda numbers, size: pictures.read([first + n for n in numbers], size),
        pictures.skipped,
        pictures.names,
    )


def batches(
    pictures: Pictures, batch_size: int, *, limit: tuple[int, int], threads: int = 0
) -> Iterator[tuple[dict[str, np.ndarray], list[Picture]]]:
    """All pictures in order, in batches for `evaluation.features.extract`, decoded in threads.

    Args:
      pictures: the source.
      batch_size: rows of a batch; the last one is filled up.
      limit: largest height and width; larger pictures are reduced, aspect kept.
      threads: 0 for one per core.

    Yields:
      The batch: "image" uint8 [b, H, W, 3], where H and W are multiples of 64 that hold the batch's largest, "size"
      int32 [b, 2], "valid" bool [b], "record" int64 [b]; and its pictures without their pixels. One that cannot be
      read is a black point and counts as valid, so that rows keep their number.
    """
    threads = threads or os.cpu_count() or 1
    window = threads + 2 * -(-batch_size // _CHUNK)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        parts = ordered_map(
            pool, lambda rows: pictures.read(rows, limit), chunks(range(len(pictures)), _CHUNK), window=window
        )
        stream = (picture for _, part in parts for picture in part)
        for number, batch in enumerate(chunks(stream, batch_size)):
            yield _stacked(batch, number * batch_size, batch_size), [p._replace(pixels=None) for p in batch]


def _stacked(pictures: list[Picture], first: int, batch_size: int) -> dict[str, np.ndarray]:
    sizes = np.ones((batch_size, 2), np.int32)
    for i, picture in enumerate(pictures):
        if picture.pixels is not None:
            sizes[i] = picture.pixels.shape[:2]
    images = np.zeros((batch_size, *(-(-sizes.max(0) // _STEP) * _STEP), 3), np.uint8)
    for i, picture in enumerate(pictures):
        if picture.pixels is not None:
            images[i, : sizes[i, 0], : sizes[i, 1]] = picture.pixels
    rows = np.arange(batch_size)
    return {"image": images, "size": sizes, "valid": rows < len(pictures), "record": first + rows}


def _of_records(source: Path, split: str) -> Pictures:
    counts = records.splits(source)
    names = [split] if split else [name for name, count in counts.items() if count]
    sets = [records.open_split(source, name) for name in names]
    starts = np.cumsum([0, *map(len, sets)])

    def read(numbers: Sequence[int], size: tuple[int, int]) -> list[Picture]:
        numbers = np.asarray(numbers)
        found = []
        # Numbers come in order, so those of a set are read in one go.
        for start, part in zip(starts, sets, strict=False):
            own = numbers[(numbers >= start) & (numbers < start + len(part))] - start
            for record in part.__getitems__([int(n) for n in own]):
                found.append(_decoded(record.path, record.image, size))
        return found

    columns = {"split": np.repeat(np.array(names), [len(part) for part in sets])} | {
        name: np.concatenate([part.columns[name] for part in sets]).astype(np.int64) for name in NUMBERS
    }

    def file(number: int) -> bytes:
        which = int(np.searchsorted(starts, number, side="right")) - 1
        return sets[which][int(number - starts[which])].image

    return Pictures("records", columns, lambda: _record_paths(sets), file, read, [], {})


def _record_paths(sets: list[records.RecordSet]) -> list[str]:
    """Paths stand in the records themselves: all are read."""
    return [
        record.path
        for part in sets
        for rows in chunks(range(len(part)), _RECORDS_AT_ONCE)
        for record in part.__getitems__(rows)
    ]


def _rows(source: Path, importer: str, numbering: Numbering) -> tuple[str, list[ImageRow | SkippedFile]]:
    """The layout that the source is read as, and its rows."""
    if importer == PLAIN or (source.is_file() and importer == "auto" and _is_list_or_image(source)):
        return PLAIN, list(_plain(source))
    if importer != "auto":
        return importer, list(importers.IMPORTERS[importer].rows(source, numbering))
    for name, module in importers.IMPORTERS.items():
        if module is not folders and module.detect(source):
            return name, list(module.rows(source, numbering))
    if not source.is_dir():
        raise UserError(
            f"{source} is no image, no list of images ({LIST_SUFFIX}), and no table (.csv, .parquet)."
        )
    if folders.detect(source) and (rows := _whole_folders(source, numbering)):
        return "folders", rows
    return PLAIN, list(_plain(source))


def _whole_folders(source: Path, numbering: Numbering) -> list[ImageRow | SkippedFile]:
    """The rows of a folder per identity; none if that layout would leave an image out."""
    try:
        rows = list(folders.rows(source, numbering))
    except UserError:  # parts of a data set
        rows = []
    if any(isinstance(row, SkippedFile) and row.is_image for row in rows) or not rows:
        numbering.names.clear()
        return []
    return rows


def _is_list_or_image(source: Path) -> bool:
    return source.suffix.lower() == LIST_SUFFIX or is_image_name(source.name)


def _plain(source: Path) -> Iterator[ImageRow]:
    """All images of a folder however nested, or those of a list, or one; of no known identity."""
    if source.is_dir():
        root, paths = source, _nested(source)
    elif source.suffix.lower() == LIST_SUFFIX:
        lines = source.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        root, paths = source.parent, [line.strip() for line in lines if line.strip()]
    else:
        root, paths = source.parent, [source.name]
    for path in paths:
        yield ImageRow("", root / path, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, path)


def _nested(root: Path) -> Iterator[str]:
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if name[0] != ".")
        for name in sorted(files):
            if name[0] != "." and is_image_name(name):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _read(row: ImageRow, size: tuple[int, int]) -> Picture:
    try:
        data = row.file if isinstance(row.file, bytes) else read_image_file(row.file)
    except FileNotFoundError:
        return Picture(row.path, None, "the file is missing")
    except OSError as error:
        return Picture(row.path, None, error.strerror or str(error))
    return _decoded(row.path, data, size)


def _decoded(path: str, data: bytes, size: tuple[int, int]) -> Picture:
    try:
        return Picture(path, fit_pixels(data, size))
    except ValueError as error:
        return Picture(path, None, str(error))
