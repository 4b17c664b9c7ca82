"""ConvNeXt: training, start, sizes. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo.convnext import LAYER_SCALE, Block, ConvNeXt
from tests.zoo import training

IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)


def small(**overrides):
    return ConvNeXt((1, 1), (8, 12), **overrides)


@pytest.fixture(scope="module")
def variables():
    return training.variables_of(small(), IMAGES)


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    training.check_recomputation(small, variables, IMAGES)


def test_bfloat16_stays_close(variables):
    training.check_bfloat16(small, variables, IMAGES)


def test_start():
    block = jax.jit(Block().init)(jax.random.key(0), jnp.ones((1, 4, 2, 16)))["params"]
    np.testing.assert_array_equal(block["gamma"], np.float32(LAYER_SCALE))
    for layer, fan_in in (("dwconv", 49), ("pwconv1", 16), ("pwconv2", 64)):
        bound = 1 / np.sqrt(fan_in)
        for leaf in block[layer].values():
            assert 0.6 * bound < float(jnp.abs(leaf).max()) <= bound, layer


def test_images_need_not_divide_but_must_leave_a_pixel():
    features, _ = jax.eval_shape(small().init_with_output, jax.random.key(0), IMAGES[:, :21])
    assert features.shape == (2, 12)
    with pytest.raises(ValueError, match="too small: stage 1 gets a map of 1x8"):
        jax.eval_shape(small().init, jax.random.key(0), IMAGES[:, :7])
