"""VOLO: windows and their sum, outlook attention, position table, training. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from cion_jax.zoo import volo
from tests.zoo.training import check_training, structure, variables_of

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def windows(x):
    """Written out: the 3x3 windows around every second pixel."""
    batch, height, width, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    found = [
        padded[:, i : i + 3, j : j + 3].reshape(batch, 9, channels)
        for i in range(0, height, 2)
        for j in range(0, width, 2)
    ]
    return np.stack(found, 1).reshape(batch, -(-height // 2), -(-width // 2), 9, channels)


@pytest.mark.parametrize("size", [(6, 4), (5, 3), (4, 7), (1, 1)])
def test_windows_and_their_sum(size):
    x = normal(2, *size, 3)
    unfolded = volo.windows_of(x)
    np.testing.assert_array_equal(unfolded, windows(np.asarray(x)))
    y = normal(*unfolded.shape)
    summed = volo.sum_of_windows(y)[:, : size[0], : size[1]]
    # <windows_of(x), y> = <x, sum_of_windows(y)> for all x and y says that one transposes the other.
    np.testing.assert_allclose(jax.vjp(volo.windows_of, x)[1](y)[0], summed, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
def test_average_pool_counts_only_what_is_there(size):
    x = np.asarray(normal(1, *size, 2))
    rows, columns = (range(0, n, 2) for n in size)
    expected = [[x[0, i : i + 2, j : j + 2].mean((0, 1)) for j in columns] for i in rows]
    np.testing.assert_allclose(volo.average_pool_2x2(jnp.asarray(x))[0], expected, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
def test_outlook_attention_window_by_window(size):
    height, width = size
    x, heads = normal(1, height, width, 8), 2
    module = volo.OutlookAttention(heads)
    variables = variables_of(module, x)
    p = jax.tree.map(np.asarray, variables["params"])
    values = windows(np.asarray(x @ p["v"]["kernel"]))[0]
    scores = volo.average_pool_2x2(x)[0] @ p["attn"]["kernel"] + p["attn"]["bias"]
    summed = np.zeros((height + 3, width + 3, 8))  # pixel (0, 0) at (1, 1)
    for i, j in np.ndindex(*values.shape[:2]):
        weights = special.softmax(np.reshape(scores[i, j], (heads, 9, 9)) / 2, axis=-1)
        for head in range(heads):
            own = slice(4 * head, 4 * head + 4)
            mixed = weights[head] @ values[i, j][:, own]
            summed[2 * i : 2 * i + 3, 2 * j : 2 * j + 3, own] += mixed.reshape(3, 3, 4)
    expected = summed[1 : height + 1, 1 : width + 1] @ p["proj"]["kernel"] + p["proj"]["bias"]
    np.testing.assert_allclose(module.apply(variables, x)[0], expected, atol=1e-5)


def test_only_the_class_token_asks_and_changes():
    token, patches = normal(2, 1, 8), normal(2, 5, 8)
    block = volo.ClassBlock(2)
    variables = variables_of(block, token, patches)
    y = block.apply(variables, token, patches)
    assert y.shape == (2, 1, 8)
    np.testing.assert_allclose(block.apply(variables, token, patches[:, ::-1]), y, atol=1e-6)
    assert not np.allclose(block.apply(variables, token, jnp.square(patches)), y, atol=1e-3)


def test_position_table():
    table = normal(1, 16, 8, 4)
    assert volo.position_table(table, (16, 8), (256, 128)) is table
    assert volo.position_table(table, (16, 8), (264, 136)) is table  # as many tokens: unlike ViT's
    assert volo.position_table(table, (8, 4), (128, 64)).shape == (1, 8, 4, 4)
    with pytest.raises(ValueError, match="63x64 pixels"):
        volo.position_table(table, (4, 4), (63, 64))


def small(**overrides):
    return volo.VOLO(64, (1, 1, 1, 1), **overrides)


def test_training_updates_every_statistic_and_reaches_every_parameter():
    images = normal(2, 32, 16, 3)
    check_training(small(), variables_of(small(), images), images)


def test_start():
    params = jax.jit(small().init)(jax.random.key(0), jnp.ones((1, 32, 16, 3)))["params"]
    outlooker = params["network_0_0"]["attn"]
    for leaf in (
        outlooker["attn"]["kernel"],
        params["network_3_0"]["mlp"]["fc1"]["kernel"],
        params["post_network_1"]["attn"]["kv"]["kernel"],
        params["pos_embed"],
        params["cls_token"],
    ):
        assert abs(float(leaf.std()) - 0.02) < 0.004
    assert not np.any(outlooker["attn"]["bias"]) and "bias" not in outlooker["v"]
    bound = 1 / np.sqrt(2 * 2 * 32)
    assert 0.9 * bound < float(jnp.abs(params["network_1"]["proj"]["kernel"]).max()) <= bound
    assert 0.5 * bound < float(jnp.abs(params["network_1"]["proj"]["bias"]).max()) <= bound


def test_recomputation_keeps_the_paths():
    assert structure(small()) == structure(small(remat=True))


@pytest.mark.parametrize("size", [(48, 32), (40, 24)], ids=["whole patches", "odd grid of outlookers"])
def test_bfloat16_is_finite(size):
    module, images = small(dtype=jnp.bfloat16), normal(2, *size, 3)
    features = jax.jit(module.apply)(variables_of(module, images), images)
    assert features.shape == (2, 64) and features.dtype == jnp.bfloat16
    assert np.isfinite(np.float32(features)).all()
