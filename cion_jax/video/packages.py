"""The packages of the extra `video`, imported only where they are used: the base install does without them."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from cion_jax.core.errors import UserError

INSTALL = "pip install 'cion-jax[video]'"
# By the name they are imported under.
_DISTRIBUTIONS = {"cv2": "opencv-python-headless"}
# What OpenCV and FFmpeg say of a bad video names no file; `reading` says it with the name.
_QUIET = {"OPENCV_LOG_LEVEL": "ERROR", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def require(name: str) -> Any:
    """The module `name` (cv2, openvino, trackers, supervision).

    Raises:
      UserError: it is not installed or does not load; tells how to install it.
    """
    if name == "cv2":
        for key, value in _QUIET.items():
            os.environ.setdefault(key, value)
    try:
        with _untold():
            return importlib.import_module(name)
    except ImportError as error:
        package = _DISTRIBUTIONS.get(name, name)
        raise UserError(f"reading videos needs the package {package} ({error}): {INSTALL}") from error


def count_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Keeps OpenCV to `count` threads in this process; 0 leaves it alone."""
    if count:
        require("cv2").setNumThreads(count)


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """Keeps OpenVINO from reporting its own import to its makers over the network, from a forked process at that."""
    if "openvino_telemetry" in sys.modules:
        yield  # somebody else wanted it
        return
    sys.modules["openvino_telemetry"] = None  # an import of it fails, which OpenVINO is prepared for
    try:
        yield
    finally:
        del sys.modules["openvino_telemetry"]
