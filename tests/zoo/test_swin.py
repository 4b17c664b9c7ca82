"""Swin: windows, masks, merging, gradients, stochastic depth. Values: tests/parity/test_zoo.py."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors
from hypothesis import strategies as st

from cion_jax import zoo
from cion_jax.zoo import swin

# Maps of 12x8 and 6x4: the first is filled up to 16x8, the second to 8x8.
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 48, 32, 3)), jnp.float32)


def small(**overrides):
    return swin.Swin(16, 2, (2, 2), **overrides)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(small().init)(jax.random.key(0), IMAGES)


def gradients(module, params):
    def loss(params):
        y = module.apply({"params": params}, IMAGES, train=True, rngs={"drop_path": jax.random.key(1)})
        return jnp.sum(jnp.sin(y) * jnp.arange(y.shape[-1]))

    return jax.jit(jax.grad(loss))(params)


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    plain, again = (
        gradients(small(remat=remat, drop_path=0.1), variables["params"]) for remat in (False, True)
    )
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(again), strict=True):
        assert np.isfinite(a).all() and np.any(a), f"{path} has no gradient"
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(a).max()))


def test_start(variables):
    params = variables["params"]
    block = params["layers_1"]["blocks_1"]
    leaves = (
        block["attn"]["qkv"]["kernel"],
        block["attn"]["relative_position_bias_table"],
        block["mlp"]["fc2"]["kernel"],
        params["layers_0"]["downsample"]["reduction"]["kernel"],
    )
    for leaf in leaves:
        assert abs(float(leaf.std()) - 0.02) < 0.003
    assert not np.any(block["attn"]["qkv"]["bias"])
    assert "bias" not in params["layers_0"]["downsample"]["reduction"]
    bound = 1 / np.sqrt(48)
    for leaf in params["patch_embed"]["proj"].values():
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
    variables = module.init(jax.random.key(0), x)
    even = module.apply(variables, x[:, :, :2])
    joined = np.concatenate([x[0, 0, 0], x[0, 1, 0], x[0, 0, 1], x[0, 1, 1]])
    normed = (joined - joined.mean()) / np.sqrt(joined.var() + 1e-5)
    np.testing.assert_allclose(even[0, 0, 0], normed @ variables["params"]["reduction"]["kernel"], atol=1e-5)
    odd = module.apply(variables, x)
    assert odd.shape == (1, 1, 2, 4)
    filled = module.apply(variables, jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))))
    np.testing.assert_array_equal(odd, filled)


def test_stochastic_depth_is_the_recipe_of_training_alone(variables):
    assert zoo.create("swin_tiny").drop_path == zoo.spec("swin_tiny").drop_path == 0.1
    assert zoo.create("swin_tiny", drop_path=0.0).drop_path == 0
    module = small(drop_path=0.9)
    np.testing.assert_array_equal(module.apply(variables, IMAGES), small().apply(variables, IMAGES))
    with pytest.raises(errors.InvalidRngError):
        jax.eval_shape(lambda v: module.apply(v, IMAGES, train=True), variables)
    dropped = module.apply(variables, IMAGES, train=True, rngs={"drop_path": jax.random.key(1)})
    assert not np.allclose(dropped, small().apply(variables, IMAGES, train=True))


def test_bfloat16_stays_close(variables):
    exact = np.asarray(small().apply(variables, IMAGES))
    rough = small(dtype=jnp.bfloat16).apply(variables, IMAGES)
    assert rough.dtype == jnp.bfloat16
    assert np.abs(np.float32(rough) - exact).max() < 0.1 * np.sqrt(np.mean(exact**2))
