"""`cion_jax.main` with hooks for tests, by environment variables.

CION_TEST_SIGTERM_IN_EVALUATION=N: the process sends itself SIGTERM before batch N of its evaluations (from 0).
CION_TEST_COMPILATIONS=FILE: the images per identity of every compilation of the update go to FILE (.json).
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
    compile_, counted = jax.stages.Lowered.compile, []

    def counting(self, *arguments, **options):
        counted.append(self)
        return compile_(self, *arguments, **options)

    train = _Run.train

    def reporting(self, *arguments, **options):
        state = train(self, *arguments, **options)
        if jax.process_index() == 0:
            phases = [images_per_identity for images_per_identity, _ in self.programs.compiled]
            file.write_text(json.dumps({"images per identity": phases, "compilations": len(counted)}))
        return state

    jax.stages.Lowered.compile = counting
    _Run.train = reporting


if __name__ == "__main__":
    if "CION_TEST_SIGTERM_IN_EVALUATION" in os.environ:
        _signal_in_evaluation(int(os.environ["CION_TEST_SIGTERM_IN_EVALUATION"]))
    if "CION_TEST_COMPILATIONS" in os.environ:
        _count_compilations(Path(os.environ["CION_TEST_COMPILATIONS"]))
    if "CION_TEST_FEATURES" in os.environ:
        _keep_first_features(Path(os.environ["CION_TEST_FEATURES"]))
    sys.exit(main.main())
