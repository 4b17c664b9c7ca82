"""Between PyTorch, ONNX and here: names and layouts of weights, the files that hold them, exported models."""

from cion_jax.bridge.export import Export, export_onnx, export_stablehlo
from cion_jax.bridge.files import load_file, load_metadata, save_file
from cion_jax.bridge.formats import Format, recognise
from cion_jax.bridge.input_settings import find_input_size, find_normalization
from cion_jax.bridge.loading import Weights, load, read_weights
from cion_jax.bridge.timm import timm_model
from cion_jax.bridge.weights import from_torch, head_from_torch, head_to_torch, to_torch

__all__ = [
    "Export",
    "Format",
    "Weights",
    "export_onnx",
    "export_stablehlo",
    "find_input_size",
    "find_normalization",
    "from_torch",
    "head_from_torch",
    "head_to_torch",
    "load",
    "load_file",
    "load_metadata",
    "read_weights",
    "recognise",
    "save_file",
    "timm_model",
    "to_torch",
]
