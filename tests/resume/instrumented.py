"""`cion_jax.main` with hooks for tests, by environment variables.

CION_TEST_SIGTERM_IN_EVALUATION=N: the process sends itself SIGTERM before batch N of its evaluations (from 0).
CION_TEST_COMPILATIONS=FILE: how often the update was compiled, by phase, goes to FILE (.json), from the first process.
CION_TEST_FEATURES=FILE: features of the first evaluation go to FILE (.npz), from the first process.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from cion_jax import main
from cion_jax.tasks.pretrain import _Run
from cion_jax.tasks.retrieval import Retrieval


def _signal_in_evaluation(number: int) -> None:
    batches, count = Retrieval._batches, 0

    def with_signal(self, records) -> Iterator[dict]:
        nonlocal count
        for batch in batches(self, records):
            if count == number:
                os.kill(os.getpid(), signal.SIGTERM)
            count += 1
            yield batch

    Retrieval._batches = with_signal


def _keep_first_features(file: Path) -> None:
    features = Retrieval.features

    def keeping(self, variables):
        found = features(self, variables)
        if jax.process_index() == 0 and not file.exists():
            np.savez(file, query=found[0], gallery=found[1])
        return found

    Retrieval.features = keeping


def _count_compilations(file: Path) -> None:
    loop = _Run._loop

    def counting(self, *arguments):
        state = loop(self, *arguments)
        programs = self.compiled_updates
        # What no step asked for is made here and has no compilation.
        counts = [programs(phase)._cache_size() for phase in self.curriculum.phases]
        if jax.process_index() == 0:
            file.write_text(json.dumps({"by phase": counts, "programs": programs.cache_info().currsize}))
        return state

    _Run._loop = counting


if __name__ == "__main__":
    if "CION_TEST_SIGTERM_IN_EVALUATION" in os.environ:
        _signal_in_evaluation(int(os.environ["CION_TEST_SIGTERM_IN_EVALUATION"]))
    if "CION_TEST_COMPILATIONS" in os.environ:
        _count_compilations(Path(os.environ["CION_TEST_COMPILATIONS"]))
    if "CION_TEST_FEATURES" in os.environ:
        _keep_first_features(Path(os.environ["CION_TEST_FEATURES"]))
    sys.exit(main.main())
