"""ConvNeXt: gradients, start, recomputation, sizes. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo.convnext import LAYER_SCALE, ConvNeXt

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 32, 3)), jnp.float32)


def small(**overrides):
    return ConvNeXt((1, 1, 2, 1), (8, 12, 16, 24), **overrides)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(small().init)(jax.random.key(0), IMAGES)


def gradients(module, params):
    def loss(params):
        y = module.apply({"params": params}, IMAGES, train=True)
        return jnp.sum(jnp.sin(y) * jnp.arange(y.shape[-1]))

    return jax.jit(jax.grad(loss))(params)


def test_training_reaches_every_parameter_and_recomputation_changes_nothing(variables):
    plain, again = (gradients(small(remat=remat), variables["params"]) for remat in (False, True))
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(again), strict=True):
        assert np.isfinite(a).all() and np.any(a), f"{path} has no gradient"
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(a).max()))


def test_start(variables):
    block = variables["params"]["stages_2_1"]
    np.testing.assert_array_equal(block["gamma"], np.float32(LAYER_SCALE))
    for layer, fan_in in (("dwconv", 49), ("pwconv1", 16), ("pwconv2", 64)):
        bound = 1 / np.sqrt(fan_in)
        for leaf in block[layer].values():
            assert 0.6 * bound < float(jnp.abs(leaf).max()) <= bound, layer


def test_bfloat16_stays_close(variables):
    # Blocks that have learned: at the start they add next to nothing.
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full_like(leaf, 0.3) if "gamma" in str(path) else leaf, variables["params"]
    )
    exact = np.asarray(small().apply({"params": params}, IMAGES))
    rough = small(dtype=jnp.bfloat16).apply({"params": params}, IMAGES)
    assert rough.dtype == jnp.bfloat16
    assert np.abs(np.float32(rough) - exact).max() < 0.1 * np.sqrt(np.mean(exact**2))


def test_images_need_not_divide_but_must_leave_a_pixel(variables):
    odd = small().apply(variables, IMAGES[:, :57, :, :])
    np.testing.assert_allclose(odd, small().apply(variables, IMAGES[:, :32]), atol=1e-5)
    with pytest.raises(ValueError, match="too small: stage 3 gets a map of 2x1"):
        jax.eval_shape(small().init, jax.random.key(0), IMAGES[:, :, :16])
