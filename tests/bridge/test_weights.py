"""Weights to and fro: every tensor, its bits, its place, and every complaint at once."""

import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.core.errors import UserError
from tests.parity import weights

# The larger members of a family have the same layers, only more and wider.
ONE_OF_EACH = (
    *("vit_tiny", "swin_tiny", "resnet18", "resnet50_ibn", "convnext_tiny"),
    *("edgenext_x_small", "ghostnet_0_5"),
    *("repvit_m0_9", "fastvit_sa12", "volo_d1"),
)


def official(name):
    return {key: value for key, value in weights.state_dict(name).items() if not key.startswith("fc.")}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_there_and_back_is_bitwise_and_in_order(name):
    given = official(name)
    variables = bridge.from_torch(name, weights.state_dict(name))
    back = bridge.to_torch(name, variables)
    assert list(back) == list(given)
    for key, value in given.items():
        assert back[key].dtype == value.dtype, key
        assert back[key].shape == value.shape, key
        assert back[key].tobytes() == value.tobytes(), key


@pytest.mark.parametrize("name", zoo.MODELS)
def test_tensors_are_the_official_ones(name):
    module = zoo.create(name)
    images = jax.ShapeDtypeStruct((1, *zoo.spec(name).input_size, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), shapes)
    expected = {key: (shape, dtype) for key, shape, _, dtype in weights.tables()[name]["tensors"]}
    expected = {key: value for key, value in expected.items() if not key.startswith("fc.")}
    found = {key: (list(v.shape), str(v.dtype)) for key, v in bridge.to_torch(name, zeros).items()}
    assert found == expected


def test_variables_work_in_the_model():
    variables = bridge.from_torch("resnet18", official("resnet18"))
    module = zoo.create("resnet18")
    images = jnp.ones((1, 64, 32, 3))
    fresh = jax.eval_shape(module.init, jax.random.key(0), images)
    assert jax.tree.structure(variables) == jax.tree.structure(fresh)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    ("prefix", "other"),
    [
        ("module.backbone.", "module.head.mlp.0.weight"),
        ("backbone.", "head.mlp.0.weight"),
        ("backbone.", "heads.bottleneck.0.weight"),
        ("base.", "classifier.weight"),
        ("module.encoder_q.", "module.encoder_q.fc.0.weight"),
        ("module.", "module.head.mlp.0.weight"),
        ("", "fc.weight"),
    ],
)
def test_prefixes_are_taken_off_and_other_parts_dropped(prefix, other):
    plain = official("resnet18")
    wrapped = {prefix + key: value for key, value in plain.items()}
    wrapped[other] = np.ones((3, 3), np.float32)
    wrapped = {"epoch": 100, "student": {}, "teacher": wrapped}
    ours = bridge.to_torch("resnet18", bridge.from_torch("resnet18", wrapped))
    assert all((ours[key] == plain[key]).all() for key in plain)


def test_fastreids_names_are_the_official_ones_behind_a_prefix():
    given = official("resnet50_ibn")
    variables = bridge.from_torch("resnet50_ibn", given)
    theirs = bridge.to_torch("resnet50_ibn", variables, names="fastreid")
    assert list(theirs) == [f"backbone.{key}" for key in given]
    assert {"backbone.layer1.0.bn1.IN.weight", "backbone.layer1.0.downsample.1.running_var"} <= set(theirs)
    back = bridge.from_torch("resnet50_ibn", {"model": theirs | {"heads.weight": np.ones(3)}})
    assert jax.tree.all(jax.tree.map(np.array_equal, back, variables))


def test_names_that_there_are_not():
    variables = bridge.from_torch("ghostnet_0_5", official("ghostnet_0_5"))
    with pytest.raises(UserError, match="no counterpart in FastReID"):
        bridge.to_torch("ghostnet_0_5", variables, names="fastreid")
    with pytest.raises(UserError, match="'caffe' is none of official, timm, fastreid"):
        bridge.to_torch("ghostnet_0_5", variables, names="caffe")


def test_counters_and_half_precision_are_accepted():
    given = official("resnet18")
    rounded = {key: v.astype(ml_dtypes.bfloat16) for key, v in given.items() if not key.endswith("tracked")}
    variables = bridge.from_torch("resnet18", rounded)
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1), given["conv1.weight"], rtol=0.01)


