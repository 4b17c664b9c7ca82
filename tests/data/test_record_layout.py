"""The layout of a prepared data set is read from its metadata as data: nothing in them is imported or run."""

import json

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import records
from cion_jax.data.encode import encode_jpeg
from cion_jax.data.record_schema import Record
from cion_jax.data.record_writer import RecordWriter

COUNT = 5


def record(number):
    image = encode_jpeg(np.full((16, 8, 3), number * 8, np.uint8), quality=90)
    return Record(image, 16, 8, number // 2, number, 0, 0, number, f"people/{number}.jpg")


@pytest.fixture
def directory(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    writer = RecordWriter(folder)
    for number in range(COUNT):
        writer.add("train", record(number))
    for number in range(3):
        writer.add("query", record(number))
    writer.finish()
    return folder


HOSTILE = """
import pathlib
pathlib.Path({mark!r}).touch()
from tensorflow_datasets.core.features.text_feature import Text
class Evil(Text):
    pass
"""


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module that can be imported, as a file of a data set below the current folder can; it leaves a mark."""
    mark = tmp_path / "it ran"
    package = tmp_path / "path" / "people"
    package.mkdir(parents=True)
    (package / "evil.py").write_text(HOSTILE.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path / "path")
    return mark


def with_class(directory, change):
    file = directory / "features.json"
    features = json.loads(file.read_text())
    change(features)
    file.write_text(json.dumps(features))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f["featuresDict"]["features"]["path"].update(pythonClassName="people.evil.Evil"),
        lambda f: f.update(pythonClassName="people.evil.Evil"),
        lambda f: f["featuresDict"]["features"].update(
            extra={"pythonClassName": "people.evil.Evil", "text": {}}
        ),
        lambda f: f["featuresDict"]["features"].update(
            extra={"pythonClassName": "people.evil.Evil", "protoCls": "people.evil.Evil"}
        ),
        lambda f: f.update(type="people.evil.Evil", proto_cls="people.evil.Evil"),
    ],
    ids=["feature", "top", "extra", "proto", "legacy"],
)
def test_no_code_named_by_the_files_is_run(directory, hostile_module, change):
    with_class(directory, change)
    train = records.open_split(directory, "train")
    assert train[3] == record(3)
    assert records.splits(directory) == {"train": COUNT, "query": 3}
    assert not hostile_module.exists(), "opening a data set ran a Python file"


def test_a_module_named_in_the_description_is_not_imported(directory, hostile_module):
    file = directory / "dataset_info.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps(info | {"moduleName": "people.evil", "configName": "people.evil"}))
    assert len(records.open_split(directory, "train")) == COUNT
    assert not hostile_module.exists()


@pytest.mark.parametrize(
    "template",
    ["../other/{SPLIT}-{SHARD_X_OF_Y}", "/etc/{SPLIT}-{SHARD_X_OF_Y}", "..", "{SPLIT.__class__}/x"],
)
def test_files_outside_the_folder_are_refused(directory, template):
    file = directory / "dataset_info.json"
    info = json.loads(file.read_text())
    info["splits"][0]["filepathTemplate"] = template
    file.write_text(json.dumps(info))
    with pytest.raises(UserError, match=f"{directory}.*filepathTemplate"):
        records.open_split(directory, "train")


@pytest.mark.parametrize(
    "content", ["[]", "3", "null", '{"featuresDict": []}', '{"featuresDict": {"features": 1}}', "[" * 100_000]
)
def test_a_description_of_features_of_another_form_is_an_error_that_names_the_folder(directory, content):
    (directory / "features.json").write_text(content)
    with pytest.raises(UserError, match=str(directory)):
        records.splits(directory)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shardLengths", ["-1"]),
        ("shardLengths", ["many"]),
        ("name", ""),
        ("filepathTemplate", "{NOTHING}"),
        ("filepathTemplate", "{SPLIT"),
    ],
)
def test_a_split_that_makes_no_sense_is_an_error_that_names_the_folder(directory, key, value):
    file = directory / "dataset_info.json"
    info = json.loads(file.read_text())
    info["splits"][0][key] = value
    file.write_text(json.dumps(info))
    with pytest.raises(UserError, match=str(directory)):
        records.splits(directory)


def test_another_file_format_is_named(directory):
    file = directory / "dataset_info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(UserError, match="stored as tfrecord, not as array_record"):
        records.splits(directory)
