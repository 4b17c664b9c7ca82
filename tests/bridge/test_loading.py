"""One call from a weight file to a working model."""

import logging

import jax
import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.bridge import loading, timm
from cion_jax.core.errors import UserError
from tests.parity import weights


@pytest.fixture(scope="module")
def official():
    return {
        name: {k: v for k, v in weights.state_dict(name).items() if not k.startswith("fc.")}
        for name in ("resnet18", "vit_tiny")
    }


def test_our_own_file_says_what_it_holds(tmp_path, official, caplog):
    path = tmp_path / "backbone.safetensors"
    bridge.save_file(path, official["resnet18"], {"model": "resnet18", "mean": "[0.5]"})
    with caplog.at_level(logging.INFO, logger="cion_jax.bridge"):
        module, variables = bridge.load(path)
    assert f"{path}: This is a plain backbone." in caplog.text
    assert bridge.read_weights(path).metadata["mean"] == "[0.5]"
    features = jax.jit(module.apply)(variables, np.ones((1, 64, 32, 3), np.float32))
    assert features.shape == (1, 512) and np.isfinite(features).all()
    with pytest.raises(UserError, match="holds a resnet18, as it says itself, not a resnet50"):
        bridge.load(path, "resnet50")


def test_a_foreign_file_must_be_named_and_models_are_proposed(tmp_path, official):
    path = tmp_path / "w.safetensors"
    bridge.save_file(path, {f"module.backbone.{k}": v for k, v in official["resnet18"].items()})
    with pytest.raises(
        UserError, match=r"does not say which model.*Its tensors are those of resnet18\."
    ) as caught:
        bridge.load(path)
    assert str(path) in str(caught.value)
    module, variables = bridge.load(path, "resnet18")
    assert module == zoo.create("resnet18")
    np.testing.assert_array_equal(variables["params"]["bn1"]["bias"], official["resnet18"]["bn1.bias"])
    with pytest.raises(UserError, match="not the weights of vit_tiny") as caught:
        bridge.load(path, "vit_tiny")
    assert str(path) in str(caught.value)


def test_strange_tensors_are_those_of_no_model(tmp_path):
    path = tmp_path / "w.safetensors"
    bridge.save_file(path, {"layer1.0.conv1.weight": np.ones(3)})
    with pytest.raises(UserError, match="those of no model of the zoo"):
        bridge.load(path)


def test_tables_are_resized_on_request(tmp_path, official):
    path = tmp_path / "w.safetensors"
    table = weights.tensor("pos_embed", [1, 193, 192])
    bridge.save_file(path, official["vit_tiny"] | {"pos_embed": table}, {"model": "vit_tiny"})
    with pytest.raises(UserError, match="resize=True"):
        bridge.load(path)
    for resize in (True, (24, 8)):
        _, variables = bridge.load(path, resize=resize)
        assert variables["params"]["pos_embed"].shape == (1, 129, 192)


def tensors(name, names="official"):
    """Arrays of the right shapes that take no memory."""
    table = {key: (shape, dtype) for key, shape, _, dtype in weights.tables()[name]["tensors"]}
    state = {k: np.broadcast_to(np.zeros((), d), s) for k, (s, d) in table.items() if not k.startswith("fc.")}
    for key in state:
        if key.endswith("position_index"):
            state[key] = weights.tensor(key, list(state[key].shape))
    if names == "timm":
        renamed = timm.timm_names(zoo.spec(name).family, state)
        return {new: state[old] for old, new in renamed.items()}
    return state


@pytest.mark.parametrize(
    ("name", "names", "table"),
    [
        ("resnet18_ibn", "official", None),
        pytest.param("swin_tiny", "timm", None, marks=pytest.mark.slow),
        pytest.param("volo_d1", "official", [1, 14, 14, 384], marks=pytest.mark.slow),
        pytest.param("convnext_base", "timm", None, marks=pytest.mark.slow),
    ],
)
def test_models_are_told_from_each_other(name, names, table):
    state_dict = tensors(name, names)
    if table:
        state_dict["pos_embed"] = weights.tensor("pos_embed", table)
    assert loading.fitting_models(state_dict) == [name]
