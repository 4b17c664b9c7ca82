"""Which kind of PyTorch weights a state dict holds, told from the prefixes of its names."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A kind of state dict: what stands before the backbone's and the head's names, and its origin."""

    backbone_prefix: str
    head_prefix: str
    description: str


# Longest prefix first. "module." is what data-parallel training puts in front.
FORMATS = (
    Format("module.backbone.", "module.head.", "official pre-training checkpoint, data parallel"),
    Format("backbone.", "head.", "official pre-training checkpoint"),
    Format("module.", "module.head.", "backbone, data parallel"),
    Format("", "head.", "plain backbone"),
)


def recognise(state_dict: Mapping[str, Any]) -> Format:
    """The kind of weights: the first of FORMATS whose backbone prefix any name bears."""
    return next(
        kind for kind in FORMATS if any(key.startswith(kind.backbone_prefix) for key in (*state_dict, ""))
    )


def strip_backbone(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone's entries under plain names, the head's dropped; names without prefix stay as they are."""
    kind = recognise(state_dict)
    return {
        key.removeprefix(kind.backbone_prefix): value
        for key, value in state_dict.items()
        if not key.startswith(kind.head_prefix)
    }


def strip_head(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The head's entries under plain names ("mlp.0.weight"), the backbone's dropped."""
    for prefix in ("module.head.", "head."):
        found = {key.removeprefix(prefix): v for key, v in state_dict.items() if key.startswith(prefix)}
        if found:
            return found
    return dict(state_dict)
