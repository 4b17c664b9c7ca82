"""GhostNet: blocks in training. Values: tests/parity/test_zoo.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo.ghostnet import GhostBlock, GhostModule, GhostNet, Row
from tests.zoo.training import check_training, variables_of


def test_an_odd_number_of_features_is_cut():
    module = GhostModule(5, active=False)
    x = jnp.ones((2, 4, 4, 3))
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
    assert variables["params"]["primary_conv_0"]["kernel"].shape == (1, 1, 3, 3)
    assert jax.eval_shape(lambda v: module.apply(v, x, False), variables).shape == (2, 4, 4, 5)


@pytest.mark.parametrize(
    "row", [Row(3, 16, 8, False, 1), Row(5, 24, 12, True, 2)], ids=["plain", "strided and gated"]
)
def test_training_updates_every_statistic_and_reaches_every_parameter(row):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 6, 8)), jnp.float32)
    block = GhostBlock(row, 1.0)
    variables = variables_of(block, x, False)
    assert ("shortcut_0" in variables["params"]) == (row.stride > 1)
    # Nothing but linear layers lies between that bias and the next batch norm, which takes it away.
    check_training(block, variables, x, without=("['shortcut_1']['bias']",))


def test_recomputation_keeps_the_paths():
    images = jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32)
    plain, again = (
        jax.eval_shape(GhostNet(0.5, remat=remat).init, jax.random.key(0), images) for remat in (False, True)
    )
    assert jax.tree.structure(plain) == jax.tree.structure(again)
