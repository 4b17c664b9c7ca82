"""What a source holds: video files, folders of frames, or crops that others cut."""

import os
import stat
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


class Listing(NamedTuple):
    """What a source holds: `videos` in natural order, and (name, reason) of entries that no video can be read from."""

    videos: list[Video]
    skipped: list[tuple[str, str]]


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


def find_videos(source: Path, layout: str) -> Listing:
    """The videos of a source in natural order ("v2" before "v10"), which is the order of their numbers later.

    Entries that only look like videos (dangling links, named pipes, folders, names that are not UTF-8), and
    folders that cannot be read, are listed with the reason.

    Args:
      source: a video file, or a folder that is searched however it is nested; hidden folders are left out.
      layout: "videos" or "frames": every folder with images is one video, named without MOTChallenge's img1.

    Raises:
      UserError: nothing found, or folders of frames inside each other.
    """
    if source.is_file():
        return _sorted_out([Video(source.name, source)], [])
    found, skipped = [], []
    for folder, files in _folders(source, skipped):
        within = Path(folder).relative_to(source).as_posix()
        if layout == "videos":
            mine = [name for name in files if _suffix(name) in VIDEO_SUFFIXES]
            found += [Video((Path(within) / name).as_posix(), Path(folder, name)) for name in mine]
            if _suffix(within) in VIDEO_SUFFIXES and not mine:
                skipped.append((within, "a folder without videos, not a video"))
        elif any(_suffix(name) in IMAGE_SUFFIXES for name in files):
            found.append(Video(_sequence(source, within), Path(folder)))
    if not found and not skipped:
        raise UserError(f"{source} holds no {'videos' if layout == 'videos' else 'folders of frames'}")
    listing = _sorted_out(found, skipped)
    _check_nesting(listing.videos)
    return listing


def why_unreadable(path: Path) -> str:
    """Why a path cannot be read as a file; "" for a file, also behind a link, and for a folder."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to a file that does not exist" if path.is_symlink() else "No such file or directory"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return "a named pipe, not a file" if stat.S_ISFIFO(mode) else "a device or socket, not a file"


def frame_files(folder: Path) -> list[tuple[int, Path]]:
    """The images of a folder with their frame numbers, in natural order.

    The number is that of the file name where all names are whole numbers from 1 on, else the place from 1.
    """
    files = [file for file in folder.iterdir() if _suffix(file.name) in IMAGE_SUFFIXES]
    # A dangling link stays: it is a frame that cannot be read, and must not move the numbers of those behind it.
    files = [file for file in files if file.is_file() or file.is_symlink()]
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


def _folders(source: Path, unread: list[tuple[str, str]] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Folders with the names of their files; linked folders too, but each only once, so that circles end.

    Folders that cannot be read are added to `unread` with the reason.
    """
    seen = set()

    def note(error: OSError) -> None:
        if unread is not None:
            unread.append((os.path.relpath(error.filename, source), error.strerror or str(error)))

    for folder, inner, files in os.walk(source, followlinks=True, onerror=note):
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


def _sorted_out(found: list[Video], skipped: list[tuple[str, str]]) -> Listing:
    """The videos that can be tried, in order, and the others with the reason."""
    videos, skipped = [], list(skipped)
    for video in found:
        is_text = not any("\ud800" <= letter <= "\udfff" for letter in video.name)
        reason = (
            why_unreadable(video.path)
            if is_text
            else "its name is no UTF-8, which tables cannot hold: rename it"
        )
        if reason:
            skipped.append((video.name, reason))
        else:
            videos.append(video)
    videos.sort(key=lambda video: natural(video.name))
    return Listing(videos, sorted(skipped, key=lambda item: natural(item[0])))


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
