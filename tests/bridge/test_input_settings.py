"""Which mean, deviation and size belong to a weight file."""

import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.bridge import input_settings
from cion_jax.core.errors import UserError
from tests.parity import weights

NAME = "resnet18"
OWN = (zoo.spec(NAME).mean, zoo.spec(NAME).std)
HALF, LUP = (input_settings.NORMALIZATIONS[name] for name in ("half", "lup"))


def read(path, prefix="", metadata=None, **others):
    state = {prefix + key: value for key, value in weights.state_dict(NAME).items()}
    bridge.save_file(path / "w.safetensors", state | others, metadata)
    return bridge.read_weights(path / "w.safetensors", NAME)


def statistics(found):
    return found.mean, found.std


def test_metadata_come_before_the_origin_and_the_origin_before_the_model(tmp_path):
    stated = {"mean": "[0.1, 0.2, 0.3]", "std": "[1, 0.5, 0.25]"}
    expected = ((0.1, 0.2, 0.3), (1.0, 0.5, 0.25))
    assert statistics(input_settings.find_normalization(NAME)) == OWN
    for prefix, without in (("", OWN), ("base.", HALF), ("module.encoder_q.", LUP)):
        found = input_settings.find_normalization(NAME, read(tmp_path, prefix))
        assert statistics(found) == without
        found = input_settings.find_normalization(NAME, read(tmp_path, prefix, stated))
        assert statistics(found) == expected and "metadata" in found.reason
        found = input_settings.find_normalization(NAME, read(tmp_path, prefix, stated), "none")
        assert found.mean == (0, 0, 0) and "as asked for" in found.reason


def test_a_fastreid_file_keeps_its_own(tmp_path):
    pixels = {
        "pixel_mean": np.float32([51, 102, 153]).reshape(1, 3, 1, 1),
        "pixel_std": np.float32([25.5, 51, 255]).reshape(1, 3, 1, 1),
    }
    found = input_settings.find_normalization(NAME, read(tmp_path, "backbone.", **pixels))
    np.testing.assert_allclose(statistics(found), ((0.2, 0.4, 0.6), (0.1, 0.2, 1)), atol=1e-6)
    with pytest.raises(UserError, match="pixel_std above zero"):
        read(tmp_path, "backbone.", **pixels | {"pixel_std": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"mean": "[0.5, 0.5, 0.5]"}, "only one of mean and std, std is missing"),
        ({"std": "[0.5, 0.5, 0.5]"}, "mean is missing"),
        ({"mean": "[0.5]", "std": "[1, 1, 1]"}, "not three numbers"),
        ({"mean": "[0.5, 0.5, NaN]", "std": "[1, 1, 1]"}, "not three numbers"),
        ({"mean": '["a", "b", "c"]', "std": "[1, 1, 1]"}, "not three numbers"),
        ({"mean": "[0, 0, 0]", "std": "[1, 1, 0]"}, "above zero"),
        ({"mean": "nonsense", "std": "[1, 1, 1]"}, "no list of numbers"),
        ({"mean": "5", "std": "[1, 1, 1]"}, "no list of numbers"),
        ({"mean": "[" * 100_000, "std": "[1, 1, 1]"}, "no list of numbers"),
    ],
)
def test_metadata_that_are_none_are_an_error_unless_a_choice_is_made(tmp_path, metadata, message):
    found = read(tmp_path, metadata=metadata)
    with pytest.raises(UserError, match=message) as caught:
        input_settings.find_normalization(NAME, found)
    assert len(str(caught.value)) < 500
    assert statistics(input_settings.find_normalization(NAME, found, "half")) == HALF


def test_an_unknown_choice_is_named():
    with pytest.raises(UserError, match="'no' is none of auto, imagenet, half, lup, none"):
        input_settings.find_normalization(NAME, None, "no")


def test_the_size_is_the_choice_or_the_files_or_the_models(tmp_path):
    found = read(tmp_path, metadata={"input_size": "[64, 32]"})
    assert input_settings.find_input_size(NAME, found) == (64, 32)
    assert input_settings.find_input_size(NAME, found, (96, 48)) == (96, 48)
    assert input_settings.find_input_size(NAME) == zoo.spec(NAME).input_size
    for wrong in ("[64]", "[8, 8]", '["64", 32]', "[64.5, 32]"):
        with pytest.raises(UserError, match="16 pixels or more"):
            input_settings.find_input_size(NAME, read(tmp_path, metadata={"input_size": wrong}))
