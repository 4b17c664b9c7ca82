"""The DINO head. Its values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo import DINOHead
from cion_jax.zoo.layers import l2_normalise

FEATURES = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8)), jnp.float32)


def small(**overrides):
    return DINOHead(40, hidden=16, bottleneck=16, **overrides)


def test_scores_are_cosines_at_the_start():
    head = small()
    variables = jax.jit(head.init)(jax.random.key(0), FEATURES)
    scores = head.apply(variables, FEATURES)
    assert scores.shape == (6, 40)
    assert float(jnp.abs(scores).max()) <= 1 + 1e-6
    doubled = jax.tree.map(lambda leaf: leaf, variables)
    doubled["params"]["last_layer"]["weight_v"] *= 2  # only directions count
    np.testing.assert_allclose(head.apply(doubled, FEATURES), scores, atol=1e-6)
    doubled["params"]["last_layer"]["weight_g"] *= 3
    np.testing.assert_allclose(head.apply(doubled, FEATURES), 3 * scores, atol=1e-6)


def test_names_without_and_with_batch_norm():
    plain = jax.jit(small().init)(jax.random.key(0), FEATURES)
    assert set(plain["params"]) == {"mlp_0", "mlp_2", "mlp_4", "last_layer"}
    assert "batch_stats" not in plain
    normed = jax.jit(small(use_bn=True).init)(jax.random.key(0), FEATURES)
    assert set(normed["params"]) == {"mlp_0", "mlp_1", "mlp_3", "mlp_4", "mlp_6", "last_layer"}
    assert set(normed["batch_stats"]) == {"mlp_1", "mlp_4"}
    _, updated = small(use_bn=True).apply(normed, FEATURES, train=True, mutable=["batch_stats"])
    assert not np.allclose(updated["batch_stats"]["mlp_1"]["mean"], 0)


def test_start():
    params = jax.jit(DINOHead(4096).init)(jax.random.key(0), FEATURES)["params"]
    assert abs(float(params["mlp_2"]["kernel"].std()) - 0.02) < 2e-4
    assert not np.any(params["mlp_4"]["bias"])
    directions = params["last_layer"]["weight_v"]
    assert directions.shape == (4096, 256)
    assert 0.99 / 16 < float(jnp.abs(directions).max()) <= 1 / 16
    assert abs(float(directions.std()) * 16 * np.sqrt(3) - 1) < 0.01
    assert (params["last_layer"]["weight_g"] == np.ones((4096, 1))).all()


def test_bfloat16_keeps_float32_scores():
    variables = jax.jit(small().init)(jax.random.key(0), FEATURES)
    scores = small(dtype=jnp.bfloat16).apply(variables, FEATURES)
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, small().apply(variables, FEATURES), atol=0.03)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5)])
def test_any_leading_dimensions(shape):
    head = small()
    variables = jax.jit(head.init)(jax.random.key(0), jnp.ones(shape))
    assert head.apply(variables, jnp.ones(shape)).shape == (*shape[:-1], 40)


def test_normalising_zero_gives_zero_and_a_finite_gradient():
    zero = jnp.zeros((1, 3))
    np.testing.assert_array_equal(l2_normalise(zero), zero)
    assert np.isfinite(jax.grad(lambda x: l2_normalise(x).sum())(zero)).all()
