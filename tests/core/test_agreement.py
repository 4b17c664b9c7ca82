"""Agreement of processes: with stand-ins for what crosses processes; real processes are in tests/multiprocess."""

import jax
import numpy as np
import pytest

from cion_jax.core import agreement
from cion_jax.core.errors import UserError


class Others:
    """Two further processes that hold `texts`, padded as they would arrive."""

    def __init__(self, monkeypatch, texts):
        self._texts = [text.encode() for text in texts]
        monkeypatch.setattr(jax, "process_count", lambda: 1 + len(texts))
        monkeypatch.setattr(agreement.multihost_utils, "process_allgather", self._gather)

    def _gather(self, own):
        if own.ndim == 0:
            return np.array([int(own), *map(len, self._texts)])
        # As long as the longest text here is the own one; longer ones would make `own` longer.
        rows = [np.frombuffer(text.ljust(len(own), b"\0")[: len(own)], np.uint8) for text in self._texts]
        return np.stack([own, *rows])


def test_one_process_agrees_with_itself():
    assert agreement.from_first_process({"a": [1, None]}) == {"a": [1, None]}
    agreement.require_same({"x": 1})
    assert agreement.together(lambda: 5) == 5
    with pytest.raises(UserError, match="mine"):
        agreement.together(_fail)


def _fail():
    raise UserError("mine")


def test_the_differing_value_and_its_process_are_named(monkeypatch):
    Others(monkeypatch, ['"abc"', '"abd"'])
    with pytest.raises(UserError, match=r'differ in data\.train: process 0 has "abc", process 2 has "abd"'):
        agreement.require_same({"data.train": "abc"})


def test_equal_values_pass(monkeypatch):
    Others(monkeypatch, ["48", "48"])
    agreement.require_same({"data.batch_size": 48})


def test_an_error_of_another_process_is_raised_here(monkeypatch):
    Others(monkeypatch, ["", "the disk is full"])
    with pytest.raises(UserError, match="process 2: the disk is full"):
        agreement.together(lambda: None)


def test_an_own_error_is_raised_as_it_is(monkeypatch):
    Others(monkeypatch, ["", "the disk is full"])
    with pytest.raises(UserError, match=r"^mine$"):
        agreement.together(_fail)
