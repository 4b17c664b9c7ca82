"""Depthwise convolution: the shifted form and its gradient rule against XLA's own grouped convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cion_jax.zoo import depthwise
from cion_jax.zoo.depthwise import depthwise_conv


def plain(x, kernel, *, stride, padding):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def arrays(shape, size, multiplier=1):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(size, size, 1, multiplier * shape[-1]))
    return jnp.asarray(rng.normal(size=shape), jnp.float32), jnp.asarray(kernel, jnp.float32)


@pytest.mark.parametrize(
    "devices", [1, 8]
)  # the kernel's gradient runs image by image, or all images at once
@pytest.mark.parametrize(
    ("shape", "size", "stride", "padding"),
    [
        ((2, 6, 4, 3), 3, 1, 1),
        ((2, 6, 4, 3), 3, 2, 1),
        ((2, 7, 5, 3), 3, 2, 1),
        ((2, 9, 6, 2), 5, 2, 2),
        ((1, 4, 4, 2), 5, 1, 2),
        ((2, 8, 8, 2), 3, 1, 0),
        ((2, 9, 9, 2), 3, 3, 0),
        ((2, 8, 7, 2), 3, 3, 0),  # the last rows and columns are read by no output
        ((2, 4, 2, 3), 7, 1, 3),
        ((2, 3, 3, 2), 1, 1, 0),
        ((2, 5, 4, 2), 1, 2, 0),  # positions between outputs get no gradient
    ],
)
def test_value_and_gradients_equal_the_grouped_convolution(
    monkeypatch, shape, size, stride, padding, devices
):
    monkeypatch.setattr(depthwise.jax, "device_count", lambda: devices)
    x, kernel = arrays(shape, size)
    results = {}
    for form in (plain, depthwise_conv):
        y, pull = jax.vjp(
            lambda x, kernel, form=form: form(x, kernel, stride=stride, padding=padding), x, kernel
        )
        upstream = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.float32)
        results[form] = (y, *pull(upstream))
    for ours, expected, what in zip(
        results[depthwise_conv], results[plain], ("output", "input gradient", "kernel gradient"), strict=True
    ):
        assert ours.shape == expected.shape, what
        np.testing.assert_allclose(ours, expected, atol=3e-5, err_msg=what)


@pytest.mark.parametrize("stride", [1, 2])
def test_two_filters_per_channel(stride):
    x, kernel = arrays((2, 6, 4, 3), 3, multiplier=2)

    def total(form):
        return lambda x, kernel: jnp.sum(jnp.sin(form(x, kernel, stride=stride, padding=1)))

    ours, expected = (jax.grad(total(form), (0, 1))(x, kernel) for form in (depthwise_conv, plain))
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_bfloat16_sums_in_float32():
    x, kernel = (a.astype(jnp.bfloat16) for a in arrays((2, 16, 8, 4), 7))
    y, pull = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, padding=3), x, kernel)
    wide = plain(x.astype(jnp.float32), kernel.astype(jnp.float32), stride=1, padding=3)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(y), np.float32(wide.astype(jnp.bfloat16)))
    assert [g.dtype for g in pull(jnp.ones_like(y))] == [jnp.bfloat16] * 2


def test_a_batch_over_devices_is_not_gathered():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    x, kernel = arrays((2 * len(jax.devices()), 6, 4, 3), 3)
    x = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    kernel = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))

    def total(x, kernel):
        return jnp.sum(jnp.square(depthwise_conv(x, kernel, padding=1)))

    compiled = jax.jit(jax.grad(total, (0, 1))).lower(x, kernel).compile()
    assert "all-gather" not in compiled.as_text(), "the gradient moves whole batches between devices"
    expected = jax.grad(lambda x, kernel: jnp.sum(jnp.square(plain(x, kernel, stride=1, padding=1))), (0, 1))
    for ours, theirs in zip(compiled(x, kernel), expected(x, kernel), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_a_kernel_that_does_not_fit_raises():
    with pytest.raises(ValueError, match="not depthwise"):
        depthwise_conv(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 1, 4)), padding=1)
