"""The zoo's models as timm builds them, where it has them: the other side of `benchmarks.zoo`."""

import importlib.util
import sys
import types

import torch
from torch import nn

SIZE = (256, 128)
_SWIN = {"img_size": SIZE, "window_size": 8, "always_partition": True, "strict_img_size": False}
_VOLO = {"img_size": SIZE}
# Prefix of our names -> (pattern of timm's, arguments). What timm does not have is in `benchmarks.torch_models`.
_NAMES = {
    "swin": ("{}_patch4_window7_224", _SWIN),
    "volo": ("{}_224", _VOLO),
    "convnext": ("{}", {}),
    "edgenext": ("{}", {}),
    "repvit": ("{}", {}),
    "fastvit": ("{}", {}),
}


def create(name: str) -> nn.Module | None:
    """timm's form of the zoo's `name` with random weights: [b, 3, h, w] -> features; None where it has none.

    RepViT's gates are sigmoid and a little wider there, FastViT and the others are the same networks.
    """
    family = name.partition("_")[0]
    if family not in _NAMES or importlib.util.find_spec("timm") is None:
        return None
    # torchvision built for another torch fails in this module, which nothing here needs.
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
    import timm

    pattern, arguments = _NAMES[family]
    model = timm.create_model(pattern.format(name), pretrained=False, num_classes=0, **arguments)
    return model.to(torch.float32)
