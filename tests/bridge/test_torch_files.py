"""Weight files of PyTorch's older formats, put together as their versions wrote them."""

import importlib.util
import struct

import numpy as np
import pytest

from cion_jax import bridge
from cion_jax.core.errors import UserError
from tests.bridge import weight_files
from tests.bridge.test_pickles import number, text

VALUES = np.arange(6, dtype="<f4")
NUMBERS = struct.pack("<q", 6) + VALUES.tobytes()


def short_text(value):
    """A text as Python 2 wrote it."""
    return b"U" + bytes([len(value)]) + value.encode()


def old_storage(view=b"N", key="0", count=6):
    reference = short_text("storage") + b"ctorch\nFloatStorage\n" + short_text(key) + short_text("cpu")
    return b"(" + reference + number(count) + view + b"tQ"


def old_tensor(storage, size, stride, offset=0):
    numbers = b"".join(b"(" + b"".join(map(number, values)) + b"t" for values in (size, stride))
    return b"ctorch._utils\n_rebuild_tensor\n(" + storage + number(offset) + numbers + b"tR"


def old_file(path, content, keys=("0",), numbers=NUMBERS):
    """A file of the format before PyTorch 1.6 with this pickle."""
    start = weight_files.in_old_format(b"").partition(b"\x80\x02](")[0]
    listed = b"](" + b"".join(map(text, keys)) + b"e"
    path.write_bytes(start + b"\x80\x02" + content + b"." + b"\x80\x02" + listed + b"." + numbers)
    return path


def pairs(**entries):
    """An OrderedDict as Python 2 wrote it: of a list of pairs."""
    listed = b"".join(b"](" + short_text(key) + code + b"e" for key, code in entries.items())
    return b"ccollections\nOrderedDict\n](" + listed + b"e\x85R"


def test_what_python_2_and_pytorch_0_wrote(tmp_path):
    tensor = old_tensor(old_storage(), (2, 3), (3, 1))
    parameter = b"ctorch.nn.parameter\nParameter\n" + tensor + b"\x85R(\x88\x89Ntb"
    view = b"(" + short_text("7") + number(2) + number(3) + b"t"
    part = old_tensor(old_storage(view), (3,), (1,))
    path = old_file(tmp_path / "w.pth", pairs(parameter=parameter, part=part))
    loaded = bridge.load_file(path)
    np.testing.assert_array_equal(loaded["parameter"], VALUES.reshape(2, 3))
    np.testing.assert_array_equal(loaded["part"], VALUES[2:5])


ONE = {"w": old_tensor(old_storage(), (2, 3), (3, 1))}


@pytest.mark.parametrize(
    ("content", "rest", "message"),
    [
        ({"w": old_tensor(old_storage(count=10**6), (1,), (1,))}, {}, "more numbers than the file has"),
        (ONE, {"keys": ()}, "list of storages"),
        (ONE, {"keys": ("0", "1")}, "list of storages"),
        (ONE, {"keys": ("0", "0")}, "list of storages"),
        (ONE, {"numbers": struct.pack("<q", 7) + VALUES.tobytes()}, "not the size"),
        (ONE, {"numbers": struct.pack("<q", 6) + VALUES.tobytes()[:-1]}, "ends early"),
        (ONE, {"numbers": b""}, "damaged"),
        (
            {"w": old_tensor(old_storage(b"(" + text("7") + number(4) + number(3) + b"t"), (1,), (1,))},
            {},
            "outside its storage",
        ),
        ({**ONE, "v": old_tensor(old_storage(count=5), (1,), (1,))}, {}, "in two ways"),
        ({"w": b"cposix\nsystem\n" + text("true") + b"\x85R"}, {}, r"asks for posix\.system"),
    ],
)
def test_an_old_file_that_contradicts_itself_is_refused(tmp_path, content, rest, message):
    path = old_file(tmp_path / "w.pth", pairs(**content), **rest)
    with pytest.raises(UserError, match=message):
        bridge.load_file(path)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_all_protocols_that_pytorch_writes(tmp_path, zipped, protocol):
    import torch

    path = tmp_path / "w.pth"
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    content = {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "size": torch.Size([1, 2])}
    content |= {"epoch": 2**40, "done": True, "note": None, "rates": [0.1, (1, 2, 3, 4)]}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    loaded = bridge.load_file(path)
    assert list(loaded) == list(content["model"])
    for key, value in content["model"].items():
        np.testing.assert_array_equal(loaded[key], value.numpy())
        assert loaded[key].dtype == value.numpy().dtype


def test_tensors_that_share_numbers_share_memory(tmp_path):
    content = pairs(a=ONE["w"], b=ONE["w"])
    loaded = bridge.load_file(old_file(tmp_path / "w.pth", content))
    assert np.shares_memory(loaded["a"], loaded["b"]) and loaded["a"].flags.writeable
