"""Importers of data set layouts.

Each is a module with `LAYOUT`, `detect(path)`, `count(path)` and `rows(path, numbering)`.
"""

from pathlib import Path
from types import ModuleType

from cion_jax.core.errors import UserError
from cion_jax.data.importers import cion_al, folders, market, table
from cion_jax.data.importers.row import ImageRow, Numbering, SkippedFile

# In the order of detection: `folders` would take nearly anything and comes last.
IMPORTERS: dict[str, ModuleType] = {"market": market, "cion_al": cion_al, "table": table, "folders": folders}

__all__ = ["IMPORTERS", "ImageRow", "Numbering", "SkippedFile", "choose", "layouts"]


def choose(path: Path, name: str = "auto") -> tuple[str, ModuleType]:
    """Picks the importer for a source.

    Args:
      path: a folder or file.
      name: a name of `IMPORTERS`, or "auto" to go by what lies there.

    Returns:
      The importer's name and the importer.

    Raises:
      UserError: unknown name, missing path, empty folder, or a layout that no importer understands.
    """
    path = Path(path)
    if name != "auto" and name not in IMPORTERS:
        raise UserError(f"importer is {name!r}, not one of auto, {', '.join(IMPORTERS)}.")
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if path.is_dir() and not any(path.iterdir()):
        raise UserError(f"{path} is an empty folder.")
    if name != "auto":
        return name, IMPORTERS[name]
    for candidate, importer in IMPORTERS.items():
        if importer.detect(path):
            return candidate, importer
    raise UserError(f"{path}: no image data set of a known layout found. {layouts()}")


def layouts() -> str:
    """What can be imported, for messages: one line a layout."""
    return "\n  ".join(["These layouts are understood:", *(module.LAYOUT for module in IMPORTERS.values())])
