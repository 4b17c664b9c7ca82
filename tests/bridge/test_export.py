"""Exported models: the interface, the options, the metadata, and that a wrong one is never kept."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.bridge import export, onnx_graph
from cion_jax.core.errors import UserError
from tests.parity import weights

SIZE = (64, 32)
NAME = "resnet18_ibn"
MISSING = [name for name in onnx_graph.PACKAGES if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: {onnx_graph.INSTALL}")


@pytest.fixture(scope="module")
def variables():
    return bridge.from_torch(NAME, weights.state_dict(NAME))


@pytest.fixture(scope="module")
def plain_file(variables, tmp_path_factory):
    """The model with no options: what became of it."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return bridge.export_onnx(NAME, variables, path, input_size=SIZE, metadata={"steps": 7})


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def features(variables, images):
    """Ours, of normalised images [b, h, w, 3]."""
    return np.asarray(jax.jit(zoo.create(NAME).apply)(variables, jnp.asarray(images)))


@needs_onnx
def test_a_file_takes_any_batch_and_gives_our_features(plain_file, variables):
    runtime = session(plain_file.path)
    (given,), (gives,) = runtime.get_inputs(), runtime.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(float)", [3, *SIZE])
    assert isinstance(given.shape[0], str), "the batch size is fixed in the file"
    assert (gives.name, gives.type, gives.shape[1]) == ("features", "tensor(float)", 512)
    images = np.random.default_rng(3).normal(size=(4, *SIZE, 3)).astype(np.float32)
    expected = features(variables, images)
    for batch in (1, 3, 4):
        (found,) = runtime.run(None, {"images": images[:batch].transpose(0, 3, 1, 2)})
        np.testing.assert_allclose(found, expected[:batch], atol=1e-4 * np.abs(expected).max())
    assert plain_file.deviation.error < 1e-4 and plain_file.deviation.cosine > 0.99999
    assert plain_file.size == plain_file.path.stat().st_size > 4 * zoo.spec(NAME).parameters


@needs_onnx
def test_the_metadata_tells_how_to_use_the_file(plain_file):
    about = session(plain_file.path).get_modelmeta().custom_metadata_map
    spec = zoo.spec(NAME)
    assert about["model"] == NAME and about["steps"] == "7"
    assert json.loads(about["mean"]) == list(spec.mean) and json.loads(about["std"]) == list(spec.std)
    assert json.loads(about["input_size"]) == list(SIZE)
    assert about["commit"]
    assert (about["l2_normalise"], about["preprocess"], about["precision"]) == ("False", "False", "float32")


@needs_onnx
def test_a_convolution_is_one_operator_and_norms_are_folded_into_it(plain_file):
    import onnx

    operators = [node.op_type for node in onnx.load(plain_file.path).graph.node]
    assert operators.count("Conv") == 20, "a convolution was written in another form: see zoo/forms.py"
    assert len(operators) < 200, "ONNX Runtime's tidying did not fold the norms and the layout changes"


@needs_onnx
def test_pictures_go_in_and_features_of_length_one_come_out(variables, tmp_path):
    path = tmp_path / "deep/model.onnx"
    bridge.export_onnx(NAME, variables, path, input_size=SIZE, preprocess=True, l2_normalise=True)
    pictures = np.random.default_rng(4).integers(0, 256, (2, *SIZE, 3), np.uint8)
    (found,) = session(path).run(None, {"images": pictures})
    spec = zoo.spec(NAME)
    expected = features(variables, (pictures / 255 - np.array(spec.mean)) / np.array(spec.std))
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert session(path).get_modelmeta().custom_metadata_map["preprocess"] == "True"


@needs_onnx
def test_mean_and_deviation_are_those_that_were_given(variables, tmp_path, monkeypatch):
    """In the graph, in the metadata, and in what the check compares with."""
    mean, std, path = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), tmp_path / "model.onnx"
    bridge.export_onnx(NAME, variables, path, input_size=SIZE, preprocess=True, mean=mean, std=std)
    pictures = np.random.default_rng(4).integers(0, 256, (2, *SIZE, 3), np.uint8)
    (found,) = session(path).run(None, {"images": pictures})
    expected = features(variables, np.float32((pictures / 255 - np.array(mean)) / np.array(std)))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    about = session(path).get_modelmeta().custom_metadata_map
    assert (json.loads(about["mean"]), json.loads(about["std"])) == (list(mean), list(std))

    # A graph that was given others is not kept.
    convert = export.inference.function

    def wrong(module, folded, interface):
        return convert(module, folded, interface._replace(mean=(0.4, 0.4, 0.3)))

    monkeypatch.setattr(export.inference, "function", wrong)
    with pytest.raises(UserError, match="is not kept"):
        bridge.export_onnx(NAME, variables, path, input_size=SIZE, preprocess=True, mean=mean, std=std)


