"""Networks of others as extractors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax import bridge, zoo
from cion_jax.bridge import agreement
from cion_jax.core.errors import UserError
from cion_jax.tasks import extractors
from configs import extract as settings
from tests.parity import weights


def config_of(**values):
    config = settings.get_config().lock()
    with config.ignore_type():
        config.update(values)
    return config


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An OpenVINO network of a fixed batch of one whose features are the means of the three channels."""
    ov = pytest.importorskip("openvino", reason="the extra `video` is not installed")
    from openvino import opset13 as ops

    images = ops.parameter([1, 3, 32, 16], np.float32)
    means = ops.reduce_mean(images, ops.constant(np.array([2, 3])), keep_dims=False)
    path = tmp_path_factory.mktemp("network") / "means.xml"
    ov.save_model(ov.Model([means], [images], "means"), path)
    return path


def test_a_network_gets_what_it_was_trained_on(network):
    pixels = np.zeros((5, 64, 64, 3), np.uint8)
    pixels[:, :40, :20] = np.array([10, 20, 30])
    sizes = np.tile(np.int32([40, 20]), (5, 1))
    said = []
    plain = extractors.load(config_of(weights=str(network), normalisation="none"), said.append)
    assert (plain.size, plain.name, plain.mesh, len(plain.digest)) == ((32, 16), "means", None, 64)
    np.testing.assert_allclose(plain.apply(pixels, sizes), np.tile([10, 20, 30], (5, 1)), atol=1e-3)
    flipped = extractors.load(
        config_of(weights=str(network), normalisation="half", colour="bgr"), said.append
    )
    expected = (np.array([30, 20, 10]) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(flipped.apply(pixels, sizes)[4], expected, atol=1e-3)
    assert "OpenVINO" in said[0]


def test_a_network_computes_in_float32_on_every_machine(network, monkeypatch):
    import openvino as ov

    options = []
    compile_model = ov.Core.compile_model

    def noted(self, model, device, config=None):
        options.append(config)
        return compile_model(self, model, device, config)

    monkeypatch.setattr(ov.Core, "compile_model", noted)
    extractors.load(config_of(weights=str(network), normalisation="none"), print)
    assert options == [{"INFERENCE_PRECISION_HINT": "f32"}]


FOLDED = ["repvit_m0_9", "fastvit_s12"]


@pytest.mark.parametrize("name", FOLDED)
def test_models_are_folded_in_float32_alone(name):
    variables = bridge.from_torch(name, weights.state_dict(name))
    module, folded = extractors._for_inference(name, variables, jnp.float32)
    assert module == zoo.create(name, fused=True)
    assert len(jax.tree.leaves(folded)) < len(jax.tree.leaves(variables)) / 2
    module, same = extractors._for_inference(name, variables, jnp.bfloat16)
    assert module == zoo.create(name, dtype=jnp.bfloat16) and same is variables


@pytest.mark.slow  # of the models alone: tests/parity/test_zoo.py
@pytest.mark.parametrize("name", FOLDED)
def test_folded_models_give_the_features_of_the_unfolded(tmp_path, name):
    path, size = tmp_path / "w.safetensors", (64, 32)
    bridge.save_file(path, weights.state_dict(name), {"model": name})
    pixels = np.random.default_rng(0).integers(0, 256, (8, *size, 3), np.uint8)
    extractor = extractors.load(config_of(weights=str(path), input_size=size), lambda _: None)
    found = extractor.apply(pixels, np.tile(np.int32(size), (8, 1)))
    module, variables = bridge.load(path)
    images = jnp.asarray((pixels / 255 - np.array(extractor.mean)) / np.array(extractor.std), jnp.float32)
    expected = jax.jit(module.apply)(variables, images)
    difference = agreement.compare(np.asarray(found), np.asarray(expected))
    assert difference.within(agreement.EXACT), difference


def test_what_a_network_does_not_say_is_asked_for(network):
    with pytest.raises(UserError, match=r"--config\.normalisation"):
        extractors.load(config_of(weights=str(network)), print)


def test_a_size_that_a_network_cannot_take_is_told(tmp_path):
    ov = pytest.importorskip("openvino", reason="the extra `video` is not installed")
    from openvino import opset13 as ops

    images = ops.parameter([1, 3, 32, 16], np.float32)
    # As a person extractor that ends in one kernel over all of its last map.
    kernel = ops.constant(np.ones((4, 3, 32, 16), np.float32))
    whole = ops.convolution(images, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    path = tmp_path / "whole.xml"
    ov.save_model(ov.Model([whole], [images], "whole"), path)
    assert extractors.load(config_of(weights=str(path), normalisation="none"), print).size == (32, 16)
    small = config_of(weights=str(path), normalisation="none", input_size=(16, 16))
    with pytest.raises(UserError, match=r"whole\.xml does not take input_size=\(16, 16\): .*32x16 \(\S"):
        extractors.load(small, print)


def test_files_that_are_no_networks(tmp_path, network):
    absent = config_of(weights=str(tmp_path / "absent.onnx"), normalisation="none")
    with pytest.raises(UserError, match="does not exist"):
        extractors.load(absent, print)
    (tmp_path / "torn.xml").write_text("<net>")
    with pytest.raises(UserError, match="no network that OpenVINO reads"):
        extractors.load(config_of(weights=str(tmp_path / "torn.xml"), normalisation="none"), print)
