"""Killed or stopped at any moment and started again, a run is the straight run: bitwise on as many devices."""

import signal

import numpy as np
import pytest

from cion_jax.train.preemption import EXIT_CODE
from tests.resume import launch

LAST_STEP = 12
KILLED_AFTER = np.random.default_rng(5).integers(
    4, 11, 8
)  # any step between the first checkpoint and the end


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return launch.runs_folder(tmp_path_factory)


def test_a_straight_run_has_a_row_for_every_step_and_evaluation(base):
    rows = launch.rows(launch.straight(base, devices=1))
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, LAST_STEP + 1))
    # At the start, after the first epoch (7 batches of 16 x 2 images), and at the end, within the second (9 of 8 x 4).
    assert [row["step"] for row in rows if "mAP" in row] == [0, 7, 12]
    assert len(set(launch.data_order(launch.straight(base, devices=1)).values())) == LAST_STEP


def test_the_update_compiles_exactly_once_per_phase(base):
    found = launch.compilations(launch.straight(base, devices=1))
    assert found == {"images per identity": [2, 4], "compilations": 2}, (
        f"compilations of the update over two phases of several steps each: {found}; one per phase is promised"
    )


@pytest.mark.parametrize("devices", [1, 8])
def test_killed_and_started_again_is_the_straight_run_bitwise(base, tmp_path, devices):
    straight = launch.straight(base, devices=devices)
    with launch.Run(tmp_path, base / "data", devices=devices) as run:
        run.cut_off(int(KILLED_AFTER[devices - 1]), signal.SIGKILL)
        assert run.end()[0] == -signal.SIGKILL
    # Auto takes over the batch of the checkpoint, whatever memory is free by now and the limit says.
    settings = {"data.batch_size": "auto", "data.batch_limit": 96}
    with launch.Run(tmp_path, base / "data", devices=devices, settings=settings) as run:
        assert "going on from step" in run.succeed()
    launch.assert_same_run(tmp_path, straight, LAST_STEP)


def test_stopped_by_sigterm_twice_is_the_straight_run_bitwise(base, tmp_path):
    straight = launch.straight(base, devices=1)
    # In the evaluation after step 5, the second; JAX's preemption service has the signal.
    with launch.Run(
        tmp_path,
        base / "data",
        cluster=(1, 0, launch.free_port()),
        module="tests.resume.instrumented",
        environment={"CION_TEST_SIGTERM_IN_EVALUATION": "12"},
    ) as run:
        code, errors = run.end()
    assert code == EXIT_CODE, errors[-3000:]
    assert "the same command goes on" in errors
    # Between steps, in a process of its own handler.
    with launch.Run(tmp_path, base / "data") as run:
        run.cut_off(8, signal.SIGTERM)
        code, errors = run.end()
    assert code == EXIT_CODE, errors[-3000:]
    with launch.Run(tmp_path, base / "data") as run:
        run.succeed()
    launch.assert_same_run(tmp_path, straight, LAST_STEP)


@pytest.mark.parametrize(("processes", "devices"), [(1, 8), (2, 4)])
def test_another_layout_goes_on_with_the_same_data_order(base, tmp_path, processes, devices):
    straight = launch.straight(base, devices=devices, processes=processes)
    launch.back_to(9, straight, tmp_path / "run")
    settings = {"data.batch_size": "auto", "data.batch_limit": 96}
    with launch.Run(tmp_path / "run", base / "data", devices=1, settings=settings) as run:
        assert "going on from step 9" in run.succeed()
    assert launch.data_order(tmp_path / "run") == launch.data_order(straight)
    found, expected = launch.rows(tmp_path / "run"), launch.rows(straight)
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    losses = [[row["loss"] for row in rows if "loss" in row] for rows in (found, expected)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
