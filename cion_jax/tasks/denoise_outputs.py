"""What denoising leaves: a table of labels, annotations as CION-AL has them, and records to train on."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_file
from cion_jax.core.target_lock import lock_target
from cion_jax.data import pictures, prepare, records
from cion_jax.data.importers.row import ImageRow
from cion_jax.denoise import Result, rows, sums
from cion_jax.denoise.watching import Watch, unwatched
from cion_jax.tasks.denoise_input import Images

LABELS, ANNOS, SETTINGS = "labels.parquet", "annos.json", "settings.json"
# What tells of the labels beside it.
_OF_LABELS = (SETTINGS, ANNOS, "report.html", "report.json")
KEPT, MOVED, REMOVED, NOT_DRAWN = "kept", "moved", "removed", "not drawn"


def actions(result: Result) -> np.ndarray:
    """What became of every image; str [n].

    Kept with what stayed of its tracklet, moved to another group, removed, or, of a random subsample, not drawn.
    """
    levels = result.levels
    final = levels["finished"]
    # Where most of an identity of level 3 went: the passes after it may take an image out and give it to another.
    home = _most_frequent(levels["level 3"], final)
    stayed = (levels["level 1"] >= 0) & (home == final)
    action = np.where(final < 0, REMOVED, np.where(stayed, KEPT, MOVED)).astype("U9")
    action[(final >= 0) & (result.labels < 0)] = NOT_DRAWN
    return action


def _most_frequent(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value >= 0 that most rows of a row's group have, the first of several; -1 for rows of no group; int64 [n]."""
    found = np.full(len(groups), -1)
    chosen = (groups >= 0) & (values >= 0)
    width = int(values.max(initial=0)) + 1
    keys, first, count = np.unique(
        groups[chosen] * width + values[chosen], return_index=True, return_counts=True
    )
    group, value = np.divmod(keys, width)
    of_group = np.full(int(groups.max(initial=-1)) + 1, -1)
    # The last one written stays.
    order = np.lexsort((-first, count))
    of_group[group[order]] = value[order]
    found[groups >= 0] = of_group[groups[groups >= 0]]
    return found


def distances(images: Images, result: Result, *, watch: Watch = unwatched) -> np.ndarray:
    """Cosine distance of each image to the mean of its identity, of a removed one to what level 1 left of its tracklet.

    Returns:
      float32 [n].
    """
    final, tracklet = result.levels["finished"], result.levels["tracklets"]
    identity = sums.of_labels(images.features, final, int(final.max(initial=-1)) + 1)
    out = final < 0
    # Only tracklets that lost an image are needed; 0, 1, ... among them.
    names = np.unique(tracklet[out])
    place = np.minimum(np.searchsorted(names, tracklet), max(len(names) - 1, 0))
    lost = names[place] == tracklet if len(names) else np.zeros(len(tracklet), bool)
    stayed = np.where(lost & (result.levels["level 1"] >= 0), place, -1)
    rest = sums.of_labels(images.features, stayed, len(names))
    found = np.empty(len(final), np.float32)
    with watch("distances", len(final), "images") as counter:
        for part, unit in sums.unit_blocks(images.features, np.zeros(len(final), np.int8)):
            inside, outside = part[~out[part]], part[out[part]]
            found[inside] = sums.distances_to(unit[~out[part]], identity, final[inside])
            found[outside] = sums.distances_to(unit[out[part]], rest, place[outside])
            counter.advance(len(part))
    return found


def subsampled(result: Result, wanted: ConfigDict) -> Result:
    """A random draw of whole identities, if one is wanted; `levels` keeps the labels before it as "finished".

    Raises:
      UserError: not one identity fits.
    """
    if wanted.identities <= 0 and wanted.images <= 0:
        return result
    sizes = np.bincount(result.labels[result.labels >= 0])
    order = np.random.default_rng(wanted.seed).permutation(len(sizes))
    if wanted.identities > 0:
        order = order[: wanted.identities]
    if wanted.images > 0:
        order = order[np.cumsum(sizes[order]) <= wanted.images]
        if len(sizes) and not len(order):
            raise UserError(
                f"subsample.images={wanted.images} is less than the first identity drawn has images"
            )
    drawn = np.zeros(len(sizes) + 1, bool)  # the last one for -1
    drawn[order] = True
    labels = rows.first_appearance(np.where(drawn[result.labels], result.labels, -1))
    return result._replace(labels=labels, levels=result.levels | {"subsample": labels})


def clear(target: Path) -> list[Path]:
    """Removes what an earlier run told of its labels: not every run makes all of it again, and a killed one none.

    Returns:
      the files that were there.
    """
    there = [target / name for name in _OF_LABELS if (target / name).exists()]
    for file in there:
        file.unlink()
    return there


def write(
    target: Path, images: Images, result: Result, distance: np.ndarray, say: Callable[[str], None]
) -> None:
    """Writes labels.parquet, and annos.json where the images have paths."""
    kept = np.flatnonzero(result.labels >= 0)
    table = pa.table(
        {
            "path": pa.array(images.paths.tolist(), pa.string()),
            **{name: images.columns[name] for name in ("video", "tracklet", "frame", "camera")},
            "identity": result.labels,
            "action": pa.array(actions(result)).dictionary_encode(),
            "distance": distance,
        }
    )
    with atomic_file(target / LABELS) as partial:
        pyarrow.parquet.write_table(table, partial)
    say(
        f"wrote {target / 'labels.parquet'}: {len(kept):,} of {len(images):,} images in "
        f"{result.labels.max(initial=-1) + 1:,} identities"
    )
    if all(images.paths[kept]):
        # Readers of CION-AL take the last id for the largest.
        kept = kept[np.argsort(result.labels[kept], kind="stable")]
        with atomic_file(target / ANNOS) as partial, partial.open("w") as file:
            _stream(file, result.labels[kept], images.paths[kept])


