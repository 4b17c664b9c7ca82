"""What the processes of one run agree on before they compute together.

All functions are collective: every process must call them, in the same order, whatever it has found on its own disk.
With one process they return at once.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from cion_jax.core.errors import UserError

T = TypeVar("T")


def from_first_process(value: Any) -> Any:
    """The first process's `value`, a JSON value, on all processes; the others' values are ignored.

    Example:
      found = from_first_process(read_folder() if jax.process_index() == 0 else None)
    """
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode() if jax.process_index() == 0 else b""
    length = int(multihost_utils.broadcast_one_to_all(np.asarray(len(text))))
    padded = np.zeros(length, np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes())


def require_same(values: dict[str, Any]) -> None:
    """Refuses to go on where processes hold different values.

    Args:
      values: JSON values by what users know them as, like {"data.train": fingerprint}.

    Raises:
      UserError: on every process; it names what differs, and two of the processes with their values.
    """
    for name, own in values.items():
        texts = _from_all(json.dumps(own))
        other = next((k for k, text in enumerate(texts) if text != texts[0]), None)
        if other is not None:
            raise UserError(
                f"the processes of this run differ in {name}: process 0 has {texts[0]}, process {other} has "
                f"{texts[other]}. Give all of them the same command, the same files and one shared --workdir"
            )


def together(function: Callable[[], T]) -> T:
    """Calls `function` on every process; a `UserError` of one is raised on all, so that none waits for one that left.

    Raises:
      UserError: the own error, or that of the first process that has one.

    Example:
      together(lambda: open_folder(path))
    """
    result, error = None, None
    try:
        result = function()
    except UserError as raised:
        error = raised
    messages = _from_all("" if error is None else str(error))
    if error is not None:
        raise error
    for number, message in enumerate(messages):
        if message:
            raise UserError(f"process {number}: {message}")
    return result


def _from_all(text: str) -> list[str]:
    """The text of every process, in order."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = np.asarray(multihost_utils.process_allgather(np.asarray(len(data)))).reshape(-1)
    padded = np.zeros(max(int(lengths.max()), 1), np.uint8)
    padded[: len(data)] = data
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]
