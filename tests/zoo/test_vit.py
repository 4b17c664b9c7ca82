"""ViT: position table, start, recomputation, stochastic depth. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo import vit

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 16, 3)), jnp.float32)


def small(**overrides):
    return vit.ViT(64, 2, depth=2, **overrides)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(small().init)(jax.random.key(0), IMAGES)


def test_recomputation_changes_neither_paths_nor_results(variables):
    def loss(params, module):
        y, _ = module.apply({**variables, "params": params}, IMAGES, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.square(y - 1) * jnp.arange(64))

    plain, again = (jax.jit(jax.grad(lambda p, m=m: loss(p, m))) for m in (small(), small(remat=True)))
    plain, again = plain(variables["params"]), again(variables["params"])
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, atol=1e-4 * (1 + float(jnp.abs(a).max())))


def test_start(variables):
    params = variables["params"]
    block = params["blocks_1"]
    for leaf in (block["mlp"]["fc1"]["kernel"], block["attn"]["qkv"]["kernel"], params["pos_embed"]):
        assert abs(float(leaf.std()) - 0.02) < 0.002
    assert not np.any(block["mlp"]["fc1"]["bias"])
    bound = 1 / np.sqrt(8 * 8 * 64)
    kernel, bias = params["patch_embed"]["proj"]["kernel"], params["patch_embed"]["proj"]["bias"]
    assert 0.95 * bound < float(jnp.abs(kernel).max()) <= bound
    assert 0.5 * bound < float(jnp.abs(bias).max()) <= bound


def test_position_table_is_untouched_at_its_own_size_only():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(1, 129, 4)), jnp.float32)
    assert vit.position_table(table, (256, 128)) is table
    moved = vit.position_table(table, (258, 130))  # as many patches, but the official code resizes here
    assert moved.shape == table.shape
    assert not np.allclose(moved, table)
    np.testing.assert_array_equal(moved[:, 0], table[:, 0])


def test_stochastic_depth_needs_its_rng_and_changes_training_only(variables):
    module = small(drop_path=0.9)
    np.testing.assert_array_equal(module.apply(variables, IMAGES), small().apply(variables, IMAGES))
    rngs = {"drop_path": jax.random.key(1)}
    dropped, _ = module.apply(variables, IMAGES, train=True, rngs=rngs, mutable=["batch_stats"])
    kept, _ = small().apply(variables, IMAGES, train=True, mutable=["batch_stats"])
    assert not np.allclose(dropped, kept)


def test_bfloat16_stays_close(variables):
    exact = np.asarray(small().apply(variables, IMAGES))
    rough = small(dtype=jnp.bfloat16).apply(variables, IMAGES)
    assert rough.dtype == jnp.bfloat16
    assert np.abs(np.float32(rough) - exact).max() < 0.1 * np.sqrt(np.mean(exact**2))


def test_images_without_whole_patches_raise():
    with pytest.raises(ValueError, match="31x16 pixels"):
        jax.eval_shape(small().init, jax.random.key(0), jnp.ones((1, 31, 16, 3)))