def _stream(file, identities: np.ndarray, paths: np.ndarray) -> None:
    """A JSON list of objects with id and file_path, one a line."""
    file.write("[")
    for number, (identity, path) in enumerate(zip(identities.tolist(), paths.tolist(), strict=True)):
        file.write(",\n" if number else "\n")
        file.write(json.dumps({"id": identity, "file_path": path}))
    file.write("\n]\n")


def source_of(images: Images) -> pictures.Pictures:
    """The images that the features were made of.

    Raises:
      UserError: they are not where they were, or the features do not say where.
    """
    source = images.about.get("source", "")
    if not source:
        raise UserError("the images are needed, and these features do not say where they come from")
    if not Path(source).expanduser().exists():
        raise UserError(f"the images were at {source} and are gone: put them back")
    layout = images.about.get("layout", "auto")
    return pictures.open_pictures(Path(source), importer="auto" if layout == "records" else layout)


def places(images: Images, source: pictures.Pictures) -> np.ndarray:
    """The row of `source` that each image is, int64 [n]; -1 where it is gone.

    Raises:
      UserError: several images of a data set have one path.
    """
    paths = [path.encode(errors="backslashreplace").decode() for path in source.paths()]
    names = np.array(paths, object)
    # Where every image of the source has a row, rows are exact, also where several images have one path.
    whole = images.about.get("images") == len(names)
    if whole and (names[images.rows] == images.paths).all():
        return images.rows
    number = {path: row for row, path in enumerate(paths)}
    if len(number) < len(paths) and source.layout == "records":
        raise UserError(
            f"several images of {images.about['source']} have one path: extract into a folder (--config.target=FOLDER)"
        )
    return np.array([number.get(path, -1) for path in images.paths.tolist()], np.int64)


def check_features_of_records(target: Path, images: Images) -> None:
    """Raises UserError where records are of other features, so that their labels must be others too."""
    if not records.is_prepared(target):
        return
    about = json.loads((target / records.SUMMARY_FILE).read_text())
    if about.get("features", images.fingerprint) != images.fingerprint:
        raise UserError(f"{target} holds records of other features: remove it, or give another target")


def find_changed_settings(target: Path, settings: dict[str, Any]) -> list[str]:
    """Names of the settings that differ from those of the last run, where it left records; [] otherwise."""
    if not (records.is_prepared(target / "records") and (target / SETTINGS).is_file()):
        return []
    there = json.loads((target / SETTINGS).read_text())
    return [name for name, value in settings.items() if there.get(name) != value]


def check_records(target: Path, images: Images, result: Result) -> bool:
    """Whether the records of these labels are there.

    Raises:
      UserError: records of other labels are.
    """
    if not records.is_prepared(target):
        return False
    about = json.loads((target / records.SUMMARY_FILE).read_text())
    if about.get("labels") != _fingerprint(images, result):
        raise UserError(f"{target} holds records with other labels: remove it, or give another target")
    return True


def _fingerprint(images: Images, result: Result) -> str:
    return hashlib.sha256(images.fingerprint.encode() + result.labels.tobytes()).hexdigest()


def write_records(target: Path, images: Images, result: Result, say: Callable[[str], None]) -> None:
    """The kept images with their identities as records, unless they are there already; a killed run is gone on with.

    Raises:
      UserError: the images are not where they were when their features were made, none is kept, or the records there
        have other labels.
    """
    if check_records(target, images, result):
        say(f"{target} is there already, with these labels")
        return
    kept = np.flatnonzero(result.labels >= 0)
    if not len(kept):
        raise UserError("no image is left to make records of")
    summary = prepare.resume_rows(
        lambda first: _image_rows(images, result, kept[first:]),
        target,
        label="records",
        total=len(kept),
        about=_about_records(images, result),
    )
    say(f"{target}: {summary['images']['train']:,} images; train with --config.data.train={target}")


def remove_partial_records(target: Path, images: Images, result: Result) -> None:
    """Removes unfinished records of other labels, as large as the images, that a killed run left."""
    keep = prepare.name_partial_folder(target, _about_records(images, result))
    with lock_target(target, "denoise"):
        prepare.remove_partials(target, keep=keep)


def _about_records(images: Images, result: Result) -> dict[str, str]:
    return {
        "source": images.about.get("source", ""),
        "importer": "denoise",
        "features": images.fingerprint,
        "labels": _fingerprint(images, result),
    }


def _image_rows(images: Images, result: Result, kept: np.ndarray) -> Iterator[ImageRow]:
    source = source_of(images)
    place = places(images, source)
    columns, tracklets = images.columns, result.levels["tracklets"]
    for row in kept.tolist():
        if place[row] < 0:
            raise UserError(
                f"{images.paths[row]} is not among the images of {images.about['source']} any more"
            )
        yield ImageRow(
            "train",
            source.file(int(place[row])),
            int(result.labels[row]),
            int(tracklets[row]),
            int(columns["video"][row]),
            max(int(columns["camera"][row]), 0),
            int(columns["frame"][row]),
            images.paths[row],
        )
