"""AdamW as the recipe sets it: clipped per tensor, decay by groups, a last layer that is frozen at first.

The pieces that optax has are optax's. What is added: the clip of every tensor by its own norm, and a freeze that
leaves moments, step count and decay of a group untouched, as PyTorch does for tensors without gradient.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cion_jax.core.mesh import path_name

DECAY, NO_DECAY, LAST_LAYER, FIXED = "decay", "no_decay", "last_layer", "fixed"


def parameter_groups(params: Any) -> Any:
    """The group of every parameter.

    "fixed": the norms of the weight-normalised last layer. "last_layer": its directions. "no_decay": biases and
    one-dimensional tensors. "decay": everything else, class tokens, position and bias tables included.
    """

    def group(path, leaf) -> str:
        name = path_name(path)
        if name.endswith("last_layer/weight_g"):
            return FIXED
        if "last_layer/" in name:
            return LAST_LAYER
        return NO_DECAY if leaf.ndim <= 1 or name.endswith("/bias") else DECAY

    return jax.tree_util.tree_map_with_path(group, params)


class AdamWState(NamedTuple):
    """Adam moments of all trainable parameters, and of the last layer with a step count of its own."""

    main: optax.OptState
    last_layer: optax.OptState


def adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam's direction for every parameter; `update` takes `frozen` (bool scalar) for the last layer."""
    direction = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)

    def init(params: Any) -> AdamWState:
        main, last = _split(params)
        return AdamWState(direction.init(main), direction.init(last))

    def update(
        grads: Any, state: AdamWState, params: Any = None, *, frozen: jax.Array
    ) -> tuple[Any, AdamWState]:
        main, last = _split(grads)
        main, main_state = direction.update(main, state.main)
        last, moved = direction.update(last, state.last_layer)
        last = jax.tree.map(lambda u: jnp.where(frozen, 0, u), last)
        last_state = jax.tree.map(lambda old, new: jnp.where(frozen, old, new), state.last_layer, moved)
        return _join(grads, main, last), AdamWState(main_state, last_state)

    return optax.GradientTransformationExtraArgs(init, update)


def clip_per_tensor(grads: Any, limit: float) -> Any:
    """Scales every gradient tensor down to the L2 norm `limit`, on its own, as the released code does."""

    def clip(grad: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(grad.astype(jnp.float32).reshape(-1))
        return grad * jnp.minimum(1.0, limit / (norm + 1e-6))

    return jax.tree.map(clip, grads)


def rescale_per_tensor(grads: Any, norm: float) -> Any:
    """Gives every gradient tensor the L2 norm `norm`: what clipping does to loss-scaled fp16 gradients."""

    def rescale(grad: jax.Array) -> jax.Array:
        return grad * (norm / (jnp.linalg.norm(grad.astype(jnp.float32).reshape(-1)) + 1e-12))

    return jax.tree.map(rescale, grads)


def apply(params: Any, direction: Any, lr: jax.Array, weight_decay: jax.Array, frozen: jax.Array) -> Any:
    """One AdamW step: p - lr * (direction + weight_decay * p), decay in the decay groups only."""

    def move(group: str, param: jax.Array, update: jax.Array) -> jax.Array:
        if group == FIXED:
            return param
        decay = {DECAY: weight_decay, NO_DECAY: 0.0, LAST_LAYER: jnp.where(frozen, 0.0, weight_decay)}[group]
        return param - lr * (update + decay * param)

    return jax.tree.map(move, parameter_groups(params), params, direction)


def _split(tree: Any) -> tuple[Any, Any]:
    """The tree twice: without and with only the last layer; what is left out becomes an optax mask node."""
    groups = parameter_groups(tree)
    hide = optax.MaskedNode()
    main = jax.tree.map(lambda g, x: x if g in (DECAY, NO_DECAY) else hide, groups, tree)
    last = jax.tree.map(lambda g, x: x if g == LAST_LAYER else hide, groups, tree)
    return main, last


def _join(grads: Any, main: Any, last: Any) -> Any:
    """Undoes `_split`; fixed parameters get a zero."""

    def is_hidden(leaf: Any) -> bool:
        return isinstance(leaf, optax.MaskedNode)

    def pick(grad: jax.Array, in_main: Any, in_last: Any) -> jax.Array:
        if not is_hidden(in_main):
            return in_main
        return jnp.zeros_like(grad) if is_hidden(in_last) else in_last

    return jax.tree.map(pick, grads, main, last, is_leaf=is_hidden)
