"""The command line: python -m cion_jax.main --config=configs/NAME.py [--workdir=DIR] [--config.key=value ...]."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from cion_jax.core.errors import UserError

TASKS = ("prepare", "pretrain")
USER_ERROR_CODE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the task that the arguments (those of the process if None) ask for; returns the exit code."""
    argv = list(sys.argv if argv is None else argv)
    try:
        return _run(*_parse(argv))
    except UserError as error:
        print(f"cion_jax: {error}", file=sys.stderr)
        return USER_ERROR_CODE


def _parse(argv: list[str]) -> tuple[ConfigDict, Path, bool]:
    """Settings, folder of the run, and whether to join a cluster."""
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config", None, "settings: a Python file with get_config()", values, lock_config=True, sys_argv=argv
    )
    workdir = flags.DEFINE_string("workdir", None, "folder of the run; runs/NAME of the settings", values)
    distributed = flags.DEFINE_bool(
        "distributed",
        False,
        "join the other processes of a cluster that JAX detects (SLURM, TPU, MPI)",
        values,
    )
    if {"--help", "-h"} & set(argv):
        print(f"{__doc__}\n{values.get_help()}\nconfigs/base.py explains every setting.")
        raise SystemExit(0)
    path = _settings_file(argv)
    if path is None:
        raise UserError("no settings given: add --config=configs/demo.py, or another file of configs/")
    # Lets files of a configs/ folder import each other wherever the command is run.
    sys.path.insert(0, str(path.resolve().parent.parent))
    try:
        rest = values(argv)
        task = config.value.task
    except (AttributeError, KeyError) as error:
        raise UserError(
            f"{_unknown_key(error, argv)}\nconfigs/base.py explains every key and its type."
        ) from error
    except Exception as error:  # settings are code and may raise anything
        raise UserError(f"{_sentence(error)}\nconfigs/base.py explains every key and its type.") from error
    if len(rest) > 1:
        raise UserError(f"unknown argument {rest[1]!r}: settings look like --config.data.train=FOLDER")
    if task not in TASKS:
        raise UserError(f"unknown task {task!r}; there are {', '.join(TASKS)}")
    return config.value, Path(workdir.value or Path("runs") / path.stem), distributed.value


def _unknown_key(error: BaseException, argv: list[str]) -> str:
    """Names the argument that a failed look-up came from."""
    text = _sentence(error)
    for argument in argv:
        key = argument.partition("=")[0].lstrip("-")
        if key.startswith("config.") and any(repr(part) in text for part in key.split(".")):
            return f"there is no key {key.removeprefix('config.')!r} to set by {argument}"
    return text


def _settings_file(argv: list[str]) -> Path | None:
    """The file after --config, which must exist."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            path = Path((value if equals else following).partition(":")[0])
            if not path.is_file():
                raise UserError(f"there is no settings file {path}: --config takes one, like configs/demo.py")
            return path
    return None


def _run(config: ConfigDict, workdir: Path, distributed: bool) -> int:
    import jax

    from cion_jax.data.cache import default_cache_dir
    from cion_jax.train.preemption import EXIT_CODE, Preempted

    # Compiled programs are executable code: they stay in a folder that belongs to the user.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "compiled"))
    if distributed:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise UserError(
                f"--distributed found no cluster to join ({error}): see launch/README.md"
            ) from error
    task = importlib.import_module(f"cion_jax.tasks.{config.task}")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        task.run(config, workdir)
    except Preempted:
        print(f"stopped on request; the same command goes on from {workdir}", file=sys.stderr)
        return EXIT_CODE
    except OSError as error:
        if error.errno is None or (error.filename is None and "space" not in str(error).lower()):
            raise
        raise UserError(
            f"{_sentence(error)}. Free the space or mend the path, then run the same command again"
        ) from error
    return 0


def _sentence(error: BaseException) -> str:
    """What went wrong in one paragraph, without the traceback that some errors carry in their text."""
    # A KeyError shows its argument with quotes around it.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    head, carries_one, trace = text.partition("Traceback (most recent call last):")
    return head.strip() + f" {trace.strip().splitlines()[-1]}" if carries_one else text or repr(error)


if __name__ == "__main__":
    sys.exit(main())
