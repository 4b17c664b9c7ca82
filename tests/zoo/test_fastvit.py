"""FastViT: branches, start, training, recomputation. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cion_jax.zoo import fastvit
from tests.zoo.training import check_training, structure, variables_of

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("arguments", "branches"),
    [
        ({"features": 8, "kernel_size": 3, "stride": 2}, {"rbr_conv_0", "rbr_scale"}),
        ({"features": 8}, {"rbr_conv_0", "rbr_skip"}),
        ({"features": 8, "kernel_size": 3, "groups": 8}, {"rbr_conv_0", "rbr_scale", "rbr_skip"}),
        (
            {"features": 64, "kernel_size": 3, "groups": 8, "gated": True},
            {"rbr_conv_0", "rbr_scale", "se"},
        ),
    ],
)
def test_a_mobile_one_block_has_the_branches_that_its_shape_allows(arguments, branches):
    x, block = normal(3, 5, 4, 8), fastvit.MobileOne(**arguments)
    variables = variables_of(block, x, False)
    assert set(variables["params"]) == branches
    check_training(block, variables, x)


@pytest.mark.parametrize(
    "block",
    [fastvit.RepMixerBlock(fused=False), fastvit.AttentionBlock(), fastvit.Downsample(fused=False)],
    ids=lambda block: type(block).__name__,
)
def test_training_updates_every_statistic_and_reaches_every_parameter(block):
    x = normal(3, 4, 4, 32)
    # No activation lies between the sum of the large kernel's norms and the next norms: their biases are of no effect.
    names = ("['lkb_origin']['bn']['bias']", "['small_conv']['bn']['bias']")
    check_training(block, variables_of(block, x, False), x, without=names)


def test_two_filters_read_each_channel():
    x = np.zeros((1, 8, 8, 3), np.float32)
    x[..., 1] = RNG.normal(size=(8, 8))
    module = fastvit.LargeKernel(fused=True)
    variables = variables_of(module, x, False)
    variables["params"]["lkb_reparam"]["bias"] = np.zeros(6, np.float32)
    y = np.asarray(module.apply(variables, x, False))
    assert y.shape == (1, 4, 4, 6)
    assert [bool(y[..., o].any()) for o in range(6)] == [False, False, True, True, False, False]


def test_start():
    module, images = fastvit.FastViT((1, 1), attention=True), jnp.ones((1, 32, 32, 3))
    params = jax.jit(module.init)(jax.random.key(0), images)["params"]
    flat = {"/".join(path): leaf for path, leaf in traverse_util.flatten_dict(params).items()}
    scales = {key: leaf for key, leaf in flat.items() if "layer_scale" in key}
    assert len(scales) == 4
    for key, leaf in scales.items():
        assert leaf.shape[1:] == (1, 1) and np.all(leaf == np.float32(1e-5)), key
    normals = [
        "network_0_0/convffn/conv/conv",
        "network_0_0/convffn/fc1",
        "network_3_0/convffn/fc2",
        "network_3_0/token_mixer/qkv",
        "network_3_0/token_mixer/proj",
    ]
    for key in normals:
        assert abs(float(flat[f"{key}/kernel"].std()) - 0.02) < 0.002, key
        assert not np.any(flat.get(f"{key}/bias", 0)), key
    # Everything else starts from PyTorch's default, biases included.
    assert 0.13 < float(jnp.abs(flat["network_2/pe/kernel"]).max()) <= 1 / 7
    assert 0.1 < float(jnp.abs(flat["network_2/pe/bias"]).max()) <= 1 / 7
    assert 0.3 < float(jnp.abs(flat["patch_embed_1/rbr_conv_0/conv/kernel"]).max()) <= 1 / 3


def test_recomputation_keeps_the_paths():
    plain, again = (structure(fastvit.FastViT((1, 1), True, remat=remat)) for remat in (False, True))
    assert plain == again


@pytest.mark.parametrize("size", [(33, 17), (48, 32)])
def test_bfloat16_is_finite_at_any_size(size):
    module = fastvit.FastViT((1, 1), attention=True, dtype=jnp.bfloat16)
    images = normal(2, *size, 3)
    features = jax.jit(module.apply)(variables_of(module, images), images)
    assert features.shape == (2, 1024) and features.dtype == jnp.bfloat16
    assert np.isfinite(np.float32(features)).all()
