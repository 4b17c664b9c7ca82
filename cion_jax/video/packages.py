"""The packages of the extra `video`, imported only where they are used: the base install does without them."""

import importlib
from typing import Any

from cion_jax.core.errors import UserError

INSTALL = "pip install 'cion-jax[video]'"
# By the name they are imported under.
_DISTRIBUTIONS = {"cv2": "opencv-python-headless"}


def require(name: str) -> Any:
    """The module `name` (cv2, openvino, trackers, supervision).

    Raises:
      UserError: it is not installed or does not load; tells how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = _DISTRIBUTIONS.get(name, name)
        raise UserError(f"reading videos needs the package {package} ({error}): {INSTALL}") from error


def limit_threads(count: int) -> None:
    """Keeps OpenCV to `count` threads in this process; 0 leaves it alone."""
    if count:
        require("cv2").setNumThreads(count)
