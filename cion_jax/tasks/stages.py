"""Stages of a long computation: each one's arrays are kept whole, and reused when the same work is asked for again."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cion_jax.core.files import atomic_file
from cion_jax.core.target_lock import lock_target

_KEY = "_fingerprint"


class Stages:
    """Results of stages in a folder, one .npz each.

    A stage is known by its name and by everything it depends on: settings, and the fingerprints of the stages before.
    One process at a time computes stages in a folder.

    Args:
      folder: where the files are.
      version: of the code; another one does not take over what this one left.
      say: is told what is done, and what was done before.
    """

    def __init__(self, folder: Path, version: int, say: Callable[[str], None]):
        self._folder, self._version, self._say = Path(folder), version, say

    def get(
        self, name: str, depends: Any, compute: Callable[[], Mapping[str, np.ndarray]]
    ) -> tuple[dict[str, np.ndarray], str]:
        """The arrays of a stage, computed unless they are there, and their fingerprint.

        Args:
          name: of the stage and its file.
          depends: JSON-able; the stage is computed anew when it changes.
          compute: gives the arrays.

        Raises:
          UserError: another process computes a stage in the folder.
        """
        asked = json.dumps([self._version, name, depends], sort_keys=True)
        fingerprint = hashlib.sha256(asked.encode()).hexdigest()
        file = self._folder / f"{name}.npz"
        if (found := _read(file, fingerprint)) is not None:
            self._say(f"{name}: done before, in {file}")
            return found, fingerprint
        with lock_target(self._folder, f"stage {name}"):
            # Half-written files of killed runs, as large as the stage itself. With the lock none is of a live process.
            for left in self._folder.glob(f".{file.name}.*"):
                left.unlink(missing_ok=True)
            self._say(f"{name} ...")
            arrays = {key: np.asarray(value) for key, value in compute().items()}
            with atomic_file(file) as partial, partial.open("wb") as opened:
                np.savez(opened, **arrays, **{_KEY: np.array(fingerprint)})
        return arrays, fingerprint


def _read(file: Path, fingerprint: str) -> dict[str, np.ndarray] | None:
    """The arrays of a file if it is whole and of this work."""
    try:
        with np.load(file) as stored:
            if _KEY not in stored or str(stored[_KEY]) != fingerprint:
                return None
            return {key: stored[key] for key in stored.files if key != _KEY}
    # A file may be missing, or have been cut short or overwritten by something else.
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
        return None
