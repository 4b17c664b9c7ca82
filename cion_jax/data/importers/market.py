"""Market-1501 layout: bounding_box_train, query, bounding_box_test; names like 0002_c1s1_000451_03.jpg.

CUHK03-NP, DukeMTMC-reID and LUP's copies of MSMT17 use it too, with small changes to the names that are taken
as well.

How the numbers are made: identity is the number in the name (-1 junk and 0 distractors stay in the gallery);
camera is the number behind `c`; each (camera, sequence) is a video and each (identity, camera, sequence) a
tracklet, numbered by first appearance in the order train, query, gallery, names sorted; frame is the third
number of the name where the name has a sequence (Market-1501) or an f before that number (DukeMTMC-reID), else
unknown and -1: in CUHK03-NP and MSMT17 it counts the images of a person.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cion_jax.core.errors import UserError
from cion_jax.data.importers.row import UNKNOWN, ImageRow, Numbering, SkippedFile, is_image_name

LAYOUT = (
    "market: folders bounding_box_train, query, bounding_box_test with names like 0002_c1s1_000451_03.jpg"
)
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
# Folders that say "Market-1501 layout"; a folder called "query" alone could be anything.
_TELLING = ("bounding_box_train", "bounding_box_test")
_NAME = re.compile(
    r"(?P<identity>-?\d+)_c(?P<camera>\d+)(?:s(?P<sequence>\d+))?(?:_(?P<f>f?)(?P<number>\d+))?(?!\d)"
)


def detect(path: Path) -> bool:
    """Whether the folder, or one folder directly inside it, has this layout."""
    return bool(_roots(Path(path)))


def count(path: Path) -> int:
    """How many files `rows` will go through."""
    return sum(len(names) for _, _, names in _listing(Path(path)))


def rows(path: Path, numbering: Numbering | None = None) -> Iterator[ImageRow | SkippedFile]:
    """Yields the images split by split, names sorted.

    Raises:
      UserError: not this layout, or several such folders inside.
    """
    tracklets, videos = Numbering(), Numbering()
    for split, folder, names in _listing(Path(path)):
        for name in names:
            stored = f"{folder.name}/{name}"
            if not is_image_name(name):
                yield SkippedFile(stored, "not an image file", is_image=False)
                continue
            match = _NAME.match(name)
            if match is None:
                yield SkippedFile(stored, "the name does not follow PPPP_cCsS_FFFFFF_BB")
                continue
            identity, camera = int(match["identity"]), int(match["camera"])
            sequence = int(match["sequence"] or 0)
            if identity < 0 and split != "gallery":
                yield SkippedFile(stored, f"junk (identity {identity}) outside the gallery")
                continue
            yield ImageRow(
                split=split,
                file=folder / name,
                identity=max(identity, -1),
                tracklet=tracklets.number("tracklet", (identity, camera, sequence)),
                video=videos.number("video", (camera, sequence)),
                camera=camera,
                frame=_frame(match),
                path=stored,
            )


def _frame(match: re.Match) -> int:
    is_frame = match["number"] and (match["sequence"] or match["f"])
    return int(match["number"]) if is_frame else UNKNOWN


def _listing(path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    roots = _roots(path)
    if not roots:
        raise UserError(f"{path} has not the Market-1501 layout: no folder {' or '.join(_TELLING)} in it.")
    if len(roots) > 1:
        raise UserError(
            f"{path} holds several Market-1501 sets ({', '.join(r.name for r in roots)}): name one of them."
        )
    for split, name in FOLDERS.items():
        folder = roots[0] / name
        if folder.is_dir():
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.is_dir() and entry.name[0] != ".")
            yield split, folder, names


def _roots(path: Path) -> list[Path]:
    def has_layout(folder: Path) -> bool:
        return any((folder / name).is_dir() for name in _TELLING)

    if not path.is_dir():
        return []
    if has_layout(path):
        return [path]
    return [child for child in sorted(path.iterdir()) if child.is_dir() and has_layout(child)]