@pytest.mark.parametrize(
    "values",
    [{"mean": (0.5, 0.5, 0.5)}, {"mean": (0, 0, 0), "std": (1, 1, 0)}, {"mean": (0,), "std": (1,)}],
)
def test_mean_and_deviation_that_cannot_be_used(tmp_path, variables, values):
    with pytest.raises(ValueError, match="mean"):
        bridge.export_stablehlo(NAME, variables, tmp_path / "model", input_size=SIZE, **values)


@needs_onnx
def test_half_precision_is_half_the_size(plain_file, variables, tmp_path):
    done = bridge.export_onnx(NAME, variables, tmp_path / "half.onnx", input_size=SIZE, half=True)
    assert done.size < 0.55 * plain_file.size
    (given,), (gives,) = session(done.path).get_inputs(), session(done.path).get_outputs()
    assert (given.type, gives.type) == ("tensor(float)", "tensor(float)")
    assert done.deviation.error > 1e-5, "nothing was rounded to float16"


@needs_onnx
@pytest.mark.parametrize("term", [0.01, np.nan])
def test_a_wrong_graph_is_not_kept(plain_file, variables, tmp_path, monkeypatch, term):
    """A valid one, right but for a term that only running it can show."""
    import onnx

    path = tmp_path / "model.onnx"
    path.write_bytes(b"an earlier file")
    wrong = onnx.load(plain_file.path)
    last = next(node for node in wrong.graph.node if "features" in node.output)
    last.output[list(last.output).index("features")] = "right"
    wrong.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(term), "term"))
    wrong.graph.node.append(onnx.helper.make_node("Add", ["right", "term"], ["features"]))
    monkeypatch.setattr(onnx_graph, "convert", lambda *_: wrong)
    with pytest.raises(UserError, match=r"model\.onnx is not kept: .*cosine"):
        bridge.export_onnx(NAME, variables, path, input_size=SIZE)
    assert path.read_bytes() == b"an earlier file", "the earlier file was touched"
    assert list(tmp_path.iterdir()) == [path], "something was left behind"


@needs_onnx
def test_a_graph_for_one_picture_only_is_not_kept(plain_file, variables, tmp_path, monkeypatch):
    import onnx

    fixed = onnx.load(plain_file.path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    monkeypatch.setattr(onnx_graph, "convert", lambda *_: fixed)
    with pytest.raises(UserError, match="ONNX Runtime fails on it"):
        bridge.export_onnx(NAME, variables, tmp_path / "model.onnx", input_size=SIZE)
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_what_the_converter_cannot_write_is_a_sentence(variables, tmp_path, monkeypatch):
    def on_the_host(images):
        return jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(images.shape, images.dtype), images)

    monkeypatch.setattr(export.inference, "function", lambda *_: on_the_host)
    with pytest.raises(UserError, match="could not convert"):
        bridge.export_onnx(NAME, variables, tmp_path / "model.onnx", input_size=SIZE)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_command(variables, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "PACKAGES", ("numpy", "no_such_converter"))
    with pytest.raises(UserError, match=r"needs no_such_converter\. Install with: pip install"):
        bridge.export_onnx(NAME, variables, tmp_path / "model.onnx", input_size=SIZE)


@pytest.mark.parametrize(
    "form", [pytest.param(bridge.export_onnx, marks=needs_onnx), bridge.export_stablehlo]
)
def test_mistakes_are_named(tmp_path, form):
    with pytest.raises(UserError, match="no model 'resnet19'"):
        form("resnet19", {}, tmp_path / "model")
    variables = bridge.from_torch("vit_tiny", weights.state_dict("vit_tiny"))
    with pytest.raises(UserError, match=r"input_size=\(8, 8\) does not suit vit_tiny"):
        form("vit_tiny", variables, tmp_path / "model", input_size=(8, 8))
    assert not list(tmp_path.iterdir())


def test_stablehlo_there_and_back(variables, tmp_path):
    done = bridge.export_stablehlo(
        *(NAME, variables, tmp_path / "model.stablehlo"),
        input_size=SIZE,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        metadata={"steps": 7},
    )
    about = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert (about["model"], about["mean"], about["std"]) == (NAME, [0.5] * 3, [0.5] * 3)
    assert (about["input_size"], about["steps"]) == (list(SIZE), 7) and about["commit"]
    program = jax.export.deserialize(bytearray(done.path.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    images = np.random.default_rng(5).normal(size=(3, *SIZE, 3)).astype(np.float32)
    expected = features(variables, images)
    np.testing.assert_allclose(program.call(images), expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(program.call(images[:1]), expected[:1], atol=1e-4 * np.abs(expected).max())
