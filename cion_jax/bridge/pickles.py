"""Reads PyTorch's zip format as data: a pickle that may name tensors and plain containers, and nothing else.

A pickle is a program that calls what it names. Here every name it may use is answered with an inert
stand-in made for this one load; any other name ends the reading. Files are checked before use: a tensor
that reaches outside its storage is refused.
"""

import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cion_jax.core.errors import UserError

_STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


# What reading a truncated or altered file can raise.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(KeyError, ValueError, TypeError, AttributeError, IndexError),
)


class _Name:
    """Stands for a global that the pickle may use.

    A pickle can set attributes on what it names. Hence a new one for every mention, so that nothing
    outlives the load.
    """

    __slots__ = ("call", "dtype")

    def __init__(self, call: Callable | None = None, dtype: np.dtype | None = None):
        self.call, self.dtype = call, dtype

    def __call__(self, *args: Any) -> Any:
        if self.call is None:
            raise pickle.UnpicklingError("calls something that is not a function")
        return self.call(*args)


class _Storage:
    """Raw numbers of one storage."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray):
        self.values = values


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(archive.open(f"{folder}/data.pkl"))
        self._archive, self._folder = archive, folder
        self._storages: dict[str, _Storage] = {}
        order_file = f"{folder}/byteorder"
        known = order_file in archive.namelist()
        self._order = ">" if known and archive.read(order_file).strip() == b"big" else "<"

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _Name(lambda *items: OrderedDict(*items))
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Name(_tensor)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _Name(lambda data, *_: data)
        if (module, name) == ("torch", "Size"):
            return _Name(lambda sizes=(): tuple(sizes))
        if module == "torch" and name in _STORAGES:
            return _Name(dtype=_STORAGES[name])
        raise pickle.UnpicklingError(f"asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        if not (
            isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _Name)
        ):
            raise pickle.UnpicklingError("refers to something that is not a storage")
        key, dtype = str(pid[2]), pid[1].dtype
        if dtype is None:
            raise pickle.UnpicklingError("names a storage without a number type")
        if key not in self._storages:
            raw = self._archive.read(f"{self._folder}/data/{key}")
            stored = dtype if dtype.itemsize == 1 else dtype.newbyteorder(self._order)
            self._storages[key] = _Storage(np.frombuffer(raw, stored).astype(dtype))
        return self._storages[key]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A view into a storage, copied; offset and strides count numbers."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("builds a tensor from something that is not a storage")
    size, stride, values = tuple(size), tuple(stride), storage.values
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("describes an impossible tensor")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 in size:
        return np.empty(size, values.dtype)
    if last >= values.size:
        raise pickle.UnpicklingError("has a tensor that reaches outside its storage")
    steps = tuple(step * values.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False).copy()


def read_archive(path: Path) -> Any:
    """The content of a .pth file in PyTorch's zip format: dicts, lists, tuples, scalars and NumPy arrays.

    Raises:
      UserError: the file is damaged, or names a global other than tensors and plain containers; nothing of
        what it names was run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise UserError(f"{path} is a zip file, but not one of PyTorch's weight files.")
            return _Unpickler(archive, pickles[0].removesuffix("/data.pkl")).load()
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: its pickle {error}. Weight files are read as data: only tensors in plain "
            "containers are allowed, and nothing was executed. If you trust the file, load it with PyTorch "
            "and save its state dict alone."
        ) from error
    except _DAMAGE as error:
        raise UserError(f"{path} is damaged and cannot be read: {type(error).__name__}: {error}") from error
