"""Files of the MOTChallenge: rows of frame, id, left, top, width, height, confidence and more; seqinfo.ini.

Frames and pixels count from 1 in them, so left = 1 is the edge of the image, which is 0 in our boxes.
"""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cion_jax.core.errors import UserError

NOBODY = -1  # the id of a row that is a detection, not a track
_LEAST = 6  # columns that a row must have


class Rows(NamedTuple):
    """The rows of a file: frame int64 [n] (from 1), identity int64 [n] (-1: no track), boxes float64 [n, 4] (left, top,
    right, bottom; the image begins at 0), scores float64 [n]."""

    frame: np.ndarray
    identity: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def at(self, frame: int) -> "Rows":
        """The rows of one frame, of rows that are sorted by frame."""
        start, stop = np.searchsorted(self.frame, [frame, frame + 1])
        return Rows(*(values[start:stop] for values in self))


def read(path: Path) -> Rows:
    """Reads ground truth, detections or the output of a tracker, sorted by frame, then by id.

    Rows of confidence 0 are left out, as the MOTChallenge wants it. Where a file has no confidence, or -1 in every row,
    scores are 1.

    Raises:
      UserError: a file that is missing or empty, a line that is malformed (named), two rows with one id in a frame.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable MOTChallenge file: {error}") from error
    table = [(number, _row(path, number, line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not table:
        raise UserError(f"{path} has no rows")
    table = [(number, row) for number, row in table if row[6] != 0]
    _check_repeats(path, table)
    values = np.array([row for _, row in table]).reshape(-1, 7)
    values = values[np.lexsort((values[:, 1], values[:, 0]))]
    low = values[:, 2:4] - 1
    scores = values[:, 6]
    scores = np.ones_like(scores) if (scores == -1).all() else scores
    return Rows(
        values[:, 0].astype(np.int64),
        values[:, 1].astype(np.int64),
        np.concatenate([low, low + values[:, 4:6]], axis=1),
        scores,
    )


def text(rows: Rows) -> str:
    """The rows as a file that `read` takes, and evaluation kits too; hundredths of a pixel are kept."""
    lines = []
    for frame, identity, (left, top, right, bottom), score in zip(*rows, strict=True):
        box = f"{left + 1:.2f},{top + 1:.2f},{right - left:.2f},{bottom - top:.2f}"
        lines.append(f"{frame},{identity},{box},{score:.4f},-1,-1,-1\n")
    return "".join(lines)


def sequence_info(folder: Path) -> Mapping[str, str]:
    """The keys of seqinfo.ini in lower case (framerate, seqlength, ...); empty without such a file.

    Raises:
      UserError: a file that is not of this kind.
    """
    file = Path(folder) / "seqinfo.ini"
    if not file.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8-sig"))
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no MOTChallenge seqinfo.ini: {error}") from error


def _row(path: Path, number: int, line: str) -> list[float]:
    """frame, id, left, top, width, height, confidence."""
    cells = line.split(",") if "," in line else line.split()
    try:
        if len(cells) < _LEAST:
            raise ValueError(
                f"{len(cells)} columns, not frame, id, left, top, width, height, confidence, ..."
            )
        row = [float(cell) for cell in cells[: _LEAST + 1]]
        row += [1.0] * (_LEAST + 1 - len(row))
        if not np.isfinite(row).all():
            raise ValueError("a number is not finite")
        if row[0] < 1 or any(value % 1 for value in row[:2]):
            raise ValueError(f"frame {cells[0]} and id {cells[1]} must be whole numbers, frames from 1 on")
        if row[6] != 0 and min(row[4:6]) <= 0:
            raise ValueError(f"a box of {cells[4]} x {cells[5]} pixels")
    except ValueError as error:
        raise UserError(f"{path}, line {number:,}: {error}") from error
    return row


def _check_repeats(path: Path, table: list[tuple[int, list[float]]]) -> None:
    seen: dict[tuple[float, float], int] = {}
    for number, row in table:
        if row[1] < 0:
            continue
        before = seen.setdefault((row[0], row[1]), number)
        if before != number:
            raise UserError(
                f"{path}, line {number:,}: id {row[1]:.0f} is in frame {row[0]:.0f} already (line {before:,})"
            )
