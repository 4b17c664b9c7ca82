"""EdgeNeXt: the attending block, gradients, positions. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo.edgenext import CrossCovarianceAttention, EdgeNeXt, SplitTransposeBlock, fourier_table

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 32, 3)), jnp.float32)


def small(**overrides):
    # 10 channels in three chunks: 4, 4, 2.
    return EdgeNeXt((6, 8, 10, 12), heads=2, depths=(1, 2, 1, 1), **overrides)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(small().init)(jax.random.key(0), IMAGES)


def gradients(module, params):
    def loss(params):
        y = module.apply({"params": params}, IMAGES, train=True)
        return jnp.sum(jnp.sin(y) * jnp.arange(y.shape[-1]))

    return jax.jit(jax.grad(loss))(params)


def with_large_scales(params):
    """Blocks that have learned: at the start they add next to nothing, and attention nothing to that."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full_like(leaf, 0.3) if "gamma" in str(path) else leaf, params
    )


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    params = with_large_scales(variables["params"])
    plain, again = (gradients(small(remat=remat), params) for remat in (False, True))
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(again), strict=True):
        assert np.isfinite(a).all() and np.any(a), f"{path} has no gradient"
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(a).max()))


def test_attending_blocks_end_the_later_stages_and_one_knows_positions(variables):
    params = variables["params"]
    attending = {name for name, block in params.items() if "xca" in block}
    assert attending == {"stages_1_1", "stages_2_0", "stages_3_0"}
    assert [name for name in attending if "pos_embd" in params[name]] == ["stages_1_1"]
    shapes = [params["stages_2_0"][f"convs_{index}"]["kernel"].shape for index in range(2)]
    assert shapes == [(3, 3, 1, 4)] * 2 and "convs_2" not in params["stages_2_0"]


def test_start(variables):
    block = variables["params"]["stages_1_1"]
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
    variables = module.init(jax.random.key(0), x)
    variables["params"]["temperature"] = jnp.asarray([1.5, 0.5]).reshape(2, 1, 1)
    params = jax.tree.map(np.asarray, variables["params"])
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
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)


def test_a_block_adds_to_its_input_and_not_to_what_attention_left():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(1, 4, 2, 8)), jnp.float32)
    block = SplitTransposeBlock(heads=2, scales=2, positions=True)
    params = with_large_scales(block.init(jax.random.key(0), x)["params"])
    np.testing.assert_array_equal(block.apply({"params": {**params, "gamma": jnp.zeros(8)}}, x), x)


def test_positions_tell_rows_from_columns():
    table = fourier_table((6, 3))
    assert table.shape == (6, 3, 64) and table.dtype == np.float32
    assert np.ptp(table[..., :32], axis=1).max() == 0, "the first half depends on the row alone"
    assert np.ptp(table[..., 32:], axis=0).max() == 0, "the second half depends on the column alone"
    assert np.abs(table[-1, -1, ::2]).min() < 1e-5, "the last of them closes the circle"


def test_bfloat16_stays_close(variables):
    params = with_large_scales(variables["params"])
    exact = np.asarray(small().apply({"params": params}, IMAGES))
    rough = small(dtype=jnp.bfloat16).apply({"params": params}, IMAGES)
    assert rough.dtype == jnp.bfloat16
    assert np.abs(np.float32(rough) - exact).max() < 0.1 * np.sqrt(np.mean(exact**2))
