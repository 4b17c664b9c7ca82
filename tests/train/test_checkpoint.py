"""Checkpoints: what is saved comes back bit by bit, what does not fit is refused by name."""

import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cion_jax.core import mesh as meshes
from cion_jax.core.errors import UserError
from cion_jax.train import checkpoint

IDENTITY = {"model.name": "vit_base", "crops.global_size": (256, 128), "train.curriculum": [[0, 2], [40, 4]]}


def state_of(number: float):
    return {"step": jnp.int32(number), "weights": jnp.arange(8.0).reshape(4, 2) + number}


def like(state, sharding=None):
    sharding = sharding or meshes.replicated(meshes.make_mesh())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)


def checkpoints_in(folder, identity=IDENTITY, *, every_steps=0, every_minutes=0.0, keep=2):
    return checkpoint.Checkpoints(
        folder, identity, every_steps=every_steps, every_minutes=every_minutes, keep=keep
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A work directory with the last two of three checkpoints; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    with checkpoints_in(folder) as checkpoints:
        assert checkpoints.latest_step() is None
        for step in (1, 2, 3):
            checkpoints.save(step, state_of(step))
    return folder


def test_the_last_few_stay(saved):
    assert sorted(f.name for f in (saved / checkpoint.FOLDER).iterdir()) == ["2", "3"]


def test_the_newest_comes_back_in_the_layout_asked_for(saved):
    rows = NamedSharding(meshes.make_mesh(2), PartitionSpec(None, "fsdp"))
    wanted = like(state_of(0))
    wanted["weights"] = jax.ShapeDtypeStruct((4, 2), jnp.float32, sharding=rows)
    with checkpoints_in(saved) as checkpoints:
        assert checkpoints.latest_step() == 3
        found = checkpoints.restore(wanted)
    assert int(found["step"]) == 3
    np.testing.assert_array_equal(found["weights"], state_of(3)["weights"])
    assert found["weights"].sharding == rows


def test_a_checkpoint_says_what_it_belongs_to(saved, tmp_path):
    found = checkpoint.saved_identity(saved)
    assert {key: found[key] for key in IDENTITY} == IDENTITY | {"crops.global_size": [256, 128]}
    assert checkpoint.saved_identity(tmp_path) is None
    (tmp_path / checkpoint.FOLDER).mkdir()
    assert checkpoint.saved_identity(tmp_path) is None


def test_one_of_another_run_is_refused_with_all_that_differs(saved):
    other = IDENTITY | {"model.name": "resnet18", "crops.global_size": (64, 32)}
    with checkpoints_in(saved, other) as checkpoints, pytest.raises(UserError) as refusal:
        checkpoints.restore(like(state_of(0)))
    for part in ("model.name: vit_base there, resnet18 asked", "crops.global_size: [256, 128]", "--workdir"):
        assert part in str(refusal.value)
    assert "curriculum" not in str(refusal.value)


@pytest.mark.parametrize("part", ["state", "identity"])
def test_a_damaged_one_is_refused_by_its_folder(saved, tmp_path, part):
    shutil.copytree(saved, tmp_path / "run")
    folder = tmp_path / "run" / checkpoint.FOLDER / "3"
    for file in (folder / part).rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with checkpoints_in(tmp_path / "run") as checkpoints, pytest.raises(UserError) as refusal:
        checkpoints.restore(like(state_of(0)))
    assert f"{folder.resolve()} cannot be read" in str(refusal.value)
    assert "Delete that folder" in str(refusal.value)


def test_numbers_that_are_not_those_saved_are_noticed(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "checksum", lambda tree: 0)
    with checkpoints_in(saved) as checkpoints, pytest.raises(UserError, match="not those that were saved"):
        checkpoints.restore(like(state_of(0)))


def test_a_step_that_is_saved_already_is_not_written_again(saved, tmp_path, monkeypatch):
    shutil.copytree(saved, tmp_path / "run")
    with checkpoints_in(tmp_path / "run") as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", lambda *_, **__: pytest.fail("written again"))
        checkpoints.save(3, state_of(3))


def test_saving_leaves_the_arrays_free_to_be_given_up(tmp_path):
    add = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    state = state_of(5)
    with checkpoints_in(tmp_path) as checkpoints:
        checkpoints.save(5, state)
        add(state)
    with checkpoints_in(tmp_path) as checkpoints:
        np.testing.assert_array_equal(
            checkpoints.restore(like(state_of(0)))["weights"], state_of(5)["weights"]
        )


def test_intervals_of_steps(tmp_path):
    with checkpoints_in(tmp_path, every_steps=3) as checkpoints:
        assert [step for step in range(1, 10) if checkpoints.due(step)] == [3, 6, 9]
    with checkpoints_in(tmp_path) as checkpoints:
        assert not any(checkpoints.due(step) for step in range(1, 10))


def test_intervals_of_time_start_anew_with_every_save(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with checkpoints_in(tmp_path, every_minutes=2) as checkpoints:
        now += 119
        assert not checkpoints.due(1)
        now += 1
        assert checkpoints.due(2)
        checkpoints._last_saved = now
        assert not checkpoints.due(3)


def test_a_disk_without_room_is_refused_with_what_is_needed_and_free(tmp_path, monkeypatch):
    with checkpoints_in(tmp_path) as checkpoints:
        checkpoints.check_room(state_of(0))
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
        big = {"weights": jax.ShapeDtypeStruct((2**20,), jnp.float32)}
        with pytest.raises(UserError, match=r"4 MiB, 1 MiB are free.*--workdir"):
            checkpoints.check_room(big)
        with pytest.raises(UserError, match="full"):
            checkpoints.save(1, {"weights": jnp.zeros(2**20)})


def test_a_write_that_fails_is_one_clear_sentence(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: No space left\nand a hundred lines more")

    with checkpoints_in(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", fail)
        with pytest.raises(UserError, match=r"could not be written.*No space left\)") as refusal:
            checkpoints.save(1, state_of(1))
        assert "hundred" not in str(refusal.value)


def test_leaving_with_an_error_keeps_that_error(tmp_path, monkeypatch):
    def fail():
        raise UserError("the write failed too")

    with pytest.raises(KeyError, match="the cause"), checkpoints_in(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints, "wait", fail)
        raise KeyError("the cause")
    with pytest.raises(UserError, match="failed too"), checkpoints_in(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints, "wait", fail)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32])
def test_the_checksum_sees_one_bit_and_one_exchange(dtype):
    array = jnp.arange(12).reshape(3, 4).astype(dtype)
    sums = {
        checkpoint.checksum({"a": array, "b": array}),
        checkpoint.checksum({"a": array.at[2, 1].add(1), "b": array}),
        checkpoint.checksum({"a": array[::-1], "b": array}),
        checkpoint.checksum({"a": array.T.reshape(3, 4), "b": array}),
        checkpoint.checksum({"a": array, "b": array[::-1]}),
        checkpoint.checksum({"a": array[::-1], "b": array[::-1]}),
    }
    assert len(sums) == 6


def test_the_checksum_is_the_same_however_an_array_is_spread():
    array = jnp.arange(64.0).reshape(16, 4)
    spread = jax.device_put(array, meshes.batch_sharding(meshes.make_mesh()))
    assert checkpoint.checksum({"a": array}) == checkpoint.checksum({"a": spread})


def test_processes_agree_on_the_time_only_where_the_log_waits_for_the_device(monkeypatch):
    """Each agreement drains the pipeline; a row of the log does so anyway."""
    asked = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(checkpoint.agreement, "from_first_process", lambda value: asked.append(value) or True)
    clock = checkpoint.Checkpoints.__new__(checkpoint.Checkpoints)
    clock._every_steps, clock._every_seconds, clock._last_saved, clock._clock_steps = 0, 60.0, 0.0, 50
    assert [step for step in range(1, 151) if clock.due(step)] == [50, 100, 150]
    assert len(asked) == 3


def test_the_disk_of_another_process_stops_all(monkeypatch, tmp_path):
    """One that raised alone would leave the others in the save."""
    texts = ["", "the disk of /b is full"]
    monkeypatch.setattr(checkpoint.agreement, "_from_all", lambda text: texts)
    with checkpoints_in(tmp_path) as checkpoints, pytest.raises(UserError, match="process 1: the disk of /b"):
        checkpoints.check_room(state_of(1))
