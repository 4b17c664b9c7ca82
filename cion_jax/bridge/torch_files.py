"""Reads .pth and .pt files without PyTorch: its zip format, and the older one of pickles followed by raw numbers.

Time and memory are bounded by the size of the file: every number is held once, and a file that claims more than it
has is refused.
"""

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import numpy as np

from cion_jax.bridge.pickles import RefusedError, Storage, read_pickle
from cion_jax.core.errors import UserError

# What stands at the start of the older format: a pickle of this number, then one of the version.
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_VERSION = 1001
# Instructions of the pickles before the content, each of which takes a dozen.
_FEW = 200
# Bytes that are read from an entry at a time.
_PIECE = 1 << 24
# Of the list of entries in a zip archive, bytes. A tensor takes about 90 there.
_MOST_DIRECTORY = 2 * 2**20
_ZIP_START = b"PK\x03\x04"
# Where `write_metadata` puts what belongs to the weights; PyTorch ignores it.
_METADATA = "cion_jax.json"

# What reading a truncated or altered file can raise.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError),
    *(KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError),
)


def read_torch_file(path: Path) -> Any:
    """The content of a .pth file: dicts, lists, tuples, scalars and NumPy arrays.

    Raises:
      UserError: the file is damaged, or needs more than tensors in plain containers; nothing of what it names
        was run.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP_START)) == _ZIP_START
        return _read_zip(path) if is_zip else _read_old(path)
    except RefusedError as error:
        raise UserError(
            f"{path} is refused: its pickle {error}. Weight files are read as data: only tensors in plain "
            "containers are allowed, and nothing was executed. If you trust the file, load it with PyTorch "
            "and save its state dict alone."
        ) from error
    except MemoryError as error:
        raise UserError(f"{path} ({path.stat().st_size:,} bytes) does not fit into memory.") from error
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise UserError(f"{path} is damaged and cannot be read: {reason}") from error


class _ZipSource(FileIO):
    """A file whose zip directory is refused before it is parsed if it is too long: 20,000 entries take .5 s."""

    limit: int | None = _MOST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise zipfile.BadZipFile(
                f"its directory would be {size:,} bytes long, {self.limit:,} are allowed"
            )
        return super().read(size)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with _ZipSource(path) as source, zipfile.ZipFile(source) as archive:
        source.limit = None
        yield archive


def _read_zip(path: Path) -> Any:
    with _opened(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError(f"{path} is a zip file, but not one of PyTorch's weight files.")
        _check_entries(path, archive)
        storages = _ZipStorages(archive, pickles[0].removesuffix("/data.pkl"))
        return read_pickle(BytesIO(archive.read(pickles[0])), storages.find)


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Compressed or overlapping entries could unpack to any size; PyTorch writes neither."""
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UserError(
            f"{path} is refused: it holds compressed entries, which PyTorch never writes. Load it with PyTorch and "
            "save it anew."
        )
    claimed, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if claimed > size:
        raise UserError(f"{path} is damaged: its entries claim {claimed:,} bytes, the file has {size:,}.")


class _ZipStorages:
    """The storages of a zip archive, an entry each."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        self._archive, self._folder = archive, folder
        self._known: dict[tuple[str, np.dtype], Storage] = {}
        order_file = f"{folder}/byteorder"
        known = order_file in archive.namelist()
        self._order = ">" if known and archive.read(order_file).strip() == b"big" else "<"

    def find(self, reference: tuple) -> Storage:
        dtype, key, count, *_ = reference
        if (key, dtype) not in self._known:
            entry = self._archive.getinfo(f"{self._folder}/data/{key}")
            if entry.file_size != count * dtype.itemsize:
                raise ValueError(f"the storage {key[:100]} has not the size that the pickle says")
            raw = _read_entry(self._archive, entry)
            if self._order == ">" and dtype.itemsize > 1:
                raw = np.ascontiguousarray(raw.reshape(-1, dtype.itemsize)[:, ::-1]).reshape(-1)
            self._known[key, dtype] = Storage(raw, dtype)
        return self._known[key, dtype]


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """uint8 [bytes], checked against the entry's checksum."""
    raw, place = np.empty(entry.file_size, np.uint8), 0
    with archive.open(entry) as file:
        while piece := file.read(_PIECE):
            raw[place : place + len(piece)] = np.frombuffer(piece, np.uint8)
            place += len(piece)
    if place != raw.size:
        raise EOFError(f"{entry.filename[:100]} ends early")
    return raw


