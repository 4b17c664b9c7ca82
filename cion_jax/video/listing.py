"""What a source holds: video files, folders of frames, or crops that others cut."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cion_jax.core.errors import UserError
from cion_jax.video import names
from cion_jax.video.ordering import natural

LAYOUTS = ("auto", "videos", "frames", "crops")
# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".3gp",
    ".ogv",
))
# fmt: on
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"))
_FRAMES_FOLDER = "img1"  # MOTChallenge keeps the frames of SEQUENCE in SEQUENCE/img1


class Video(NamedTuple):
    """A video: a file, or a folder of frames.

    Attributes:
      name: its path within the source, with the suffix of a file; unique.
      path: the file, or the folder that holds the images.
    """

    name: str
    path: Path


def layout_of(source: Path, layout: str) -> str:
    """ "videos", "frames" or "crops": as `layout` says, or what "auto" finds in the source.

    Raises:
      UserError: an unknown layout, or a source that is missing, empty, or of several kinds.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout={layout!r} is none of {', '.join(LAYOUTS)}")
    if not source.exists():
        raise UserError(f"{source} does not exist")
    if source.is_file():
        if layout not in ("auto", "videos"):
            raise UserError(f"{source} is a file: layout={layout} needs a folder")
        return "videos"
    if layout != "auto":
        return layout
    found, image = set(), None
    for folder, files in _folders(source):
        if any(_suffix(name) in VIDEO_SUFFIXES for name in files):
            found.add("videos")
        image = image or next((Path(folder, name) for name in files if _suffix(name) in IMAGE_SUFFIXES), None)
    if image is not None:
        found.add("crops" if names.parse(image.stem) else "frames")
    if len(found) != 1:
        what = " and ".join(sorted(found)) if found else "neither videos nor images"
        raise UserError(
            f"{source} holds {what}: say --config.layout=videos, frames or crops, or mend the path"
        )
    return found.pop()


def find_videos(source: Path, layout: str) -> list[Video]:
    """The videos of a source in natural order ("v2" before "v10"), which is the order of their numbers later.

    Args:
      source: a video file, or a folder that is searched however it is nested; hidden folders are left out.
      layout: "videos" or "frames": every folder with images is one video, named without MOTChallenge's img1.

    Raises:
      UserError: nothing found, or folders of frames inside each other.
    """
    if source.is_file():
        return [Video(source.name, source)]
    found = []
    for folder, files in _folders(source):
        within = Path(folder).relative_to(source).as_posix()
        if layout == "videos":
            mine = [name for name in files if _suffix(name) in VIDEO_SUFFIXES]
            found += [Video((Path(within) / name).as_posix(), Path(folder, name)) for name in mine]
        elif any(_suffix(name) in IMAGE_SUFFIXES for name in files):
            found.append(Video(_sequence(source, within), Path(folder)))
    if not found:
        raise UserError(f"{source} holds no {'videos' if layout == 'videos' else 'folders of frames'}")
    found.sort(key=lambda video: natural(video.name))
    _check_nesting(found)
    return found


def frame_files(folder: Path) -> list[tuple[int, Path]]:
    """The images of a folder with their frame numbers, in natural order.

    The number is that of the file name where all names are whole numbers from 1 on, else the place from 1.
    """
    files = [file for file in folder.iterdir() if _suffix(file.name) in IMAGE_SUFFIXES and file.is_file()]
    files = sorted((file for file in files if file.name[0] != "."), key=lambda file: natural(file.name))
    numbers = [int(file.stem) if file.stem.isascii() and file.stem.isdecimal() else 0 for file in files]
    if min(numbers, default=0) < 1 or len(set(numbers)) < len(numbers):
        numbers = range(1, len(files) + 1)
    return list(zip(numbers, files, strict=True))


def image_paths(folder: Path) -> Iterator[str]:
    """All images of a folder however nested, relative to it; hidden ones left out."""
    for inner, files in _folders(folder):
        within = Path(inner).relative_to(folder).as_posix()
        yield from (
            name if within == "." else f"{within}/{name}" for name in files if _suffix(name) in IMAGE_SUFFIXES
        )


def fingerprint(video: Video) -> list[int]:
    """Sizes and times that change when the video does."""
    if video.path.is_file():
        stat = video.path.stat()
        return [stat.st_size, stat.st_mtime_ns]
    stats = [file.stat() for _, file in frame_files(video.path)]
    return [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _folders(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders with the names of their files; linked folders too, but each only once, so that circles end."""
    seen = set()
    for folder, inner, files in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted((name for name in inner if name[0] != "."), key=natural)
        yield folder, sorted((name for name in files if name[0] != "."), key=natural)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (names come in millions)


def _sequence(source: Path, within: str) -> str:
    """The name of a folder of frames."""
    path = Path(source.resolve().name) if within == "." else Path(within)
    if path.name != _FRAMES_FOLDER:
        return path.as_posix()
    above = source.resolve().parent.name if within == "." else source.resolve().name
    return path.parent.as_posix() if path.parent != Path() else above


def _check_nesting(videos: list[Video]) -> None:
    known = {video.name for video in videos}
    if len(known) < len(videos):
        raise UserError(
            f"two folders of frames have the name {_repeated(videos)}: move one of them elsewhere"
        )
    for name in known:
        if inside := [str(above) for above in Path(name).parents if str(above) in known]:
            raise UserError(
                f"{inside[0]} holds images and the folder {name} with more: name one as the source"
            )


def _repeated(videos: list[Video]) -> str:
    found = [video.name for video in videos]
    return next(name for name in found if found.count(name) > 1)
