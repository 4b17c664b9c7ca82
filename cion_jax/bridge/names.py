"""Names and layouts of tensors in PyTorch and here: one mechanical rule for all architectures.

    torch                                      here
    blocks.0.attn.qkv.weight (out, in)         params: blocks_0/attn/qkv/kernel [in, out]
    conv1.weight (out, in, h, w)               params: conv1/kernel [h, w, in, out]
    bn1.weight, bn1.bias                       params: bn1/scale, bn1/bias
    bn1.running_mean, bn1.running_var          batch_stats: bn1/mean, bn1/var
    pos_embed, gamma, weight_v, ...            params, under the same name and in the same shape

A number in a torch name joins the part before it.
"""

import re

import numpy as np

Path = tuple[str, ...]  # the collection ("params" or "batch_stats"), modules, and the leaf

COUNTER = "num_batches_tracked"
_TORCH_LEAF = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_NUMBERED = re.compile(r"(_\d+)+$")

# To (out, in) and (out, in, h, w), and back again. Only kernels are turned.
_TO_TORCH = {2: (1, 0), 4: (3, 2, 0, 1)}
_FROM_TORCH = {2: (1, 0), 4: (2, 3, 1, 0)}


def torch_key(path: Path) -> str:
    """("params", "blocks_0", "norm1", "scale") -> "blocks.0.norm1.weight"."""
    modules = [_NUMBERED.sub(lambda numbers: numbers.group().replace("_", "."), part) for part in path[1:-1]]
    return ".".join([*modules, _TORCH_LEAF.get(path[-1], path[-1])])


def to_torch_layout(path: Path, value: np.ndarray) -> np.ndarray:
    """The tensor of `path` in PyTorch's order of dimensions, contiguous."""
    return np.ascontiguousarray(value.transpose(_TO_TORCH[value.ndim]) if path[-1] == "kernel" else value)


def from_torch_layout(path: Path, value: np.ndarray) -> np.ndarray:
    """Inverse of `to_torch_layout`."""
    return np.ascontiguousarray(value.transpose(_FROM_TORCH[value.ndim]) if path[-1] == "kernel" else value)


def torch_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape in PyTorch of the leaf at `path`, which here has `shape`."""
    return tuple(shape[axis] for axis in _TO_TORCH[len(shape)]) if path[-1] == "kernel" else tuple(shape)
