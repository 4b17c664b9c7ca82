"""One writer per target; a killed writer's lock is free."""

import signal
import subprocess
import sys

import pytest

from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target

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


def test_longest_file_name_has_a_lock(tmp_path):
    with lock_target(tmp_path / ("人" * 85), "extract"):
        assert any(path.name.endswith(".lock") for path in tmp_path.iterdir())
