"""Weights for small instances, by the recipe of tests/parity: compiling a module's own init takes seconds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from cion_jax.bridge import names
from tests.parity import weights


def variables(module: nn.Module, *inputs: Any) -> dict:
    """Variables of `module` with weights as if it had learned: layer scales of about 0.3, no zero biases."""
    shapes = traverse_util.flatten_dict(jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs)))
    values = {
        path: names.from_torch_layout(
            path, weights.tensor(names.torch_key(path), list(names.torch_shape(path, leaf.shape)))
        )
        for path, leaf in shapes.items()
    }
    return traverse_util.unflatten_dict(values)


def gradients(module: nn.Module, variables: dict, images: np.ndarray) -> dict:
    """Gradients of a number that depends on every feature."""

    def loss(params):
        y = module.apply({"params": params}, images, train=True, rngs={"drop_path": jax.random.key(1)})
        return jnp.sum(jnp.sin(y) * jnp.arange(y.shape[-1]))

    return jax.jit(jax.grad(loss))(variables["params"])


def check_training(make: Callable[..., nn.Module], variables: dict, images: np.ndarray) -> None:
    """Every parameter gets a finite gradient, the same one where activations are computed anew."""
    plain, again = (gradients(make(remat=remat), variables, images) for remat in (False, True))
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(again), strict=True):
        assert np.isfinite(a).all() and np.any(a), f"{path} has no gradient"
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(a).max()), err_msg=str(path))


def check_bfloat16(make: Callable[..., nn.Module], variables: dict, images: np.ndarray) -> None:
    """Features in half precision stay within a tenth of their rms."""
    exact, rough = (
        jax.jit(make(dtype=dtype).apply)(variables, images) for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rough.dtype == jnp.bfloat16
    assert np.abs(np.float32(rough) - exact).max() < 0.1 * np.sqrt(np.mean(np.square(exact)))
