"""Where figures go: `metrics.jsonl`, TensorBoard, and plain lines for people."""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically

FILE_NAME = "metrics.jsonl"


def read_rows(workdir: Path) -> list[dict[str, float]]:
    """The rows of `metrics.jsonl`, oldest first; a last line cut short by a crash is dropped."""
    path = Path(workdir) / FILE_NAME
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
        elif number < len(lines):
            raise UserError(f"{path}, line {number} is no row of figures: mend or remove that line")
    return rows


class MetricsLog:
    """Appends rows of figures. A run that goes on from step s drops the rows after s, so no step is there twice.

    Args:
      workdir: folder of the run.
      first_step: steps already taken.
      tensorboard: whether to write TensorBoard events too.
    """

    def __init__(self, workdir: Path, first_step: int, *, tensorboard: bool = True):
        self._path = Path(workdir) / FILE_NAME
        kept = [row for row in read_rows(workdir) if row["step"] <= first_step]
        write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a")
        self._writer = None
        if tensorboard:
            self._writer = SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=first_step + 1)

    def write(self, step: int, figures: Mapping[str, float | str]) -> None:
        """Adds one row; figures that are not finite are written as null, which JSON can hold.

        Raises:
          UserError: the disk is full.
        """
        row = {"step": step} | {name: _jsonable(value) for name, value in figures.items()}
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written ({error.strerror}): make room; the same command then goes on from the "
                "last checkpoint"
            ) from error
        if self._writer is not None:
            for name, value in figures.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes the files."""
        # What is not on disk by now was reported by `write`; a full disk fails here a second time.
        with contextlib.suppress(OSError):
            self._file.close()
        if self._writer is not None:
            self._writer.close()


class NoLog:
    """What processes other than the first write: nothing."""

    def write(self, step: int, figures: Mapping[str, float | str]) -> None:
        """Drops the figures."""

    def close(self) -> None:
        """Has nothing to close."""


def _jsonable(value: float | str) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
