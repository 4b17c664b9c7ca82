"""Stages are done once for the same work, and again for any other."""

import numpy as np
import pytest

from cion_jax.tasks.stages import Stages
from tests.tasks.two_runs import try_during


@pytest.fixture
def counted(tmp_path):
    """A function that gets a stage and tells how often it was computed so far, and what was said."""
    calls, said = [], []

    def get(name="a", depends=(1,), version=1, value=7):
        def compute():
            calls.append(name)
            return {"x": np.full(3, value), "words": np.array(["w"], "U8")}

        found, fingerprint = Stages(tmp_path / "stages", version, said.append).get(
            name, list(depends), compute
        )
        return found, fingerprint, len(calls), said

    return get


def test_the_same_work_is_done_once(counted):
    first, mark, _, _ = counted()
    found, again, calls, said = counted()
    assert calls == 1 and mark == again
    assert found["x"].tolist() == first["x"].tolist() == [7, 7, 7] and found["words"].tolist() == ["w"]
    assert said[0] == "a ..." and said[1].startswith("a: done before, in ")


@pytest.mark.parametrize("change", [{"depends": (2,)}, {"version": 2}, {"name": "b"}])
def test_other_work_is_done_again(counted, change):
    _, mark, _, _ = counted()
    found, other, calls, _ = counted(**change, value=8)
    assert calls == 2 and mark != other and found["x"][0] == 8
    # What was there before is another stage's, or gone.
    assert counted(value=9)[2] == (2 if "name" in change else 3)


@pytest.mark.parametrize("damage", ["short", "empty", "other", "array"])
def test_a_damaged_file_is_made_anew(counted, tmp_path, damage):
    counted()
    file = tmp_path / "stages/a.npz"
    whole = file.read_bytes()
    if damage == "other":
        np.savez(file, x=np.zeros(3))
    elif damage == "array":
        with file.open("wb") as opened:
            np.save(opened, np.zeros(3))
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage == "short" else b"")
    found, _, calls, _ = counted()
    assert calls == 2 and found["x"].tolist() == [7, 7, 7]
    assert [path.name for path in file.parent.iterdir()] == ["a.npz"], "nothing half-written is left"


def test_a_stage_that_fails_leaves_nothing(counted, tmp_path):
    stages = Stages(tmp_path / "stages", 1, print)
    with pytest.raises(ZeroDivisionError):
        stages.get("a", [1], lambda: {"x": 1 // 0})
    assert not (tmp_path / "stages").exists()
    assert counted()[2] == 1


def test_what_a_killed_run_half_wrote_is_removed(counted, tmp_path):
    folder = tmp_path / "stages"
    folder.mkdir()
    (folder / ".a.npz.x7k2").write_bytes(b"half")
    (folder / ".b.npz.x7k2").write_bytes(b"half")
    counted()
    assert sorted(path.name for path in folder.iterdir()) == [".b.npz.x7k2", "a.npz"], "of this stage only"


def test_a_second_run_in_the_folder_does_not_remove_what_the_first_is_writing(tmp_path, monkeypatch):
    def stages():
        return Stages(tmp_path / "stages", 1, print)

    refusals = try_during(monkeypatch, np, "savez", lambda: stages().get("a", [2], lambda: {"x": 2}))
    found, _ = stages().get("a", [1], lambda: {"x": 1})
    assert "stages is being written by" in refusals[0]
    again, _ = stages().get("a", [1], lambda: {"x": 1 // 0})
    assert found["x"] == again["x"] == 1
