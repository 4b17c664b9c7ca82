"""Keeps orbax's background threads from printing tracebacks of failures that are also raised, as one clear message."""

import functools
import logging
import sys
from collections.abc import Callable


def quiet_orbax() -> None:
    """From now on drops what a damaged checkpoint or a full disk makes orbax and asyncio print; nothing else.

    A failed read leaves hundreds of others behind that come back to a closed event loop, some after the error has
    been handled, so this cannot end with it. Calling it again changes nothing.
    """
    logging.getLogger("absl").addFilter(_wanted)
    logging.getLogger("asyncio").addFilter(_wanted)
    if getattr(sys.unraisablehook, "func", None) is not _report:
        sys.unraisablehook = functools.partial(_report, sys.unraisablehook)


def _wanted(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "_SignalingThread" not in text and not ("never retrieved" in text and "TensorStore" in text)


def _report(others: Callable, unraisable: "sys.UnraisableHookArgs") -> None:
    text = str(unraisable.exc_value)
    if text != "Event loop is closed" and "TensorStore" not in text:
        others(unraisable)
