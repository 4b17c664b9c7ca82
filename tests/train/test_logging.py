"""Rows of figures: whole, in order, and none twice when a run goes on."""

import errno
import json
import os

import pytest

from cion_jax.core.errors import UserError
from cion_jax.train import logging
from cion_jax.train.logging import MetricsLog, read_rows


def write(folder, first_step, *rows, tensorboard=False):
    log = MetricsLog(folder, first_step, tensorboard=tensorboard)
    for step, figures in rows:
        log.write(step, figures)
    log.close()


def test_rows_come_back_in_order(tmp_path):
    write(tmp_path, -1, (0, {"mAP": 0.5}), (1, {"loss": 2.0, "data_order": 2**32 - 1}))
    assert read_rows(tmp_path) == [{"step": 0, "mAP": 0.5}, {"step": 1, "loss": 2.0, "data_order": 2**32 - 1}]


def test_a_row_is_on_disk_before_the_next_step(tmp_path):
    log = MetricsLog(tmp_path, -1, tensorboard=False)
    log.write(1, {"loss": 2.0})
    assert read_rows(tmp_path) == [{"step": 1, "loss": 2.0}]
    log.close()


def test_a_run_that_goes_on_drops_the_rows_that_it_takes_again(tmp_path):
    write(tmp_path, -1, *((step, {"loss": float(step)}) for step in range(1, 6)))
    write(tmp_path, 3, (4, {"loss": 40.0}))
    assert [(row["step"], row["loss"]) for row in read_rows(tmp_path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
        (4, 40.0),
    ]


def test_a_run_from_the_start_drops_them_all(tmp_path):
    write(tmp_path, -1, (0, {"mAP": 0.1}), (1, {"loss": 1.0}))
    write(tmp_path, -1)
    assert read_rows(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_null(tmp_path, value):
    write(tmp_path, -1, (1, {"loss": value}))
    line = (tmp_path / logging.FILE_NAME).read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {"step": 1, "loss": None}


@pytest.mark.parametrize("rest", ['{"step": 2, "lo', "{", '{"step"', '"step"', "7"])
def test_a_last_line_cut_short_is_dropped(tmp_path, rest):
    write(tmp_path, -1, (1, {"loss": 1.0}))
    with (tmp_path / logging.FILE_NAME).open("a") as file:
        file.write(rest)
    assert read_rows(tmp_path) == [{"step": 1, "loss": 1.0}]
    write(tmp_path, 1, (2, {"loss": 2.0}))
    assert [row["step"] for row in read_rows(tmp_path)] == [1, 2]


@pytest.mark.parametrize("line", ["{", "[]", '{"loss": 1.0}', '{"step": "1"}', "\0\0"])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    (tmp_path / logging.FILE_NAME).write_text('{"step": 1}\n' + line + '\n{"step": 3}\n')
    with pytest.raises(UserError, match=rf"{logging.FILE_NAME}, line 2"):
        read_rows(tmp_path)


def test_without_a_file_there_are_no_rows(tmp_path):
    assert read_rows(tmp_path) == []


def test_a_full_disk_is_one_sentence_and_closing_adds_no_other(tmp_path):
    class Full:
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = MetricsLog(tmp_path, -1, tensorboard=False)
    log._file.close()
    log._file = Full()
    Full.close = lambda self: self.write("")
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be written \(No space left"):
        log.write(1, {"loss": 1.0})
    log.close()


def test_tensorboard_gets_the_figures_and_no_words(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(logging.SummaryWriter, "add_scalar", lambda self, *row: written.append(row))
    write(tmp_path, -1, (3, {"loss": 1.5, "model": "vit", "data_order": 7}), tensorboard=True)
    assert written == [("loss", 1.5, 3)]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_the_log_of_other_processes_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = logging.NoLog()
    log.write(1, {"loss": 1.0})
    log.close()
    assert not list(tmp_path.iterdir())
