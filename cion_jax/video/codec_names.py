"""Which codecs a video file names, for files that OpenCV does not open."""

import re
from pathlib import Path

_SEARCHED = (
    1 << 22
)  # bytes at either end of a file; headers lie at the beginning, of some MP4 files at the end
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9 ._-]{3}")
# MP4 and MOV: stsd, version and flags, number of entries, size of the first entry, its four-character code.
_MP4 = re.compile(rb"stsd.{12}(.{4})", re.DOTALL)
# Matroska and WebM: the codec id of a video track, as text.
_MATROSKA = re.compile(rb"V_[A-Z0-9]+(?:/[A-Z0-9]+)*")
# AVI: stream header, its length, type "vids", four-character code.
_AVI = re.compile(rb"strh.{4}vids(.{4})", re.DOTALL)


def find_codecs(file: Path) -> list[str]:
    """The codecs that an MP4, MOV, Matroska, WebM or AVI file names, such as "av01"; [] where none is found.

    Raises:
      OSError: the file cannot be read.
    """
    with file.open("rb") as opened:
        data = opened.read(_SEARCHED)
        size = file.stat().st_size
        if size > _SEARCHED:
            opened.seek(max(size - _SEARCHED, _SEARCHED))
            data += opened.read(_SEARCHED)
    if data[4:8] == b"ftyp":
        found = [name for name in _MP4.findall(data) if _NAME.fullmatch(name)]
    elif data[:4] == b"\x1a\x45\xdf\xa3":
        found = _MATROSKA.findall(data)
    elif data[:4] == b"RIFF":
        found = [name for name in _AVI.findall(data) if _NAME.fullmatch(name)]
    else:
        found = []
    return list(dict.fromkeys(name.decode().strip() for name in found))


def four_characters(code: float) -> str:
    """The name that OpenCV gives as a number, CAP_PROP_FOURCC; "" where it gives none."""
    name = int(code).to_bytes(4, "little") if 0 < code < 2**32 else b""
    return name.decode().strip() if _NAME.fullmatch(name) else ""
