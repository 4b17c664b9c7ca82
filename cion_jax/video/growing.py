"""A table of numbers that grows by rows: 8 bytes a number, where tuples in a list take ten times that."""

from array import array

import numpy as np


class GrowingTable:
    """Rows of `width` numbers, kept as float64, which holds whole numbers up to 2**53."""

    def __init__(self, width: int):
        self._width, self._values = width, array("d")

    def append(self, *row: float) -> None:
        """Adds one row."""
        if len(row) != self._width:
            raise ValueError(f"a row of {len(row)} numbers in a table of {self._width} columns")
        self._values.extend(row)

    def rows(self) -> np.ndarray:
        """All rows, float64 [n, width]."""
        return np.array(self._values).reshape(-1, self._width)
