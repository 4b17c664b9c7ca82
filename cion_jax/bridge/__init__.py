"""Between PyTorch and here: names and layouts of weights, and the files that hold them."""

from cion_jax.bridge.files import load_file, load_metadata, save_file
from cion_jax.bridge.formats import FORMATS, Format, recognise
from cion_jax.bridge.weights import from_torch, head_from_torch, head_to_torch, to_torch

__all__ = [
    "FORMATS",
    "Format",
    "from_torch",
    "head_from_torch",
    "head_to_torch",
    "load_file",
    "load_metadata",
    "recognise",
    "save_file",
    "to_torch",
]
