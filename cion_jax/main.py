"""The command line: python -m cion_jax.main --config=configs/NAME.py [--workdir=DIR] [--config.key=value ...]."""

import importlib
import os
import sys
import threading
from collections.abc import Sequence

from cion_jax.core import command_line
from cion_jax.core.command_line import Command
from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError

TASKS = ("bootstrap", "denoise", "export", "extract", "prepare", "pretrain", "tracklets")
USER_ERROR_CODE = 2
NOTICE_SECONDS = 30  # processes of one job start within seconds of each other
_STILL_WAITING = (
    "cion_jax: --distributed still waits for the other processes of the cluster. JAX ends this process if they do not "
    "come within 300 s. Check that all of them run and can reach the first one: see launch/README.md"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the task that the arguments (those of the process if None) ask for; returns the exit code."""
    try:
        return _run(command_line.parse(sys.argv if argv is None else argv, about=__doc__))
    except UserError as error:
        print(f"cion_jax: {error}", file=sys.stderr)
        return USER_ERROR_CODE


def _run(command: Command) -> int:
    task = command.config.get("task")
    if task not in TASKS:
        raise UserError(f"unknown task {task!r}; there are {', '.join(TASKS)}")

    # Only now: a mistyped command is answered at once.
    import jax

    from cion_jax.data.cache import default_cache_dir
    from cion_jax.train.preemption import EXIT_CODE, Preempted

    # Compiled programs are executable code: they stay in a folder that belongs to the user.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "compiled"))
    if command.distributed:
        _join_cluster()
    source_commit()  # found now and kept: the checkout may change before the outputs name it
    try:
        command.workdir.mkdir(parents=True, exist_ok=True)
        importlib.import_module(f"cion_jax.tasks.{task}").run(command.config, command.workdir)
    except Preempted:
        print(f"stopped on request; the same command goes on from {command.workdir}", file=sys.stderr)
        return EXIT_CODE
    except OSError as error:
        if error.errno is None or (error.filename is None and "space" not in str(error).lower()):
            raise
        raise UserError(
            f"{command_line.sentence(error)}. Free the space or mend the path, then run the same command again"
        ) from error
    return 0


def _join_cluster() -> None:
    import jax

    # After 300 s JAX's runtime aborts the process with a C++ stack trace, so this has to be said before.
    notice = threading.Timer(NOTICE_SECONDS, print, [_STILL_WAITING], {"file": sys.stderr, "flush": True})
    notice.daemon = True
    notice.start()
    try:
        jax.distributed.initialize()
    except (
        ValueError,
        RuntimeError,
    ) as error:  # JaxRuntimeError, of a timeout for example, is a RuntimeError
        raise UserError(
            f"--distributed could not join a cluster ({command_line.sentence(error)}): see launch/README.md"
        ) from error
    finally:
        notice.cancel()


if __name__ == "__main__":
    sys.exit(main())
