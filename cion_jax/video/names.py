"""Names of LUPerson-NL: PPPPPP_FFFFFFF_DD (person, frame, detection), or VVVVV_ before it (video)."""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cion_jax.video.ordering import natural

# The widths tell it from LUPerson's country_city_video_image (2, 2, 4 and 8 digits), which names no person.
_NAME = re.compile(
    r"(?:(?P<video>[0-9]{5,})_)?(?P<person>[0-9]{6,})_(?P<frame>[0-9]{7,})_(?P<detection>[0-9]{2,})"
)
_LUPERSON = re.compile(r"[0-9]{2}_[0-9]{2}_[0-9]{4}_[0-9]{8,}")


class CropName(NamedTuple):
    """What a name says. `video` is None where the folder says it."""

    video: int | None
    person: int
    frame: int
    detection: int


class CropFile(NamedTuple):
    """A crop: path relative to the source, the video's name, the person's number in it, the frame."""

    path: str
    video: str
    person: int
    frame: int


def parse(stem: str) -> CropName | None:
    """The parts of a file name without suffix, None for a name of another kind."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    parts = {key: None if text is None else int(text) for key, text in match.groupdict().items()}
    return CropName(**parts)


def read(paths: Iterable[str]) -> tuple[list[CropFile], list[tuple[str, str]]]:
    """Sorts crops by video (in natural order), person and frame.

    Args:
      paths: of images, relative to the source. The folder is the video, with the number in the name if there is one.

    Returns:
      The crops in order, and (path, reason) of images whose name is of another kind.
    """
    crops, skipped = [], []
    for path in paths:
        file = Path(path)
        name = parse(file.stem)
        if name is None or not _is_text(path):
            skipped.append((path, _why_not(file.stem) if name is None else "the folder's name is no UTF-8"))
            continue
        folder = file.parent.as_posix()
        own = "" if name.video is None else f"{name.video:05}"
        video = "/".join(part for part in ("" if folder == "." else folder, own) if part) or "."
        crops.append(
            (name.person, name.frame, name.detection, CropFile(path, video, name.person, name.frame))
        )
    keys = {video: natural(video) for video in {crop[3].video for crop in crops}}
    crops.sort(key=lambda crop: (keys[crop[3].video], *crop[:3]))
    return [crop for *_, crop in crops], skipped


def by_video(crops: Iterable[CropFile]) -> Iterator[tuple[str, list[CropFile]]]:
    """The crops of one video after another, in the order of `read`."""
    for video, own in itertools.groupby(crops, key=lambda crop: crop.video):
        yield video, list(own)


def _is_text(path: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


def _why_not(stem: str) -> str:
    if _LUPERSON.fullmatch(stem):
        return "a name of LUPerson, which says no person: cut tracklets from its videos instead"
    return "the name is not PERSON_FRAME_DETECTION with 6, 7 and 2 digits"
