"""Telling kinds of PyTorch weights apart by their names."""

import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.bridge import formats
from tests.parity import weights

CASES = {
    # names: the sentence, what is left of the names
    ("module.backbone.conv1.weight", "module.head.mlp.0.bias"): (
        "This is an official pre-training checkpoint, data parallel; left out: head."
    ),
    ("backbone.conv1.weight", "head.mlp.0.bias"): (
        "This is an official pre-training checkpoint; left out: head."
    ),
    ("backbone.conv1.weight",): "This is the backbone of an official or a FastReID checkpoint.",
    ("module.conv1.weight", "module.head.mlp.0.bias"): "This is a backbone, data parallel; left out: head.",
    ("conv1.weight", "head.mlp.0.bias"): "This is a plain backbone; left out: head.",
    ("conv1.weight",): "This is a plain backbone.",
    ("conv1.weight", "fc.weight", "fc.bias"): "This is a plain backbone; left out: the classifier fc.",
    ("conv1.weight", "head.fc.weight"): "This is a plain backbone; left out: the classifier head.",
    ("conv1.weight", "classifier.bias", "aux_head.weight"): (
        "This is a plain backbone; left out: the classifier classifier, aux_head."
    ),
    (
        *("module.encoder_q.conv1.weight", "module.encoder_q.fc.0.weight", "module.encoder_k.conv1.weight"),
        *("module.queue", "module.queue_ptr"),
    ): (
        "This is a LUP checkpoint (MoCo, its query encoder); left out: encoder_k, queue, queue_ptr and the "
        "classifier fc."
    ),
    ("base.conv1.weight", "classifier.weight", "bottleneck.bias", "bottleneck_2.bias", "b1.0.norm1.bias"): (
        "This is a fine-tuned TransReID checkpoint; left out: classifier, bottleneck, bottleneck_2, b1."
    ),
    ("module.base.conv1.weight", "module.classifier.weight"): (
        "This is a fine-tuned TransReID checkpoint, data parallel; left out: classifier."
    ),
    ("pixel_mean", "pixel_std", "backbone.conv1.weight", "heads.bottleneck.0.weight", "heads.weight"): (
        "This is a FastReID checkpoint; left out: pixel_mean, pixel_std, heads."
    ),
}


@pytest.mark.parametrize(("keys", "sentence"), CASES.items(), ids=lambda value: str(value)[:40])
def test_kinds_by_prefix(keys, sentence):
    state_dict = {key: number for number, key in enumerate(keys)}
    kind, backbone = formats.split(state_dict)
    assert str(kind) == kind.description == sentence
    assert bridge.recognise(state_dict) == kind
    assert list(backbone) == ["conv1.weight"]
    assert state_dict[f"{kind.prefix}conv1.weight"] == backbone["conv1.weight"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (("stages.0.blocks.0.gamma",), "timm"),
        (("stages.1.downsample.0.weight",), "timm"),
        (("stages.0.0.gamma",), "official"),
        (("layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight"), "timm"),
        (
            (
                *("layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight"),
                "layers.0.downsample.norm.weight",
            ),
            "swin",
        ),
        (("layers.0.blocks.0.attn.relative_position_bias_table", "norm3.weight"), "official"),
    ],
)
def test_kinds_of_names(keys, names):
    assert formats.recognise(dict.fromkeys(keys)).names == names


def test_timms_last_norm_is_no_classifier():
    kind, backbone = formats.split(
        dict.fromkeys(("stages.0.blocks.0.gamma", "head.norm.bias", "head.fc.bias"))
    )
    assert "head.norm.bias" in backbone and "head.fc.bias" not in backbone
    assert kind.description == "This is a plain backbone, under timm's names; left out: the classifier head."


def test_entries_of_a_checkpoint_teacher_before_student():
    inner = {name: {"backbone.conv1.weight": name} for name in ("student", "teacher")}
    kind, backbone = formats.split({"epoch": 3, **inner})
    assert backbone == {"conv1.weight": "teacher"}
    assert kind.entry == ("teacher",)
    assert kind.description.endswith("checkpoint, from the entry 'teacher'.")
    assert formats.split({"student": inner["student"]})[1] == {"conv1.weight": "student"}
    assert formats.split({"model": {"state_dict": inner["student"]}})[0].entry == ("model", "state_dict")


def test_a_head_is_kept_on_request():
    for prefix in ("module.", ""):
        state_dict = {f"{prefix}backbone.conv1.weight": 1, f"{prefix}head.mlp.0.bias": 2}
        assert formats.strip_head({"teacher": state_dict}) == {"mlp.0.bias": 2}


def test_what_is_not_known_is_not_dropped():
    """A strict reader must be able to complain of it."""
    for prefix in ("", "backbone.", "base.", "module."):
        assert "odd.weight" in formats.split({f"{prefix}conv1.weight": 1, "odd.weight": 2})[1]


def test_an_empty_dict_is_plain():
    assert formats.recognise({}).prefix == ""


@pytest.mark.parametrize("name", zoo.MODELS)
def test_no_tensor_of_a_backbone_passes_for_another_part(name):
    keys = [key for key, *_ in weights.tables()[name]["tensors"] if not key.startswith("fc.")]
    for prefix in ("", "module.", "backbone.", "module.backbone.", "base.", "module.encoder_q."):
        kind, backbone = formats.split({prefix + key: key for key in keys})
        assert (list(backbone), list(backbone.values())) == (keys, keys)
        assert (kind.names, kind.dropped) == ("official", ())


def test_values_are_passed_on_untouched():
    value = np.ones(3)
    assert formats.split({"module.conv1.weight": value})[1]["conv1.weight"] is value
