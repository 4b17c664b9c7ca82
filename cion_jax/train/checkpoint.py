"""Checkpoints of a run: asynchronous, atomic, the last few kept, with what they belong to beside them."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from cion_jax.core.errors import UserError

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of one work directory.

    Args:
      workdir: folder of the run.
      identity: what a checkpoint must agree on to be continued (model, sizes, data, ...), JSON values by the
        config key that users know.
      every_steps: interval in steps; 0: none.
      every_minutes: interval in minutes; 0: none.
      keep: how many stay.
    """

    def __init__(
        self, workdir: Path, identity: dict[str, Any], *, every_steps: int, every_minutes: float, keep: int
    ):
        self.folder = Path(workdir).resolve() / FOLDER
        self._identity = identity
        self._every_steps, self._every_seconds = every_steps, 60.0 * every_minutes
        self._last_saved = time.monotonic()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, create=True, enable_async_checkpointing=True, cleanup_tmp_directories=True
            ),
            item_names=("state", "identity"),
        )

    def latest_step(self) -> int | None:
        """Step of the newest whole checkpoint, None without one."""
        return self._manager.latest_step()

    def restore(self, like: Any) -> Any:
        """The newest checkpoint, on the devices and in the layout of `like` (a state of ShapeDtypeStructs).

        Raises:
          UserError: it belongs to another run, or cannot be read.
        """
        step = self.latest_step()
        saved = self._read(step, "identity", ocp.args.JsonRestore())
        self._compare(saved)
        return self._read(step, "state", ocp.args.StandardRestore(like))

    def due(self, step: int) -> bool:
        """Whether an interval is over; the same answer on all processes."""
        by_step = bool(self._every_steps) and step % self._every_steps == 0
        by_time = bool(self._every_seconds) and time.monotonic() - self._last_saved >= self._every_seconds
        if self._every_seconds and jax.process_count() > 1:
            by_time = bool(multihost_utils.broadcast_one_to_all(np.asarray(by_time)))
        return by_step or by_time

    def save(self, step: int, state: Any) -> None:
        """Starts to write the state of `step`; the arrays are copied before this returns, so they may be donated.

        Raises:
          UserError: no space is left, or the folder cannot be written.
        """
        self._last_saved = time.monotonic()
        if step == self.latest_step():
            return
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), identity=ocp.args.JsonSave(self._identity)
                ),
                force=True,
            )
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def wait(self) -> None:
        """Blocks until what was saved is on disk.

        Raises:
          UserError: it could not be written.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        self.wait()
        self._manager.close()

    def _read(self, step: int, item: str, how: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: how}))[item]
        except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
            raise UserError(
                f"the checkpoint {self.folder / str(step)} cannot be read ({_first_line(error)}). Delete that folder "
                "to go on from the one before, or give another --workdir to start afresh"
            ) from error

    def _compare(self, saved: dict[str, Any]) -> None:
        wanted = {key: _plain(value) for key, value in self._identity.items()}
        differing = [
            f"{key}: {saved.get(key)} there, {wanted[key]} asked for"
            for key in wanted
            if saved.get(key) != wanted[key]
        ]
        if differing:
            raise UserError(
                f"{self.folder} holds a run with other settings, which cannot be continued ({'; '.join(differing)}). "
                "Give another --workdir, or the settings of that run"
            )


def saved_identity(workdir: Path) -> dict[str, Any] | None:
    """What the newest checkpoint of a work directory says of itself, None without a checkpoint."""
    folder = Path(workdir).resolve() / FOLDER
    if not folder.is_dir():
        return None
    with ocp.CheckpointManager(folder, item_names=("state", "identity")) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        try:
            return manager.restore(step, args=ocp.args.Composite(identity=ocp.args.JsonRestore())).identity
        except Exception as error:  # as in Checkpoints._read
            raise UserError(
                f"the checkpoint {folder / str(step)} cannot be read ({_first_line(error)}). Delete that folder to "
                "go on from the one before, or give another --workdir to start afresh"
            ) from error


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"the checkpoint could not be written to {folder} ({_first_line(error)}). Make room or give another --workdir; "
        "the same command then goes on from the last whole checkpoint"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _plain(value: Any) -> Any:
    """The value as JSON gives it back: tuples as lists."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
