"""Dense convolution on CPU: each form and its gradients against XLA's convolution, and which form is taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cion_jax.zoo import convolution, forms, layers


def plain(x, kernel, stride, padding, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )


def arrays(shape, size, outputs, groups=1, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(size, size, shape[-1] // groups, outputs))
    return jnp.asarray(rng.normal(size=shape), dtype), jnp.asarray(kernel, dtype)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(form, x, kernel):
    """Output, and gradients of a function whose upstream gradient differs at every position."""
    y, pull = jax.vjp(form, x, kernel)
    upstream = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
    return y, *pull(upstream.astype(y.dtype))


def assert_equal_to_plain(form, x, kernel, stride, padding, tolerance=1e-5, groups=1):
    """Output and both gradients of form(x, kernel), relative to the largest entry of each."""
    expected = value_and_gradients(
        lambda x, kernel: plain(x, kernel, stride, padding, groups),
        x.astype(jnp.float32),
        kernel.astype(jnp.float32),
    )
    results = value_and_gradients(form, x, kernel)
    for ours, theirs, what in zip(
        results, expected, ("output", "input gradient", "kernel gradient"), strict=True
    ):
        assert ours.shape == theirs.shape and ours.dtype == x.dtype, what
        scale = np.max(np.abs(theirs), initial=1e-30)
        np.testing.assert_allclose(
            ours.astype(jnp.float32) / scale, theirs / scale, atol=tolerance, err_msg=what
        )


GRID = [  # x, kernel size, outputs, stride, padding
    ((2, 8, 6, 3), 3, 4, 1, 1),
    ((2, 9, 7, 3), 3, 4, 2, 1),
    ((3, 7, 5, 4), 5, 40, 1, 2),
    ((2, 10, 8, 3), 7, 5, 2, 3),
    ((2, 8, 9, 2), 3, 60, 1, 0),  # outputs wider than patches
    ((2, 9, 9, 2), 3, 4, 3, 0),
    ((2, 11, 8, 2), 4, 3, 4, 0),  # the last rows and columns are read by no output
    ((2, 11, 8, 2), 2, 3, 4, 1),  # positions between outputs get no gradient
    ((1, 5, 5, 1), 5, 1, 1, 0),  # a single output
    ((2, 6, 5, 3), 1, 4, 1, 0),
    ((2, 6, 5, 3), 1, 4, 2, 1),
    ((4, 3, 3, 2), 3, 2, 1, 2),  # more padding than map
]


@pytest.mark.parametrize("positions", [1, 20, 100])  # blocks of one row, of rows, of images
@pytest.mark.parametrize(("shape", "size", "outputs", "stride", "padding"), GRID)
def test_gradients_by_blocks(monkeypatch, shape, size, outputs, stride, padding, positions):
    monkeypatch.setattr(convolution, "BLOCK_POSITIONS", positions)

    def form(x, kernel):
        return convolution.convolve_by_blocks(x, kernel, stride, padding)

    assert_equal_to_plain(form, *arrays(shape, size, outputs), stride, padding)


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 4),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.integers(1, 6),
    outputs=st.integers(1, 30),
    size=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    positions=st.integers(1, 200),
)
def test_gradients_by_blocks_of_any_shape(
    batch, height, width, channels, outputs, size, stride, padding, positions
):
    if min(height, width) + 2 * padding < size:
        padding = size

    def form(x, kernel):
        return convolution.convolve_by_blocks(x, kernel, stride, padding)

    x, kernel = arrays((batch, height, width, channels), size, outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "BLOCK_POSITIONS", positions)
        assert_equal_to_plain(form, x, kernel, stride, padding)


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("extra", [(0, 0), (1, 0), (1, 1)])
def test_kernels_that_do_not_overlap(size, extra):
    shape = (2, 2 * size + extra[0], 3 * size + extra[1], 3)
    assert_equal_to_plain(convolution.convolve_apart, *arrays(shape, size, 5), size, 0)


def test_a_map_smaller_than_the_kernel_gives_an_empty_map():
    x, kernel = arrays((2, 4, 4, 3), 8, 5)
    assert convolution.convolve_dense(x, kernel, 8, 0).shape == (2, 0, 0, 5)
    assert convolution.convolve_dense(x, kernel, 2, 0).shape == plain(x, kernel, 2, 0).shape


@pytest.mark.parametrize("form", [convolution.convolve_as_product, convolution.convolve_dense])
@pytest.mark.parametrize(("shape", "size", "outputs", "stride", "padding"), GRID)
def test_products_and_the_chosen_form(form, shape, size, outputs, stride, padding):
    arguments = arrays(shape, size, outputs)
    assert_equal_to_plain(lambda x, kernel: form(x, kernel, stride, padding), *arguments, stride, padding)


@pytest.mark.parametrize("stride", [1, 2])
def test_grouped_convolution_stays_as_it_is(stride):
    x, kernel = arrays((2, 8, 6, 6), 3, 8, groups=2)

    def form(x, kernel):
        return layers.convolve(x, kernel, stride, 1, groups=2)

    assert_equal_to_plain(form, x, kernel, stride, 1, groups=2)


@pytest.mark.parametrize("form", ["blocks", "apart"])
def test_bfloat16(form):
    x, kernel = arrays((4, 16, 8, 8), 4, 12, dtype=jnp.bfloat16)
    stride, padding = (1, 1) if form == "blocks" else (4, 0)

    def convolve(x, kernel):
        if form == "apart":
            return convolution.convolve_apart(x, kernel)
        return convolution.convolve_by_blocks(x, kernel, stride, padding)

    # The upstream gradient and the result are rounded to eight bits each. Sums run in float32.
    assert_equal_to_plain(convolve, x, kernel, stride, padding, tolerance=1e-2)


def taken(shape, size, outputs, stride, padding, devices=1):
    """Names of the forms in the traced gradient: "while" of the blocks, "dot_general", "conv_general_dilated"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "device_count", lambda: devices)

        def total(kernel, x):
            return jnp.sum(layers.convolve(x, kernel, stride, padding))

        kernel = jax.ShapeDtypeStruct((size, size, shape[-1], outputs), jnp.float32)
        text = str(jax.make_jaxpr(jax.grad(total))(kernel, jax.ShapeDtypeStruct(shape, jnp.float32)))
    names = {
        "blocks": ("scan[", "while["),
        "convolution": ("conv_general_dilated[",),
        "product": ("dot_general[",),
    }
    return {name for name, words in names.items() if any(word in text for word in words)}


