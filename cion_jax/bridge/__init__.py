"""Between PyTorch, ONNX and here: names and layouts of weights, the files that hold them, exported models."""

from cion_jax.bridge.export import Export, export_onnx, export_stablehlo
from cion_jax.bridge.files import load_file, load_metadata, save_file
from cion_jax.bridge.formats import FORMATS, Format, recognise
from cion_jax.bridge.weights import from_torch, head_from_torch, head_to_torch, to_torch

__all__ = [
    "FORMATS",
    "Export",
    "Format",
    "export_onnx",
    "export_stablehlo",
    "from_torch",
    "head_from_torch",
    "head_to_torch",
    "load_file",
    "load_metadata",
    "recognise",
    "save_file",
    "to_torch",
]
