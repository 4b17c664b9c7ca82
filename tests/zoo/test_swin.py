"""Swin: windows, masks, merging, gradients, stochastic depth. Values: tests/parity/test_zoo.py."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors
from hypothesis import strategies as st

from cion_jax import zoo
from cion_jax.zoo import swin
from tests.zoo import recipe

# Maps of 12x8 and 6x4, filled up to 16x8 and 8x8.
IMAGES = np.random.default_rng(0).normal(size=(2, 48, 32, 3)).astype(np.float32)


def small(**overrides):
    return swin.Swin(16, 2, (2, 1), **overrides)


@pytest.fixture(scope="module")
def variables():
    return recipe.variables(small(), IMAGES)


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    recipe.check_training(functools.partial(small, drop_path=0.1), variables, IMAGES)


def test_bfloat16_stays_close(variables):
    recipe.check_bfloat16(small, variables, IMAGES)


def test_start():
    stage = swin.Stage(heads=2, rates=(0.0,), merge=True)
    start = jax.jit(lambda key: stage.init(key, jnp.ones((1, 8, 8, 16)), False))
    params = start(jax.random.key(0))["params"]
    attention, mlp = params["blocks_0"]["attn"], params["blocks_0"]["mlp"]
    for leaf in (
        attention["relative_position_bias_table"],
        attention["qkv"]["kernel"],
        mlp["fc2"]["kernel"],
        params["downsample"]["reduction"]["kernel"],
    ):
        assert abs(float(leaf.std()) - 0.02) < 0.003
    assert not np.any(attention["qkv"]["bias"])
    assert "bias" not in params["downsample"]["reduction"]
    projection = jax.jit(swin.PatchEmbed(16).init)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))["params"][
        "proj"
    ]
    bound = 1 / np.sqrt(48)
    for leaf in projection.values():
        assert 0.6 * bound < float(jnp.abs(leaf).max()) <= bound


def test_rows_of_the_bias_table():
    index = swin.relative_position_index()
    assert index.shape == (64, 64) and index.dtype == np.int64
    assert set(index.ravel()) == set(range(225))
    # A query at the bottom right, a key at the top left: the largest distance downwards and to the right.
    assert index[63, 0] == 224 and index[0, 63] == 0 and index[5, 5] == 112
    assert index[8, 0] == 127 and index[1, 0] == 113, "rows of the map come before columns"


@hypothesis.settings(deadline=None, max_examples=20)
@hypothesis.given(st.integers(1, 4), st.integers(1, 4))
def test_windows_there_and_back(rows, columns):
    size = (8 * rows, 8 * columns)
    x = np.arange(2 * size[0] * size[1] * 3).reshape(2, *size, 3)
    cut = swin.windows(x)
    assert cut.shape == (2, rows * columns, 64, 3)
    np.testing.assert_array_equal(cut[1, -1].reshape(8, 8, 3), x[1, -8:, -8:])
    np.testing.assert_array_equal(swin.from_windows(cut, size), x)


@hypothesis.settings(deadline=None, max_examples=20)
@hypothesis.given(st.integers(1, 4), st.integers(1, 4))
def test_a_mask_parts_what_the_shift_brought_together(rows, columns):
    """Two places of a window see each other exactly if they were less than a window apart before the shift."""
    size = (8 * rows, 8 * columns)
    places = np.stack(np.indices(size), axis=-1)[None]
    before = swin.windows(np.roll(places, (-4, -4), (1, 2)))[0]  # [windows, 64, 2]
    near = (np.abs(before[:, :, None] - before[:, None]) < 8).all(-1)
    mask = swin.shift_mask(size)
    if min(rows, columns) > 1:
        np.testing.assert_array_equal(mask == 0, near)
    assert set(np.unique(mask)) == {-100, 0}
    # Also where one window covers the map, each half keeps to itself.
    last = (mask[-1, 0] == 0).reshape(8, 8)
    np.testing.assert_array_equal(last, np.indices((8, 8)).max(0) < 4)


def test_merging_goes_down_first_and_fills_up_odd_maps():
    x = jnp.arange(2 * 3 * 2, dtype=jnp.float32).reshape(1, 2, 3, 2)
    module = swin.PatchMerging()
    variables = recipe.variables(module, x)
    even = module.apply(variables, x[:, :, :2])
    joined = np.concatenate([x[0, 0, 0], x[0, 1, 0], x[0, 0, 1], x[0, 1, 1]])
    norm, kernel = variables["params"]["norm"], variables["params"]["reduction"]["kernel"]
    normed = (joined - joined.mean()) / np.sqrt(joined.var() + 1e-5) * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(even[0, 0, 0], normed @ kernel, atol=1e-5)
    odd = module.apply(variables, x)
    assert odd.shape == (1, 1, 2, 4)
    filled = module.apply(variables, jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))))
    np.testing.assert_array_equal(odd, filled)


def test_stochastic_depth_is_the_recipe_of_training_alone(variables):
    assert zoo.create("swin_tiny").drop_path == zoo.spec("swin_tiny").drop_path == 0.1
    assert zoo.create("swin_tiny", drop_path=0.0).drop_path == 0
    apply = jax.jit(small(drop_path=0.9).apply, static_argnames="train")
    with pytest.raises(errors.InvalidRngError):
        jax.eval_shape(lambda v: apply(v, IMAGES, train=True), variables)
    dropped = apply(variables, IMAGES, train=True, rngs={"drop_path": jax.random.key(1)})
    kept = apply(variables, IMAGES, train=False)
    np.testing.assert_array_equal(kept, jax.jit(small().apply)(variables, IMAGES))
    assert not np.allclose(dropped, kept)
