"""The resize of position tables. Values: tests/parity/test_zoo.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo import positions


@pytest.mark.parametrize(("old", "new"), [(16, 8), (8, 4), (16, 24), (8, 8), (16, 1)])
def test_resize_keeps_constants_and_hits_four_taps(old, new):
    matrix = positions.bicubic_matrix(old, new)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    assert ((matrix != 0).sum(1) <= 4).all()


def test_a_resize_is_separable_and_moved_by_a_tenth():
    table = np.random.default_rng(0).normal(size=(1, 4, 2, 3)).astype(np.float32)
    ours = np.asarray(positions.resize(jnp.asarray(table), (6, 2)))
    rows, columns = positions.bicubic_matrix(4, 6), positions.bicubic_matrix(2, 2)
    assert ours.shape == (1, 6, 2, 3)
    np.testing.assert_allclose(ours[0, ..., 1], rows @ table[0, ..., 1] @ columns.T, atol=1e-6)
    assert not np.allclose(columns, np.eye(2), atol=1e-3), (
        "the tenth in the factor moves points at the same size too"
    )
