"""The batch size: as asked for and checked, or the largest that memory holds."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cion_jax.core import agreement
from cion_jax.core.errors import UserError
from cion_jax.data.records import RecordSet
from cion_jax.methods.distill import Distill, Settings
from cion_jax.tasks import settings
from cion_jax.train import memory
from cion_jax.train.schedules import Schedules

KEY = "data.batch_size"
SHARE_AFTER_FAILURE = 0.75  # of a batch whose compilation ran out of memory, without a figure to go by
Built = TypeVar("Built")


def resolve(
    config: ConfigDict,
    backbone: nn.Module,
    head: nn.Module,
    records: RecordSet,
    saved: dict[str, Any] | None,
) -> int:
    """Images per step over all devices; with "auto" an estimate, which `fit` checks against the compiled step.

    Args:
      config: the configuration; data.batch_size is a number or "auto".
      backbone, head: the modules, for the memory they need.
      records: the training data, for its number of identities.
      saved: the identity of the checkpoint to go on from, whose batch "auto" takes over, or None.

    Raises:
      UserError: a batch that does not divide, or none that fits the data.
    """
    asked, multiple = config.data.batch_size, settings.batch_multiple(config)
    if asked == "auto":
        if saved is not None:
            return _checked(int(saved[KEY]), multiple)
        return _automatic(config, backbone, head, records, multiple)
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


def _automatic(config, backbone, head, records, multiple: int) -> int:
    identities = np.unique(records.columns["identity"][records.columns["identity"] >= 0]).size
    smallest = min(n for start, n in config.train.curriculum if start < config.train.epochs)
    limit = min(config.data.batch_limit, identities * smallest)
    if limit < multiple:
        raise UserError(
            f"{KEY}=auto finds no batch: it must divide by {multiple}, but {identities} identities with {smallest} "
            f"images each and data.batch_limit={config.data.batch_limit} allow {limit} at most. "
            f"Raise data.batch_limit to {multiple} or more, use fewer devices, another train.curriculum, or more data"
        )
    budget, units = memory.device_budget()
    per_unit = max(multiple // units, 1)
    need = functools.partial(_bytes_needed, config, backbone, head)
    size = units * memory.largest_batch(need, budget, multiple=per_unit, limit=limit // units)
    return agreement.from_first_process(int(size))


def fit(
    size: int,
    multiple: int,
    build: Callable[[int], Built],
    need: Callable[[Built], int],
    say: Callable[[str], None],
) -> Built:
    """What `build` makes of the largest batch, from `size` downwards, whose compiled step fits the memory. Collective.

    Args:
      size: the first batch to try.
      multiple: what a batch must divide by; this many images are taken also where even they seem too many.
      build: batch -> whatever holds the step.
      need: that -> bytes that the step takes on one device; it compiles the step.
      say: takes lines for people.
    """
    while True:
        built = build(size)
        budget, units = memory.device_budget()
        budget /= jax.device_count() / units
        bytes_needed, fits = _measured(lambda built=built: need(built), budget)
        if fits or size == multiple:
            taken = f"{bytes_needed / 2**30:.2f}" if bytes_needed else "more than the"
            say(
                f"{KEY}=auto: {size} images; the compiled step takes {taken} of {budget / 2**30:.2f} GiB per device"
            )
            return built
        # Proportional, since every try costs a compilation; the fixed part of the need makes this a careful step.
        share = budget / bytes_needed if bytes_needed else SHARE_AFTER_FAILURE
        smaller = max(min(int(size * share), size - 1) // multiple, 1) * multiple
        say(f"{KEY}=auto: {size} images do not fit; trying {smaller}")
        size = smaller


def _measured(need: Callable[[], int], budget: float) -> tuple[int, bool]:
    """Bytes that a step needs (0: the compiler itself ran out of memory), and whether they fit; as process 0 has it."""
    try:
        found = need()
    except jax.errors.JaxRuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        found = 0
    found = agreement.from_first_process(found)
    return found, 0 < found <= agreement.from_first_process(budget)


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
