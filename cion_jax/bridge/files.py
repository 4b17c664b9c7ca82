"""Weight files: safetensors, and PyTorch's .pth/.pt read without executing anything."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import save as save_safetensors

from cion_jax.bridge.formats import unwrap
from cion_jax.bridge.pickles import read_archive
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


def load_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a weight file as a flat state dict, names as they stand in the file.

    `.safetensors`, or `.pth`/`.pt` in PyTorch's zip format; those from before PyTorch 1.6 need PyTorch. Of a
    training checkpoint, a dict of dicts, the entry "teacher", else "student", "state_dict" or "model" is taken.
    bfloat16 arrives as ml_dtypes.bfloat16.

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
        return _flat(path, _load_torch(path))
    raise UserError(f"{path}: weights are read from .safetensors, .pth and .pt, not from {path.suffix!r}.")


def load_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file ({} if it has none): mean, std, input size and so on, as text."""
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}") from error


def save_file(
    path: str | Path, state_dict: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a state dict, whole or not at all: `.safetensors` with metadata, or `.pth`/`.pt`.

    A .pth file is the bare state dict, which torch.load gives back; it has no place for metadata and needs
    PyTorch.

    Raises:
      UserError: unknown suffix, PyTorch absent, or metadata for a .pth file.
    """
    path = Path(path)
    arrays = {key: np.ascontiguousarray(value) for key, value in state_dict.items()}
    if path.suffix == ".safetensors":
        text = {key: str(value) for key, value in (metadata or {}).items()}
        write_atomically(path, save_safetensors(arrays, metadata=text or None))
    elif path.suffix in TORCH_SUFFIXES:
        if metadata:
            raise UserError(f"{path}: a {path.suffix} file has no place for metadata; use .safetensors.")
        write_atomically(path, _torch_bytes(path, arrays))
    else:
        raise UserError(f"{path}: weights are written to .safetensors, .pth and .pt, not to {path.suffix!r}.")


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The library's own NumPy reader knows no bfloat16, hence its parts."""
    try:
        return {
            name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
            for name, entry in safetensors.deserialize(path.read_bytes())
        }
    except KeyError as error:
        raise UserError(f"{path} holds numbers of the type {error}, which no weights have.") from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}") from error


def _load_torch(path: Path) -> Any:
    """The unpickled content. PyTorch reads what is older than its zip format, and nothing else: one reader, the
    same on every machine."""
    return read_archive(path) if zipfile.is_zipfile(path) else _load_old_torch(path)


def _load_old_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} is not in PyTorch's zip format: it is older than PyTorch 1.6, or damaged. With PyTorch "
            "installed such files are read, as data too."
        ) from error
    try:
        # weights_only: tensors and plain containers; a pickle that asks for more is refused.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the unpickler do
        raise UserError(
            f"{path} is not in PyTorch's zip format, and PyTorch refuses to read it as an older file of tensors in "
            f"plain containers: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    return _as_arrays(content)


def _as_arrays(content: Any) -> Any:
    """PyTorch's tensors as NumPy arrays, in dicts of dicts."""
    if isinstance(content, dict):
        return {key: _as_arrays(value) for key, value in content.items()}
    if not hasattr(content, "detach"):
        return content
    tensor = content.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.numpy()


def _flat(path: Path, content: Any) -> dict[str, np.ndarray]:
    """The state dict inside what a .pth file held."""
    entry, content = unwrap(content)
    wrapper = "".join(f"[{key!r}]" for key in entry)
    if not isinstance(content, dict) or not any(isinstance(value, np.ndarray) for value in content.values()):
        held = (
            f"the keys {list(map(str, content))[:8]}" if isinstance(content, dict) else type(content).__name__
        )
        raise UserError(f"{path}{wrapper} is no state dict; it holds {held}.")
    odd = [k for k, value in content.items() if not (isinstance(k, str) and isinstance(value, np.ndarray))]
    if odd:
        raise UserError(f"{path}{wrapper} holds entries that are not tensors: {odd[:8]}.")
    return dict(content)


def _torch_bytes(path: Path, arrays: dict[str, np.ndarray]) -> bytes:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"Writing {path} needs PyTorch; .safetensors does not.") from error
    buffer = io.BytesIO()
    torch.save({key: torch.from_numpy(value.copy()) for key, value in arrays.items()}, buffer)
    return buffer.getvalue()
