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
    assert not order.is_not_carried("vit", "blocks.0.mlp.fc1.weight")
    assert not order.is_not_carried("resnet", "fc.weight"), "only the official ViT carries one"
