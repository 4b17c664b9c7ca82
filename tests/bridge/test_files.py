"""Weight files, without PyTorch: what it would have written is put together in test_pickles.py."""

import importlib.util

import ml_dtypes
import numpy as np
import pytest

from cion_jax import bridge
from cion_jax.bridge import torch_files
from cion_jax.core.errors import UserError

STATE = {
    "layer.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer.0.half": np.ones(2, np.float16),
    "layer.0.brain": np.array([1.5, -2], ml_dtypes.bfloat16),
    "bn.num_batches_tracked": np.zeros((), np.int64),
}


def same(a, b):
    assert set(a) == set(b)
    for key in a:
        assert (a[key].dtype, a[key].shape) == (b[key].dtype, b[key].shape)
        np.testing.assert_array_equal(a[key], b[key])


def test_safetensors_there_and_back(tmp_path):
    path = tmp_path / "new" / "w.safetensors"
    bridge.save_file(path, STATE, {"model": "vit_tiny", "input_size": (256, 128)})
    same(bridge.load_file(path), STATE)
    assert bridge.load_metadata(path) == {"model": "vit_tiny", "input_size": "(256, 128)"}
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_turned_arrays_are_written_as_they_read(tmp_path):
    turned = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    bridge.save_file(tmp_path / "w.safetensors", turned)
    np.testing.assert_array_equal(bridge.load_file(tmp_path / "w.safetensors")["w"], turned["w"])
    assert bridge.load_metadata(tmp_path / "w.safetensors") == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.safetensors", None, "no weight file"),
        ("w.bin", b"", r"not from '\.bin'"),
        ("w.safetensors", b"rubbish", "cannot be read as safetensors"),
        ("w.pth", b"\x80\x02}q\x00.", "neither in PyTorch's zip format"),
        ("w.pth", b"", "damaged"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        bridge.load_file(path)
    assert str(path) in str(caught.value)
    if content is not None and name != "w.pth":
        with pytest.raises(UserError, match=message):
            bridge.load_metadata(path)


def test_writing_elsewhere_raises(tmp_path):
    with pytest.raises(UserError, match=r"not to '\.npz'"):
        bridge.save_file(tmp_path / "w.npz", STATE)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_metadata_of_a_pth_file_are_an_entry_that_pytorch_ignores(tmp_path):
    import torch

    path, plain = tmp_path / "w.pth", tmp_path / "plain.pth"
    state = {key: value for key, value in STATE.items() if value.dtype != ml_dtypes.bfloat16}
    bridge.save_file(path, state, {"model": "vit_tiny", "mean": [0.5, 0.5, 0.5]})
    assert bridge.load_metadata(path) == {"model": "vit_tiny", "mean": "[0.5, 0.5, 0.5]"}
    same(bridge.load_file(path), state)
    for memory_map in (False, True):
        theirs = torch.load(path, weights_only=True, mmap=memory_map)
        same({key: value.numpy() for key, value in theirs.items()}, state)
    bridge.save_file(plain, state)
    assert bridge.load_metadata(plain) == {}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("text", ["[1]", '{"mean": 3}', "[" * 100_000, "{"])
def test_metadata_of_a_pth_file_that_are_none(tmp_path, text):
    path = tmp_path / "w.pth"
    bridge.save_file(path, {"w": np.ones(2, np.float32)})
    path.write_bytes(torch_files.write_metadata(path.read_bytes(), text))
    with pytest.raises(UserError, match="metadata are no"):
        bridge.load_metadata(path)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_files_older_than_the_zip_format_are_read_without_pytorch(tmp_path, monkeypatch):
    import torch

    path = tmp_path / "old.pth"
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    state |= {"view": base.T[1:], "shares": base[1], "parameter": torch.nn.Parameter(torch.ones(2))}
    state |= {"brain": torch.tensor([1.5, -2], dtype=torch.bfloat16), "flag": torch.tensor([True, False])}
    torch.save({"epoch": 3, "model": state}, path, _use_new_zipfile_serialization=False)
    monkeypatch.setattr(torch, "load", None)
    loaded = bridge.load_file(path)
    assert list(loaded) == list(state) and loaded["brain"].dtype == ml_dtypes.bfloat16
    for key, value in state.items():
        np.testing.assert_array_equal(np.float64(loaded[key]), value.detach().double().numpy(), err_msg=key)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_pytorch_reads_ours_and_we_read_pytorch(tmp_path):
    import torch

    state = {key: value for key, value in STATE.items() if value.dtype != ml_dtypes.bfloat16}
    bridge.save_file(tmp_path / "ours.pth", state)
    loaded = torch.load(tmp_path / "ours.pth", weights_only=True)
    same({key: value.numpy() for key, value in loaded.items()}, state)
    same(bridge.load_file(tmp_path / "ours.pth"), state)

    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    base = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    checkpoint = {
        "student": layer.state_dict(),
        "teacher": {**layer.state_dict(), "view": base.T[1:], "parameter": torch.nn.Parameter(torch.ones(2))},
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99)}],
        },
        "epoch": 7,
    }
    torch.save(checkpoint, tmp_path / "theirs.pth")
    ours = bridge.load_file(tmp_path / "theirs.pth")
    assert set(ours) == set(checkpoint["teacher"])
    np.testing.assert_array_equal(ours["0.weight"], layer[0].weight.detach().numpy())
    np.testing.assert_array_equal(np.float32(ours["view"]), base.T[1:].float().numpy())
    np.testing.assert_array_equal(ours["parameter"], [1, 1])
