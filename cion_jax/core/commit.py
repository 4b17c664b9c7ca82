"""Which sources a file was made by."""

import functools
import os
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

PACKAGE = "cion-jax"
UNKNOWN = "unknown"
_SECONDS = 10  # for one call of git; a checkout on a slow network disk takes a few
# Variables that lead git to another repository; they are set inside git hooks.
_LEADING_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")


@functools.cache
def source_commit() -> str:
    """The commit of the checkout that this package runs from.

    Found once per process: a run names the sources it began with, though the checkout may change before it ends.
    Never raises.

    Returns:
      The commit, with "-dirty" where files differ from it; else "cion-jax VERSION"; else "unknown".
    """
    return commit_of(Path(__file__).resolve().parents[2])


def commit_of(root: Path) -> str:
    """The commit of the checkout at `root`, the folder above the package; else what `source_commit` says."""
    written = _written_version(root)
    # Only a clone of this project has its pyproject.toml there. A package installed inside another repository, in a
    # .venv for example, has not, and that repository's commit says nothing about it.
    return (written and _commit(root)) or _version(written)


def _commit(root: Path) -> str | None:
    try:
        top, commit = os.fsdecode(_git(root, "rev-parse", "--show-toplevel", "HEAD")).splitlines()
        if Path(top).resolve() != root.resolve():
            return None
        # Untracked files count inside the package only: elsewhere they are what runs write.
        tracked = _git(root, "status", "--porcelain", "--untracked-files=no")
        added = _git(root, "status", "--porcelain", "--untracked-files=normal", "--", "cion_jax")
        return f"{commit}-dirty" if tracked or added else commit
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # no git, no repository, or one that git refuses to read


def _git(root: Path, *words: str) -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in _LEADING_ELSEWHERE}
    return subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        check=True,
    ).stdout


def _written_version(root: Path) -> str | None:
    """The version in the project file beside the package, None if there is no such file of this project."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        return str(project["version"]) if project["name"] == PACKAGE else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _version(written: str | None) -> str:
    if written:
        return f"{PACKAGE} {written}"
    try:
        return f"{PACKAGE} {metadata.version(PACKAGE)}"
    except Exception:  # not installed, or its metadata are damaged: no reason to lose a finished run
        return UNKNOWN
