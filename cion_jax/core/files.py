"""Files and folders that are either whole or absent."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yields a folder beside `target` that becomes `target` when the block ends well, and vanishes otherwise.

    A process that is killed leaves only `.<name>.partial-*`, which nothing reads as data.

    Raises:
      FileExistsError: `target` is there already.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yields the path of an empty file beside `target`, which takes its place when the block ends well.

    Readers never see half of it; where the block fails nothing is left.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp gives 0600; data and figures are shared as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(target: Path, content: bytes | str) -> None:
    """Writes a file by renaming a complete temporary one, so that readers never see half of it."""
    with atomic_file(target) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(target: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_atomically(target, json.dumps(value, indent=2) + "\n")
