"""Beginning with a backbone that has learned before, instead of random weights."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from cion_jax import bridge
from cion_jax.core.errors import UserError
from cion_jax.train.state import Network, TrainState


def read(path: str, name: str, *, resize: bool = False) -> dict[str, Any]:
    """Variables of the backbone `name` from a weight file of any kind that `bridge.read_weights` knows.

    Args:
      path: the file.
      name: one of zoo.MODELS.
      resize: whether tables that were learned at another image size are resized.

    Raises:
      UserError: the file is missing, or holds another model; the message says which.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"model.weights={path} does not exist")
    return bridge.read_weights(file, name, resize=resize).variables


def put(state: TrainState, layout: TrainState, variables: dict[str, Any]) -> TrainState:
    """A fresh state with this backbone for student and teacher; head, centre and optimizer stay.

    Args:
      state: on the devices.
      layout: the sharding of every leaf of it.
      variables: "params" and "batch_stats" of the backbone, in host memory on every process.

    Raises:
      ValueError: variables of another structure or shape than the state's.
    """

    def placed(old: Any, shardings: Any, new: Any) -> Any:
        if jax.tree.structure(old) != jax.tree.structure(new):
            raise ValueError("the variables are not those of the backbone of this state")
        return jax.tree.map(_placed, old, shardings, new)

    def network(old: Network, shardings: Network) -> Network:
        parts = {"params": (old.params, shardings.params)}
        parts["batch_stats"] = (old.batch_stats, shardings.batch_stats)
        return Network(
            **{
                kind: tree
                | {"backbone": placed(tree["backbone"], place["backbone"], variables.get(kind, {}))}
                for kind, (tree, place) in parts.items()
            }
        )

    return state.replace(
        student=network(state.student, layout.student), teacher=network(state.teacher, layout.teacher)
    )


def _placed(old: jax.Array, sharding: Any, new: Any) -> jax.Array:
    new = np.asarray(new, old.dtype)
    if new.shape != old.shape:
        raise ValueError(f"a tensor of the backbone has shape {new.shape}, not {old.shape}")
    # By callback: device_put does not take host arrays to the devices of other processes.
    return jax.make_array_from_callback(old.shape, sharding, lambda index: new[index])
