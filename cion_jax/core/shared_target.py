"""The lock of a target that all processes of one run write together."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target

LONGEST_MESSAGE = 4096  # bytes of a refusal that reach the other processes


@contextlib.contextmanager
def lock_shared_target(target: Path, task: str) -> Iterator[None]:
    """As `lock_target`; where a run has several processes, the first one holds the lock for all of them.

    All processes must enter. A refusal reaches all of them, so that none waits for one that has ended.

    Raises:
      UserError: on every process, where the first one does not get the lock.
    """
    if jax.process_count() == 1:
        with lock_target(target, task):
            yield
        return
    with contextlib.ExitStack() as held:
        refusal = ""
        if jax.process_index() == 0:
            try:
                held.enter_context(lock_target(target, task))
            except (UserError, OSError) as error:
                refusal = str(error)
        if refusal := _from_first_process(refusal):
            raise UserError(refusal)
        yield


def _from_first_process(text: str) -> str:
    """The text of process 0, on every process."""
    data = np.zeros(LONGEST_MESSAGE, np.uint8)
    own = np.frombuffer(text.encode(errors="backslashreplace")[:LONGEST_MESSAGE], np.uint8)
    data[: len(own)] = own
    received = np.asarray(multihost_utils.broadcast_one_to_all(data), np.uint8)
    return received.tobytes().rstrip(b"\0").decode(errors="replace")
