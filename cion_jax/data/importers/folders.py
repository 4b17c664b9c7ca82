"""One folder per identity: identity/*.jpg, or identity/tracklet/*.jpg. All of it is training data.

How the numbers are made: identities are numbered by sorted folder name (kept in identities.csv); every folder
that holds images is a tracklet, numbered in the order of reading, so images directly in an identity's folder
are one tracklet; its images come in the order of file names, with numbers in them read as numbers (2.jpg before
10.jpg); video and frame are unknown and -1, camera is 0.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cion_jax.core.errors import UserError
from cion_jax.data.importers.row import UNKNOWN, ImageRow, Numbering, SkippedFile, is_image_name, listed

LAYOUT = "folders: one folder per identity with its images, or with one folder per tracklet"
# Folders of such names hold parts of a data set, not one person each; taking them for identities would be
# silent nonsense.
_PARTS = frozenset(
    (
        "train",
        "training",
        "val",
        "valid",
        "validation",
        "test",
        "testing",
        "query",
        "gallery",
        "probe",
        "images",
    )
)


def detect(path: Path) -> bool:
    """Whether the folder has folders with images directly inside, or one level deeper."""
    path = Path(path)
    if not path.is_dir():
        return False
    identities = _folders(path)
    return any(_has_image(f) for f in identities) or any(
        _has_image(t) for f in identities for t in _folders(f)
    )


def count(path: Path) -> int:
    """How many files `rows` will go through."""
    return sum(
        len(_files(folder)) for identity in _folders(Path(path)) for folder in (identity, *_folders(identity))
    )


def rows(path: Path, numbering: Numbering | None = None) -> Iterator[ImageRow | SkippedFile]:
    """Yields the images, identity by identity and tracklet by tracklet.

    Args:
      path: the folder of folders.
      numbering: receives the identities' names.

    Raises:
      UserError: no folders inside, or folders that are parts of a data set and not persons.
    """
    path, numbering = Path(path), numbering if numbering is not None else Numbering()
    identities = _folders(path)
    if not identities:
        raise UserError(f"{path} holds no folders: the layout 'folders' wants one per identity.")
    if all(folder.name.lower() in _PARTS for folder in identities):
        raise UserError(
            f"{path} holds {listed(f.name for f in identities)}: parts of a data set, not one folder per "
            "identity. Name the part that you mean, or write a table (CSV) with a column 'split'."
        )
    for name in _files(path):
        yield SkippedFile(name, "lies in no identity's folder", is_image=is_image_name(name))
    tracklet = 0
    for folder in identities:
        identity = numbering.number("identity", folder.name)
        for inner in (folder, *_folders(folder)):
            found = False
            for row in _images(path, inner, identity, tracklet):
                found = found or isinstance(row, ImageRow)
                yield row
            tracklet += found
            if inner is not folder:
                for deeper in _folders(inner):
                    yield SkippedFile(
                        deeper.relative_to(path).as_posix(), "folders below identity/tracklet are not read"
                    )


def _images(root: Path, folder: Path, identity: int, tracklet: int) -> Iterator[ImageRow | SkippedFile]:
    for name in sorted(_files(folder), key=_natural):
        stored = (folder / name).relative_to(root).as_posix()
        if not is_image_name(name):
            yield SkippedFile(stored, "not an image file", is_image=False)
            continue
        yield ImageRow("train", folder / name, identity, tracklet, UNKNOWN, 0, UNKNOWN, stored)


def _natural(name: str) -> list:
    # Odd places are digits: the pattern's group keeps them in the list.
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name))]


def _folders(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return [path / name for name in sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")]


def _files(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and not entry.is_dir())


def _has_image(path: Path) -> bool:
    with os.scandir(path) as entries:
        return any(is_image_name(entry.name) and entry.is_file() for entry in entries)
