"""Everything that changes while training, as one pytree."""

from typing import Any

import flax.struct
import jax

from cion_jax.train.optimizer import AdamWState


@flax.struct.dataclass
class Network:
    """A backbone with its head.

    Attributes:
      params: {"backbone": ..., "head": ...}, float32.
      batch_stats: the same two keys; running statistics of BatchNorm, {} where there are none.
    """

    params: Any
    batch_stats: Any


@flax.struct.dataclass
class TrainState:
    """State of a self-distillation run.

    Attributes:
      step: steps taken, int32 scalar; also the state of the data and of every random key.
      student: the network that learns.
      teacher: moving average of the student's parameters, with batch statistics of its own.
      optimizer: Adam moments of the student.
      center: running mean of the teacher's outputs, float32 [K].
      skipped: updates left out because something was not finite, int32 scalar.
      skipped_in_row: how many of them in a row up to now, int32 scalar.
    """

    step: jax.Array
    student: Network
    teacher: Network
    optimizer: AdamWState
    center: jax.Array
    skipped: jax.Array
    skipped_in_row: jax.Array
