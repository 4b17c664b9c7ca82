"""What every model of the zoo must do, in one test each: a new model gets all of it by being registered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax import bridge, zoo
from tests.parity import weights

QUICK = ("resnet18", "vit_tiny")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]
SIZE, OTHER = (64, 32), (96, 48)
# Cosine of bfloat16 features to those of float32 below .98: fifty blocks of random weights, on maps of few pixels that
# the instance norms magnify. PyTorch's autocast has .964 on the same weights and images.
BFLOAT16 = {"resnet152_ibn": 0.95}
# Gradients that are zero but for rounding: a softmax does not see what is added to all its entries.
NO_GRADIENT = ("k_bias", "pad_bias")


@pytest.mark.parametrize("name", ALL)
def test_model(name):
    state = weights.state_dict(name)
    variables = bridge.from_torch(name, state)
    images = np.random.default_rng(0).normal(size=(4, *SIZE, 3)).astype(np.float32)
    expected = np.asarray(_features(name, variables, images))
    _check_features(name, expected)
    _check_training(name, variables, images)
    _check_bfloat16(name, variables, images, expected)
    larger = np.random.default_rng(1).normal(size=(2, *OTHER, 3)).astype(np.float32)
    _check_features(name, np.asarray(_features(name, variables, larger)))
    _check_round_trip(name, variables, state)


def _features(name: str, variables: dict, images: np.ndarray, **options) -> jax.Array:
    return jax.jit(zoo.create(name, **options).apply)(variables, images)


def _check_features(name: str, features: np.ndarray) -> None:
    assert features.shape[1] == zoo.spec(name).embed_dim, (
        f"{name}: set embed_dim of its spec to {features.shape[1]}"
    )
    assert np.isfinite(features).all(), f"{name}: look for a division by zero, or a norm without epsilon"
    apart = np.abs(features[0] - features[1]).max() / np.abs(features).max()
    assert apart > 1e-4, f"{name}: two pictures have the same features; is an input or a branch dropped?"


def _check_training(name: str, variables: dict, images: np.ndarray) -> None:
    module = zoo.create(name)
    rest = {kind: values for kind, values in variables.items() if kind != "params"}

    def loss(params):
        features, updated = module.apply(
            {"params": params, **rest},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"drop_path": jax.random.key(0)},
        )
        return jnp.sum(jnp.sin(features) * jnp.arange(features.shape[1])), updated

    gradients, updated = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        where = f"{name}: {jax.tree_util.keystr(path)}"
        assert np.isfinite(gradient).all(), f"{where} has a gradient that is not finite"
        if path[-1].key == "kernel" and not str(path[-2].key).endswith(NO_GRADIENT):
            assert np.abs(gradient).max() > 0, f"{where} gets no gradient: it is not used, or it is cut off"
    before = jax.tree_util.tree_leaves_with_path(variables.get("batch_stats", {}))
    after = jax.tree.leaves(updated.get("batch_stats", {}))
    assert len(before) == len(after)
    for (path, old), new in zip(before, after, strict=True):
        where = f"{name}: {jax.tree_util.keystr(path)}"
        assert not np.array_equal(old, new), f"{where} stands still: pass train on to its BatchNorm"


def _check_bfloat16(name: str, variables: dict, images: np.ndarray, expected: np.ndarray) -> None:
    found = _features(name, variables, images, dtype=jnp.bfloat16)
    found = np.asarray(found, np.float32)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > BFLOAT16.get(name, 0.98), (
        f"{name}: bfloat16 is {cosine.min():.3f}; keep norms and softmax in float32"
    )


def _check_round_trip(name: str, variables: dict, state: dict[str, np.ndarray]) -> None:
    back = bridge.to_torch(name, variables)
    for key, value in back.items():
        assert np.array_equal(value, state[key]), (
            f"{name}: {key} does not come back bit by bit: see bridge.weights"
        )
