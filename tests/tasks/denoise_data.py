"""Small data for the tests of the task `denoise`: a crowd as numbers, a few people as pictures."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from cion_jax.data.synthetic_tracklets import Tracklets, World, generate
from cion_jax.tasks import feature_shards
from configs import denoise as settings

WORLD = World(people=60, width=32, images=(6, 16), video_frames=20)
PEOPLE, VIDEOS, LENGTH = 3, 2, 4  # of the pictures: who, where, and images of a tracklet


def crowd() -> Tracklets:
    """Some 1,400 images, 220 tracklets, 12 videos, enough for `calibrate`."""
    return generate(WORLD, "light")


def columns_of(made: Tracklets) -> dict[str, np.ndarray]:
    """As extract writes them."""
    return {
        "features": made.features,
        "tracklet": made.tracklets,
        "video": made.videos,
        "frame": made.frames,
        "identity": made.identities,
        "path": np.array([f"{video}/{row:05}.jpg" for row, video in enumerate(made.videos)]),
    }


def save(file: Path, columns: dict[str, np.ndarray]) -> str:
    """Writes .npz."""
    np.savez(file, **columns)
    return str(file)


def config_of(source: str, **values):
    """Settings of the task; dots as double underscores, options__split="yes"."""
    config = settings.get_config()
    config.update_from_flattened_dict(
        {"source": source} | {k.replace("__", "."): v for k, v in values.items()}
    )
    return config.lock()


def labels_in(target: Path) -> dict[str, list]:
    """The columns of labels.parquet."""
    return pyarrow.parquet.read_table(target / "labels.parquet").to_pydict()


def partition(labels) -> set[frozenset]:
    """Groups as sets of rows, whatever their numbers are."""
    labels = np.asarray(labels)
    return {frozenset(np.flatnonzero(labels == name).tolist()) for name in set(labels[labels >= 0].tolist())}


def people(folder: Path) -> dict[str, np.ndarray]:
    """Pictures of three people in two videos, with a table beside them; their columns, with features.

    The last image of the first tracklet shows the second person, who is in that video too.
    """
    count = PEOPLE * VIDEOS * LENGTH
    tracklet, frame = np.arange(count) // LENGTH, np.arange(count) % LENGTH
    video, person = tracklet // PEOPLE, tracklet % PEOPLE
    person[LENGTH - 1] = 1
    paths = np.array([f"v{v}/t{t}/{f}.jpg" for v, t, f in zip(video, tracklet, frame, strict=True)])
    rng = np.random.default_rng(0)
    for row, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((24, 12, 3), 40 + 80 * person[row], np.uint8)
        pixels[:4] = 10 * row
        Image.fromarray(pixels).save(folder / path)
    columns = {"path": paths, "identity": tracklet, "tracklet": tracklet, "video": video, "frame": frame}
    pyarrow.parquet.write_table(pa.table(columns), folder / "tracklets.parquet")
    features = np.eye(8)[person] + 0.02 * rng.normal(size=(count, 8))
    return columns | {"features": features.astype(np.float32), "person": person}


def shards(folder: Path, columns: dict[str, np.ndarray], about: dict, unreadable=(), rows: int = 7) -> str:
    """Writes features as shards, with zeros for unreadable rows."""
    features = columns["features"].copy()
    features[list(unreadable)] = 0
    shape = {"images": len(features), "width": features.shape[1], "dtype": str(features.dtype)}
    ids = {name: columns[name] for name in ("identity", "tracklet", "video", "frame")}
    feature_shards.begin(folder, about | shape | {"shard_rows": rows}, columns["path"].tolist(), ids)
    for number, first, last in feature_shards.missing(folder):
        bad = [(row - first, "torn") for row in unreadable if first <= row < last]
        feature_shards.write_shard(folder, number, features[first:last], bad)
    return str(folder)


def with_about(columns: dict[str, np.ndarray], source: Path, layout: str = "table") -> dict[str, np.ndarray]:
    """Columns with what extract says of their images."""
    about = {"source": str(source), "layout": layout, "images": len(columns["path"])}
    return columns | {"about": np.array(json.dumps(about))}
