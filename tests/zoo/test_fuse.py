"""Folding: its algebra on single layers, and small whole models before and after.

The full models, with the parity tests' weights: tests/parity/test_zoo.py.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cion_jax import zoo
from cion_jax.core.errors import UserError
from cion_jax.zoo import fastvit, layers, registry, repvit
from cion_jax.zoo.fuse import Filter, identity, normed, scaled, total
from tests.zoo.training import variables_of

RNG = np.random.default_rng(0)


def random_filter(size, inputs, outputs):
    return Filter(RNG.normal(size=(size, size, inputs, outputs)), RNG.normal(size=outputs))


def run(folded, x, stride=1):
    kernel = jnp.asarray(folded.kernel, jnp.float32)
    groups = x.shape[-1] // kernel.shape[2]
    return layers.convolve(x, kernel, stride, kernel.shape[0] // 2, groups) + np.float32(folded.bias)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("inputs", [1, 4], ids=["depthwise", "dense"])
def test_a_sum_of_branches_is_one_convolution(inputs, stride):
    x = jnp.asarray(RNG.normal(size=(2, 7, 6, 4)), jnp.float32)
    branches = [random_filter(size, inputs, 4) for size in (7, 3, 1)]
    expected = sum(run(branch, x, stride) for branch in branches)
    np.testing.assert_allclose(run(total(*branches), x, stride), expected, atol=1e-4)


@pytest.mark.parametrize("inputs", [1, 2, 4])
def test_the_identity_gives_its_input_back(inputs):
    x = jnp.asarray(RNG.normal(size=(2, 3, 3, 4)), jnp.float32)
    np.testing.assert_array_equal(run(identity(inputs, 4), x), x)


def test_a_norm_and_a_factor_behind_a_convolution_are_folded():
    x = jnp.asarray(RNG.normal(size=(2, 4, 4, 3)), jnp.float32)
    params = {"scale": np.float32(RNG.normal(size=5)), "bias": np.float32(RNG.normal(size=5))}
    stats = {"mean": np.float32(RNG.normal(size=5)), "var": np.float32(RNG.uniform(0.5, 2, size=5))}
    before, factor = random_filter(3, 3, 5), RNG.normal(size=5)
    expected = layers.BatchNorm().apply({"params": params, "batch_stats": stats}, run(before, x), False)
    ours = run(scaled(normed(before, params, stats), factor), x)
    np.testing.assert_allclose(ours, expected * np.float32(factor), rtol=1e-4, atol=1e-4)


SMALL = {
    "repvit_m0_9": repvit.RepViT((8, 12), (3, 2)),
    "fastvit_sa12": fastvit.FastViT((1, 1), attention=True),
}


@pytest.fixture
def small_models(monkeypatch):
    """The registry with tiny models under these names."""
    table = dict(registry._SPECS)
    for name, module in SMALL.items():
        fields = {f.name for f in dataclasses.fields(module)} & {"widths", "depths", "attention"}
        arguments = {field: getattr(module, field) for field in fields}
        table[name] = dataclasses.replace(table[name], arguments=arguments, input_size=(48, 32))
    monkeypatch.setattr(registry, "_SPECS", table)


@pytest.mark.parametrize("name", SMALL)
def test_a_fused_model_gives_the_same_features(small_models, name):
    images = jnp.asarray(RNG.normal(size=(2, 48, 32, 3)), jnp.float32)
    variables = variables_of(SMALL[name], images)
    expected = jax.jit(SMALL[name].apply)(variables, images)
    module, folded = zoo.fuse(name, variables)
    features = jax.jit(module.apply)(folded, images)
    rms = float(jnp.sqrt(jnp.mean(expected**2)))
    assert float(jnp.abs(features - expected).max()) < 1e-4 * rms
    fresh = jax.eval_shape(module.init, jax.random.key(0), images)
    folded.setdefault("batch_stats", {})
    assert jax.tree.map(np.shape, {"batch_stats": {}, **fresh}) == jax.tree.map(np.shape, folded)
    norms = {key[-2] for key in traverse_util.flatten_dict(folded["batch_stats"])}
    assert norms == (set() if name.startswith("repvit") else {"bn", "norm"})
    assert all(np.asarray(leaf).dtype == np.float32 for leaf in jax.tree.leaves(folded))


def test_folding_twice_or_another_model_raises(small_models):
    images = jnp.ones((1, 48, 32, 3))
    variables = variables_of(SMALL["repvit_m0_9"], images)
    _, folded = zoo.fuse("repvit_m0_9", variables)
    with pytest.raises(ValueError, match="not the variables of an unfused repvit_m0_9"):
        zoo.fuse("repvit_m0_9", folded)
    with pytest.raises(ValueError, match="not the variables of an unfused fastvit_sa12"):
        zoo.fuse("fastvit_sa12", variables)


def test_other_architectures_come_back_as_they_are():
    variables = {"params": {"a": np.ones(3)}, "batch_stats": {}}
    module, same = zoo.fuse("vit_tiny", variables, dtype=jnp.bfloat16)
    assert module == zoo.create("vit_tiny", dtype=jnp.bfloat16)
    assert same == variables
    with pytest.raises(UserError, match="no model"):
        zoo.fuse("vit_huge", variables)
