"""A table that grows."""

import numpy as np
import pytest

from cion_jax.video.growing import GrowingTable


def test_rows_come_back_in_order():
    table = GrowingTable(3)
    assert table.rows().shape == (0, 3)
    table.append(1, 2**53, np.float32(0.5))
    table.append(4, 5, 6)
    assert table.rows().tolist() == [[1, 2**53, 0.5], [4, 5, 6]]
    with pytest.raises(ValueError, match="2 numbers in a table of 3"):
        table.append(1, 2)
