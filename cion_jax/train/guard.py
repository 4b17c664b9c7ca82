"""The guard against non-finite updates, inside the jitted step."""

from typing import Any

import jax
import jax.numpy as jnp

from cion_jax.train.state import TrainState


def all_finite(tree: Any) -> jax.Array:
    """Whether every entry of every array in the tree is finite, a bool scalar."""
    checks = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(checks)) if checks else jnp.bool_(True)


def guarded(finite: jax.Array, old: TrainState, new: TrainState) -> TrainState:
    """The new state if the step was finite, else the old one with the step counted as skipped.

    `step` moves on in both cases: it is the position in the data, and the next batch may do better.
    """
    kept = jax.tree.map(lambda a, b: jnp.where(finite, b, a), old, new)
    return kept.replace(
        step=new.step,
        skipped=old.skipped + jnp.where(finite, 0, 1),
        skipped_in_row=jnp.where(finite, 0, old.skipped_in_row + 1),
    )
