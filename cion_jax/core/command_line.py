"""From the words of a command to settings: --config=FILE, --config.key=value, --workdir=DIR, --distributed."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from cion_jax.core.errors import UserError

_WHERE_KEYS_ARE = "configs/base.py explains every key and its type."


class Command(NamedTuple):
    """What a command asks for: settings, the folder of the run, and whether to join a cluster."""

    config: ConfigDict
    workdir: Path
    distributed: bool


def parse(argv: Sequence[str], about: str) -> Command:
    """Reads the settings file and puts the values of the command over its own.

    Args:
      argv: the words of the command, the program first.
      about: what --help says before the list of flags.

    Raises:
      UserError: no settings file, an unknown key or flag, a value of a wrong type, settings that do not load.
      SystemExit: after --help.
    """
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config",
        None,
        "settings: a Python file with get_config()",
        values,
        lock_config=True,
        sys_argv=list(argv),
    )
    workdir = flags.DEFINE_string("workdir", None, "folder of the run; runs/NAME of the settings", values)
    distributed = flags.DEFINE_bool(
        "distributed",
        False,
        "join the other processes of a cluster that JAX detects (SLURM, TPU, MPI)",
        values,
    )
    if {"--help", "-h"} & set(argv):
        print(f"{about}\n{values.get_help()}\nconfigs/base.py explains every setting.")
        raise SystemExit(0)
    path = _settings_file(argv)
    with _importable(path.resolve().parent.parent):
        try:
            rest = values(list(argv))
            found = config.value
        except (AttributeError, KeyError) as error:
            raise UserError(f"{_unknown_key(error, argv)}\n{_WHERE_KEYS_ARE}") from error
        except Exception as error:  # settings are code and may raise anything
            raise UserError(f"{sentence(error)}\n{_WHERE_KEYS_ARE}") from error
    if len(rest) > 1:
        raise UserError(f"unknown argument {rest[1]!r}: settings look like --config.data.train=FOLDER")
    return Command(found, Path(workdir.value or Path("runs") / path.stem), distributed.value)


def sentence(error: BaseException) -> str:
    """What went wrong in one paragraph, without the traceback that some errors carry in their text."""
    if isinstance(error, AttributeError) and error.args and isinstance(error.args[0], KeyError):
        error = error.args[0]  # as ml_collections raises it
    # A KeyError shows its argument with quotes around it.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    head, carries_one, trace = text.partition("Traceback (most recent call last):")
    return head.strip() + f" {trace.strip().splitlines()[-1]}" if carries_one else text or repr(error)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets files of a configs/ folder import each other while they load, wherever the command is run.

    Only then: `folder` goes before all others, so that another folder of that name does not win, and a jax.py in it
    must not be taken for JAX afterwards.
    """
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # settings are code and may have removed it
            sys.path.remove(str(folder))


def _settings_file(argv: Sequence[str]) -> Path:
    """The file after --config, which must be given and exist."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            path = Path((value if equals else following).partition(":")[0])
            if not path.is_file():
                raise UserError(f"there is no settings file {path}: --config takes one, like configs/demo.py")
            return path
    raise UserError("no settings given: add --config=configs/demo.py, or another file of configs/")


def _unknown_key(error: BaseException, argv: Sequence[str]) -> str:
    """Names the argument that a failed look-up came from."""
    text = sentence(error)
    overrides = [word for word in argv if word.lstrip("-").startswith("config.")]
    known = _without(overrides, argv) if overrides else None
    for word in overrides:
        key = word.partition("=")[0].lstrip("-").removeprefix("config.")
        if known is not None and not _has(known, key.split(".")):
            hint = text.partition("\n")[2]  # "Did you mean ...", from ml_collections
            return f"there is no key {key!r} to set by {word}. {hint}".rstrip()
    return text


def _without(overrides: Sequence[str], argv: Sequence[str]) -> ConfigDict | None:
    """The settings as their file has them, None if that is what failed."""
    values = flags.FlagValues()
    words = [word for word in argv if word not in overrides]
    config = config_flags.DEFINE_config_file("config", None, "", values, sys_argv=words)
    try:
        values(words, known_only=True)
        return config.value
    except Exception:  # settings are code and may raise anything
        return None


def _has(settings: ConfigDict, parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(settings, ConfigDict) or part not in settings:
            return False
        settings = settings[part]
    return True
