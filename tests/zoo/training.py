"""What the tests of several architectures ask of a block in training."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def randomised(module: nn.Module, *arguments) -> dict:
    """Variables of which every part matters: none is at a start of zero or one."""
    shapes = jax.eval_shape(lambda *a: module.init(jax.random.key(0), *a, *arguments[1:]), arguments[0])
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        kind = path[-1].key
        if kind == "kernel":
            return np.float32(rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1])))
        offset = 1.0 if kind in ("var", "scale") else 0.0
        return np.float32(offset + 0.3 * rng.uniform(-1, 1, size=leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, shapes)


def gradients_and_statistics(module: nn.Module, variables: dict, x: jax.Array, without: tuple[str, ...] = ()):
    """Asserts that training moves every statistic and gives every parameter a finite gradient, not zero.

    `without` ends the paths of those whose gradient is zero but for rounding.
    """

    def loss(params):
        y, updated = module.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y) * jnp.cos(jnp.arange(y.size).reshape(y.shape))), updated["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), name
        if not name.endswith(without):
            assert float(jnp.abs(leaf).max()) > 1e-4, f"{name} has no gradient"
    before = jax.tree_util.tree_leaves_with_path(variables["batch_stats"])
    for (path, old), new in zip(before, jax.tree.leaves(statistics), strict=True):
        assert not np.array_equal(old, new), f"{jax.tree_util.keystr(path)} stands still"


def structure(module: nn.Module, size: tuple[int, int] = (64, 32)) -> jax.tree_util.PyTreeDef:
    """Paths of the variables of a whole model."""
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.tree.structure(jax.eval_shape(module.init, jax.random.key(0), images))