def _read_old(path: Path) -> Any:
    """The format before PyTorch 1.6: five pickles (the fourth is the content), then every storage's numbers."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        try:
            is_old = [read_pickle(stream, most=_FEW) for _ in range(2)] == [_OLD_MAGIC, _OLD_VERSION]
        except (ValueError, IndexError, KeyError, TypeError):
            is_old = False
        if not is_old:
            raise UserError(
                f"{path} is damaged or no weight file: it is neither in PyTorch's zip format nor in the one of "
                "PyTorch 0.1.10 to 1.5. Load it with PyTorch and save it anew."
            )
        read_pickle(
            stream, most=_FEW
        )  # the machine that wrote it; the numbers are little-endian whatever it was
        storages = _OldStorages(len(stream))
        content = read_pickle(stream, storages.find)
        storages.fill(read_pickle(stream), stream)
        return content


class _OldStorages:
    """Storages whose numbers come after the pickle that refers to them."""

    def __init__(self, size: int):
        self._left = size
        self._known: dict[str, Storage] = {}

    def find(self, reference: tuple) -> Storage:
        dtype, key, count, *view = reference
        if key not in self._known:
            self._left -= count * dtype.itemsize
            if self._left < 0:
                raise RefusedError("describes more numbers than the file has")
            self._known[key] = Storage(np.empty(count * dtype.itemsize, np.uint8), dtype)
        storage = self._known[key]
        if storage.dtype != dtype or storage.raw.size != count * dtype.itemsize:
            raise RefusedError("describes one storage in two ways")
        return _part(storage, view[0]) if view and view[0] is not None else storage

    def fill(self, keys: Any, stream: mmap.mmap) -> None:
        """Reads the numbers: for each key their count, 8 bytes, then themselves."""
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise ValueError("the list of storages is none")
        if sorted(keys) != sorted(self._known):
            raise ValueError("the list of storages is not the one that the content refers to")
        for key in keys:
            raw, dtype = self._known[key]
            (count,) = struct.unpack("<q", stream.read(8))
            if count * dtype.itemsize != raw.size:
                raise ValueError(f"the storage {key[:100]} has not the size that the pickle says")
            start = stream.tell()
            if start + raw.size > len(stream):
                raise EOFError(f"the storage {key[:100]} ends early")
            raw[:] = np.frombuffer(stream, np.uint8, raw.size, start)
            stream.seek(start + raw.size)


def _part(storage: Storage, view: Any) -> Storage:
    """Of PyTorch 0.1: (key, first number, count) of a part that counts as a storage of its own."""
    if type(view) is not tuple or len(view) != 3 or not all(type(n) is int and n >= 0 for n in view[1:]):
        raise RefusedError("describes an impossible part of a storage")
    first, last = (n * storage.dtype.itemsize for n in (view[1], view[1] + view[2]))
    if last > storage.raw.size:
        raise RefusedError("has a part that reaches outside its storage")
    return Storage(storage.raw[first:last], storage.dtype)


def read_metadata(path: Path) -> str:
    """What `write_metadata` put into a .pth file; "" if there is nothing."""
    if not zipfile.is_zipfile(path):
        return ""
    try:
        with _opened(path) as archive:
            found = [name for name in archive.namelist() if name.endswith(f"/{_METADATA}")]
            if not found:
                return ""
            _check_entries(path, archive)
            return archive.read(found[0]).decode()
    except _DAMAGE as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def write_metadata(content: bytes, text: str) -> bytes:
    """A .pth file in PyTorch's zip format with one more entry, which torch.load ignores."""
    buffer = BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).split("/")[0]
        archive.writestr(f"{folder}/{_METADATA}", text)
    return buffer.getvalue()
