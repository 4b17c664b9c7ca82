"""The measure by which exports are kept or refused."""

import numpy as np
import pytest

from cion_jax.bridge import agreement
from cion_jax.bridge.agreement import EXACT, Deviation
from cion_jax.core.errors import UserError


def test_the_error_is_relative_to_the_root_mean_square():
    expected = np.array([[3.0, -3.0], [3.0, 3.0]])
    found = agreement.compare(expected + np.array([[0, 0], [0, 0.3]]), expected)
    assert found.error == pytest.approx(0.1)
    assert found.cosine == pytest.approx((3 + 3.3) / (2**0.5 * np.hypot(3, 3.3)))


def test_another_shape_is_infinitely_wrong():
    assert not agreement.compare(np.ones((1, 4)), np.ones((1, 5))).within(EXACT)


@pytest.mark.parametrize(
    "found", [Deviation(2e-3, 1.0), Deviation(1e-4, 0.9998), Deviation(np.nan, 1.0), Deviation(0.0, np.nan)]
)
def test_either_limit_refuses(found):
    with pytest.raises(UserError, match=r"m\.onnx is not kept"):
        agreement.require(found, EXACT, "m.onnx")


def test_what_is_within_passes():
    agreement.require(Deviation(1e-4, 0.99999), EXACT, "m.onnx")


@pytest.mark.parametrize("pictures", [agreement.noise, agreement.people])
def test_pictures_are_all_different_and_always_the_same(pictures):
    first, again = pictures((64, 32), 5), pictures((64, 32), 5)
    assert first.dtype == np.uint8 and first.shape == (5, 64, 32, 3)
    np.testing.assert_array_equal(first, again)
    assert len({picture.tobytes() for picture in first}) == 5
    assert first.std() > 20


def test_people_are_smooth_where_noise_is_not():
    steps = [
        np.abs(np.diff(p((64, 32), 3).astype(float), axis=1)).mean()
        for p in (agreement.people, agreement.noise)
    ]
    assert steps[0] < steps[1] / 4
