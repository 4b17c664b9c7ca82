"""From a user's data path to a prepared folder: importable sources are prepared once, into a cache."""

import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cion_jax.core.errors import UserError
from cion_jax.data import importers, records
from cion_jax.data.prepare import FORMAT, MAX_SIZE, prepare, prepare_synthetic
from cion_jax.data.record_writer import full_disk_named
from cion_jax.data.source_key import settings_key, source_key

try:
    import fcntl
except ImportError:  # not a POSIX system: the atomic rename alone decides who was first
    fcntl = None

SYNTHETIC = "synthetic"


def default_cache_dir() -> Path:
    """The user's cache folder for this package: $XDG_CACHE_HOME/cion_jax, or ~/.cache/cion_jax."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cion_jax"


def resolve(
    source: Any,
    cache_dir: Path | None = None,
    *,
    importer: str = "auto",
    on_bad_image: str = "skip",
    max_size: tuple[int, int] = MAX_SIZE,
) -> Path:
    """Finds or makes the prepared folder that a data path means. Safe for several processes at once.

    Args:
      source: a prepared folder (returned as it is), anything that `prepare` imports, the word "synthetic", or
        a `SyntheticSpec`.
      cache_dir: where prepared copies lie; `default_cache_dir()` if None.
      importer, on_bad_image, max_size: as for `prepare`.

    Returns:
      A folder for `records.open_split`.

    Raises:
      UserError: a missing path, an empty folder, no image, an unknown layout, and what else `prepare` raises.
    """
    data_dir = Path(cache_dir or default_cache_dir()) / "data"
    if dataclasses.is_dataclass(source) or source == SYNTHETIC:
        return _resolve_synthetic(source, data_dir)
    path = Path(source).expanduser()
    if records.is_prepared(path):
        return path
    if path.is_dir() and any(path.glob("*.array_record*")):
        raise UserError(
            f"{path} holds records but no metadata: an incomplete copy. Copy it again or prepare it anew."
        )
    name, module = importers.choose(path, importer)
    settings = {"format": FORMAT, "importer": name, "on_bad_image": on_bad_image, "max_size": list(max_size)}
    # Where an annotation file says what belongs to the set, that file stands for the whole, however many
    # images it names.
    told_by = {"cion_al": lambda: module.annotations(path), "table": lambda: module.table_file(path)}
    key = source_key(told_by[name]() if name in told_by else path, settings)

    def make(target: Path) -> None:
        prepare(path, target, importer=name, on_bad_image=on_bad_image, max_size=max_size)

    return _once(data_dir / key, make, str(path))


def _resolve_synthetic(source: Any, data_dir: Path) -> Path:
    from cion_jax.data import synthetic

    spec = synthetic.SyntheticSpec() if source == SYNTHETIC else source
    # The generator's own code is part of the key, so that a changed generator never meets old pictures.
    code = [file.read_text() for file in sorted(Path(__file__).parent.glob("synthetic*.py"))]
    key = settings_key("synthetic", {"format": FORMAT, "spec": dataclasses.asdict(spec), "code": code})
    return _once(data_dir / key, lambda target: prepare_synthetic(spec, target), "the synthetic people")


def _once(target: Path, make: Callable[[Path], Any], label: str) -> Path:
    if target.exists():
        return target
    with full_disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target, label) as alone:
        if target.exists():
            return target
        if alone:
            # Nobody else is at work here, so these are what killed processes have left.
            for leftover in target.parent.glob(f".{target.name}.partial-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        print(f"Preparing {label} once, into {target}", file=sys.stderr, flush=True)
        try:
            make(target)
        except (OSError, UserError):
            # Without a working lock another process may have been first: its copy is as good.
            if not records.is_prepared(target):
                raise
    return target


@contextlib.contextmanager
def _locked(target: Path, label: str) -> Iterator[bool]:
    """Holds a lock on `target` between processes; yields False where the file system has none."""
    if fcntl is None:
        yield False
        return
    # The file stays: removing it would let two processes hold "the" lock on two files of one name.
    # Not the name that `prepare` locks the target under: it does so inside this lock.
    with (target.parent / f".{target.name}.cache-lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another process that prepares {label}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
