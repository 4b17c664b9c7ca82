"""The official order of tensors, for every model."""

import random

import pytest

from cion_jax import zoo
from cion_jax.bridge import order
from tests.parity import weights


@pytest.mark.parametrize("name", zoo.MODELS)
def test_shuffled_names_come_back_in_official_order(name):
    family = zoo.spec(name).family
    keys = [key for key, *_ in weights.tables()[name]["tensors"] if not key.startswith("fc.")]
    shuffled = random.Random(0).sample(keys, len(keys))
    assert order.official_order(family, shuffled) == keys


def test_what_is_not_carried():
    assert order.is_not_carried("vit", "fc.weight")
    assert order.is_not_carried("resnet", "bn1.num_batches_tracked")
    assert order.is_not_carried("swin", "layers.0.blocks.0.attn.relative_position_index")
    assert not order.is_not_carried("resnet", "layer1.0.relative_position_index")
    assert not order.is_not_carried("vit", "blocks.0.mlp.fc1.weight")
    assert not order.is_not_carried("resnet", "fc.weight"), "only the official ViT carries one"


def test_constants_stand_beside_their_tensors():
    index, counter = "layers.0.blocks.1.attn.relative_position_index", "bn1.num_batches_tracked"
    table = index.replace("index", "bias_table")
    found = order.constants([table, "bn1.running_mean", "bn1.running_var", "norm3.weight"])
    assert set(found) == {index, counter}
    assert found[index].shape == (64, 64) and found[index].dtype == found[counter].dtype == "int64"
    assert order.wrong_constants(found) == []
    assert order.wrong_constants({index: found[index].T}) == [index]
