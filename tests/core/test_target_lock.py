"""One writer per target; a killed writer's lock is free."""

import signal
import subprocess
import sys

import jax
import pytest

from cion_jax.core import target_lock
from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_shared_target, lock_target

HOLD = """
import sys, time
from pathlib import Path
from cion_jax.core.target_lock import lock_target
with lock_target(Path(sys.argv[1]), "denoise"):
    print("held", flush=True)
    time.sleep(60)
"""


def _holder(target):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_second_process_is_refused_and_told_who_holds_the_target(tmp_path):
    process = _holder(tmp_path / "out")
    try:
        refused = pytest.raises(
            UserError, match=rf"out is being written by task denoise .*process {process.pid}"
        )
        with refused, lock_target(tmp_path / "out", "extract"):
            raise AssertionError("two processes hold one target: lock_target must refuse the second")
    finally:
        process.kill()
        process.wait()


def test_lock_of_a_killed_process_is_taken_over(tmp_path):
    process = _holder(tmp_path / "out")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock_target(tmp_path / "out", "extract"):
        assert (tmp_path / ".out.lock.json").exists()
    assert not (tmp_path / ".out.lock.json").exists()


def test_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_target(tmp_path / "out", "extract"):
        raise ZeroDivisionError
    with lock_target(tmp_path / "out", "extract"):
        pass


def test_two_spellings_of_a_path_are_one_target(tmp_path):
    first = lock_target(tmp_path / "out", "extract")
    second = lock_target(tmp_path / "x" / ".." / "out", "denoise")
    with first, pytest.raises(UserError, match="extract"), second:
        raise AssertionError("the same folder by another path must be refused")


def test_a_folder_below_one_that_cannot_be_written_holds_its_own_lock(tmp_path, monkeypatch):
    """A container's mounted /runs, by a user who is not root."""
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(target_lock.os, "access", lambda path, mode: path != tmp_path)
    refused = pytest.raises(UserError, match="pretrain")
    with lock_target(tmp_path / "runs", "pretrain"), refused, lock_target(tmp_path / "runs", "pretrain"):
        raise AssertionError("the folder is held")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_longest_file_name_has_a_lock(tmp_path):
    with lock_target(tmp_path / ("人" * 85), "extract"):
        assert any(path.name.endswith(".lock") for path in tmp_path.iterdir())


def test_one_process_locks_as_lock_target(tmp_path):
    with (
        lock_shared_target(tmp_path / "out", "extract"),
        pytest.raises(UserError, match="written by task extract"),
        lock_target(tmp_path / "out", "denoise"),
    ):
        raise AssertionError("the target is held")


@pytest.fixture
def cluster(monkeypatch):
    """Makes this process number `index` of two. Real clusters are in tests/multiprocess."""
    sent = []

    def become(index):
        def from_first_process(text):
            if index == 0:
                sent.append(text)
            return sent[-1]

        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(target_lock, "from_first_process", from_first_process)

    return become


def test_only_the_first_process_takes_the_lock(tmp_path, cluster):
    cluster(0)
    with lock_shared_target(tmp_path / "out", "extract"):
        cluster(1)
        with lock_shared_target(tmp_path / "out", "extract"):
            pass
        with pytest.raises(UserError, match="being written"), lock_target(tmp_path / "out", "denoise"):
            raise AssertionError("the first process still holds it")


def test_a_refusal_reaches_every_process(tmp_path, cluster):
    messages = []
    with lock_target(tmp_path / "人", "denoise"):
        for index in (0, 1):
            cluster(index)
            with pytest.raises(UserError) as caught, lock_shared_target(tmp_path / "人", "extract"):
                raise AssertionError("the target is held")
            messages.append(str(caught.value))
    assert messages[0] == messages[1] and "人 is being written by task denoise" in messages[0]


def test_a_folder_that_cannot_be_written_reaches_every_process(tmp_path, cluster):
    (tmp_path / "file").touch()
    for index in (0, 1):
        cluster(index)
        with pytest.raises(UserError, match="file"), lock_shared_target(tmp_path / "file/out", "extract"):
            raise AssertionError("no lock can lie in a file")
