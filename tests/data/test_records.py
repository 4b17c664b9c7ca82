"""Opening and reading prepared data sets, by us and by TFDS."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import records
from cion_jax.data.decode import decode_jpeg
from cion_jax.data.encode import encode_jpeg
from cion_jax.data.record_index import index_file
from cion_jax.data.record_schema import COLUMNS, Record
from cion_jax.data.record_writer import RecordWriter

COUNT = 30


def record(number):
    image = encode_jpeg(np.full((16, 8, 3), number * 8, np.uint8), quality=90)
    return Record(
        image, 16, 8, number // 4, number // 2, number // 10, number % 3, number, f"people/{number}.jpg"
    )


@pytest.fixture
def directory(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    writer = RecordWriter(folder, shard_bytes=4000)
    for number in range(COUNT):
        writer.add("train", record(number))
    for number in range(3):
        writer.add("query", record(number))
    files = writer.finish()
    (folder / records.SUMMARY_FILE).write_text(json.dumps({"files": files}))
    return folder


def test_records_and_columns_say_the_same(directory):
    train = records.open_split(directory, "train")
    assert len(train) == COUNT
    assert list(train) == [record(number) for number in range(COUNT)]
    assert train[np.int64(7)] == record(7)
    assert train.__getitems__([5, 29, 0]) == [record(5), record(29), record(0)]
    for name in COLUMNS:
        assert train.columns[name].tolist() == [getattr(record(number), name) for number in range(COUNT)]
    assert records.splits(directory) == {"train": COUNT, "query": 3}


def test_no_record_beyond_the_end(directory):
    train = records.open_split(directory, "train")
    for index in (-1, COUNT):
        with pytest.raises(IndexError):
            train[index]


def test_a_pickled_set_is_small_and_reads(directory):
    train = records.open_split(directory, "train")
    fingerprint, _ = train.fingerprint, train[3]
    data = pickle.dumps(train)
    assert len(data) < 5000, "a RecordSet must not carry its columns to worker processes"
    again = pickle.loads(data)
    assert again[3] == record(3) and again.fingerprint == fingerprint


def test_fingerprints_tell_splits_apart(directory):
    assert (
        records.open_split(directory, "train").fingerprint
        != records.open_split(directory, "query").fingerprint
    )


def test_a_missing_index_is_built_anew_and_is_the_same(directory):
    train = records.open_split(directory, "train")
    expected = train.fingerprint
    index_file(directory, "train").unlink()
    assert records.open_split(directory, "train").fingerprint == expected
    assert index_file(directory, "train").is_file()


def test_tfds_reads_it_without_tensorflow(directory):
    program = f"""
import sys
import tensorflow_datasets as tfds
source = tfds.builder_from_directory({str(directory)!r}).as_data_source("train")
item = source[7]
assert len(source) == {COUNT}
assert item["image"].shape == (16, 8, 3) and item["image"].dtype == "uint8", item["image"]
names = ("height", "width", "identity", "tracklet", "video", "camera", "frame")
numbers = [int(item[name]) for name in names]
assert numbers == [16, 8, 1, 3, 0, 1, 7], numbers
assert item["path"] == b"people/7.jpg", item["path"]
from cion_jax.data import records
assert records.open_split({str(directory)!r}, "train")[7].frame == 7
assert "tensorflow" not in sys.modules, "something imported TensorFlow"
assert "jax" not in sys.modules, "reading records must not need JAX: worker processes would load it"
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_set_that_tfds_itself_wrote_is_read(tmp_path):
    """A foreign set of our schema: other names and sizes of shards, no index, no prepared.json."""
    import tensorflow_datasets as tfds

    from cion_jax.data.record_schema import FEATURES, tfds_features

    identity = tfds.core.DatasetIdentity(
        name="foreign", version=tfds.core.Version("1.0.0"), data_dir=str(tmp_path), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=tfds_features())
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=12, file_format="array_record")
    writer.initialize_splits(["train"])
    examples = [{name: getattr(record(number), name) for name in FEATURES} for number in range(COUNT)]
    writer.add_examples({"train": examples})
    writer.close_all()
    train = records.open_split(tmp_path, "train")
    assert list(train) == [record(number) for number in range(COUNT)]
    assert train.columns["frame"].tolist() == list(range(COUNT))
    assert decode_jpeg(train[9].image).shape == (16, 8, 3)


def shards(directory):
    return sorted(directory.glob("cion-train.array_record*"))


def test_a_cut_shard_is_named_on_opening(directory):
    file = shards(directory)[1]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"{file.name} has .* bytes where .* were written"):
        records.open_split(directory, "train")


def test_a_missing_shard_is_named_on_opening(directory):
    file = shards(directory)[0]
    file.unlink()
    with pytest.raises(UserError, match=f"{file.name} is missing"):
        records.open_split(directory, "train")


def test_a_damaged_record_is_named_on_reading(directory):
    file = shards(directory)[0]
    data = bytearray(file.read_bytes())
    data[data.index(b"people/1.jpg")] ^= 0xFF
    file.write_bytes(bytes(data))
    train = records.open_split(directory, "train")
    with pytest.raises(UserError, match=f"{file.name} is damaged"):
        train[1]


def test_a_record_of_another_kind_is_named(directory):
    from array_record.python import array_record_module

    (directory / records.SUMMARY_FILE).unlink()
    file = shards(directory)[0]
    count = array_record_module.ArrayRecordReader(str(file)).num_records()
    writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
    for _ in range(count):
        writer.write(b"\x00something else")
    writer.close()
    with pytest.raises(UserError, match=f"record 1 of .*{file.name}: not a record"):
        records.open_split(directory, "train")[1]


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_missing_or_broken_metadata_is_an_error_that_names_the_folder(directory, name):
    file = directory / name
    file.write_text(file.read_text()[:40])
    with pytest.raises(UserError, match=str(directory)):
        records.splits(directory)
    file.unlink()
    with pytest.raises(UserError, match=str(directory)):
        records.open_split(directory, "train")


def test_wrong_folders_and_splits_are_named(directory, tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        records.open_split(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match="no split 'gallery', only 'train', 'query'"):
        records.open_split(directory, "gallery")


def test_a_set_of_another_schema_says_what_it_lacks(directory):
    file = directory / "features.json"
    features = json.loads(file.read_text())
    del features["featuresDict"]["features"]["tracklet"]
    file.write_text(json.dumps(features))
    with pytest.raises(UserError, match="lacks tracklet"):
        records.open_split(directory, "train")
