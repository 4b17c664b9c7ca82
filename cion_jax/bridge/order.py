"""The order in which each official architecture lists its tensors, and those that are not carried over."""

from cion_jax.bridge.names import COUNTER

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

# Official tensors without a place here: accepted when a file has them, never written.
_UNUSED = {"vit": ("fc.weight", "fc.bias")}


def official_order(family: str, keys: list[str]) -> list[str]:
    """Sorts official names the way the official state dict lists them."""
    rank = {name: place for place, name in enumerate((*_LEAVES, *_SIBLINGS[family]))}
    return sorted(keys, key=lambda key: [int(p) if p.isdecimal() else rank[p] for p in key.split(".")])


def is_not_carried(family: str, key: str) -> bool:
    """Whether an official tensor is of no effect: counters, and layers that are never run."""
    return key.endswith(f".{COUNTER}") or key in _UNUSED.get(family, ())
