"""A backbone to begin with: it replaces that of student and teacher, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax import bridge
from cion_jax.core.errors import UserError
from cion_jax.tasks import initial_weights
from cion_jax.train.state import Network, TrainState
from tests.parity import weights

NAME = "resnet18"


def state():
    def network(value):
        return Network(
            params={"backbone": {"kernel": jnp.full((2, 3), value)}, "head": {"kernel": jnp.full(4, value)}},
            batch_stats={"backbone": {"mean": jnp.full(3, value)}, "head": {}},
        )

    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, network(1.0), network(2.0), {"moment": jnp.ones(3)}, jnp.ones(4), zero, zero)


def variables():
    return {
        "params": {"kernel": np.arange(6.0).reshape(2, 3)},
        "batch_stats": {"mean": np.array([7.0, 8.0, 9.0])},
    }


def test_student_and_teacher_get_the_backbone_and_the_rest_stays():
    before = state()
    layout = jax.tree.map(lambda leaf: leaf.sharding, before)
    after = initial_weights.put(before, layout, variables())
    for network, old in ((after.student, before.student), (after.teacher, before.teacher)):
        np.testing.assert_array_equal(network.params["backbone"]["kernel"], variables()["params"]["kernel"])
        np.testing.assert_array_equal(network.batch_stats["backbone"]["mean"], [7, 8, 9])
        np.testing.assert_array_equal(network.params["head"]["kernel"], old.params["head"]["kernel"])
    unchanged = ("step", "optimizer", "center", "skipped", "skipped_in_row")
    assert jax.tree.all(
        jax.tree.map(
            lambda a, b: bool((a == b).all()),
            [getattr(after, name) for name in unchanged],
            [getattr(before, name) for name in unchanged],
        )
    )
    kinds = [[(x.shape, x.dtype, x.sharding) for x in jax.tree.leaves(tree)] for tree in (before, after)]
    assert kinds[0] == kinds[1], "another type or place would compile the step anew"


@pytest.mark.parametrize("wrong", [{"params": {}}, {"batch_stats": {"mean": np.zeros(4)}}])
def test_variables_of_another_backbone_are_refused(wrong):
    before = state()
    layout = jax.tree.map(lambda leaf: leaf.sharding, before)
    with pytest.raises(ValueError, match="backbone"):
        initial_weights.put(before, layout, variables() | wrong)


def test_files_are_read_and_those_that_do_not_fit_are_named(tmp_path):
    file = tmp_path / "backbone.safetensors"
    content = weights.state_dict(NAME)
    bridge.save_file(file, content, {"model": NAME})
    found = initial_weights.read(str(file), NAME)
    jax.tree.map(np.testing.assert_array_equal, found, bridge.from_torch(NAME, content))
    with pytest.raises(UserError, match="holds a resnet18"):
        initial_weights.read(str(file), "resnet50")
    with pytest.raises(UserError, match=r"model\.weights=.*does not exist"):
        initial_weights.read(str(tmp_path / "none.pth"), NAME)


def test_tables_of_another_image_size_are_resized_on_request(tmp_path):
    """The message of the refusal names resize=True, which model.resize passes on."""
    name = "vit_tiny"
    tensors = weights.state_dict(name)
    tensors["pos_embed"] = np.concatenate(
        [tensors["pos_embed"][:, :1], tensors["pos_embed"][:, 1:65]], axis=1
    )
    file = tmp_path / "small.safetensors"
    bridge.save_file(file, tensors, {"model": name})
    with pytest.raises(UserError, match="resize=True"):
        initial_weights.read(str(file), name)
    found = initial_weights.read(str(file), name, resize=True)
    assert found["params"]["pos_embed"].shape == (1, 129, 192)
