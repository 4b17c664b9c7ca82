"""EdgeNeXt: the attending block, gradients, positions. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo.edgenext import CrossCovarianceAttention, EdgeNeXt, SplitTransposeBlock, fourier_table
from tests.zoo import training

IMAGES = np.random.default_rng(0).normal(size=(2, 64, 32, 3)).astype(np.float32)


def small(**overrides):
    # 10 channels in three chunks: 4, 4, 2.
    return EdgeNeXt((6, 8, 10), heads=2, depths=(1, 2, 1), **overrides)


@pytest.fixture(scope="module")
def variables():
    return training.variables_of(small(), IMAGES)


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    training.check_recomputation(small, variables, IMAGES)


def test_bfloat16_stays_close(variables):
    training.check_bfloat16(small, variables, IMAGES)


def test_attending_blocks_end_the_later_stages_and_one_knows_positions(variables):
    params = variables["params"]
    attending = {name for name, block in params.items() if "xca" in block}
    assert attending == {"stages_1_1", "stages_2_0"}
    assert [name for name in attending if "pos_embd" in params[name]] == ["stages_1_1"]
    shapes = [params["stages_2_0"][f"convs_{index}"]["kernel"].shape for index in range(2)]
    assert shapes == [(3, 3, 1, 4)] * 2 and "convs_2" not in params["stages_2_0"]


def test_start():
    x = jnp.ones((1, 4, 2, 8))
    block = jax.jit(SplitTransposeBlock(heads=2, scales=2, positions=True).init)(jax.random.key(0), x)[
        "params"
    ]
    for name in ("gamma", "gamma_xca"):
        np.testing.assert_array_equal(block[name], np.float32(1e-6))
    np.testing.assert_array_equal(block["xca"]["temperature"], np.ones((2, 1, 1)))
    bound = 1 / np.sqrt(8)
    for leaf in block["xca"]["qkv"].values():
        assert 0.6 * bound < float(jnp.abs(leaf).max()) <= bound


def test_attention_is_over_channels_of_a_head():
    """Against the definition written out, one image and one head at a time."""
    x = np.random.default_rng(1).normal(size=(2, 5, 6)).astype(np.float32)
    module = CrossCovarianceAttention(heads=2)
    variables = training.variables_of(module, x)
    params = variables["params"]
    expected = np.zeros_like(x)
    for image in range(2):
        qkv = (x[image] @ params["qkv"]["kernel"] + params["qkv"]["bias"]).reshape(5, 3, 2, 3)
        for head in range(2):
            query, key, value = (qkv[:, i, head].T for i in range(3))  # [channels of the head, tokens]
            query, key = (y / np.linalg.norm(y, axis=1, keepdims=True) for y in (query, key))
            scores = np.exp(query @ key.T * params["temperature"][head])
            weights = scores / scores.sum(1, keepdims=True)
            expected[image, :, 3 * head : 3 * head + 3] = (weights @ value).T
    expected = expected @ params["proj"]["kernel"] + params["proj"]["bias"]
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x), expected, atol=1e-5)


def test_a_block_adds_to_its_input_and_not_to_what_attention_left():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(1, 4, 2, 8)), jnp.float32)
    block = SplitTransposeBlock(heads=2, scales=2, positions=True)
    params = training.variables_of(block, x)["params"]
    y = jax.jit(block.apply)({"params": {**params, "gamma": jnp.zeros(8)}}, x)
    np.testing.assert_array_equal(y, x)


def test_positions_tell_rows_from_columns():
    table = fourier_table((6, 3))
    assert table.shape == (6, 3, 64) and table.dtype == np.float32
    assert np.ptp(table[..., :32], axis=1).max() == 0, "the first half depends on the row alone"
    assert np.ptp(table[..., 32:], axis=0).max() == 0, "the second half depends on the column alone"
    assert np.abs(table[-1, -1, ::2]).min() < 1e-5, "the last of them closes the circle"
