"""Jobs shared among processes give the same results as in one, whatever happens to a process."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cion_jax.core.errors import UserError
from cion_jax.video.workers import Died, run_jobs


class Squares:
    """Does jobs (number, how): squares the number, or fails in some way."""

    def __init__(self, offset=0, folder=""):
        if offset == "fail":
            raise UserError("these settings cannot be used")
        if offset == "die":
            os._exit(3)
        self._offset, self._folder = offset, Path(folder)

    def __call__(self, job, advance):
        number, how = job
        for _ in range(number):
            advance()
        if how == "raise":
            raise OSError(28, "No space left on device", "file")
        if how == "die once" and not (self._folder / str(number)).exists():
            (self._folder / str(number)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        return number**2 + self._offset


def squares(hows, workers, **more):
    return dict(run_jobs(enumerate(hows), functools.partial(Squares, **more), workers))


def test_results_do_not_depend_on_the_number_of_processes():
    done = {1: {}, 2: {}}
    for workers in done:
        units = dict.fromkeys(range(5), 0)

        def advance(number, count, units=units):
            units[number] += count

        results = run_jobs(enumerate([""] * 5), functools.partial(Squares, 7), workers, advance)
        done[workers] = dict(results)
        assert units == {n: n for n in range(5)}
    assert done[1] == done[2] == {n: n**2 + 7 for n in range(5)}


def test_a_job_whose_process_dies_is_tried_again_and_then_given_up(tmp_path):
    found = squares(["", "die once", "die", ""], 2, folder=str(tmp_path))
    assert isinstance(found[2], Died) and "SIGSEGV" in found[2].reason and "2 times" in found[2].reason
    assert {n: value for n, value in found.items() if n != 2} == {0: 0, 1: 1, 3: 9}


def test_errors_come_through():
    with pytest.raises(OSError, match="No space left") as caught:
        squares(["", "raise", ""], 2)
    assert caught.value.filename == "file"
    with pytest.raises(UserError, match="cannot be used"):
        squares([""], 2, offset="fail")
    with pytest.raises(UserError, match="ended before it was ready"):
        squares([""], 2, offset="die")


def test_processes_end_when_the_first_one_is_killed(tmp_path):
    code = (
        "import functools\n"
        "from cion_jax.video import workers\n"
        "from tests.video import sleepers\n"
        "if __name__ == '__main__':\n"
        f"    list(workers.run_jobs([0, 1], functools.partial(sleepers.Sleeper, {str(tmp_path)!r}), 2))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    first = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pid"))) < 2:
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait()
    pids = [int(file.stem) for file in tmp_path.glob("*.pid")]
    while any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives the run"
        time.sleep(0.02)


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
