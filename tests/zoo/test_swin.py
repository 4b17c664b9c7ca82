"""Swin: windows, masks, merging, gradients, stochastic depth. Values: tests/parity/test_zoo.py."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors
from hypothesis import strategies as st
from scipy import special

from cion_jax import zoo
from cion_jax.zoo import swin
from tests.zoo import training

HEADS = 2
# Maps of 12x8 and 6x4, filled up to 16x8 and 8x8.
IMAGES = np.random.default_rng(0).normal(size=(2, 48, 32, 3)).astype(np.float32)


def small(**overrides):
    return swin.Swin(16, HEADS, (2, 1), **overrides)


@pytest.fixture(scope="module")
def variables():
    return training.variables_of(small(), IMAGES)


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    training.check_recomputation(functools.partial(small, drop_path=0.1), variables, IMAGES)


def test_bfloat16_stays_close(variables):
    training.check_bfloat16(small, variables, IMAGES)


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


def attended(x, params, shifted):
    """Written out from the architecture notes, place by place: what attention adds to a normed map [h, w, c]."""
    height, width, channels = x.shape
    size = [-(-n // 8) * 8 for n in (height, width)]
    x = np.pad(x, ((0, size[0] - height), (0, size[1] - width), (0, 0)))  # before the roll
    places = [(i, j) for i in range(size[0]) for j in range(size[1])]
    rolled = {
        (i, j): tuple((n - 4 * shifted) % side for n, side in zip((i, j), size, strict=True))
        for i, j in places
    }
    region = {
        p: tuple((n >= side - 8) + (n >= side - 4) for n, side in zip(rolled[p], size, strict=True))
        for p in places
    }
    qkv = x @ params["qkv"]["kernel"] + params["qkv"]["bias"]
    query, key, value = np.moveaxis(qkv.reshape(*size, 3, HEADS, -1), 2, 0)
    y = np.zeros_like(x)
    for p in places:
        window = [
            o for o in places if all(a // 8 == b // 8 for a, b in zip(rolled[o], rolled[p], strict=True))
        ]
        for head in range(HEADS):
            scores = []
            for o in window:
                dy, dx = (a - b for a, b in zip(rolled[p], rolled[o], strict=True))
                score = query[p][head] @ key[o][head] / np.sqrt(channels / HEADS)
                score += params["relative_position_bias_table"][(dy + 7) * 15 + dx + 7, head]
                scores.append(score - 100 * (shifted and region[p] != region[o]))
            own = slice(head * channels // HEADS, (head + 1) * channels // HEADS)
            y[p][own] = special.softmax(scores) @ np.stack([value[o][head] for o in window])
    return (y @ params["proj"]["kernel"] + params["proj"]["bias"])[:height, :width]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(9, 3), (5, 10)])
def test_maps_that_windows_do_not_fill_are_padded_and_then_rolled(size, shifted):
    block = swin.Block(HEADS, shifted)
    x = np.random.default_rng(3).normal(size=(1, *size, 4)).astype(np.float32)
    params = training.variables_of(block, x, False)["params"]
    params["mlp"]["fc2"] = jax.tree.map(np.zeros_like, params["mlp"]["fc2"])  # leaves attention alone
    normed = swin.layers.LayerNorm(1e-5).apply({"params": params["norm1"]}, x)
    expected = x[0] + attended(np.asarray(normed[0]), params["attn"], shifted)
    np.testing.assert_allclose(block.apply({"params": params}, x, False)[0], expected, atol=1e-5)


def test_merging_goes_down_first_and_fills_up_odd_maps():
    x = jnp.arange(2 * 3 * 2, dtype=jnp.float32).reshape(1, 2, 3, 2)
    module = swin.PatchMerging()
    variables = training.variables_of(module, x)
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
