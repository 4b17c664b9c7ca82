"""What the tests of several architectures ask of a block or of a small model: weights, training, half precision."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from cion_jax.bridge import names
from tests.parity import weights


def variables_of(module: nn.Module, *inputs: Any) -> dict:
    """Variables of `module` as if it had learned: layer scales of about 0.3, no zero biases.

    By the recipe of tests/parity: compiling a module's own init takes seconds.
    """
    shapes = traverse_util.flatten_dict(jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs)))
    values = {
        path: names.from_torch_layout(
            path, weights.tensor(names.torch_key(path), list(names.torch_shape(path, leaf.shape)))
        )
        for path, leaf in shapes.items()
    }
    return traverse_util.unflatten_dict(values)


def gradients_and_statistics(module: nn.Module, variables: dict, x: jax.Array) -> tuple[dict, dict]:
    """Gradients of a number that depends on every output, and the new batch statistics."""

    def loss(params):
        y, updated = module.apply(
            {**variables, "params": params},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"drop_path": jax.random.key(1)},
        )
        return jnp.sum(jnp.sin(y) * jnp.cos(jnp.arange(y.size).reshape(y.shape))), updated

    gradients, updated = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    return gradients, updated.get("batch_stats", {})


def check_training(
    module: nn.Module, variables: dict, x: jax.Array, without: tuple[str, ...] = ()
) -> tuple[dict, dict]:
    """Asserts that training moves every statistic and gives every parameter a finite gradient, not zero.

    `without` ends the paths of those whose gradient is zero but for rounding. Returns `gradients_and_statistics`.
    """
    gradients, statistics = gradients_and_statistics(module, variables, x)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), name
        if not name.endswith(without):
            assert float(jnp.abs(leaf).max()) > 1e-4, f"{name} has no gradient"
    before = jax.tree_util.tree_leaves_with_path(variables.get("batch_stats", {}))
    for (path, old), new in zip(before, jax.tree.leaves(statistics), strict=True):
        assert not np.array_equal(old, new), f"{jax.tree_util.keystr(path)} stands still"
    return gradients, statistics


def check_recomputation(make: Callable[..., nn.Module], variables: dict, images: jax.Array) -> None:
    """Trains as `check_training` asks, and equally where activations are computed anew."""
    plain = check_training(make(), variables, images)
    again = gradients_and_statistics(make(remat=True), variables, images)
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(a).max()), err_msg=str(path))


def check_bfloat16(make: Callable[..., nn.Module], variables: dict, images: jax.Array) -> None:
    """Features in half precision stay within a tenth of their rms."""
    exact, rough = (
        jax.jit(make(dtype=dtype).apply)(variables, images) for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rough.dtype == jnp.bfloat16
    assert np.abs(np.float32(rough) - exact).max() < 0.1 * np.sqrt(np.mean(np.square(exact)))


def structure(module: nn.Module, size: tuple[int, int] = (64, 32)) -> jax.tree_util.PyTreeDef:
    """Paths of the variables of a whole model."""
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.tree.structure(jax.eval_shape(module.init, jax.random.key(0), images))
