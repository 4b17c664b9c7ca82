"""ResNet: strides, IBN places, start, training. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax import zoo
from cion_jax.zoo import resnet
from cion_jax.zoo.resnet import ResNet

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 16, 3)), jnp.float32)


def shapes(module):
    return jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_training_updates_every_statistic_and_reaches_every_parameter(monkeypatch, bottleneck):
    monkeypatch.setattr(resnet, "WIDTHS", (4, 8, 8, 12))
    module = ResNet((1, 1, 1, 1), bottleneck, ibn=True)
    again = ResNet((1, 1, 1, 1), bottleneck, ibn=True, remat=True)
    variables = jax.jit(module.init)(jax.random.key(0), IMAGES)

    def loss(params, module):
        everything = {**variables, "params": params}
        y, updated = module.apply(everything, IMAGES, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.square(y) * jnp.arange(y.shape[-1])), updated["batch_stats"]

    def gradient(module):
        return jax.jit(jax.grad(lambda params: loss(params, module), has_aux=True))(variables["params"])

    gradients, statistics = gradient(module)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.any(leaf), f"{path} has no gradient"
    for before, after in zip(
        jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(statistics), strict=True
    ):
        assert not np.array_equal(before, after)
    if not bottleneck:
        return  # recomputation is tried on one kind of block, for time
    recomputed, statistics_again = gradient(again)
    assert jax.tree.structure(recomputed) == jax.tree.structure(gradients)
    for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(recomputed), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * float(jnp.abs(a).max()))
    for a, b in zip(jax.tree.leaves(statistics), jax.tree.leaves(statistics_again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_ibn_stands_in_the_first_three_stages_only():
    params = shapes(zoo.create("resnet50_ibn"))["params"]
    for name, block in params.items():
        if name.startswith("layer"):
            assert ("IN" in block["bn1"]) == (not name.startswith("layer4")), name
            assert "scale" in block["bn2"]
    assert "IN" not in params["bn1"]


def test_shortcuts_have_weights_only_where_the_shape_changes():
    params = shapes(zoo.create("resnet18"))["params"]
    with_weights = {name for name, block in params.items() if "downsample_0" in block}
    assert with_weights == {"layer2_0", "layer3_0", "layer4_0"}


def test_convolutions_start_from_kaiming_normal():
    block = resnet.BasicBlock(512, 1, ibn=False)
    params = jax.jit(block.init, static_argnums=2)(jax.random.key(0), jnp.ones((1, 2, 2, 8)), False)["params"]
    kernel = params["conv2"]["kernel"]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 512)), rtol=0.01)
    assert float(jnp.abs(kernel).max()) > 4 * float(kernel.std()), "the normal must not be truncated"
    assert (params["bn2"]["scale"] == 1).all()
