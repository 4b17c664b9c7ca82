"""Weight files: safetensors, and PyTorch's .pth/.pt read without executing anything."""

import io
import itertools
import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import save as save_safetensors

from cion_jax.bridge.formats import unwrap
from cion_jax.bridge.torch_files import read_metadata, read_torch_file, write_metadata
from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically

TORCH_SUFFIXES = (".pth", ".pt")
_DTYPES = {
    **{f"F{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    **{f"I{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(np.bool_),
}
# A tensor takes about 100 bytes there, so this is enough for 80,000 tensors.
_MOST_HEADER = 8 * 2**20


def load_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a weight file as a flat state dict, names as they stand in the file.

    `.safetensors`, or `.pth`/`.pt` in PyTorch's zip format or the one before it; PyTorch is not needed. Of a
    training checkpoint, a dict of dicts, the entry "teacher", else "student", "state_dict" or "model" is taken.
    bfloat16 arrives as ml_dtypes.bfloat16. Tensors that share numbers in a .pth file share memory here. Time and
    memory are bounded by the size of the file, whatever is in it.

    Raises:
      UserError: no such file, an unknown kind, a damaged file, or one that asks for anything but tensors and
        plain containers; the message names the file and what is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no weight file {path}.")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return _flat(path, read_torch_file(path))
    raise _unknown_kind(path)


def _unknown_kind(path: Path) -> UserError:
    return UserError(f"{path}: weights are read from .safetensors, .pth and .pt, not from {path.suffix!r}.")


def load_metadata(path: str | Path) -> dict[str, str]:
    """Mean, std, input size and so on, as text; {} if the file has none.

    Of a .safetensors file, or of a .pth file that `save_file` wrote.

    Raises:
      UserError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix in TORCH_SUFFIXES:
        return _torch_metadata(path)
    if path.suffix != ".safetensors":
        raise _unknown_kind(path)
    try:
        _check_header(path)
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {str(error)[:300]}") from error


def save_file(
    path: str | Path, state_dict: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a state dict, whole or not at all: `.safetensors` with metadata, or `.pth`/`.pt`.

    A .pth file is the bare state dict, which torch.load gives back; metadata are one more entry of its zip archive,
    which PyTorch ignores. Writing it needs PyTorch.

    Raises:
      UserError: unknown suffix, or PyTorch absent.
    """
    path = Path(path)
    # Not ascontiguousarray, which gives scalars a dimension.
    arrays = {key: np.asarray(value, order="C") for key, value in state_dict.items()}
    text = {key: str(value) for key, value in (metadata or {}).items()}
    if path.suffix == ".safetensors":
        write_atomically(path, save_safetensors(arrays, metadata=text or None))
    elif path.suffix in TORCH_SUFFIXES:
        content = _torch_bytes(path, arrays)
        write_atomically(path, write_metadata(content, json.dumps(text)) if text else content)
    else:
        raise UserError(f"{path}: weights are written to .safetensors, .pth and .pt, not to {path.suffix!r}.")


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The library's own NumPy reader knows no bfloat16, hence its parts."""
    try:
        _check_header(path)
        return {
            # The library's bytes are copies already, and may be written to.
            name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in safetensors.deserialize(path.read_bytes())
        }
    except KeyError as error:
        raise UserError(f"{path} holds numbers of the type {error}, which no weights have.") from error
    except MemoryError as error:
        raise UserError(f"{path} ({path.stat().st_size:,} bytes) does not fit into memory.") from error
    except (OSError, safetensors.SafetensorError, ValueError, OverflowError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {str(error)[:300]}") from error


def _check_header(path: Path) -> None:
    """Raises ValueError for a header that is longer than a list of tensors can be, before it is parsed."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MOST_HEADER:
        raise ValueError(f"its header would be {length:,} bytes long; {_MOST_HEADER:,} are allowed")


def _torch_metadata(path: Path) -> dict[str, str]:
    text = read_metadata(path)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: its metadata are no JSON.") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{path} is damaged: its metadata are not texts by name.")
    return found


def _flat(path: Path, content: Any) -> dict[str, np.ndarray]:
    """The state dict inside what a .pth file held."""
    entry, content = unwrap(content)
    wrapper = "".join(f"[{key!r}]" for key in entry)
    if not isinstance(content, dict) or not any(isinstance(value, np.ndarray) for value in content.values()):
        held = f"the keys {_names(content)}" if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path}{wrapper} is no state dict; it holds {held}.")
    odd = [k for k, value in content.items() if not (isinstance(k, str) and isinstance(value, np.ndarray))]
    if odd:
        raise UserError(f"{path}{wrapper} holds entries that are not tensors: {_names(odd)}.")
    return dict(content)


def _names(keys: Iterable[Any]) -> str:
    """The first few, and not more of each than fits a line: a hostile file may have keys of megabytes."""
    return ", ".join(map(reprlib.repr, itertools.islice(keys, 8))) or "nothing"


def _torch_bytes(path: Path, arrays: dict[str, np.ndarray]) -> bytes:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"Writing {path} needs PyTorch; .safetensors does not.") from error
    buffer = io.BytesIO()
    torch.save({key: torch.from_numpy(value.copy()) for key, value in arrays.items()}, buffer)
    return buffer.getvalue()
