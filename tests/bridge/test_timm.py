"""timm's names: which models have them, that they part and return, and that timm itself agrees."""

import importlib.util
import sys

import jax
import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.bridge import timm
from cion_jax.core.errors import UserError
from tests.parity import weights

NONE = ("vit_tiny", "vit_small", "vit_base", "repvit_m0_9", "repvit_m1_0")
NONE += tuple(name for name in zoo.MODELS if name.endswith("_ibn"))
SMALL = ("resnet18", "ghostnet_0_5", "edgenext_x_small", "fastvit_sa12", "swin_tiny", "volo_d1")
with_timm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "timm")), reason="needs PyTorch and timm"
)


def official_keys(name):
    return [key for key, *_ in weights.tables()[name]["tensors"] if not key.startswith("fc.")]


@pytest.mark.parametrize("name", NONE)
def test_a_model_without_counterpart_says_why(name):
    with pytest.raises(UserError, match=f"{name} has no counterpart in timm.*(there|no IBN)"):
        bridge.timm_model(name)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes(name))
    with pytest.raises(UserError, match="no counterpart"):
        bridge.to_torch(name, variables, names="timm")


def shapes(name):
    module = zoo.create(name)
    return jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 256, 128, 3), "float32"))


@pytest.mark.parametrize("name", [name for name in zoo.MODELS if name not in NONE])
def test_names_are_one_to_one(name):
    keys = official_keys(name)
    renamed = timm.timm_names(zoo.spec(name).family, keys)
    carried = [key for key in keys if not key.endswith("relative_position_index")]
    assert list(renamed) == carried
    assert len(set(renamed.values())) == len(carried)


@pytest.mark.parametrize(
    ("family", "official", "expected"),
    [
        ("convnext", "downsample_layers.2.0.weight", "stages.2.downsample.0.weight"),
        ("convnext", "stages.2.8.pwconv2.bias", "stages.2.blocks.8.mlp.fc2.bias"),
        ("edgenext", "stages.1.2.xca.temperature", "stages.1.blocks.2.xca.temperature"),
        ("edgenext", "norm.weight", "head.norm.weight"),
        ("fastvit", "network.6.pe.bias", "stages.3.pos_emb.pos_enc.bias"),
        ("fastvit", "network.6.1.convffn.fc2.bias", "stages.3.blocks.1.mlp.fc2.bias"),
        ("fastvit", "network.3.proj.1.rbr_skip.weight", "stages.2.downsample.proj.1.identity.weight"),
        ("fastvit", "network.7.0.layer_scale_2", "stages.3.blocks.0.layer_scale_2.gamma"),
        ("swin", "layers.1.downsample.norm.bias", "layers.2.downsample.norm.bias"),
        ("swin", "norm3.bias", "norm.bias"),
    ],
)
def test_names(family, official, expected):
    assert timm.timm_names(family, [official]) == {official: expected}


def test_repvits_strided_blocks_take_the_one_before_along():
    renamed = timm.timm_names("repvit", official_keys("repvit_m1_5"))
    pairs = {
        "features.0.2.c.weight": "stem.conv2.c.weight",
        "features.4.token_mixer.0.conv1.weight": "stages.0.blocks.3.token_mixer.conv1.weight",
        "features.5.token_mixer.0.bn.bias": "stages.1.downsample.pre_block.token_mixer.bn.bias",
        "features.6.token_mixer.2.c.weight": "stages.1.downsample.channel_downsample.c.weight",
        "features.6.channel_mixer.m.2.bn.bias": "stages.1.downsample.ffn.conv2.bn.bias",
        "features.7.token_mixer.1.conv_expand.bias": "stages.1.blocks.0.se.fc2.bias",
    }
    assert {key: renamed[key] for key in pairs} == pairs


@pytest.mark.parametrize("name", SMALL)
def test_there_and_back_is_bitwise(name):
    variables = bridge.from_torch(name, weights.state_dict(name))
    theirs = bridge.to_torch(name, variables, names="timm")
    ours = bridge.from_torch(name, theirs | {"head.fc.weight": np.ones((1000, 8), np.float32)})
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, variables))


def all_of_timms():
    slow = [name for name in zoo.MODELS if name not in NONE]
    return [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in slow]


@with_timm
@pytest.mark.parametrize("name", all_of_timms())
def test_timm_gives_the_official_features(name):
    """The recipe's weights, written by us, in timm's model: timm's features are those of the official code."""
    # A torchvision of another build than PyTorch cannot register its operators, which timm does not need.
    sys.modules.setdefault("torchvision._meta_registrations", type(sys)("torchvision._meta_registrations"))
    import timm as timm_package
    import torch

    model_name, arguments = bridge.timm_model(name)
    model = timm_package.create_model(model_name, **arguments).eval()
    set_up(model, name)
    variables = bridge.from_torch(name, weights.state_dict(name))
    theirs = bridge.to_torch(name, variables, names="timm")
    model.load_state_dict({key: torch.from_numpy(value) for key, value in theirs.items()}, strict=True)
    images = torch.from_numpy(weights.images((256, 128)).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        features = model(images).numpy()
    with np.load(weights.GOLDEN / "zoo_eval.npz") as golden:
        deviation = weights.deviation(features, golden[f"{name}/256x128"])
    assert deviation <= max(weights.tables()[name]["tolerance"], 2e-5), (
        f"timm's {model_name} with our {name} deviates by {deviation:.2g} rms: compare timm_names with the names "
        "that this version of timm has"
    )
    kind = bridge.recognise(model.state_dict())
    assert kind.names == ("official" if zoo.spec(name).family in timm._SAME else "timm")


def set_up(model, name):
    """What docs/interop.md says must be set besides."""
    import torch

    if name.startswith("resnet"):
        block = model.layer4[0]
        (block.conv2 if hasattr(block, "conv3") else block.conv1).stride = (1, 1)
        block.downsample[0].stride = (1, 1)
    if name.startswith("repvit"):
        for module in model.modules():
            if hasattr(module, "fc2") and hasattr(module, "gate"):
                module.gate = torch.nn.Hardsigmoid()
