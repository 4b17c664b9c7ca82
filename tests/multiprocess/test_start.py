"""Two processes begin one run although one is late, and refuse to when their data differ."""

import contextlib

import pytest

from cion_jax.main import USER_ERROR_CODE
from tests.resume import launch

SETTINGS = {"train.steps": 1, "train.epochs": 1, "train.curriculum": "((0,2),)", "eval.every_epochs": 0.0}


@contextlib.contextmanager
def two(workdir, data, *, environments=(None, None), settings_of_second=None):
    """Both processes of a run with one device each, with environments of their own; the second with own settings."""
    port = launch.free_port()
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                launch.Run(
                    workdir,
                    data,
                    cluster=(2, number, port),
                    settings=SETTINGS | ((settings_of_second or {}) if number else {}),
                    module="tests.multiprocess.late",
                    environment=environments[number],
                )
            )
            for number in range(2)
        ]


def test_a_late_process_does_no_harm_and_takes_its_share(tmp_path_factory, tmp_path):
    """The batch size is a number here: with "auto" a broadcast would hold the first process back by chance."""
    data = launch.runs_folder(tmp_path_factory) / "data"
    counts = [tmp_path / f"baselines-{number}" for number in range(2)]
    environments = [{"CION_TEST_BASELINES": str(file)} for file in counts]
    environments[1]["CION_TEST_LATE"] = "15"
    with two(tmp_path / "run", data, environments=environments) as runs:
        for run in runs:
            run.succeed()
    assert (tmp_path / "run" / "summary.md").is_file()
    # 20 queries and 65 gallery images in batches of 16, half of each batch to each process.
    assert [int(file.read_text()) for file in counts] == [56, 56], (
        "one process waits while the other compares images"
    )


@pytest.mark.parametrize("key", ["synthetic.seed"])
def test_processes_with_different_data_refuse_to_train(tmp_path_factory, tmp_path, key):
    data = launch.runs_folder(tmp_path_factory) / "data"
    with two(tmp_path / "run", data, settings_of_second={key: 1}) as runs:
        for run in runs:
            code, errors = run.end()
            assert code == USER_ERROR_CODE, errors[-3000:]
            assert "the processes of this run differ in data.train: process 0 has" in errors
    assert not (tmp_path / "run" / "checkpoints").exists(), "the run began before its processes agreed"
