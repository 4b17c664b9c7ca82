"""The command line: python -m cion_jax.main --config=configs/NAME.py [--workdir=DIR] [--config.key=value ...]."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from cion_jax.core.errors import UserError

TASKS = ("prepare", "pretrain")
USER_ERROR_CODE = 2

FLAGS = flags.FLAGS
CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Settings: a Python file with get_config().", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/NAME of the config file.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Join the other processes of a cluster that JAX detects (SLURM, TPU slice, MPI, ...).",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags and runs the task; the exit code of the process."""
    argv = list(sys.argv if argv is None else argv)
    try:
        config, workdir = _parse(argv)
        return _run(config, workdir)
    except UserError as error:
        print(f"cion_jax: {error}", file=sys.stderr)
        return USER_ERROR_CODE


def _parse(argv: list[str]):
    _make_configs_importable(argv)
    try:
        rest = FLAGS(argv)
        config = CONFIG.value
        task = config.task if config is not None else ""
    except (
        flags.Error,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OSError,
        SyntaxError,
        ImportError,
    ) as error:
        raise UserError(
            f"{_sentence(error)}\nSee configs/base.py for every key, its type and meaning."
        ) from error
    if len(rest) > 1:
        raise UserError(f"unknown argument {rest[1]!r}: settings look like --config.data.train=FOLDER")
    if config is None:
        raise UserError("no settings given: add --config=configs/demo.py, or another file of configs/")
    if task not in TASKS:
        raise UserError(f"unknown task {task!r}; there are {', '.join(TASKS)}")
    name = Path(config_flags.get_config_filename(FLAGS["config"])).stem
    return config, Path(WORKDIR.value or Path("runs") / name)


def _run(config, workdir: Path) -> int:
    import jax

    from cion_jax.data.cache import default_cache_dir
    from cion_jax.train.preemption import EXIT_CODE, Preempted

    # Compiled programs are executable code: they stay in a folder that belongs to the user.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "compiled"))
    if DISTRIBUTED.value:
        jax.distributed.initialize()
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


def _make_configs_importable(argv: list[str]) -> None:
    """Lets files of a configs/ folder import each other wherever the command is run."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        if argument.lstrip("-").startswith("config="):
            sys.path.insert(0, str(Path(argument.split("=", 1)[1]).resolve().parent.parent))
        elif argument.lstrip("-") == "config":
            sys.path.insert(0, str(Path(following).resolve().parent.parent))


def _sentence(error: BaseException) -> str:
    # A KeyError shows its argument with quotes around it.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text.strip("'\"") or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
