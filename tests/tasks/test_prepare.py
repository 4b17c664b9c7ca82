"""The task `prepare`, as the command line calls it."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.data import prepare as prepare_data
from cion_jax.data import records
from cion_jax.tasks import prepare
from configs import prepare as settings
from tests.tasks.two_runs import try_during


@pytest.fixture
def people(tmp_path):
    """Three people with two pictures each, one of them not a picture."""
    for number in range(6):
        file = tmp_path / f"people/{number // 2}/{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 32, 3), number * 10, np.uint8)).save(file)
    (tmp_path / "people/2/5.jpg").write_bytes(b"no picture")
    return tmp_path / "people"


def config_of(**values):
    config = settings.get_config().lock()
    config.update(values)
    return config


def test_records_come_into_the_target_and_a_summary_is_printed(people, tmp_path, capsys):
    prepare.run(config_of(source=str(people), target=str(tmp_path / "out")), tmp_path / "work")
    assert records.splits(tmp_path / "out") == {"train": 5}
    lines = capsys.readouterr().out.splitlines()
    assert "layout folders" in lines[0]
    assert lines[3].split() == ["train", "5", "3"]
    assert f"1 files left out; {tmp_path / 'out/skipped.csv'}" in "\n".join(lines)
    assert f"--config.data.train={tmp_path / 'out'}" in lines[-1]


def test_without_a_target_they_come_into_the_work_directory(people, tmp_path):
    prepare.run(config_of(source=str(people), workers=1), tmp_path / "work")
    assert records.splits(tmp_path / "work/records") == {"train": 5}


def test_settings_reach_the_import(people, tmp_path):
    prepare.run(config_of(source=str(people), importer="folders", max_size=(32, 32)), tmp_path)
    about = json.loads((tmp_path / "records/prepared.json").read_text())
    assert about["max_size"] == [32, 32]
    assert records.open_split(tmp_path / "records", "train").columns["height"].max() == 32
    with pytest.raises(UserError, match=r"5\.jpg"):
        prepare.run(config_of(source=str(people), target=str(tmp_path / "b"), on_bad_image="error"), tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "--config.source"),
        ({"source": "nowhere"}, "nowhere does not exist"),
        ({"importer": "lmdb"}, "lmdb"),
        ({"workers": -1}, "workers=-1"),
        ({"on_bad_image": "ignore"}, "on_bad_image"),
    ],
)
def test_mistakes_are_named(people, tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        prepare.run(config_of(**({"source": str(people)} | values)), tmp_path / "work")
    assert not (tmp_path / "work/records").exists()


def test_a_prepared_source_and_a_taken_target_are_named(people, tmp_path):
    prepare.run(config_of(source=str(people)), tmp_path)
    with pytest.raises(UserError, match=r"is prepared already.*data\.train"):
        prepare.run(config_of(source=str(tmp_path / "records")), tmp_path / "again")
    with pytest.raises(UserError, match="exists already"):
        prepare.run(config_of(source=str(people)), tmp_path)


def test_several_processes_do_not_prepare_the_same(people, tmp_path, monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(UserError, match="one process"):
        prepare.run(config_of(source=str(people)), tmp_path)


def test_a_second_run_on_the_target_is_refused_and_the_first_is_unharmed(people, tmp_path, monkeypatch):
    config = config_of(source=str(people), target=str(tmp_path / "out"))
    writer = prepare_data.RecordWriter
    refusals = try_during(monkeypatch, writer, "finish", lambda: prepare.run(config, tmp_path / "work"))
    prepare.run(config, tmp_path / "work")
    assert "out is being written by task prepare" in refusals[0]
    assert len(list(records.open_split(tmp_path / "out", "train"))) == 5
