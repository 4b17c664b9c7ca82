"""Work that never ends, for a test that ends it."""

import os
import time
from pathlib import Path


class Sleeper:
    """Notes its process and sleeps."""

    def __init__(self, folder):
        self._folder = Path(folder)

    def __call__(self, job, advance):
        (self._folder / f"{os.getpid()}.pid").touch()
        time.sleep(600)
