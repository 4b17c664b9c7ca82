"""The zoo's models as timm builds them, where it has them: the other side of `benchmarks.zoo`."""

import importlib.util
import sys
import types

import torch
from torch import nn

from cion_jax import bridge
from cion_jax.core.errors import UserError


def create(name: str) -> nn.Module | None:
    """timm's form of the zoo's `name` with random weights: [b, 3, h, w] -> features; None where it has none.

    RepViT's gates are sigmoid and in two models a little wider there: weights do not fit, the cost does.
    """
    if importlib.util.find_spec("timm") is None:
        return None
    try:
        timm_name, arguments = bridge.timm_model(name)
    except UserError:
        if not name.startswith("repvit"):
            return None
        timm_name, arguments = name, {"num_classes": 0}
    # torchvision built for another torch fails in this module, which nothing here needs.
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
    import timm

    return timm.create_model(timm_name, pretrained=False, **arguments).to(torch.float32)
