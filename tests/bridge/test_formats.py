"""Recognising state dicts by their prefixes."""

import pytest

from cion_jax.bridge import formats


@pytest.mark.parametrize(
    ("key", "head", "description"),
    [
        ("module.backbone.conv1.weight", "module.head.", "official pre-training checkpoint, data parallel"),
        ("backbone.conv1.weight", "head.", "official pre-training checkpoint"),
        ("module.conv1.weight", "module.head.", "backbone, data parallel"),
        ("conv1.weight", "head.", "plain backbone"),
    ],
)
def test_recognise(key, head, description):
    state_dict = {head + "mlp.0.bias": 1, key: 2}
    assert formats.recognise(state_dict).description == description
    assert formats.strip_backbone(state_dict) == {"conv1.weight": 2}
    assert formats.strip_head(state_dict) == {"mlp.0.bias": 1}


def test_data_parallel_backbone_beside_a_plain_head():
    # The official teacher: the backbone is wrapped on its own where it has batch norm.
    state_dict = {"module.backbone.bn1.bias": 1, "module.head.mlp.0.bias": 2}
    assert formats.strip_backbone(state_dict) == {"bn1.bias": 1}


def test_an_empty_dict_is_plain():
    assert formats.recognise({}).backbone_prefix == ""
