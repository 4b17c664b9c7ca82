"""What bootstrapping begins with: tracklets as records whose identity is the tracklet, and the truth beside them."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically
from cion_jax.data import pictures, prepare, records, synthetic_videos
from cion_jax.data.importers.row import ImageRow
from cion_jax.data.synthetic import SyntheticSpec
from cion_jax.denoise import frames
from cion_jax.tasks import truth as truths

TRACKLETS, TRUTH, SYNTHETIC = "tracklets", "truth.csv", "synthetic"
_IDS = ("tracklet", "video", "frame")


class Source(NamedTuple):
    """Where the rounds find things.

    Attributes:
      tracklets: records of all images, a tracklet an identity.
      truth: a .csv of true identities by path; "" without truth.
      evaluation: records with query and gallery; "" if there are none.
    """

    tracklets: Path
    truth: str
    evaluation: str


def prepare_source(config: ConfigDict, workdir: Path, say: Callable[[str], None]) -> Source:
    """Records of the tracklets in `workdir`/tracklets, made once.

    Raises:
      UserError: a source without tracklets, videos and frames, or another one than that of `workdir`; a truth that is
        none.
    """
    source, truth, evaluation = config.source, config.truth, ""
    if not source:
        source, truth = str(_synthetic(config.synthetic, workdir, say)), "identity"
        evaluation = source if config.synthetic.eval_identities else ""
    elif truth not in ("", "identity"):
        truths.read_table(truth)  # told before hours of work, not after
    target, table = workdir / TRACKLETS, workdir / TRUTH
    told = str(Path(source).expanduser().absolute()) if config.source else SYNTHETIC
    ready = records.is_prepared(target)
    if ready and (there := json.loads((target / records.SUMMARY_FILE).read_text())["source"]) != told:
        raise UserError(f"{workdir} holds rounds of {there}, not of {source}: give another --workdir")
    if not ready or (truth == "identity" and not table.exists()):
        found = pictures.open_pictures(Path(source))
        if {"train"} < set(found.columns["split"].tolist()):
            found = pictures.open_pictures(Path(source), split="train")
        tracklet = _check(source, found)
        if truth == "identity":
            _write_truth(table, source, found, tracklet)
        if not ready:
            prepare.prepare_rows(
                _rows(found, tracklet),
                target,
                label="tracklets",
                total=len(found),
                about={"source": told, "importer": "bootstrap"},
            )
    return Source(target, str(table) if truth == "identity" else truth, evaluation)


def _synthetic(wanted: ConfigDict, workdir: Path, say: Callable[[str], None]) -> Path:
    """Records of synthetic people in noisy tracklets; their identities are the truth."""
    target = workdir / SYNTHETIC
    people = SyntheticSpec(
        seed=wanted.seed,
        identities=wanted.identities,
        eval_identities=wanted.eval_identities,
        cameras=wanted.cameras,
        lookalikes=wanted.lookalikes,
        colour_shift=wanted.colour_shift,
        daylight=wanted.daylight,
        walk=wanted.walk,
        tracklets_per_identity=(1, 4),
        images_per_tracklet=(6, 30),
        height=wanted.height,
        width=wanted.width,
    )
    spec = synthetic_videos.VideoSpec(people, switches=wanted.switches, cuts=wanted.cuts)
    if records.is_prepared(target):
        there = json.loads((target / records.SUMMARY_FILE).read_text())["spec"]
        if there != json.loads(json.dumps(dataclasses.asdict(spec))):
            raise UserError(f"{workdir} holds rounds of other synthetic people: give another --workdir")
    else:
        say(
            f"no --config.source given: {wanted.identities} synthetic people in tracklets with known faults, drawn here"
        )
        prepare.prepare_synthetic(spec, target, generator=synthetic_videos.__name__)
    return target


def _check(source: str, found: pictures.Pictures) -> np.ndarray:
    """A number from 0 for the tracklet of every image, int64 [n]; a tracklet is named by (video, tracklet)."""
    for name in _IDS:
        if (found.columns[name] < 0).any():
            raise UserError(
                f"{source} (layout {found.layout}) does not say the {name} of its images: make tracklets with the task "
                "tracklets, or give a table with path, identity, tracklet, video and frame (docs/video.md)"
            )
    paths = found.paths()
    if len(set(paths)) < len(paths):
        raise UserError(
            f"{source} names {len(paths) - len(set(paths)):,} images twice: an image is in one tracklet"
        )
    try:
        frames.check(*(found.columns[name] for name in _IDS))
    except ValueError as error:
        raise UserError(f"{source}: {error}: give those of the video (docs/video.md)") from error
    pair = np.stack([found.columns["video"], found.columns["tracklet"]], axis=1)
    return np.unique(pair, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _write_truth(table: Path, source: str, found: pictures.Pictures, tracklet: np.ndarray) -> None:
    true = found.columns["identity"]
    if truths.are_tracklets(true, tracklet, found.columns["video"]):
        raise UserError(
            f"truth=identity, but the identities of {source} are its tracklets: give a .csv with columns path and "
            "identity, or leave truth out"
        )
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["path", "identity"])
    rows.writerows(zip(found.paths(), true.tolist(), strict=True))
    write_atomically(table, text.getvalue().encode(errors="backslashreplace"))


def _rows(found: pictures.Pictures, tracklet: np.ndarray) -> Iterator[ImageRow]:
    columns = {name: found.columns[name] for name in _IDS} | {
        "camera": np.maximum(found.columns["camera"], 0)
    }
    columns = {name: column.tolist() for name, column in columns.items()}
    for row, path in enumerate(found.paths()):
        ids = {name: column[row] for name, column in columns.items()}
        yield ImageRow("train", found.file(row), int(tracklet[row]), path=path, **ids)
