"""RepViT: which blocks are gated, start, training, recomputation. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax import zoo
from cion_jax.zoo.repvit import Block, RepViT
from tests.zoo.training import check_training, structure, variables_of

RNG = np.random.default_rng(0)


def gates(depths):
    """Per stage, which of its blocks of stride 1 are gated."""
    rows = RepViT((4,) * len(depths), depths)._rows()
    stages, found = [], iter(rows)
    for stage, depth in enumerate(depths):
        if stage > 0:
            assert next(found)[1:] == (2, False)
        stages.append([int(next(found)[2]) for _ in range(depth)])
    return stages


def test_every_other_block_is_gated_but_the_last_before_a_stride():
    assert gates((3, 5)) == [[1, 0, 0], [1, 0, 1, 0, 0]]
    assert gates((15, 2)) == [[1, 0] * 7 + [0], [1, 0]]
    assert gates((25, 4)) == [[1, 0] * 12 + [0], [1, 0, 1, 0]]


@pytest.mark.parametrize(("stride", "gated"), [(1, False), (1, True), (2, False)])
def test_training_updates_every_statistic_and_reaches_every_parameter(stride, gated):
    x = jnp.asarray(RNG.normal(size=(3, 6, 4, 8)), jnp.float32)
    block = Block(8 * stride, stride, gated, fused=False)
    variables = variables_of(block, x, False)
    # A bias has no effect in training where nothing but linear layers lies between it and a batch norm.
    names = (
        ("['conv1']['bias']", "['conv']['bn']['bias']")
        if stride == 1
        else ("['token_mixer_0']['bn']['bias']",)
    )
    check_training(block, variables, x, without=names)


def test_blocks_begin_without_mixing_channels():
    module, images = RepViT((8, 8), (1, 1)), jnp.ones((1, 32, 16, 3))
    params = jax.jit(module.init)(jax.random.key(0), images)["params"]
    for name, block in params.items():
        if not name.startswith("features_0"):
            assert not np.any(block["channel_mixer"]["m_2"]["bn"]["scale"]), name
            assert np.all(block["channel_mixer"]["m_0"]["bn"]["scale"] == 1), name


def test_gates_are_as_narrow_as_ghostnets():
    images = jax.ShapeDtypeStruct((1, 32, 16, 3), jnp.float32)
    params = jax.eval_shape(zoo.create("repvit_m0_9").init, jax.random.key(0), images)["params"]
    assert params["features_1"]["token_mixer_1"]["conv_reduce"]["kernel"].shape == (1, 1, 48, 12)


def test_recomputation_keeps_the_paths():
    plain, again = (structure(RepViT((8, 8), (1, 1), remat=remat)) for remat in (False, True))
    assert plain == again


@pytest.mark.parametrize("size", [(33, 17), (48, 32)])
def test_bfloat16_is_finite_at_any_size(size):
    module = RepViT((8, 12), (1, 2), dtype=jnp.bfloat16)
    images = jnp.asarray(RNG.normal(size=(2, *size, 3)), jnp.float32)
    features = jax.jit(module.apply)(variables_of(module, images), images)
    assert features.shape == (2, 12) and features.dtype == jnp.bfloat16
    assert np.isfinite(np.float32(features)).all()
