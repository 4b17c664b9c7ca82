"""Spreads independent work over the devices of this process."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def multiple(count: int) -> int:
    """`count` rounded up so that every device gets as many."""
    return -(-count // jax.local_device_count()) * jax.local_device_count()


def split(*arrays: np.ndarray) -> tuple[jax.Array, ...]:
    """Arrays laid over all devices along their first axis, whose length is a `multiple`."""
    mesh = Mesh(np.array(jax.local_devices()), ("part",))
    return tuple(jax.device_put(array, NamedSharding(mesh, PartitionSpec("part"))) for array in arrays)
