"""What an importer yields: images to store, files to leave out, and the numbers given to names."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

UNKNOWN = -1  # the video or frame of an image whose source does not tell it
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"))


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image to import.

    `file` is the image file's path, or its bytes where there is no file. `path` is what the record keeps as
    its source, relative to the data set. The numbers mean what they mean in `record_schema.Record`. `video` and
    `frame` are UNKNOWN where the source does not tell them, never made up: two people in one frame of a video are
    taken for two, whatever they look like.
    """

    split: str
    file: Path | str | bytes
    identity: int
    tracklet: int
    video: int
    camera: int
    frame: int
    path: str


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that the importer leaves out. `is_image` is False for what never was a picture."""

    path: str
    reason: str
    is_image: bool = True


@dataclass
class Numbering:
    """Numbers handed out by order of first appearance, per kind ("identity", "video", ...)."""

    names: dict[str, dict] = field(default_factory=dict)

    def number(self, kind: str, name) -> int:
        """The number of `name` (any hashable): a new one when it is met for the first time."""
        known = self.names.setdefault(kind, {})
        return known.setdefault(name, len(known))


def is_image_name(name: str) -> bool:
    """Whether the file name ends like an image's."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def listed(names: Iterable[str], most: int = 5) -> str:
    """A short list for a message: the first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
