"""Short names for sources, the same as long as a listing shows no change."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

# Looking up size and time of a file costs about 2 microseconds warm and far more on a remote disk.
_MOST_FILE_STATS = 200_000
# Deeper than any importer looks.
_MOST_LEVELS = 4


def source_key(path: Path, settings: dict[str, Any]) -> str:
    """A folder name for what `path` becomes under these settings: its own name and a hash.

    The hash covers the absolute path, the settings and the listing: names of files and folders, and size and
    time of change of the first 200,000 files. So a file that is overwritten in place beyond those goes
    unnoticed.

    Args:
      path: a file, or a folder, which is listed four levels deep.
      settings: JSON-able; whatever else changes the outcome.
    """
    path = Path(path)
    digest = hashlib.blake2b(digest_size=8)
    digest.update(
        json.dumps([str(path.absolute()), settings], sort_keys=True).encode(errors="backslashreplace")
    )
    if path.is_dir():
        _digest_folder(digest, path, "", 0, [_MOST_FILE_STATS])
    else:
        _digest_file(digest, path.name, path.stat())
    return f"{slug(path.name)}-{digest.hexdigest()}"


def settings_key(name: str, settings: dict[str, Any]) -> str:
    """A folder name for what comes from JSON-able settings alone: `name` and a hash of them."""
    return f"{slug(name)}-{_digest_of(settings).hexdigest()}"


def slug(name: str) -> str:
    """`name` in letters, digits, dots, dashes and underscores, never empty or hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[:60] or "data"


def _digest_of(value: Any):
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps(value, sort_keys=True).encode(errors="backslashreplace"))
    return digest


def _digest_folder(digest, folder: Path, prefix: str, level: int, stats_left: list[int]) -> None:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            digest.update(f"{name}/\n".encode(errors="backslashreplace"))
            if level + 1 < _MOST_LEVELS:
                _digest_folder(digest, Path(entry.path), f"{name}/", level + 1, stats_left)
        elif stats_left[0] > 0 and entry.is_file():
            stats_left[0] -= 1
            _digest_file(digest, name, entry.stat())
        else:
            digest.update(f"{name}\n".encode(errors="backslashreplace"))


def _digest_file(digest, name: str, stat: os.stat_result) -> None:
    digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="backslashreplace"))
