"""timm's names for the same tensors, by a few rules per architecture, and the timm model that takes them."""

import re
from collections.abc import Iterable
from typing import Any

from cion_jax import zoo
from cion_jax.bridge.order import WINDOW_INDEX
from cion_jax.core.errors import UserError

_Rules = tuple[tuple[str, str], ...]

_CONVNEXT: _Rules = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
    (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv(\d)\.", r".mlp.fc\1."),
    (r"^norm\.", "head.norm."),
)
_FASTVIT: _Rules = (
    (r"^patch_embed\.", "stem."),
    (r"^conv_exp\.", "final_conv."),
    # Stages and down-samplers take turns; a position encoding may come before the last stage.
    *((rf"^network\.{2 * i}\.(?=\d)", f"stages.{i}.blocks.") for i in range(4)),
    *((rf"^network\.{2 * i - 1}\.proj", f"stages.{i}.downsample.proj") for i in range(1, 4)),
    (r"^network\.6\.pe\.", "stages.3.pos_emb.pos_enc."),
    (r"^network\.7\.", "stages.3.blocks."),
    (r"\brbr_conv\.", "conv_kxk."),
    (r"\brbr_scale\.", "conv_scale."),
    (r"\brbr_skip\.", "identity."),
    (r"\.convffn\.", ".mlp."),
    (r"\.lkb_origin\.", ".large_conv."),
    (r"\.se\.reduce\.", ".se.fc1."),
    (r"\.se\.expand\.", ".se.fc2."),
    (r"\b(layer_scale(_\d)?)$", r"\1.gamma"),
)
_REPVIT_BLOCK: _Rules = (
    (r"token_mixer\.1\.conv_reduce\.", "se.fc1."),
    (r"token_mixer\.1\.conv_expand\.", "se.fc2."),
    (r"token_mixer\.0\.", "token_mixer."),
    (r"channel_mixer\.m\.0\.", "channel_mixer.conv1."),
    (r"channel_mixer\.m\.2\.", "channel_mixer.conv2."),
)
_REPVIT_STRIDED: _Rules = (
    (r"token_mixer\.0\.", "spatial_downsample."),
    (r"token_mixer\.2\.", "channel_downsample."),
    (r"channel_mixer\.m\.0\.", "ffn.conv1."),
    (r"channel_mixer\.m\.2\.", "ffn.conv2."),
)

_SWIN_ARGUMENTS = {
    "img_size": (256, 128),
    "window_size": 8,
    "always_partition": True,
    "strict_img_size": False,
}
# Families whose names are timm's already, save for the name of the model.
_SAME = ("resnet", "ghostnet", "volo")


def timm_model(name: str) -> tuple[str, dict[str, Any]]:
    """What `timm.create_model` needs to build the model that `to_torch(name, variables, names="timm")` fits.

    Returns:
      (timm's name, keyword arguments). docs/interop.md tells what must be set on timm's ResNets and RepViT
      besides.

    Raises:
      UserError: timm has no such model, and why.
    """
    family = zoo.spec(name).family
    if family == "vit":
        raise UserError(
            f"{name} has no counterpart in timm: there a single convolution cuts the patches, here a stem of four "
            "with instance and batch normalisation does."
        )
    if name.endswith("_ibn"):
        raise UserError(f"{name} has no counterpart in timm, whose ResNets have no IBN layers.")
    if name in ("repvit_m0_9", "repvit_m1_0"):
        raise UserError(
            f"{name} has no counterpart in timm: one squeeze-and-excite layer has "
            f"{'12 channels, there 16' if name == 'repvit_m0_9' else '28 channels, there 32'}."
        )
    arguments: dict[str, Any] = {"num_classes": 0}
    if family == "swin":
        return f"{name}_patch4_window7_224", arguments | _SWIN_ARGUMENTS
    if family == "volo":
        return f"{name}_224", arguments | {"img_size": (256, 128)}
    if family == "ghostnet":
        return name.replace("_0_5", "_050").replace("_1_0", "_100").replace("_1_3", "_130"), arguments
    return name, arguments


def timm_names(family: str, keys: Iterable[str]) -> dict[str, str]:
    """timm's name for every official name; names that timm does not save are left out.

    Of RepViT the names of all tensors must be given.
    """
    if family in _SAME:
        return {key: key for key in keys}
    if family == "repvit":
        return _repvit(list(keys))
    if family == "swin":
        return {key: _swin(key) for key in keys if not key.endswith(f".{WINDOW_INDEX}")}
    rules = {"convnext": _CONVNEXT, "edgenext": _CONVNEXT, "fastvit": _FASTVIT}.get(family, ())
    return {key: _renamed(key, rules) for key in keys}


def _swin(key: str) -> str:
    """timm merges patches at the start of a stage, not at the end of the one before."""
    key = re.sub(r"^layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) + 1}.downsample", key)
    return re.sub(r"^norm3\.", "norm.", key)


def _repvit(keys: list[str]) -> dict[str, str]:
    """Blocks are numbered through here, and within stages there; a strided block takes the one before it along."""
    block_of = {key: int(key.split(".")[1]) for key in keys}
    strided = {block for key, block in block_of.items() if ".token_mixer.2." in key}
    place, stage, index = {}, 0, 0
    for block in range(1, max(block_of.values(), default=0) + 1):
        if block in strided:
            stage, index = stage + 1, 0
            place[block] = f"stages.{stage}.downsample"
        elif block + 1 in strided:
            place[block] = f"stages.{stage + 1}.downsample.pre_block"
        else:
            place[block] = f"stages.{stage}.blocks.{index}"
            index += 1

    def renamed(key: str) -> str:
        block = block_of[key]
        if not block:
            return _renamed(
                key, ((r"^features\.0\.0\.", "stem.conv1."), (r"^features\.0\.2\.", "stem.conv2."))
            )
        rest = key.split(".", 2)[2]
        return f"{place[block]}.{_renamed(rest, _REPVIT_STRIDED if block in strided else _REPVIT_BLOCK)}"

    return {key: renamed(key) for key in keys}


def _renamed(key: str, rules: _Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
