"""What denoising leaves: a table of labels, annotations as CION-AL has them, and records to train on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_file
from cion_jax.data import pictures, prepare, records
from cion_jax.data.importers.row import ImageRow
from cion_jax.denoise import Result, rows, sums
from cion_jax.tasks.denoise_input import Images

KEPT, MOVED, REMOVED = "kept", "moved", "removed"


def actions(result: Result) -> np.ndarray:
    """What became of every image: kept in its tracklet, moved to another group, or removed; str [n]."""
    stayed = result.levels["level 1"] >= 0
    return np.where(result.labels < 0, REMOVED, np.where(stayed, KEPT, MOVED))


def distances(images: Images, result: Result) -> np.ndarray:
    """float32 [n]: distance of each image to the mean of its identity, of removed ones to that of their tracklet."""
    labels = result.labels
    groups = np.where(labels >= 0, labels, labels.max(initial=-1) + 1 + result.levels["tracklets"])
    _, groups = np.unique(groups, return_inverse=True)
    # A removed image is compared with what stayed in its tracklet.
    stayed = np.where((labels >= 0) | (result.levels["level 1"] >= 0), groups, -1)
    count = int(groups.max(initial=-1)) + 1
    total = sums.of_labels(images.features, stayed, count)
    left = np.bincount(groups[stayed < 0], minlength=count)[:count] > 0
    empty = left & ~total.any(axis=1)
    if empty.any():
        _sum_tracklets(images, result, groups, total, empty)
    found = np.empty(len(labels), np.float32)
    for part, unit in sums.unit_blocks(images.features, np.zeros(len(labels), np.int64)):
        found[part] = sums.distances_to(unit, total, groups[part])
    return found


def _sum_tracklets(
    images: Images, result: Result, groups: np.ndarray, total: np.ndarray, empty: np.ndarray
) -> None:
    """Fills the sums of removed images' groups with those of all that stayed in their tracklets."""
    tracklet = result.levels["tracklets"]
    kept = np.where(result.levels["level 1"] >= 0, tracklet, -1)
    of_tracklet = sums.of_labels(images.features, kept, int(tracklet.max()) + 1)
    members = np.flatnonzero(empty[groups])
    total[groups[members]] = of_tracklet[tracklet[members]]


def subsampled(result: Result, wanted: ConfigDict) -> Result:
    """A random draw of whole identities, if one is wanted."""
    if wanted.identities <= 0 and wanted.images <= 0:
        return result
    sizes = np.bincount(result.labels[result.labels >= 0])
    order = np.random.default_rng(wanted.seed).permutation(len(sizes))
    if wanted.identities > 0:
        order = order[: wanted.identities]
    if wanted.images > 0:
        order = order[np.cumsum(sizes[order]) <= wanted.images]
    drawn = np.zeros(len(sizes) + 1, bool)
    drawn[order] = True
    labels = rows.first_appearance(np.where(drawn[result.labels], result.labels, -1))
    return result._replace(labels=labels, levels=result.levels | {"subsample": labels})


def write(target: Path, images: Images, result: Result, say: Callable[[str], None]) -> None:
    """Writes labels.parquet, and annos.json where the images have paths."""
    kept = result.labels >= 0
    table = pa.table(
        {
            "path": pa.array(images.paths.tolist(), pa.string()),
            **{name: images.columns[name] for name in ("video", "tracklet", "frame", "camera")},
            "identity": result.labels,
            "action": pa.array(actions(result)).dictionary_encode(),
            "distance": distances(images, result),
        }
    )
    with atomic_file(target / "labels.parquet") as partial:
        pyarrow.parquet.write_table(table, partial)
    say(
        f"wrote {target / 'labels.parquet'}: {kept.sum():,} of {len(images):,} images in "
        f"{result.labels.max(initial=-1) + 1:,} identities"
    )
    if images.paths[0]:
        with atomic_file(target / "annos.json") as partial, partial.open("w") as file:
            _stream(file, result.labels[kept], images.paths[kept])


def _stream(file, identities: np.ndarray, paths: np.ndarray) -> None:
    """A JSON list of objects with id and file_path, one a line."""
    file.write("[")
    for number, (identity, path) in enumerate(zip(identities.tolist(), paths.tolist(), strict=True)):
        file.write(",\n" if number else "\n")
        file.write(json.dumps({"id": identity, "file_path": path}))
    file.write("\n]\n")


def write_records(target: Path, images: Images, result: Result, say: Callable[[str], None]) -> None:
    """The kept images with their identities as records, unless they are there already.

    Raises:
      UserError: the images are not where they were when their features were made.
    """
    if records.is_prepared(target):
        say(f"{target} is there already; remove it to have it made again")
        return
    source = source_of(images)
    if source is None:
        raise UserError("records=True needs the images; these features do not say where they come from")
    number = {path: row for row, path in enumerate(source.paths())}
    kept = np.flatnonzero(result.labels >= 0)
    summary = prepare.prepare_rows(
        _image_rows(images, result, source, number, kept),
        target,
        label="records",
        total=len(kept),
        about={"source": images.about["source"], "importer": "denoise"},
    )
    say(f"{target}: {summary['images']['train']:,} images; train with --config.data.train={target}")


def source_of(images: Images) -> pictures.Pictures | None:
    """The images that the features were made of, if they are still there."""
    source = images.about.get("source", "")
    if not source or not Path(source).expanduser().exists():
        return None
    return pictures.open_pictures(Path(source))


def _image_rows(
    images: Images,
    result: Result,
    source: pictures.Pictures,
    number: dict[str, int],
    kept: np.ndarray,
) -> Iterator[ImageRow]:
    columns = images.columns
    tracklets = result.levels["tracklets"]
    for row in kept.tolist():
        path = images.paths[row]
        if path not in number:
            raise UserError(f"{path} is not among the images of {images.about['source']} any more")
        yield ImageRow(
            "train",
            source.file(number[path]),
            int(result.labels[row]),
            int(tracklets[row]),
            int(columns["video"][row]),
            max(int(columns["camera"][row]), 0),
            max(int(columns["frame"][row]), 0),
            path,
        )
