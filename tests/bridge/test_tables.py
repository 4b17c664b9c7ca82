"""Resizing of position tables: by hand, against PyTorch, and only on request."""

import importlib.util

import numpy as np
import pytest

from cion_jax import bridge
from cion_jax.bridge import tables
from cion_jax.core.errors import UserError
from cion_jax.zoo import swin
from tests.parity import weights

RNG = np.random.default_rng(0)
VIT, VOLO, SWIN = "pos_embed", "pos_embed", "layers.0.blocks.0.attn.relative_position_bias_table"


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("grid", [(24, 8), (14, 14), (32, 16)])
def test_a_plane_stays_a_plane(grid):
    """Rows of a table that grow evenly nearly do so after a resize, away from the border."""
    rows, columns = np.indices(grid, np.float32)
    heights, widths = (np.arange(n, dtype=np.float32) for n in (16, 8))
    table = np.stack([(rows + 0.5) / grid[0], (columns + 0.5) / grid[1]], -1)
    table = np.concatenate([normal(1, 1, 2), table.reshape(1, -1, 2)], axis=1)
    new = tables.resized(VIT, table, (1, 129, 2), True)
    np.testing.assert_array_equal(new[:, 0], table[:, 0])
    found = new[0, 1:].reshape(16, 8, 2)
    np.testing.assert_allclose(found[3:-3, 2, 0], ((heights + 0.5) / 16)[3:-3], atol=0.005)
    np.testing.assert_allclose(found[3, 2:-2, 1], ((widths + 0.5) / 8)[2:-2], atol=0.005)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("side", [13, 15, 23])
def test_pytorch_resizes_alike(side):
    import torch

    table = normal(side * side, 3)
    image = torch.from_numpy(table.T.reshape(1, 3, side, side).copy())
    expected = torch.nn.functional.interpolate(image, (15, 15), mode="bicubic", align_corners=False)
    found = tables.resized(SWIN, table, (225, 3), True)
    np.testing.assert_allclose(found.T, expected[0].reshape(3, -1).numpy(), atol=1e-5)


def test_what_is_no_change_of_size_is_left_alone():
    assert tables.resized(VIT, normal(1, 129, 4), (1, 129, 5), True) is None
    assert tables.resized(SWIN, normal(168, 3), (225, 3), True) is None
    assert tables.resized(SWIN, normal(169, 4), (225, 3), True) is None
    assert tables.resized(VOLO, normal(1, 14, 14, 4), (1, 129, 4), True) is None


def test_a_grid_that_cannot_be_guessed_must_be_named():
    table = normal(1, 1 + 20 * 9, 4)
    with pytest.raises(UserError, match="name the grid"):
        tables.resized(VIT, table, (1, 129, 4), True)
    with pytest.raises(UserError, match="has 180 places, not 192"):
        tables.resized(VIT, table, (1, 129, 4), (24, 8))
    assert tables.resized(VIT, table, (1, 129, 4), (20, 9)).shape == (1, 129, 4)


def test_windows_are_told_from_their_index():
    assert tables.window_of(swin.relative_position_index()) == 8
    assert tables.window_of(swin.relative_position_index().T) is None
    assert tables.window_of(np.zeros((3, 4), int)) is None


CASES = [
    ("vit_tiny", "pos_embed", (1, 193, 192), "the one of 384x128"),
    ("volo_d1", "pos_embed", (1, 14, 14, 384), "the one of ImageNet"),
]


@pytest.mark.parametrize(("name", "key", "shape", "which"), CASES)
def test_tables_are_resized_on_request_only(name, key, shape, which):
    given = weights.state_dict(name)
    given[key] = weights.tensor(key, list(shape))
    with pytest.raises(UserError, match="resize=True") as caught:
        bridge.from_torch(name, given)
    assert f"other shape: {key} is {list(shape)}" in str(caught.value), which
    variables = bridge.from_torch(name, given, resize=True)
    np.testing.assert_array_equal(
        bridge.to_torch(name, variables)[key],
        tables.resized(key, given[key], tuple(weights.state_dict(name)[key].shape), True),
    )


def test_swin_as_first_published_with_windows_of_seven():
    """Microsoft's ImageNet names: another last norm, masks and indices of windows of seven, a classifier."""
    given = {}
    for key, value in weights.state_dict("swin_tiny").items():
        if key.endswith("bias_table"):
            value = weights.tensor(key, [169, value.shape[1]])
        if key.endswith("position_index"):
            places = np.indices((7, 7)).reshape(2, -1)
            dy, dx = places[:, :, None] - places[:, None] + 6
            value = dy * 13 + dx
        given[key.replace("norm3.", "norm.")] = value
    given |= {"head.weight": np.ones((1000, 768)), "layers.0.blocks.1.attn_mask": np.zeros((64, 49, 49))}
    assert bridge.recognise({"model": given}).description == (
        "This is a plain backbone, under the names of Swin's first publication, from the entry 'model'; left out: "
        "the classifier head."
    )
    with pytest.raises(UserError, match="resize=True") as caught:
        bridge.from_torch("swin_tiny", given)
    assert "missing" not in str(caught.value) and "surplus" not in str(caught.value)
    variables = bridge.from_torch("swin_tiny", {"model": given}, resize=True)
    ours = bridge.to_torch("swin_tiny", variables)
    table = "layers.3.blocks.1.attn.relative_position_bias_table"
    np.testing.assert_array_equal(ours[table], tables.resized(table, given[table], (225, 24), True))
    np.testing.assert_array_equal(ours["norm3.bias"], given["norm.bias"])
