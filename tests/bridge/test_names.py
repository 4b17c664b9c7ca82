"""The mechanical rule between PyTorch's names and ours."""

import numpy as np
import pytest

from cion_jax.bridge import names


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("params", "conv1", "kernel"), "conv1.weight"),
        (("params", "blocks_10", "attn", "qkv", "kernel"), "blocks.10.attn.qkv.weight"),
        (("params", "patch_embed", "conv_1", "IN", "scale"), "patch_embed.conv.1.IN.weight"),
        (("batch_stats", "layer1_0", "bn1", "BN", "var"), "layer1.0.bn1.BN.running_var"),
        (("batch_stats", "bn_dw", "mean"), "bn_dw.running_mean"),
        (("params", "features_1_0", "c", "bias"), "features.1.0.c.bias"),
        (("params", "pos_embed"), "pos_embed"),
        (("params", "network_2_0", "layer_scale_1"), "network.2.0.layer_scale_1"),
        (("params", "last_layer", "weight_v"), "last_layer.weight_v"),
    ],
)
def test_keys(path, key):
    assert names.torch_key(path) == key


@pytest.mark.parametrize(("ours", "torch"), [((5, 3), (3, 5)), ((3, 3, 2, 7), (7, 2, 3, 3)), ((4,), (4,))])
def test_layouts_turn_and_return(ours, torch):
    path = ("params", "layer", "kernel" if len(ours) > 1 else "bias")
    value = np.arange(np.prod(ours)).reshape(ours)
    turned = names.to_torch_layout(path, value)
    assert turned.shape == torch == names.torch_shape(path, ours)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(names.from_torch_layout(path, turned), value)


def test_a_convolution_kernel_keeps_its_meaning():
    value = np.arange(3 * 5 * 2 * 7).reshape(3, 5, 2, 7)  # [h, w, in, out]
    turned = names.to_torch_layout(("params", "conv", "kernel"), value)
    assert turned[6, 1, 2, 4] == value[2, 4, 1, 6]


def test_bare_parameters_are_not_turned():
    value = np.ones((8, 3))
    assert names.to_torch_layout(("params", "last_layer", "weight_v"), value).shape == (8, 3)
