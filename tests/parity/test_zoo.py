"""Features of every model, and the DINO head, against those of the official PyTorch code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import flops
from cion_jax import bridge, zoo
from cion_jax.zoo import edgenext, vit, volo
from tests.parity import weights

SIZES = tuple(weights.INPUT_SEEDS)
# The smallest of an architecture where it compiles in a few seconds; the others run with -m slow.
QUICK = (
    "vit_tiny",
    "swin_tiny",
    "resnet18",
    "resnet18_ibn",
    "convnext_tiny",
    "edgenext_x_small",
    "ghostnet_0_5",
    "repvit_m0_9",
)
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]
FUSED = [name for name in zoo.MODELS if "fused" in zoo.spec(name).overrides]


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.parametrize("name", ALL)
def test_features_are_the_official_ones(name):
    module = zoo.create(name)
    variables = bridge.from_torch(name, weights.state_dict(name))
    tolerance = weights.tables()[name]["tolerance"]
    apply = jax.jit(module.apply, static_argnames="train")
    with np.load(weights.GOLDEN / "zoo_eval.npz") as golden:
        for size in SIZES:
            expected = golden[f"{name}/{size[0]}x{size[1]}"]
            features = apply(variables, weights.images(size), train=False)
            assert features.shape == expected.shape
            deviation = weights.deviation(features, expected)
            assert deviation <= tolerance, (
                f"{name} at {size[0]}x{size[1]} deviates by {deviation:.2g} rms; {tolerance:.2g} is allowed. "
                "1e-4 speaks for an epsilon or an activation (LayerNorm 1e-6, exact GELU), 1e-2 and more for "
                "padding, strides, order of operations or, at 128x64 alone, the position table. "
                "Find the layer: compare the outputs of submodules with the oracle's debug_stages.json."
            )


@pytest.mark.parametrize("name", ALL)
def test_multiply_accumulates_are_the_official_ones(name):
    expected = weights.tables()[name]["macs"]
    counted = flops.forward(zoo.create(name), (1, 256, 128, 3))
    assert counted == expected, (
        f"{name}: a layer of another width, stride or count; {counted - expected:+,} in all"
    )


@pytest.mark.parametrize("size", [(128, 64), (384, 128)])
def test_vit_position_table_at_other_sizes(size):
    table = weights.tensor("pos_embed", [1, 129, 192])
    with np.load(weights.GOLDEN / "zoo_pieces.npz") as pieces:
        expected = pieces[f"pos_interp/vit_tiny/{size[0]}x{size[1]}"]
    resized = vit.position_table(jnp.asarray(table), size)
    assert resized.shape == expected.shape
    np.testing.assert_allclose(resized, expected, atol=3e-6, err_msg="see the 0.1 in vit.position_table")


def test_edgenext_fourier_table():
    with np.load(weights.GOLDEN / "zoo_pieces.npz") as pieces:
        expected = pieces["edgenext_fourier_64ch/32x16"][0].transpose(1, 2, 0)
    table = edgenext.fourier_table((32, 16))
    np.testing.assert_allclose(table, expected, atol=1e-6, err_msg="row channels first; sine before cosine")


@pytest.mark.parametrize("size", [(128, 64), (384, 128)])
def test_volo_position_table_at_other_sizes(size):
    table = weights.tensor("pos_embed", [1, 16, 8, 384])
    with np.load(weights.GOLDEN / "zoo_pieces.npz") as pieces:
        expected = pieces[f"pos_interp/volo_d1/{size[0]}x{size[1]}"]
    grid = (size[0] // 16, size[1] // 16)
    resized = volo.position_table(jnp.asarray(table), grid, size)
    np.testing.assert_allclose(resized, expected, atol=3e-6, err_msg="see the 0.1 in positions.resize")


@pytest.mark.slow
@pytest.mark.parametrize("name", FUSED)
def test_fused_features_are_those_of_the_unfused_model(name):
    variables = bridge.from_torch(name, weights.state_dict(name))
    module, folded = zoo.fuse(name, variables)
    plain, fused = (jax.jit(m.apply) for m in (zoo.create(name), module))
    for size in SIZES:
        deviation = weights.deviation(
            fused(folded, weights.images(size)), plain(variables, weights.images(size))
        )
        assert deviation <= 1e-4, (
            f"{name} at {size[0]}x{size[1]} deviates by {deviation:.2g} rms after folding"
        )


def test_dino_head_is_the_official_one():
    with np.load(weights.GOLDEN / "zoo_head.npz") as golden:
        golden = dict(golden)
    features = golden["input"]
    shapes = {
        "mlp.0.weight": (2048, features.shape[1]),
        "mlp.0.bias": (2048,),
        "mlp.2.weight": (2048, 2048),
        "mlp.2.bias": (2048,),
        "mlp.4.weight": (256, 2048),
        "mlp.4.bias": (256,),
        "last_layer.weight_g": (128, 1),
        "last_layer.weight_v": (128, 256),
    }
    variables = bridge.head_from_torch({key: weights.tensor(key, shape) for key, shape in shapes.items()})
    factors = np.random.Generator(np.random.PCG64(6)).standard_normal((4, 128), dtype=np.float32)

    def total(params):
        scores = zoo.DINOHead(128).apply({"params": params}, features)
        return jnp.sum(scores * factors), scores

    gradients, scores = jax.grad(total, has_aux=True)(variables["params"])
    assert weights.deviation(scores, golden["output"]) < 2e-5
    assert weights.deviation(gradients["last_layer"]["weight_v"], golden["grad_weight_v"]) < 2e-5
