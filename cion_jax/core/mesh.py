"""The device mesh and where arrays live on it.

Two axes: `data` splits the batch, `fsdp` splits the batch as well and, by rules, the large parameters.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cion_jax.core.errors import UserError

AXES = ("data", "fsdp")
Rules = Sequence[tuple[str, tuple[str | None, ...]]]


def make_mesh(fsdp: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """All devices in process order, as a `data` x `fsdp` mesh.

    Raises:
      UserError: the number of devices is no multiple of `fsdp`.
    """
    devices = list(jax.devices() if devices is None else devices)
    if fsdp < 1 or len(devices) % fsdp:
        raise UserError(f"mesh.fsdp={fsdp} does not divide the {len(devices)} devices")
    return Mesh(np.array(devices).reshape(-1, fsdp), AXES, axis_types=(AxisType.Auto,) * 2)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over all devices. Invariant: device order is process order, so a process holds contiguous rows."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def shardings(mesh: Mesh, tree: Any, rules: Rules) -> Any:
    """A sharding for every leaf of `tree`: the first rule whose pattern is found in the leaf's path.

    A rule is (regular expression, axis names per dimension counted from the last). It applies where every named
    dimension divides by its axis; a leaf without a fitting rule is replicated.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, _spec(mesh, path_name(path), leaf.shape, rules)), tree
    )


def path_name(path: Sequence[Any]) -> str:
    """A pytree path as names joined by slashes, like student/params/backbone/blocks_0/attn/qkv/kernel."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def put_batch(batch: dict[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices, as global arrays."""
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def _spec(mesh: Mesh, name: str, shape: tuple[int, ...], rules: Rules) -> PartitionSpec:
    for pattern, axes in rules:
        if not re.search(pattern, name) or len(axes) > len(shape):
            continue
        padded = (None,) * (len(shape) - len(axes)) + tuple(axes)
        if all(
            axis is None or size % mesh.shape[axis] == 0 for axis, size in zip(padded, shape, strict=True)
        ):
            return PartitionSpec(*padded)
    return PartitionSpec()
