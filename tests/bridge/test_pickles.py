"""The reader of PyTorch's zip format: it reads tensors, and runs nothing."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from cion_jax import bridge
from cion_jax.core.errors import UserError

# What torch.save writes, spelled out: global names, then the arguments of the call that makes the tensor.
HEADER = b"\x80\x02"


def text(value):
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def number(value):
    return b"J" + value.to_bytes(4, "little", signed=True)


def tensor(key="0", kind="FloatStorage", count=6, offset=0, size=(2, 3), stride=(3, 1)):
    """The pickle code of one tensor."""
    storage = (
        b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(count)
    )
    numbers = b"".join(b"(" + b"".join(map(number, values)) + b"t" for values in (size, stride))
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"tQ"
        + number(offset)
        + numbers
        + b"\x89"
        + hooks
        + b"tR"
    )


def dictionary(**entries):
    return b"}(" + b"".join(text(key) + code for key, code in entries.items()) + b"u"


def archive(path, code, storages=None, byteorder=None):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", HEADER + code + b".")
        for key, raw in (storages if storages is not None else {"0": VALUES.tobytes()}).items():
            file.writestr(f"archive/data/{key}", raw)
        if byteorder:
            file.writestr("archive/byteorder", byteorder)
    return path


VALUES = np.arange(6, dtype="<f4")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pth"


def test_a_state_dict(path):
    archive(
        path,
        dictionary(
            w=tensor(), turned=tensor(size=(3, 2), stride=(1, 3)), scalar=tensor(size=(), stride=(), offset=4)
        ),
    )
    loaded = bridge.load_file(path)
    np.testing.assert_array_equal(loaded["w"], VALUES.reshape(2, 3))
    np.testing.assert_array_equal(loaded["turned"], VALUES.reshape(2, 3).T)
    assert loaded["scalar"].shape == ()
    assert loaded["scalar"] == 4


def test_teacher_before_student_before_others(path):
    order = ("teacher", "student", "state_dict", "model")
    inner = {name: dictionary(**{name: tensor()}) for name in reversed(order)}
    for expected in order:
        assert list(bridge.load_file(archive(path, dictionary(epoch=number(3), **inner)))) == [expected]
        del inner[expected]


def test_numbers_from_a_big_endian_machine(path):
    archive(path, dictionary(w=tensor()), {"0": VALUES.astype(">f4").tobytes()}, byteorder=b"big")
    np.testing.assert_array_equal(bridge.load_file(path)["w"], VALUES.reshape(2, 3))


class Malicious:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [(os.system, "touch {}"), (eval, "open('{}', 'w')"), (io.open, "{}", "w"), (__import__, "this")],
    ids=lambda call: call[0].__name__,
)
def test_a_malicious_pickle_is_refused_and_not_run(path, tmp_path, call):
    witness = tmp_path / "executed"
    function, *args = call
    code = pickle.dumps(Malicious(function, *(a.format(witness) for a in args)), protocol=2)
    archive(path, code[2:-1])
    name = pickle.whichmodule(function, function.__name__).replace("builtins", "__builtin__")
    with pytest.raises(UserError, match="is refused: its pickle asks for") as caught:
        bridge.load_file(path)
    assert function.__name__ in str(caught.value), f"the message does not name {name}.{function.__name__}"
    assert "nothing was executed" in str(caught.value)
    assert not witness.exists()


def test_names_inside_torch_are_refused_too(path):
    archive(path, b"ctorch.hub\nload\n(" + text("repository") + b"tR")
    with pytest.raises(UserError, match=r"asks for torch\.hub\.load"):
        bridge.load_file(path)


def test_a_pickle_cannot_alter_what_it_names(path):
    # BUILD sets attributes on the object before it: here on the function that makes tensors.
    alter = b"ctorch._utils\n_rebuild_tensor_v2\n(N" + dictionary(__defaults__=b"(N" + b"t") + b"tb0"
    archive(path, alter + dictionary(w=tensor()))
    with pytest.raises(UserError, match="refused: its pickle sets attributes"):
        bridge.load_file(path)
    archive(path, dictionary(w=tensor()))
    assert bridge.load_file(path)["w"].shape == (2, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1},
        {"stride": (4, 1)},
        {"size": (2, 4)},
        {"offset": -1},
        {"stride": (-1, 1)},
        {"size": (2,)},
        {"size": (2**31 - 1, 2**31 - 1), "stride": (0, 4)},
    ],
    ids=str,
)
def test_a_tensor_outside_its_storage_is_refused(path, wrong):
    with pytest.raises(UserError, match=r"outside its storage|impossible tensor"):
        bridge.load_file(archive(path, dictionary(w=tensor(**wrong))))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (dictionary(w=tensor(key="7")), "damaged"),
        (dictionary(w=tensor())[:-4], "damaged|refused"),
        (text("a") + text("b") + b"R", "damaged|refused"),
        (dictionary(w=tensor(kind="QUInt8Storage")), "asks for torch.QUInt8Storage"),
        (dictionary(w=number(3)), "no state dict"),
        (dictionary(w=tensor(), lr=number(3)), "not tensors"),
        (number(3), "no state dict"),
    ],
)
def test_what_is_damaged_or_no_state_dict_is_told(path, code, message):
    with pytest.raises(UserError, match=message) as caught:
        bridge.load_file(archive(path, code))
    assert str(path) in str(caught.value)


def test_a_truncated_file_and_another_zip(path):
    archive(path, dictionary(w=tensor()), {"0": os.urandom(4000)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        bridge.load_file(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match="not one of PyTorch's"):
        bridge.load_file(path)
