"""One process at a time writes a target: a lock that ends with the process that holds it."""

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import jax

from cion_jax.core.agreement import from_first_process
from cion_jax.core.errors import UserError

LONGEST_NAME = 100  # characters; longer target names enter the lock's name as a hash


@contextlib.contextmanager
def lock_target(target: Path, task: str) -> Iterator[None]:
    """Holds the right to write `target`, a file or a folder, while the block runs.

    The operating system releases the lock when its process ends, however it ends: a killed run leaves no stale lock.
    The lock file is `.NAME.lock` beside the target, so a task may delete or rename its target. Who holds the lock
    stands in `.NAME.lock.json`. Where the parent folder cannot be written (a mounted /runs), both lie in the target.

    Args:
      target: what will be written; it need not exist.
      task: name of the task, for the message that others get.

    Raises:
      UserError: another process holds the lock; the message names its task, host, process and start.

    Example:
      with lock_target(Path("out/identities"), "denoise"):
          ...
    """
    target = Path(target).expanduser().resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    path = _choose_folder(target) / f".{_short(target.name)}.lock"
    holder = path.with_name(path.name + ".json")
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{target} is being written by {_describe(holder)}. Wait until it ends, or name another target"
        ) from None
    try:
        about = {
            "task": task,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        holder.write_text(json.dumps(about))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def lock_shared_target(target: Path, task: str) -> Iterator[None]:
    """As `lock_target`; where a run has several processes, the first one holds the lock for all of them.

    All processes must enter. A refusal reaches all of them, so that none waits for one that has ended.

    Raises:
      UserError: on every process, where the first one does not get the lock.
    """
    with contextlib.ExitStack() as held:
        refusal = ""
        if jax.process_index() == 0:
            try:
                held.enter_context(lock_target(target, task))
            except (UserError, OSError) as error:
                refusal = str(error)
        if refusal := from_first_process(refusal):
            raise UserError(refusal)
        yield


def _choose_folder(target: Path) -> Path:
    if target.is_dir() and not os.access(target.parent, os.W_OK):
        return target
    return target.parent


def _short(name: str) -> str:
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def _describe(holder: Path) -> str:
    try:
        about = json.loads(holder.read_text())
        return f"task {about['task']} on {about['host']} (process {about['process']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # between taking the lock and saying so
