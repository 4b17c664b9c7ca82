"""Shared layers against formulas written out in NumPy, and against XLA's general forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from scipy import special, stats

from cion_jax.zoo import layers

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "groups"),
    [(1, 1, 0, 1), (1, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2), (3, 2, 1, 4)],
)
def test_conv_equals_the_general_convolution(size, stride, padding, groups):
    x = normal(2, 7, 6, 4)
    conv = layers.Conv(8, size, stride, padding, groups, use_bias=True)
    variables = conv.init(jax.random.key(0), x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    assert kernel.shape == (size, size, 4 // groups, 8)
    expected = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    np.testing.assert_allclose(conv.apply(variables, x), expected + bias, atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_batch_norm_in_training(mean):
    x = np.asarray(normal(4, 3, 2, 5)) + np.float32(mean)
    norm = layers.BatchNorm()
    variables = norm.init(jax.random.key(0), x, False)
    scale, bias = np.asarray(normal(5)), np.asarray(normal(5))
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": variables["batch_stats"]}
    y, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
    wide = x.astype(np.float64)
    mean, var = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    np.testing.assert_allclose(y, (wide - mean) / np.sqrt(var + 1e-5) * scale + bias, atol=1e-3)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * mean, atol=1e-5, rtol=1e-5)
    unbiased = 0.9 + 0.1 * wide.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(updated["batch_stats"]["var"], unbiased, rtol=1e-4)


def test_batch_norm_gradient_is_that_of_the_formula():
    x, weights = normal(3, 2, 2, 4), normal(3, 2, 2, 4)
    norm = layers.BatchNorm()
    variables = norm.init(jax.random.key(0), x, False)

    def ours(x):
        return jnp.sum(weights * norm.apply(variables, x, True, mutable=["batch_stats"])[0])

    def formula(x):
        return jnp.sum(weights * (x - x.mean((0, 1, 2))) / jnp.sqrt(x.var((0, 1, 2)) + 1e-5))

    np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(formula)(x), atol=1e-5)


def test_batch_norm_in_evaluation_uses_running_statistics():
    x = normal(2, 3, 2, 4)
    stats_ = {"mean": normal(4), "var": jnp.abs(normal(4)) + 0.5}
    params = {"scale": normal(4), "bias": normal(4)}
    y = layers.BatchNorm().apply({"params": params, "batch_stats": stats_}, x, False)
    expected = (x - stats_["mean"]) / np.sqrt(stats_["var"] + 1e-5) * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_batch_norm_of_a_single_value_raises():
    norm = layers.BatchNorm()
    variables = norm.init(jax.random.key(0), jnp.ones((1, 3)), False)
    with pytest.raises(ValueError, match="more than one value"):
        norm.apply(variables, jnp.ones((1, 3)), True, mutable=["batch_stats"])


def test_ibn_is_instance_norm_beside_batch_norm():
    x = normal(3, 4, 2, 6)
    layer = layers.IBN()
    variables = layer.init(jax.random.key(0), x, False)
    params = jax.tree.map(lambda leaf: normal(*leaf.shape), variables["params"])
    assert set(params) == {"IN", "BN"}
    assert set(variables["batch_stats"]) == {"BN"}
    y, _ = layer.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
    halves = []
    for name, axes, part in (("IN", (1, 2), x[..., :3]), ("BN", (0, 1, 2), x[..., 3:])):
        mean, var = part.mean(axes, keepdims=True), part.var(axes, keepdims=True)
        halves.append((part - mean) / np.sqrt(var + 1e-5) * params[name]["scale"] + params[name]["bias"])
    np.testing.assert_allclose(y, np.concatenate(halves, -1), atol=1e-4)


def test_ibn_in_one_pass_has_the_gradient_of_its_halves():
    x, upstream = 20 + normal(3, 4, 2, 6), normal(3, 4, 2, 6)
    layer = layers.IBN()
    variables = layer.init(jax.random.key(0), x, False)

    def of_halves(x):
        parts = []
        for part, axes in ((x[..., :3], (1, 2)), (x[..., 3:], (0, 1, 2))):
            deviation = part - part.mean(axes, keepdims=True)
            parts.append(deviation / jnp.sqrt(jnp.mean(deviation**2, axes, keepdims=True) + 1e-5))
        return jnp.concatenate(parts, -1)

    def in_one_pass(x):
        return layer.apply(variables, x, True, mutable=["batch_stats"])[0]

    ours, expected = (jax.vjp(form, jnp.asarray(x))[1](upstream)[0] for form in (in_one_pass, of_halves))
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_joined_moments_keep_their_digits():
    x = np.asarray(1e3 + normal(4, 5, 3))
    mean, var = layers.join_moments(x.mean(1), x.astype(np.float64).var(1))
    np.testing.assert_allclose(mean, x.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var((0, 1)), rtol=1e-4)


def test_layer_norm():
    x = 3 + normal(2, 5, 8)
    layer = layers.LayerNorm(1e-2)
    variables = layer.init(jax.random.key(0), x)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-2)
    np.testing.assert_allclose(layer.apply(variables, x), expected, atol=1e-5)


def test_gelu_is_exact():
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    np.testing.assert_allclose(layers.gelu(x), x * special.ndtr(x.astype(np.float64)), atol=5e-7)


def test_gelu_in_bfloat16_rounds_once():
    x = jnp.linspace(-4, 4, 801).astype(jnp.bfloat16)
    found = layers.gelu(x)
    assert found.dtype == jnp.bfloat16
    x = np.float64(x)
    np.testing.assert_allclose(np.float64(found), x * special.ndtr(x), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_max_pool_pads_with_minus_infinity(size):
    x = normal(2, *size, 3) - 10  # zeros from padding would win

    def windows(x):
        return nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])

    np.testing.assert_array_equal(layers.max_pool_3x3(x), windows(x))
    ours, expected = (
        jax.grad(lambda x, f=f: jnp.sum(jnp.sin(f(x))))(x) for f in (layers.max_pool_3x3, windows)
    )
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_attention_is_softmax_of_scaled_products():
    query, key, value = (normal(2, 5, 3, 4) for _ in range(3))
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / 2
    expected = np.einsum("bhqk,bkhd->bqhd", special.softmax(scores, -1), value)
    np.testing.assert_allclose(layers.attention(query, key, value), expected, atol=1e-5)


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    x = jnp.ones((4000, 2, 3))
    layer = layers.DropPath(0.25)
    y = np.asarray(layer.apply({}, x, True, rngs={"drop_path": jax.random.key(0)}))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (y == y[:, :1, :1]).all()
    assert abs(y.mean() - 1) < 0.03
    np.testing.assert_array_equal(layer.apply({}, x, False), x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(layers.Dense(500), (2, 64)), (layers.Conv(500, 3, padding=1, use_bias=True), (1, 4, 4, 8))],
)
def test_default_start_is_uniform_by_fan_in(layer, shape):
    params = layer.init(jax.random.key(0), jnp.ones(shape))["params"]
    bound = 1 / np.sqrt(np.prod(params["kernel"].shape[:-1]))
    for leaf in params.values():
        assert stats.kstest(np.ravel(leaf), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


def test_widths_are_multiples_of_four_near_the_wish():
    assert [layers.divisible(n) for n in (1, 8, 8.8, 9.9, 20.8, 6)] == [4, 8, 8, 12, 20, 8]
    assert all(layers.divisible(n) % 4 == 0 and layers.divisible(n) >= 0.9 * n for n in range(1, 500))


@pytest.mark.parametrize(
    ("arguments", "names", "gate"),
    [
        ({}, ("conv_reduce", "conv_expand"), layers.hard_sigmoid),
        ({"gate": nn.sigmoid, "prefix": ""}, ("reduce", "expand"), special.expit),
    ],
)
def test_squeeze_and_excite(arguments, names, gate):
    x = normal(2, 3, 4, 5)
    layer = layers.SqueezeExcite(2, **arguments)
    variables = layer.init(jax.random.key(0), x)
    (w1, b1), (w2, b2) = (
        (variables["params"][n]["kernel"][0, 0], variables["params"][n]["bias"]) for n in names
    )
    factor = gate(np.maximum(x.mean((1, 2)) @ w1 + b1, 0) @ w2 + b2)
    np.testing.assert_allclose(layer.apply(variables, x), x * factor[:, None, None], atol=1e-5)


def test_conv_norm_is_a_convolution_then_batch_norm():
    x = normal(2, 5, 4, 3)
    layer = layers.ConvNorm(6, 3, 2, 1, conv_name="c", scale_init=nn.initializers.zeros)
    variables = layer.init(jax.random.key(0), x, False)
    assert not np.any(variables["params"]["bn"]["scale"])
    variables["params"]["bn"] = {"scale": normal(6), "bias": normal(6)}
    conv = layers.Conv(6, 3, 2, 1).apply({"params": variables["params"]["c"]}, x)
    norm = {"params": variables["params"]["bn"], "batch_stats": variables["batch_stats"]["bn"]}
    expected = layers.BatchNorm().apply(norm, conv, False)
    np.testing.assert_allclose(layer.apply(variables, x, False), expected, atol=1e-6)


def test_apart_in_backward_changes_no_gradient_and_hides_no_infinity():
    def loss(x, apart):
        for _ in range(3):
            x = jnp.sin(apart(x))
        return jnp.sum(x * scale)

    x, scale = normal(2, 3, 4), normal(2, 3, 4)
    expected = jax.grad(loss)(x, lambda x: x)
    np.testing.assert_array_equal(jax.grad(loss)(x, layers.apart_in_backward), expected)
    np.testing.assert_allclose(
        jax.jit(jax.grad(loss), static_argnums=1)(x, layers.apart_in_backward), expected, rtol=1e-6
    )
    for bad in (np.inf, -np.inf, np.nan):
        gradient = jax.grad(lambda x, bad=bad: jnp.sum(layers.apart_in_backward(x) * bad))(x)
        assert not np.isfinite(gradient).any(), "the guard has to see a gradient that is not finite"
