"""Which kind of PyTorch weights a state dict holds, told from its names, and the backbone's part of it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# Where a checkpoint keeps its weights, tried in this order. "teacher" first: it is what pre-training is for.
WRAPPERS = ("teacher", "student", "state_dict", "model")
# Known checkpoints nest once or twice.
_DEEPEST = 4


class Format(NamedTuple):
    """A kind of weights.

    Attributes:
      description: one sentence for people.
      origin: whose weights they are: "official", "transreid", "lup", "fastreid" or "plain".
      entry: keys that lead to the state dict in a nested checkpoint, for example ("teacher",).
      prefix: what stands before the backbone's names.
      names: "official", "timm", or "swin" (Swin as first published).
      dropped: the other parts of the model that the state dict holds, like "head" or "classifier".
    """

    description: str
    origin: str
    entry: tuple[str, ...]
    prefix: str
    names: str
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return self.description


class _Origin(NamedTuple):
    """What a prefix says: whose checkpoint it is, and which names without the prefix are other parts of it."""

    name: str
    prefix: str
    others: str  # regular expression for the start of a name
    description: str
    evidence: str = ""  # a name that must be there as well


# The first one whose prefix and evidence are found wins. "module." is what data-parallel training puts in front.
_ORIGINS = (
    _Origin("lup", "module.encoder_q.", r"", "a LUP checkpoint (MoCo, its query encoder)"),
    _Origin("lup", "encoder_q.", r"", "a LUP checkpoint (MoCo, its query encoder)"),
    _Origin(
        *("official", "module.backbone.", r"module\.head\."),
        "an official pre-training checkpoint, data parallel",
    ),
    _Origin(
        *("fastreid", "backbone.", r"heads\.|pixel_mean$|pixel_std$", "a FastReID checkpoint"),
        evidence=r"heads\.|pixel_mean$",
    ),
    _Origin(
        *("official", "backbone.", r"head\.", "an official pre-training checkpoint"),
        evidence=r"head\.",
    ),
    _Origin("plain", "backbone.", r"heads?\.", "the backbone of an official or a FastReID checkpoint"),
    *(
        _Origin(
            "transreid",
            f"{module}base.",
            rf"{re.escape(module)}(classifier|bottleneck|b1|b2)(_\w+)?\.",
            f"a fine-tuned TransReID checkpoint{', data parallel' * bool(module)}",
        )
        for module in ("module.", "")
    ),
    _Origin("plain", "module.", r"module\.head\.", "a backbone, data parallel"),
    _Origin("plain", "", r"head\.(mlp|last_layer)\.", "a plain backbone"),
)
# No backbone has tensors of such names; timm puts the last norm into the head.
_CLASSIFIER = re.compile(r"(fc|classifier|aux_head|head_dist|head)\.(?!norm\.)")


def unwrap(content: Mapping[str, Any]) -> tuple[tuple[str, ...], Any]:
    """The state dict inside a nested checkpoint, and the keys that lead to it: teacher before student.

    Checkpoints that are nested deeper than `_DEEPEST`, or contain themselves, are opened that far.
    """
    entry: tuple[str, ...] = ()
    while isinstance(content, Mapping) and len(entry) < _DEEPEST:
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        entry, content = (*entry, inner), content[inner]
    return entry, content


def recognise(state_dict: Mapping[str, Any]) -> Format:
    """The kind of weights; its `description` is a sentence for people.

    Args:
      state_dict: names to anything, maybe inside the entries of a checkpoint ("teacher", "student", ...).
    """
    return split(state_dict)[0]


def split(content: Mapping[str, Any]) -> tuple[Format, dict[str, Any]]:
    """The kind of weights, and the backbone's entries without prefix; other known parts are left out.

    Names that belong to nothing known stay as they are, so that a strict reader finds them.
    """
    entry, state_dict = unwrap(content)
    origin = next(origin for origin in _ORIGINS if _fits(origin, state_dict))
    others = dict.fromkeys(key for key in state_dict if _is_other(origin, key))
    backbone = {
        key.removeprefix(origin.prefix): value for key, value in state_dict.items() if key not in others
    }
    classifier = [key for key in backbone if _CLASSIFIER.match(key)]
    for key in classifier:
        del backbone[key]
    names, dropped = _names(backbone), (_parts(others), _parts(classifier))
    text = _sentence(entry, origin, names, dropped)
    if names == "timm" and "stem.conv1.c.weight" in backbone:
        text += " timm's RepViT gates its squeeze-and-excite layers by a sigmoid, this one by a hard sigmoid."
    left_out = tuple(dict.fromkeys(dropped[0] + dropped[1]))
    return Format(text, origin.name, entry, origin.prefix, names, left_out), backbone


def strip_head(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The DINO head's entries under plain names ("mlp.0.weight"), the backbone's dropped."""
    _, state_dict = unwrap(state_dict)
    for prefix in ("module.head.", "head."):
        found = {key.removeprefix(prefix): v for key, v in state_dict.items() if key.startswith(prefix)}
        if found:
            return found
    return dict(state_dict)


def _fits(origin: _Origin, names: Iterable[str]) -> bool:
    has_prefix = not origin.prefix or any(name.startswith(origin.prefix) for name in names)
    return has_prefix and (not origin.evidence or any(re.match(origin.evidence, name) for name in names))


def _is_other(origin: _Origin, name: str) -> bool:
    """Whether a name is that of a known part besides the backbone; where none are listed, all without prefix."""
    if origin.others:
        return re.match(origin.others, name) is not None
    return not name.startswith(origin.prefix)


def _names(backbone: Mapping[str, Any]) -> str:
    """Whose names they are, where the names differ."""
    if any(re.match(r"stages\.\d+\.(blocks|downsample)\.", name) for name in backbone):
        return "timm"
    if any(name.endswith(".relative_position_bias_table") for name in backbone) and "norm.weight" in backbone:
        first = any(name.startswith("layers.0.downsample.") for name in backbone)
        return "swin" if first else "timm"
    return "official"


def _parts(keys: Iterable[str]) -> tuple[str, ...]:
    """First words of names, once each: "head", "classifier"."""
    return tuple(dict.fromkeys(key.removeprefix("module.").split(".")[0] for key in keys))


def _sentence(
    entry: tuple[str, ...], origin: _Origin, names: str, parts: tuple[tuple[str, ...], tuple[str, ...]]
) -> str:
    text = f"This is {origin.description}"
    text += {
        "official": "",
        "timm": ", under timm's names",
        "swin": ", under the names of Swin's first publication",
    }[names]
    if entry:
        text += f", from the entry {' / '.join(map(repr, entry))}"
    others, classifier = parts
    left_out = [", ".join(others)] if others else []
    left_out += [f"the classifier {', '.join(classifier)}"] if classifier else []
    return text + (f"; left out: {' and '.join(left_out)}." if left_out else ".")
