"""CION-AL's JSON: one list of objects with `id` (identity) and `file_path` (relative to the file's folder).

SYNTH-PEDES' annotations have the same two fields and are taken as well; further fields are ignored. The list
is read as a stream: 3.9 million objects never stand in memory together.

How the numbers are made: identity is `id`; tracklets are unknown, so each identity is one tracklet of the
same number; video and frame are unknown and -1, camera is 0. All is training data.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from cion_jax.core.errors import UserError
from cion_jax.data.importers.row import UNKNOWN, ImageRow, Numbering, SkippedFile, listed

LAYOUT = "cion_al: a JSON list of {id, file_path} (the file, or a folder holding exactly one *annos*.json)"


def detect(path: Path) -> bool:
    """Whether the path is a .json file or a folder holding files named like CION-AL's annotations."""
    path = Path(path)
    return path.suffix.lower() == ".json" if path.is_file() else bool(_candidates(path))


def count(path: Path) -> int:
    """How many objects `rows` will go through, by counting a field's name: faster than parsing."""
    file = annotations(path)
    if file.stat().st_size == 0:
        return 0
    key, found = b'"file_path"', 0
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(key)
        while place >= 0:
            found += 1
            place = data.find(key, place + len(key))
    return found


def annotations(path: Path) -> Path:
    """The annotation file that `path` names: itself, or the one in the folder.

    Raises:
      UserError: there is none, or more than one.
    """
    path = Path(path)
    if path.is_file():
        return path
    found = _candidates(path)
    if len(found) != 1:
        what = f"several ({listed(file.name for file in found)})" if found else "none"
        raise UserError(f"{path} should hold exactly one *annos*.json, but has {what}. Name the file itself.")
    return found[0]


def rows(path: Path, numbering: Numbering | None = None) -> Iterator[ImageRow | SkippedFile]:
    """Yields the images in the order of the list.

    Raises:
      UserError: broken JSON, no list, an object without the two fields or with wrong ones, a path that leaves
        the folder. The message gives the object's number, counted from 1.
    """
    file = annotations(Path(path))
    root = str(file.parent)
    for number, item in enumerate(_items(file), start=1):
        identity, relative = _checked(file, number, item)
        yield ImageRow("train", f"{root}/{relative}", identity, identity, UNKNOWN, 0, UNKNOWN, relative)


def _items(file: Path) -> Iterator[object]:
    import ijson

    number = 0
    with file.open("rb") as opened:
        try:
            for item in ijson.items(opened, "item", use_float=True):
                number += 1
                yield item
        except ijson.JSONError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{file}: broken JSON after record {number:,}: {reason}") from error
    if number == 0:
        raise UserError(f"{file} holds no records: expected a JSON list of objects with id and file_path.")


def _checked(file: Path, number: int, item: object) -> tuple[int, str]:
    try:
        return _fields(item)
    except ValueError as error:
        raise UserError(f"{file}, record {number:,}: {error}.") from error


def _fields(item: object) -> tuple[int, str]:
    """The identity and the path of one object; ValueError says what is wrong with it."""
    if not isinstance(item, dict):
        raise ValueError(f"expected an object with id and file_path, got {item!r:.80}")
    for name in ("id", "file_path"):
        if name not in item:
            raise ValueError(f"the field {name!r} is missing")
    identity, relative = item["id"], item["file_path"]
    if type(identity) is not int or not 0 <= identity < 2**63:
        raise ValueError(f"'id' is {identity!r:.80}, not a whole number from 0")
    if not isinstance(relative, str) or not relative:
        raise ValueError(f"'file_path' is {relative!r:.80}, not a path")
    # Plain strings: pathlib would take most of the time that millions of records need.
    relative = relative.replace("\\", "/")
    if ".." in relative.split("/") or relative[0] == "/" or relative[1:2] == ":":
        raise ValueError(f"'file_path' is {relative!r:.200}, which leaves the folder of the file")
    return identity, relative.removeprefix("./")


def _candidates(path: Path) -> list[Path]:
    return sorted(file for file in path.glob("*annos*.json") if file.is_file()) if path.is_dir() else []
