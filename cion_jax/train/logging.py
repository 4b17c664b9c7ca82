"""Where figures go: `metrics.jsonl`, TensorBoard, and plain lines for people."""

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
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number} is not JSON: mend or remove that line") from error
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
        """Adds one row; figures that are not finite are written as null, which JSON can hold."""
        row = {"step": step} | {name: _jsonable(value) for name, value in figures.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in figures.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes the files."""
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
