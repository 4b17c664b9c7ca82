"""Reproducible weights and inputs that the golden features were computed with; no files needed.

Every tensor is drawn in PyTorch's shape from a generator seeded by its official name, then scaled by what
it is.
"""

import functools
import gzip
import json
import math
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
INPUT_SEEDS = {(256, 128): 0, (128, 64): 1}
_LAYER_SCALES = ("gamma", "gamma_xca", "layer_scale", "layer_scale_1", "layer_scale_2")


@functools.cache
def tables() -> dict:
    """Per model: what make_golden_zoo.py lists; tensors are [key, shape, kind, dtype] in official order."""
    return json.loads(gzip.decompress((GOLDEN / "zoo_tensors.json.gz").read_bytes()))


def state_dict(model: str) -> dict[str, np.ndarray]:
    """The recipe's tensors of a model, official names and order."""
    return {key: tensor(key, shape) for key, shape, *_ in tables()[model]["tensors"]}


def tensor(key: str, shape: list[int]) -> np.ndarray:
    """The recipe's value of one tensor."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros((), np.int64)
    if leaf == "relative_position_index":
        with np.load(GOLDEN / "zoo_pieces.npz") as pieces:
            return pieces["swin_relative_position_index"].astype(np.int64)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    if leaf == "running_var":
        return np.float32(0.5) + rng.random(shape, dtype=np.float32)
    normal = rng.standard_normal(shape, dtype=np.float32)
    if leaf in ("running_mean", "bias"):
        return np.float32(0.05) * normal
    if leaf in _LAYER_SCALES:
        return np.float32(0.3) + np.float32(0.06) * normal
    if leaf in ("pos_embed", "cls_token", "relative_position_bias_table"):
        return np.float32(0.5) * normal
    if leaf in ("temperature", "weight_g") or len(shape) == 1:
        return np.float32(1) + np.float32(0.1) * normal
    return _matrix(normal)


def _matrix(normal: np.ndarray) -> np.ndarray:
    """Scales the draw for a convolution or a linear layer."""
    outputs, inputs, *_ = normal.shape
    fan = math.prod(normal.shape[1:])
    if fan == 1:
        return np.float32(0.3) * normal
    if inputs == 1:
        return normal * np.float32(0.6 / math.sqrt(fan))
    axes = tuple(range(1, normal.ndim))
    # Without this every input would look nearly the same to a network of ReLUs.
    centred = normal - normal.mean(axes, keepdims=True, dtype=np.float64).astype(np.float32)
    return centred * np.float32((0.7 if inputs > outputs else 1.2) / math.sqrt(fan))


def images(size: tuple[int, int]) -> np.ndarray:
    """The two input images [2, height, width, 3] float32 of a size."""
    rng = np.random.Generator(np.random.PCG64(INPUT_SEEDS[size]))
    return rng.standard_normal((2, 3, *size), dtype=np.float32).transpose(0, 2, 3, 1)


def deviation(ours: np.ndarray, golden: np.ndarray) -> float:
    """max |ours - golden| / rms(golden), the measure that tolerances are given in."""
    golden = np.asarray(golden, np.float64)
    return float(np.abs(np.asarray(ours, np.float64) - golden).max() / np.sqrt(np.mean(golden**2)))
