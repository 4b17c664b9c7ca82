"""The registry, and what every model owes to it."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from cion_jax import zoo
from cion_jax.core.errors import UserError


@pytest.mark.parametrize("name", zoo.MODELS)
def test_spec_tells_the_truth(name):
    spec = zoo.spec(name)
    assert spec.name == name
    module = zoo.create(name)
    images = jax.ShapeDtypeStruct((2, *spec.input_size, 3), jnp.float32)
    features, variables = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x), images)
    assert features.shape == (2, spec.embed_dim)
    assert features.dtype == jnp.float32
    leaves = traverse_util.flatten_dict(variables["params"])
    assert sum(leaf.size for leaf in leaves.values()) == spec.parameters
    assert ("batch_stats" in variables) == spec.has_batch_norm
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    "name", ["vit_tiny", "resnet18_ibn", "ghostnet_0_5", "repvit_m0_9", "fastvit_sa12", "volo_d1"]
)
def test_half_precision_keeps_float32_parameters_and_statistics(name):
    module = zoo.create(name, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    features, updated = jax.eval_shape(
        lambda v, x: module.apply(v, x, train=True, mutable=["batch_stats"]), variables, images
    )
    assert features.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updated))


def test_names_are_unique_and_the_table_is_frozen():
    assert len(set(zoo.MODELS)) == len(zoo.MODELS) >= 23
    with pytest.raises(dataclasses.FrozenInstanceError):
        zoo.spec("vit_base").embed_dim = 1


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UserError, match=r"no model 'resnet50-ibn'.*Did you mean resnet50_ibn"):
        zoo.create("resnet50-ibn")


def test_an_unknown_override_names_the_known_ones():
    with pytest.raises(UserError, match=r"vit_tiny knows no option 'depth'.*drop_path, remat"):
        zoo.create("vit_tiny", depth=3)
