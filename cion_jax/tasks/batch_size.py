"""The batch size: as asked for and checked, or the largest that memory holds."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.data.records import RecordSet
from cion_jax.methods.distill import Distill, Settings
from cion_jax.tasks import settings
from cion_jax.train import memory
from cion_jax.train.schedules import Schedules

KEY = "data.batch_size"


def resolve(
    config: ConfigDict,
    backbone: nn.Module,
    head: nn.Module,
    records: RecordSet,
    saved: dict[str, Any] | None,
    say: Callable[[str], None],
) -> int:
    """Images per step over all devices.

    Args:
      config: the configuration; data.batch_size is a number or "auto".
      backbone, head: the modules, for the memory they need.
      records: the training data, for its number of identities.
      saved: the identity of the checkpoint to go on from, whose batch "auto" takes over, or None.
      say: takes lines for people.

    Raises:
      UserError: a batch that does not divide, or none that fits the data.
    """
    asked, multiple = config.data.batch_size, settings.batch_multiple(config)
    if asked == "auto":
        if saved is not None:
            return _checked(int(saved[KEY]), multiple)
        return _automatic(config, backbone, head, records, multiple, say)
    if not isinstance(asked, int) or asked < 1:
        raise UserError(f'{KEY}={asked!r} must be a positive number or "auto"')
    return _checked(asked, multiple)


def _checked(size: int, multiple: int) -> int:
    if size % multiple:
        raise UserError(
            f"{KEY}={size} does not divide by {multiple} (devices x micro-batches x images per identity of every "
            f"phase): take {max(size // multiple, 1) * multiple} or {(size // multiple + 1) * multiple}"
        )
    return size


def _automatic(config, backbone, head, records, multiple: int, say) -> int:
    identities = np.unique(records.columns["identity"][records.columns["identity"] >= 0]).size
    smallest = min(n for start, n in config.train.curriculum if start < config.train.epochs)
    limit = min(config.data.batch_limit, identities * smallest)
    if limit < multiple:
        raise UserError(
            f"{KEY}=auto finds no batch: it must divide by {multiple}, but {identities} identities with {smallest} "
            f"images each and data.batch_limit={config.data.batch_limit} allow {limit} at most. "
            "Use fewer devices, other train.curriculum, or more data"
        )
    budget, units = memory.device_budget()
    per_unit = max(multiple // units, 1)
    need = functools.partial(_bytes_needed, config, backbone, head)
    size = units * memory.largest_batch(need, budget, multiple=per_unit, limit=limit // units)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(size)))
    say(
        f"{KEY}=auto: {size} images, about {need(size // units) / 2**30:.1f} of {budget / 2**30:.1f} GiB "
        f"{'memory' if units == jax.process_count() else 'per device'} "
        f"(multiples of {multiple}, at most {limit})"
    )
    return size


def _bytes_needed(config: ConfigDict, backbone: nn.Module, head: nn.Module, batch: int) -> int:
    """State, gradients, views, and what the backward pass of one micro-batch keeps."""
    method = Distill(backbone, head, Schedules(1, 0, 0.0, 0.0, (0.0, 0.0), (1.0, 1.0)), Settings())
    size, local = tuple(config.crops.global_size), tuple(config.crops.local_size)
    state = jax.eval_shape(functools.partial(method.init, input_size=size), jax.random.key(0))
    dtype = settings.compute_dtype(config)

    def views(count: int) -> dict[str, jax.ShapeDtypeStruct]:
        return {
            "global": jax.ShapeDtypeStruct((count, 2, *size, 3), dtype),
            "local": jax.ShapeDtypeStruct((count, config.crops.local_count, *local, 3), dtype),
        }

    micro = max(batch // config.train.accumulate, 1)
    kept = memory.traced_bytes(functools.partial(_loss, method, state, views(micro)), state.student.params)
    gradients = memory.tree_bytes(state.student.params)
    # Two batches of views: the one in use and the next.
    return memory.tree_bytes(state) + gradients + 2 * memory.tree_bytes(views(batch)) + kept


def _loss(method: Distill, state: Any, views: dict[str, jax.ShapeDtypeStruct], params: Any):
    crops = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), views)
    return method.loss(params, _zeros(state), crops, jax.random.key(0), images_per_identity=1)


def _zeros(state: Any) -> Any:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state)
