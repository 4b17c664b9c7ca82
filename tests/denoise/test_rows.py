"""What rows are accepted, and what becomes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cion_jax.denoise import rows


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (np.zeros(3), r"not of shape \(3,\)"),
        (np.zeros((3, 0)), r"not of shape \(3, 0\)"),
        (np.zeros((3, 2), int), "floating point, not int64"),
    ],
)
def test_other_than_a_matrix_of_numbers_is_refused(features, told):
    with pytest.raises(ValueError, match=told):
        rows.checked_features(features)


def test_lists_and_mapped_files_are_taken(tmp_path):
    assert rows.checked_features([[1.0, 2.0]]).shape == (1, 2)
    np.save(tmp_path / "f.npy", np.ones((2, 3), np.float16))
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    assert rows.checked_features(mapped) is mapped


def test_ids_are_integers_one_a_row():
    assert rows.checked_ids("videos", [3, 4], 2).dtype == np.int64
    assert rows.checked_ids("videos", [], 0).shape == (0,)
    with pytest.raises(ValueError, match=r"videos must hold one id per row of features, \[3\]"):
        rows.checked_ids("videos", [3, 4], 3)
    with pytest.raises(ValueError, match="videos must be integers, not float64"):
        rows.checked_ids("videos", [3.0, 4.0], 2)


@pytest.mark.parametrize("scale", [1e-300, 1e-7, 1.0, 1e30, 1e300])
def test_unit_rows_at_any_scale(scale):
    x = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(rows.unit(x * scale), rows.unit(x), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(rows.unit(x * scale), axis=1), 1, rtol=1e-12)


def test_extremes_of_float16():
    x = np.array([[65504, 65504], [6e-8, 0]], np.float16)
    np.testing.assert_allclose(rows.unit(x), [[0.5**0.5, 0.5**0.5], [1, 0]])


@pytest.mark.parametrize(
    ("value", "told"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (0.0, "is zero")]
)
def test_a_row_without_direction_is_named(value, told):
    x = np.ones((6, 3))
    x[4] = value
    with pytest.raises(ValueError, match=f"row 4 of features .*{told}"):
        rows.unit(x)
    with pytest.raises(ValueError, match="row 104"):
        rows.unit(x, first_row=100)
    with pytest.raises(ValueError, match="row 77"):
        rows.unit(x, names=np.array([1, 2, 3, 4, 77, 5]))


@given(arrays.arrays(np.int64, st.integers(0, 30), elements=st.integers(-2, 6)))
def test_labels_are_numbered_by_first_appearance(labels):
    found = rows.first_appearance(labels)
    known = {}
    expected = [known.setdefault(label, len(known)) if label >= 0 else -1 for label in labels.tolist()]
    assert found.tolist() == expected


def test_sums_that_cancel_are_zero():
    x = np.array([[3.0, 4], [1e-13, 0], [0, 0]])
    np.testing.assert_allclose(rows.unit_or_zero(x), [[0.6, 0.8], [0, 0], [0, 0]])