def test_window_indices_may_be_absent_but_not_others():
    given = official("swin_tiny")
    indices = [key for key in given if key.endswith("relative_position_index")]
    assert len(indices) == 12
    without = {key: value for key, value in given.items() if key not in indices}
    ours = bridge.from_torch("swin_tiny", without)
    theirs = bridge.from_torch("swin_tiny", given)
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))
    given[indices[3]] = given[indices[3]].T
    given[indices[5]] = np.zeros((49, 49), np.int64)
    with pytest.raises(UserError, match="swin_tiny, 2 differences") as caught:
        bridge.from_torch("swin_tiny", given)
    assert all(f"other values: {indices[i]}" in str(caught.value) for i in (3, 5))


def test_all_differences_are_told_at_once():
    given = official("resnet18")
    given["layer1.0.conv9.weight"] = given.pop("layer1.0.conv1.weight")
    del given["bn1.bias"]
    given["conv1.weight"] = given["conv1.weight"][:, :1]
    given["bn1.weight"] = np.arange(64)
    given["layer5.weight"] = np.ones((2, 512), np.float32)
    with pytest.raises(UserError) as caught:
        bridge.from_torch("resnet18", given)
    message = str(caught.value)
    for part in (
        "resnet18, 6 differences",
        "missing: layer1.0.conv1.weight [64, 64, 3, 3] (perhaps layer1.0.conv9.weight)",
        "missing: bn1.bias [64]",
        "surplus: layer1.0.conv9.weight [64, 64, 3, 3] (perhaps layer1.0.conv1.weight)",
        "surplus: layer5.weight [2, 512]",
        "other shape: conv1.weight is [64, 1, 7, 7], not [64, 3, 7, 7]",
        "not floating point: bn1.weight is int64",
    ):
        assert part in message, f"{part!r} is not told in:\n{message}"


def test_weights_that_are_not_finite_are_refused_by_name():
    given = official("resnet18")
    given["bn1.bias"] = np.where(np.arange(64) < 3, np.nan, given["bn1.bias"])
    given["layer1.0.conv1.weight"] = np.full((64, 64, 3, 3), 1e300)  # infinite in float32
    given["fc.weight"] = np.full((2, 512), np.nan)  # left out
    with pytest.raises(UserError) as caught:
        bridge.from_torch("resnet18", given)
    assert "resnet18, 2 differences" in str(caught.value)
    assert "not finite: bn1.bias holds 3 of 64 numbers" in str(caught.value)
    assert "not finite: layer1.0.conv1.weight holds 36,864 of 36,864" in str(caught.value)


def test_names_that_are_hard_to_tell_apart_are_compared_in_bounded_time():
    given = official("resnet18")
    bridge.from_torch("resnet18", given)  # the shapes of the model are known then
    rng = np.random.default_rng(0)
    for key in list(given)[:100]:
        value = given.pop(key)
        for _ in range(60):  # of the same letters, so that no quick look rules them out
            given["".join(rng.permutation(list(key)))] = value
    start = time.process_time()
    with pytest.raises(UserError, match="differences"):
        bridge.from_torch("resnet18", given)
    assert time.process_time() - start < 1


def test_another_models_weights_are_refused():
    with pytest.raises(UserError, match="not the weights of resnet50"):
        bridge.from_torch("resnet50", official("resnet18"))
    variables = bridge.from_torch("resnet18", official("resnet18"))
    with pytest.raises(ValueError, match="not the variables of resnet50"):
        bridge.to_torch("resnet50", variables)


@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("prefix", ["", "head.", "module.head."])
def test_head_there_and_back(use_bn, prefix):
    head = zoo.DINOHead(12, hidden=6, bottleneck=4, use_bn=use_bn)
    variables = jax.jit(head.init)(jax.random.key(0), jnp.ones((2, 5)))
    state_dict = bridge.head_to_torch(variables)
    assert list(state_dict)[-2:] == ["last_layer.weight_g", "last_layer.weight_v"]
    assert state_dict["mlp.0.weight"].shape == (6, 5)
    assert state_dict["last_layer.weight_v"].shape == (12, 4)
    assert ("mlp.1.num_batches_tracked" in state_dict) == use_bn
    wrapped = {prefix + key: value for key, value in state_dict.items()}
    if prefix:
        wrapped[prefix.replace("head", "backbone") + "conv1.weight"] = np.ones((1, 1, 1, 1))
    back = bridge.head_from_torch(wrapped)
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        collection, *rest = (key.key for key in path)
        found = back[collection]
        for name in rest:
            found = found[name]
        np.testing.assert_array_equal(found, leaf)


def test_what_is_no_head_is_told():
    with pytest.raises(UserError, match="no DINO head"):
        bridge.head_from_torch({"conv1.weight": np.ones((1, 1, 1, 1))})
