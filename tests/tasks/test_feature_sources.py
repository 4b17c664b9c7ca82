"""Features in every kind of file; what is wrong with one is told."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from cion_jax.core.errors import UserError
from cion_jax.tasks import feature_files, feature_shards
from cion_jax.tasks.feature_sources import open_features
from tests.tasks import denoise_data

FEATURES = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
IDS = {name: np.arange(4) for name in ("identity", "tracklet", "video", "frame")}
PATHS = ["a", "b", "c", "d"]


def shards(folder, features=FEATURES, **more):
    return denoise_data.shards(folder, IDS | {"path": np.array(PATHS), "features": features}, {}, **more)


@pytest.mark.parametrize("kind", ["npz", "parquet", "shards"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_all_kinds_hold_the_same(tmp_path, kind, dtype):
    features = FEATURES.astype(dtype)
    if kind == "shards":
        source = shards(tmp_path / "f", features, rows=3)
    else:
        source = tmp_path / f"f.{kind}"
        feature_files.write(source, features, PATHS, IDS, {"model": "m"})
    found = open_features(str(source))
    assert found.features.dtype == dtype
    np.testing.assert_array_equal(found.features[np.arange(4)], features)
    assert found.paths().tolist() == PATHS and found.usable.tolist() == [0, 1, 2, 3]
    assert found.numbers("video").tolist() == [0, 1, 2, 3] and found.numbers("camera") is None
    assert kind == "shards" or found.about == {"model": "m"}


def test_plural_names_are_taken(tmp_path):
    source = denoise_data.save(
        tmp_path / "f.npz", {"features": FEATURES, "tracklets": np.arange(4, dtype=np.uint8)}
    )
    found = open_features(source).numbers("tracklet")
    assert found.dtype == np.int64 and found.tolist() == [0, 1, 2, 3]


def test_numbers_that_no_int64_holds_are_told(tmp_path):
    huge = np.array([1, 2**63, 3, 4], np.uint64)
    source = denoise_data.save(tmp_path / "f.npz", {"features": FEATURES, "tracklet": huge})
    with pytest.raises(UserError, match="tracklet 9223372036854775808 in row 1 is more than 64 bits"):
        open_features(source).numbers("tracklet")


def test_rows_without_an_image_are_not_usable(tmp_path):
    found = open_features(shards(tmp_path / "f", unreadable=(0, 2), rows=2))
    assert found.usable.tolist() == [1, 3] and len(found) == 4


def test_a_change_of_any_file_changes_the_fingerprint(tmp_path):
    source = shards(tmp_path / "f", rows=2)
    marks = {open_features(source).fingerprint}
    assert open_features(source).fingerprint in marks, "the same files, the same fingerprint"
    for file in feature_shards.files(tmp_path / "f"):
        os.utime(file, ns=(1, 1 + len(marks)))
        marks.add(open_features(source).fingerprint)
    assert len(marks) == 1 + len(feature_shards.files(tmp_path / "f")) == 7
    (tmp_path / "f/another file").touch()
    assert open_features(source).fingerprint in marks


def write(path, kind):
    """A file or folder that is wrong in the way `kind` says."""
    whole = {"features": FEATURES} | IDS
    if kind == "folder":
        path.mkdir()
    elif kind == "unfinished":
        shards(path, rows=2)
        (path / "features-00001.npy").unlink()
    elif kind in ("images.parquet", "unreadable-00000.json", "features-00000.npy"):
        shards(path, rows=2)
        (path / kind).write_bytes(b"torn")
    elif kind == "all unreadable":
        shards(path, unreadable=range(4))
    elif kind == "short":
        denoise_data.save(path, whole)
        path.write_bytes(path.read_bytes()[:-60])
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, FEATURES)
    elif kind in ("empty file", "text", "torn.parquet"):
        path.write_bytes(b"" if kind == "empty file" else b"some text")
    elif kind == "nothing":
        denoise_data.save(path, {"other": FEATURES})
    elif kind == "empty":
        denoise_data.save(path, {"features": FEATURES[:0]})
    elif kind == "scalar":
        denoise_data.save(path, {"features": np.array(1.0)})
    elif kind == "flat":
        denoise_data.save(path, {"features": FEATURES[0]})
    elif kind == "integers":
        denoise_data.save(path, {"features": FEATURES.astype(int)})
    elif kind == "ragged":
        pyarrow.parquet.write_table(pa.table({"feature": [[1.0, 2.0], [1.0]]}), path)
    elif kind == "null":
        pyarrow.parquet.write_table(pa.table({"feature": [[1.0, 2.0], None]}), path)
    elif kind == "no lists":
        pyarrow.parquet.write_table(pa.table({"feature": [1.0, 2.0]}), path)
    elif kind == "no column":
        pyarrow.parquet.write_table(pa.table({"path": ["a"]}), path)
    elif kind == "no rows":
        pyarrow.parquet.write_table(pa.table({"feature": pa.array([], pa.list_(pa.float32()))}), path)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("f", "absent", "does not exist"),
        ("f.csv", "text", "is no folder of features"),
        ("f", "folder", "holds no features"),
        ("f", "unfinished", "not finished, 1 shards are missing"),
        ("f", "images.parquet", r"images\.parquet cannot be read"),
        ("f", "unreadable-00000.json", r"unreadable-00000\.json cannot be read"),
        ("f", "features-00000.npy", r"features-00000\.npy cannot be read"),
        ("f", "all unreadable", "holds no image with features"),
        ("f.npz", "short", "cannot be read"),
        ("f.npz", "npy", "cannot be read"),
        ("f.npz", "empty file", "cannot be read"),
        ("f.npz", "text", "cannot be read"),
        ("f.npz", "nothing", "no array 'features'; it has other"),
        ("f.npz", "empty", "holds no image with features"),
        ("f.npz", "scalar", r"floating point \[images, width\]"),
        ("f.npz", "flat", r"floating point \[images, width\], not float32 \(3,\)"),
        ("f.npz", "integers", "not int64"),
        ("f.parquet", "torn.parquet", "cannot be read"),
        ("f.parquet", "ragged", "all of one length"),
        ("f.parquet", "null", "all of one length"),
        ("f.parquet", "no lists", "one list of numbers"),
        ("f.parquet", "no column", "no column 'feature'; it has path"),
        ("f.parquet", "no rows", "holds no image with features"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, kind, message):
    write(tmp_path / name, kind)
    with pytest.raises(UserError, match=message):
        open_features(str(tmp_path / name))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("video", np.arange(3), r"video must be 4 whole numbers, not int64 \(3,\)"),
        ("video", np.ones(4), "not float64"),
        ("path", np.array(["a"]), "path must be 4 texts"),
        ("path", np.arange(4), "path must be 4 texts, not int64"),
    ],
)
def test_columns_that_do_not_fit_are_told(tmp_path, column, values, message):
    source = denoise_data.save(tmp_path / "f.npz", {"features": FEATURES, column: values})
    found = open_features(source)
    with pytest.raises(UserError, match=message):
        found.paths() if column == "path" else found.numbers(column)
