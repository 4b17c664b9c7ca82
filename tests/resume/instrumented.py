"""`cion_jax.main` with two hooks for tests, by environment variables.

CION_TEST_SIGTERM_IN_EVALUATION=N: the process sends itself SIGTERM before batch N of its evaluations (from 0).
CION_TEST_FEATURES=FILE: features of the first evaluation go to FILE (.npz), from the first process.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from cion_jax import main
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


if __name__ == "__main__":
    if "CION_TEST_SIGTERM_IN_EVALUATION" in os.environ:
        _signal_in_evaluation(int(os.environ["CION_TEST_SIGTERM_IN_EVALUATION"]))
    if "CION_TEST_FEATURES" in os.environ:
        _keep_first_features(Path(os.environ["CION_TEST_FEATURES"]))
    sys.exit(main.main())
