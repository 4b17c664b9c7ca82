"""The task `export`, as the command line calls it."""

import importlib.util

import numpy as np
import pytest

from cion_jax import bridge
from cion_jax.bridge import onnx_graph
from cion_jax.core.errors import UserError
from cion_jax.tasks import export, extractors
from configs import export as settings
from configs import extract as extract_settings
from tests.parity import weights
from tests.tasks.two_runs import try_during

NAME = "resnet18"
MISSING = [name for name in onnx_graph.PACKAGES if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file as a run leaves it."""
    path = tmp_path_factory.mktemp("run") / "backbone.safetensors"
    about = {"model": NAME, "input_size": "[64, 32]", "commit": "c0ffee", "steps": "7"}
    bridge.save_file(path, bridge.to_torch(NAME, bridge.from_torch(NAME, weights.state_dict(NAME))), about)
    return path


def config_of(**values):
    config = settings.get_config().lock()
    config.update(values)
    return config


@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: {onnx_graph.INSTALL}")
def test_a_run_becomes_onnx_at_its_own_size(source, tmp_path, capsys):
    import onnx

    export.run(config_of(source=str(source), l2_normalise=True), tmp_path)
    model = onnx.load(tmp_path / f"{NAME}.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert (about["input_size"], about["steps"], about["l2_normalise"]) == ("[64, 32]", "7", "True")
    assert "MB in" in (line := capsys.readouterr().out) and "least cosine 1.0000" in line


@pytest.fixture(scope="module")
def transreid(tmp_path_factory):
    """A fine-tuned checkpoint, which TransReID normalizes with 0.5."""
    path = tmp_path_factory.mktemp("transreid") / "w.safetensors"
    state = {f"base.{key}": value for key, value in weights.state_dict(NAME).items()}
    bridge.save_file(path, state | {"classifier.weight": np.ones((3, 512), np.float32)})
    return path


@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: {onnx_graph.INSTALL}")
def test_onnx_gives_the_features_that_extract_gives(transreid, tmp_path):
    """Pictures in, with the mean that TransReID trains with: an exported file and `extract` agree."""
    import onnxruntime

    target = tmp_path / "model.onnx"
    values = {"model": {"name": NAME}, "input_size": (64, 32), "preprocess": True}
    export.run(config_of(source=str(transreid), target=str(target), **values), tmp_path)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert (about["mean"], about["std"]) == ("[0.5, 0.5, 0.5]", "[0.5, 0.5, 0.5]")
    config = extract_settings.get_config()
    config.weights, config.model.name, config.input_size = str(transreid), NAME, (64, 32)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 32, 3), np.uint8)
    extractor = extractors.load(config, lambda _: None)
    expected = np.asarray(extractor.apply(pictures, np.tile(np.int32([64, 32]), (8, 1))))
    (found,) = session.run(None, {"images": pictures})
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torch_weights_carry_the_mean_that_belongs_to_them(transreid, tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    target, again = tmp_path / f"w{suffix}", tmp_path / "again.safetensors"
    values = {"source": str(transreid), "format": "torch", "model": {"name": NAME}}
    export.run(config_of(**values, target=str(target)), tmp_path)
    assert bridge.load_metadata(target)["mean"] == "[0.5, 0.5, 0.5]"
    # The names are official now; what the file states must not get lost when it is exported once more.
    export.run(config_of(source=str(target), format="torch", target=str(again)), tmp_path)
    assert bridge.load_metadata(again)["std"] == "[0.5, 0.5, 0.5]"
    export.run(config_of(**values, target=str(target), normalization="lup"), tmp_path)
    assert bridge.load_metadata(target)["mean"] == "[0.3525, 0.3106, 0.314]"


def test_tables_of_another_size_are_resized_on_request(tmp_path):
    state = {key: value for key, value in weights.state_dict("vit_tiny").items() if key[:3] != "fc."}
    path, target = tmp_path / "w.safetensors", tmp_path / "out.safetensors"
    bridge.save_file(path, state | {"pos_embed": weights.tensor("pos_embed", [1, 193, 192])})
    values = {"source": str(path), "format": "torch", "target": str(target), "model": {"name": "vit_tiny"}}
    with pytest.raises(UserError, match="resize=True"):
        export.run(config_of(**values), tmp_path)
    export.run(config_of(**values, resize=True), tmp_path)
    assert bridge.load_file(target)["pos_embed"].shape == (1, 129, 192)


@pytest.mark.slow  # tests/bridge/test_export.py has the same journey without the task
def test_a_jax_program(source, tmp_path, capsys):
    target = tmp_path / "model.stablehlo"
    export.run(
        config_of(source=str(source), format="stablehlo", target=str(target), input_size=(32, 32)), tmp_path
    )
    assert target.stat().st_size > 4e7 and str(target) in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torch_weights_keep_what_the_file_tells(source, tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    target = tmp_path / f"weights{suffix}"
    export.run(config_of(source=str(source), format="torch", target=str(target)), tmp_path)
    given, found = bridge.load_file(source), bridge.load_file(target)
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[key], given[key]) for key in given)
    about = bridge.load_metadata(target)
    assert (about["model"], about["commit"], about["steps"]) == (NAME, "c0ffee", "7")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "--config.source"),
        ({"source": "nowhere.pth", "model": {"name": NAME}}, "no weight file nowhere.pth"),
        ({"source": "nowhere.pth"}, "--config.model.name"),
        ({"format": "tflite"}, "format='tflite' is none of onnx"),
        ({"format": "torch", "half": True}, "half=True has no meaning"),
        ({"model": {"name": "vit_base"}}, "holds resnet18, not model.name=vit_base"),
        ({"input_size": (8, 8)}, "input_size"),
        ({"normalization": "no"}, "normalization='no' is none of auto"),
    ],
)
def test_mistakes_are_named(source, tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        export.run(config_of(**({"source": str(source)} | values)), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_second_run_on_the_target_is_refused_and_the_first_is_unharmed(source, tmp_path, monkeypatch):
    target = tmp_path / "weights.safetensors"
    config = config_of(source=str(source), format="torch", target=str(target))
    refusals = try_during(monkeypatch, bridge, "save_file", lambda: export.run(config, tmp_path))
    export.run(config, tmp_path)
    assert "weights.safetensors is being written by task export" in refusals[0]
    found = bridge.load_file(target)
    assert found.keys() == bridge.load_file(source).keys()
