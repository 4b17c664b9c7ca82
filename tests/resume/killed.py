"""Runs of the tasks denoise and extract that kill themselves (SIGKILL) at a known place.

python -m tests.resume.killed JOBS, where JOBS is a .json list of {"task", "config": {key: value}, "kill": place}. Every
job is a process of its own, forked from one that has loaded the program but no devices yet: so a dozen take seconds.
Prints a JSON list of {"signal": 9 or 0, "exit": code, "said": standard error}.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
from ml_collections import ConfigDict

from cion_jax.data import prepare
from cion_jax.denoise import calibration, give_back, progressive
from cion_jax.evaluation.label_report import page
from cion_jax.tasks import denoise, denoise_outputs, extract, extractors, feature_shards

TASKS = {"denoise": denoise, "extract": extract}


def _die(*_, **__) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _calls(owner, name: str, number: int = 1, when: Callable[..., bool] = lambda *a: True) -> None:
    """Dies in the `number`th call of a function, of those for which `when(*arguments)`."""
    function, left = getattr(owner, name), [number]

    def dying(*arguments, **named):
        left[0] -= bool(when(*arguments))
        if not left[0]:
            _die()
        return function(*arguments, **named)

    setattr(owner, name, dying)


def _half_written(stage: str) -> None:
    """Dies when half of a stage's file is on the disk."""
    savez = np.savez

    def dying(file, **arrays):
        savez(file, **arrays)
        if Path(file.name).name.startswith(f".{stage}."):
            file.flush()
            os.truncate(file.name, file.tell() // 2)
            os.fsync(file.fileno())
            _die()

    np.savez = dying


def _half_a_list(file, identities, paths) -> None:
    file.write('[\n{"id": 0')
    file.flush()
    _die()


# Where to die: in the middle of the work of a stage, of its file, or of an output.
PLACES: dict[str, Callable[[], None]] = {
    "thresholds": lambda: _calls(calibration._Pairs, "of"),
    "levels_1_2": lambda: _calls(progressive, "_merge"),
    "level_3": lambda: _calls(progressive, "_merge", when=lambda *a: a[-1] == "level 3"),
    "finish": lambda: _calls(give_back, "nearest"),
    **{f"writing {stage}": lambda stage=stage: _half_written(stage) for stage in ("levels_1_2", "finish")},
    "labels": lambda: _calls(pyarrow.parquet, "write_table"),
    "annos": lambda: setattr(denoise_outputs, "_stream", _half_a_list),
    "report": lambda: _calls(page, "write_json"),
    "records": lambda: _calls(prepare._Tally, "take", 10),
    "second shard": lambda: _calls(feature_shards, "write_shard", 2),
    "reasons": lambda: _calls(np, "save"),
}


def _stub(config: ConfigDict, say: Callable[[str], None]) -> extractors.Extractor:
    """The mean colours of an image."""

    def colours(images, sizes):
        return np.asarray(images, np.float32).mean(axis=(1, 2)) / 255 + 0.1

    return extractors.Extractor("stub", colours, None, (32, 16), (0.0,) * 3, (1.0,) * 3, "untrained", "")


def _run(job: dict) -> None:
    settings = importlib.import_module(f"configs.{job['task']}").get_config()
    settings.update_from_flattened_dict(job["config"])
    if job["kill"]:
        PLACES[job["kill"]]()
    extractors.load = _stub
    prepare.SHARD_BYTES = 2000  # a few of the album's images
    TASKS[job["task"]].run(settings.lock(), Path(settings.target).parent)


def _fork(job: dict) -> dict:
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 2)
            code = 1
            try:
                _run(job)
                code = 0
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        text = said.read().decode()
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status), "exit": None, "said": text}
    return {"signal": 0, "exit": os.WEXITSTATUS(status), "said": text}


if __name__ == "__main__":
    print(json.dumps([_fork(job) for job in json.loads(Path(sys.argv[1]).read_text())]))
