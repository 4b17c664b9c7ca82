"""How large a batch fits: what the backward pass keeps, found by tracing alone; and what to do when it does not."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import psutil

from cion_jax.core.errors import UserError

# Activations that XLA keeps were .5 to .9 of the traced ones in the models tried; the rest is left to workspaces.
SHARE_OF_ACCELERATOR = 0.85
# The other half of a shared computer's free memory stays with its owner and the loader.
SHARE_OF_FREE_CPU_MEMORY = 0.5


def traced_bytes(loss: Callable[[Any], tuple[jax.Array, Any]], params: Any) -> int:
    """Bytes that the backward pass of `loss` keeps from the forward pass; nothing is computed or compiled.

    Args:
      loss: params -> (scalar, auxiliary values).
      params: arrays or ShapeDtypeStructs.
    """
    kept = jax.eval_shape(lambda p: jax.vjp(loss, p, has_aux=True)[1], params)
    return tree_bytes(kept)


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays in the tree."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def device_budget() -> tuple[float, int]:
    """Bytes that one unit of memory offers, and the number of units: accelerators, or the CPU's one memory.

    Raises:
      UserError: an accelerator does not tell how much it has.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return SHARE_OF_FREE_CPU_MEMORY * psutil.virtual_memory().available, jax.process_count()
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if not limit:
        raise UserError(
            f"{device} does not tell its memory: set --config.data.batch_size=NUMBER instead of auto"
        )
    return SHARE_OF_ACCELERATOR * limit, jax.device_count()


def largest_batch(bytes_at: Callable[[int], int], budget: float, *, multiple: int, limit: int) -> int:
    """The largest multiple of `multiple` up to `limit` whose need, linear in the batch, stays in the budget.

    At least one multiple is returned, also where even that seems too large: the estimate is no certainty.

    Args:
      bytes_at: need in bytes of a batch.
      budget: bytes to use.
      multiple: what the batch must divide by.
      limit: upper bound of the batch.
    """
    one, two = bytes_at(multiple), bytes_at(2 * multiple)
    slope = max((two - one) / multiple, 1.0)
    fitting = multiple + (budget - one) / slope
    return max(int(min(fitting, limit) // multiple), 1) * multiple


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the compiler ran out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


@contextlib.contextmanager
def explain_out_of_memory(key: str, size: int) -> Iterator[None]:
    """Turns a device's lack of memory into one sentence.

    Args:
      key: the config key that lowers the need.
      size: its value in this run.

    Raises:
      UserError: the block ran out of device memory; all other errors pass.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"the device ran out of memory with {key}={size}: give a smaller --config.{key}=N, or for training "
            "--config.model.remat=True or a larger --config.train.accumulate; see docs/scaling.md"
        ) from error
