"""How a video is known again in a later run, also after it was copied or moved."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from cion_jax.video.listing import Video, frame_files

_SAMPLE = 1 << 16  # bytes that are read at the beginning, in the middle and at the end of a file


class Fingerprint:
    """Size, time and content of a video, and the hash of its tracks file.

    A noted video is the same one if size and tracks are equal and either the time of its last change or the content is.
    So a video that was copied, moved with its source folder, or touched is known again. Content is a SHA-256 of 64 KiB
    each at the beginning, in the middle and at the end of a file; of a folder of frames, of all numbers and sizes and
    of these parts of the first, middle and last image. It is read only where it is needed.

    Args:
      video: a file or a folder of frames.
      tracks: hash of the tracks that belong to it; "" without any.

    Raises:
      OSError: the video cannot be read.
    """

    def __init__(self, video: Video, tracks: str = ""):
        self._video, self._tracks = video, tracks
        if video.path.is_dir():
            self._frames = [(number, file, file.lstat()) for number, file in frame_files(video.path)]
            stats = [stat for *_, stat in self._frames]
        else:
            self._frames, stats = [], [video.path.stat()]
        self.size = sum(stat.st_size for stat in stats)
        self.time = max((stat.st_mtime_ns for stat in stats), default=0)

    @cached_property
    def content(self) -> str:
        """Hex digest of the content, as the class says.

        Raises:
          OSError: the video cannot be read.
        """
        digest = hashlib.sha256()
        if not self._video.path.is_dir():
            _add_parts(digest, self._video.path, self.size)
            return digest.hexdigest()
        for number, _, stat in self._frames:
            digest.update(f"{number}:{stat.st_size}\n".encode())
        for place in sorted({0, len(self._frames) // 2, len(self._frames) - 1} if self._frames else ()):
            _, file, stat = self._frames[place]
            if file.is_file():
                _add_parts(digest, file, stat.st_size)
        return digest.hexdigest()

    def note(self) -> dict[str, Any]:
        """What `is_same` compares with, ready for JSON."""
        return {"size": self.size, "time": self.time, "content": self.content, "tracks": self._tracks}

    def is_same(self, noted: Mapping[str, Any] | Sequence[Any]) -> bool:
        """Whether the video is the one that was noted, now or by an earlier version (as a list)."""
        if not isinstance(noted, Mapping):
            noted = dict(zip(("size", "time", "tracks"), noted[-3:], strict=True))
        if noted["size"] != self.size or noted["tracks"] != self._tracks:
            return False
        return noted["time"] == self.time or noted.get("content") == self.content


def _add_parts(digest: Any, file: Path, size: int) -> None:
    """Adds size, beginning, middle and end of a file to a hash."""
    digest.update(f"{size}\n".encode())
    with file.open("rb") as opened:
        for start in sorted({0, max((size - _SAMPLE) // 2, 0), max(size - _SAMPLE, 0)}):
            opened.seek(start, os.SEEK_SET)
            digest.update(opened.read(_SAMPLE))