def test_blocks_are_taken_on_a_large_map_and_with_strides():
    assert taken((16, 128, 64, 64), 3, 64, 1, 1) == {"blocks", "convolution", "product"}
    assert taken((16, 256, 128, 3), 7, 64, 2, 3) == {"blocks", "convolution", "product"}
    assert taken((16, 32, 16, 256), 3, 256, 2, 1) == {"blocks", "convolution", "product"}


def test_blocks_are_not_taken_on_a_small_map_nor_on_several_devices():
    assert taken((16, 16, 8, 512), 3, 512, 1, 1) == {"convolution"}
    assert taken((16, 128, 64, 64), 3, 64, 1, 1, devices=8) == {"convolution"}
    assert taken((48, 4, 2, 512), 3, 512, 1, 1) == {"product"}


def test_patches_that_do_not_overlap_are_a_product():
    assert taken((16, 128, 64, 64), 8, 192, 8, 0) == {"product"}


def test_accelerators_and_converters_get_the_plain_convolution(monkeypatch):
    with forms.plain_convolutions():
        assert taken((2, 32, 16, 64), 8, 192, 8, 0) == {"convolution"}
        assert taken((16, 128, 64, 64), 3, 64, 1, 1) == {"convolution"}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert taken((2, 32, 16, 64), 8, 192, 8, 0) == {"convolution"}
    assert taken((16, 128, 64, 64), 3, 64, 1, 1) == {"convolution"}


def test_blocks_under_remat_and_scan():
    """As in a step that accumulates gradients and recomputes activations."""
    x, kernel = arrays((6, 8, 6, 3), 3, 4)
    parts = x.reshape(3, 2, *x.shape[1:])

    def loss(convolve, kernel, x):
        return jnp.sum(jnp.sin(convolve(x, kernel, 1, 1)))

    def step(sums, x):
        form = jax.checkpoint(functools.partial(loss, convolution.convolve_by_blocks))
        return sums + jax.grad(form)(kernel, x), None

    ours, _ = jax.jit(lambda parts: lax.scan(step, jnp.zeros_like(kernel), parts))(parts)
    expected = jax.grad(functools.partial(loss, plain))(kernel, x)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, 1), (7, 2, 3), (4, 4, 0)], ids=["3x3", "strided", "apart"]
)
def test_a_batch_spread_over_devices_stays_spread(size, stride, padding):
    devices = np.array(jax.devices())
    assert len(devices) == 8
    mesh = Mesh(devices, ("data",))
    x, kernel = arrays((8, 32, 32, 4), size, 6)
    spread = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())

    def gradients(x, kernel):
        return jax.grad(lambda x, k: jnp.sum(jnp.sin(layers.convolve(x, k, stride, padding))), (0, 1))(
            x, kernel
        )

    compiled = (
        jax.jit(gradients, in_shardings=(spread, whole), out_shardings=(spread, whole))
        .lower(x, kernel)
        .compile()
    )
    text = compiled.as_text()
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    results = compiled(jax.device_put(x, spread), jax.device_put(kernel, whole))
    expected = jax.grad(lambda x, k: jnp.sum(jnp.sin(plain(x, k, stride, padding))), (0, 1))(x, kernel)
    for ours, theirs in zip(results, expected, strict=True):
        scale = np.max(np.abs(theirs))
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5)
