"""The order in which each official architecture lists its tensors, and those that are not carried over."""

from collections.abc import Iterable, Mapping

import numpy as np

from cion_jax.bridge.names import COUNTER
from cion_jax.zoo import swin

WINDOW_INDEX = "relative_position_index"

# In a module PyTorch lists what is defined first. Ranks of sibling names settle the whole order; numbers
# count up.
_LEAVES = ("weight", "bias", "running_mean", "running_var", COUNTER)
_SIBLINGS = {
    "vit": (
        *("cls_token", "pos_embed", "patch_embed", "conv", "IN", "BN", "blocks"),
        *("norm1", "attn", "qkv", "norm2", "mlp", "fc1", "fc2", "proj", "norm"),
    ),
    "resnet": (
        *("conv1", "bn1", "IN", "BN", "conv2", "bn2", "conv3", "bn3", "downsample"),
        *("layer1", "layer2", "layer3", "layer4"),
    ),
    "swin": (
        *("patch_embed", "layers", "blocks", "norm1", "attn"),
        *("relative_position_bias_table", WINDOW_INDEX, "qkv", "proj", "norm2", "mlp", "fc1", "fc2"),
        *("downsample", "reduction", "norm", "norm3"),
    ),
    "convnext": ("downsample_layers", "stages", "gamma", "dwconv", "norm", "pwconv1", "pwconv2"),
    "edgenext": (
        *("downsample_layers", "stages", "gamma_xca", "gamma", "dwconv", "convs"),
        *("pos_embd", "token_projection", "norm_xca", "xca", "temperature", "qkv", "proj"),
        *("norm", "pwconv1", "pwconv2"),
    ),
    "ghostnet": (
        *(
            "conv_stem",
            "conv",
            "bn1",
            "blocks",
            "ghost1",
            "conv_dw",
            "bn_dw",
            "se",
            "conv_reduce",
            "conv_expand",
        ),
        *("ghost2", "primary_conv", "cheap_operation", "shortcut", "conv_head"),
    ),
    "repvit": (
        *("features", "token_mixer", "channel_mixer", "m", "conv_reduce", "conv_expand"),
        *("conv", "c", "conv1", "bn"),
    ),
    "fastvit": (
        *("patch_embed", "network", "conv_exp", "pe", "layer_scale", "layer_scale_1", "layer_scale_2"),
        *(
            "norm",
            "token_mixer",
            "mixer",
            "qkv",
            "convffn",
            "se",
            "reduce",
            "expand",
            "lkb_origin",
            "small_conv",
        ),
        *("rbr_skip", "rbr_conv", "rbr_scale", "conv", "bn", "fc1", "fc2", "proj"),
    ),
    "volo": (
        *("pos_embed", "cls_token", "patch_embed", "conv", "network", "post_network"),
        *("norm1", "v", "kv", "q", "attn", "qkv", "norm2", "mlp", "fc1", "fc2", "proj", "norm"),
    ),
    "head": ("mlp", "last_layer", "weight_g", "weight_v"),
}

# Constants that PyTorch saves, by the leaf that they stand beside: written always, in a file or not as it likes.
_CONSTANTS = {
    "running_mean": (COUNTER, np.zeros((), np.int64)),
    "relative_position_bias_table": (WINDOW_INDEX, swin.relative_position_index()),
}

# Official tensors of layers that are never run: accepted when a file has them, never written.
_UNUSED = {"vit": ("fc.weight", "fc.bias")}


def official_order(family: str, keys: list[str]) -> list[str]:
    """Sorts official names the way the official state dict lists them."""
    rank = {name: place for place, name in enumerate((*_LEAVES, *_SIBLINGS[family]))}
    return sorted(keys, key=lambda key: [int(p) if p.isdecimal() else rank[p] for p in key.split(".")])


def is_not_carried(family: str, key: str) -> bool:
    """Whether an official tensor has no leaf here: constants, counters, and layers that are never run."""
    leaf = key.rsplit(".", 1)[-1]
    constant = leaf == COUNTER or (family == "swin" and leaf == WINDOW_INDEX)
    return constant or key in _UNUSED.get(family, ())


def constants(keys: Iterable[str]) -> dict[str, np.ndarray]:
    """The constants and zeroed counters that the official state dict holds besides the tensors `keys`."""
    split = (key.rpartition(".") for key in keys)
    found = ((module, _CONSTANTS[leaf]) for module, _, leaf in split if leaf in _CONSTANTS)
    return {f"{module}.{name}": value.copy() for module, (name, value) in found}


def wrong_constants(state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """Names of constants whose values are others than here: what was trained with them is another model."""
    index = swin.relative_position_index()
    return [
        key
        for key, value in state_dict.items()
        if key.endswith(f".{WINDOW_INDEX}") and not np.array_equal(value, index)
    ]
