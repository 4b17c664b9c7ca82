import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from cion_jax.core import mesh as meshes
from cion_jax.core.errors import UserError

RULES = (("last_layer/weight_v$", ("fsdp", None)), ("kernel$", (None, "fsdp")))


def spec_of(path_tree, fsdp=2):
    return jax.tree.map(lambda s: s.spec, meshes.shardings(meshes.make_mesh(fsdp), path_tree, RULES))


def test_the_mesh_has_all_devices_in_process_order():
    mesh = meshes.make_mesh(2)
    assert mesh.shape == {"data": jax.device_count() // 2, "fsdp": 2}
    assert list(mesh.devices.flat) == jax.devices()


@pytest.mark.parametrize("fsdp", [0, 3, -1])
def test_an_fsdp_that_does_not_divide_the_devices_is_refused(fsdp):
    with pytest.raises(UserError, match=rf"mesh\.fsdp={fsdp} does not divide"):
        meshes.make_mesh(fsdp)


def test_rules_count_dimensions_from_the_last_and_the_first_fit_wins():
    tree = {
        "head": {"last_layer": {"weight_v": jnp.zeros((8, 3)), "kernel": jnp.zeros((3, 8))}},
        "conv": {"kernel": jnp.zeros((3, 3, 5, 4)), "bias": jnp.zeros(4)},
    }
    specs = spec_of(tree)
    assert specs["head"]["last_layer"] == {"weight_v": P("fsdp", None), "kernel": P(None, "fsdp")}
    assert specs["conv"] == {"kernel": P(None, None, None, "fsdp"), "bias": P()}


def test_a_dimension_that_does_not_divide_leaves_the_array_whole():
    assert spec_of({"kernel": jnp.zeros((4, 7))})["kernel"] == P()


def test_a_batch_lies_in_contiguous_rows_over_all_devices():
    mesh = meshes.make_mesh(2)
    rows = np.arange(jax.device_count() * 3)
    placed = meshes.put_batch({"record": rows}, meshes.batch_sharding(mesh))["record"]
    np.testing.assert_array_equal(placed, rows)
    for number, device in enumerate(jax.devices()):
        shard = next(s for s in placed.addressable_shards if s.device == device)
        np.testing.assert_array_equal(shard.data, rows[3 * number : 3 * number + 3])


def test_path_names_join_keys_attributes_and_numbers():
    tree = {"a": [jnp.zeros(1)]}
    [(path, _)] = jax.tree_util.tree_leaves_with_path(tree)
    assert meshes.path_name(path) == "a/0"
