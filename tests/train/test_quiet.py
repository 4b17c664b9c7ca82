import logging
import sys

import pytest

from cion_jax.train.quiet import quiet_orbax


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """What is changed for the whole process is put back."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    before = [list(logger.filters) for logger in loggers]
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: seen.append(str(found.exc_value)))
    quiet_orbax()
    quiet_orbax()
    yield seen
    for logger, filters in zip(loggers, before, strict=True):
        logger.filters[:] = filters


def raise_where_nobody_catches(text):
    class Leaves:
        def __del__(self):
            raise RuntimeError(text)

    Leaves()


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("asyncio", "Task exception was never retrieved: TensorStore says no", False),
        ("absl", "_SignalingThread failed", False),
        ("asyncio", "Task exception was never retrieved: another", True),
        ("absl", "a warning of the user's", True),
    ],
)
def test_only_what_is_raised_as_well_is_dropped(caplog, name, text, wanted):
    caplog.set_level(logging.WARNING)
    logging.getLogger(name).propagate = True
    logging.getLogger(name).warning(text)
    assert (text in caplog.text) == wanted


def test_background_failures_of_others_are_still_told_once(quiet):
    for text in ("Event loop is closed", "a TensorStore read failed", "something else"):
        raise_where_nobody_catches(text)
    assert quiet == ["something else"]
