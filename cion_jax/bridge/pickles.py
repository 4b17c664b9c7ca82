"""Reads the pickles in PyTorch's weight files as data: tensors in plain containers, and nothing else.

A pickle is a program for a stack machine that can call any function it names. Python's own readers run it: some
instructions reserve memory of any size, and dictionaries whose keys are nested tuples take for ever to hash. So the
instructions are decoded by `pickletools` and carried out here. Only those that weight files need are known, a name
stands for one of the few entries of `_CALLS` or for a number type, and the number of instructions is limited.
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

# A tensor takes 40 instructions, so this is enough for 7,500 tensors, and takes less than a second. A ResNet-152 with
# teacher and optimizer has 3,000.
MOST_INSTRUCTIONS = 300_000
# Sizes and offsets are 64-bit numbers in PyTorch. Larger ones would make arithmetic slow.
_MOST = 2**63
# Of PyTorch, and of NumPy since version 2.
_MOST_DIMENSIONS = 64
_NEWEST_PROTOCOL = 5

NUMBER_TYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class RefusedError(ValueError):
    """The pickle asks for more than tensors in plain containers; the text completes "its pickle ..."."""


class Storage(NamedTuple):
    """The numbers that tensors are views of: uint8 [bytes], and what they mean."""

    raw: np.ndarray
    dtype: np.dtype


class _Name(NamedTuple):
    """Stands for something that the pickle names: a function of ours, or a number type."""

    call: Callable | None = None
    dtype: np.dtype | None = None


def _no_storage(_: tuple) -> Storage:
    raise RefusedError("refers to a storage where none can be")


def read_pickle(
    stream: Any, find_storage: Callable[[tuple], Storage] = _no_storage, *, most: int = MOST_INSTRUCTIONS
) -> Any:
    """Dicts, lists, tuples, texts, numbers and NumPy arrays from the pickle at the stream's position.

    Arrays are views of their storages, as PyTorch's tensors are: those that share a storage share memory.

    Args:
      stream: has `read` and `readline`, whose results are no longer than what is left of the stream; it is left
        behind the pickle.
      find_storage: (number type, key, count of numbers, whatever else the reference holds) -> the storage.
      most: instructions that are carried out.

    Raises:
      RefusedError: an instruction, name or value that weight files do not need.
      ValueError, IndexError, KeyError, TypeError: the pickle is damaged.
    """
    machine = _Machine(find_storage)
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if instruction.name == "STOP":
            return machine.stack.pop()
        if count == most:
            raise RefusedError(f"has more than {most:,} instructions")
        carry_out = _INSTRUCTIONS.get(instruction.name)
        if carry_out is None:
            raise RefusedError(f"uses the instruction {instruction.name}")
        carry_out(machine, argument)
    raise ValueError("the pickle has no end")


class _Machine:
    """The stack machine of one pickle."""

    def __init__(self, find_storage: Callable[[tuple], Storage]):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.find_storage = find_storage

    def ignore(self, _: Any) -> None:
        pass

    def check_protocol(self, protocol: int) -> None:
        if protocol > _NEWEST_PROTOCOL:
            raise RefusedError(f"has the protocol {protocol}")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def take_from_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def make_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("the pickle takes more from its stack than there is")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise RefusedError("appends to something that is not a list")
        target.extend(values)

    def update(self, flat: list[Any]) -> None:
        """Keys and values in turn."""
        target = self.stack[-1]
        if type(target) is not dict:
            raise RefusedError("sets an entry of something that is not a dict")
        target.update(_checked(zip(flat[::2], flat[1::2], strict=True)))

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.update([key, value])

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def name(self, text: str) -> None:
        """Text is the module and the name in it."""
        module, _, name = text.partition(" ")
        if module == "torch" and name in NUMBER_TYPES:
            self.push(_Name(dtype=NUMBER_TYPES[name]))
        elif (module, name) in _CALLS:
            self.push(_Name(call=_CALLS[module, name]))
        else:
            raise RefusedError(f"asks for {module[:100]}.{name[:100]}")

    def name_from_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RefusedError("names something by what is not text")
        self.name(f"{module} {name}")

    def refer(self, _: Any) -> None:
        reference = self.stack.pop()
        is_storage = type(reference) is tuple and len(reference) >= 5 and reference[0:1] == ("storage",)
        if not is_storage or not isinstance(reference[1], _Name) or reference[1].dtype is None:
            raise RefusedError("refers to something that is not a storage of numbers")
        _, number_type, key, _, count, *rest = reference
        if type(key) is not str or type(count) is not int or not 0 <= count < _MOST:
            raise RefusedError("describes an impossible storage")
        self.push(self.find_storage((number_type.dtype, key, count, *rest)))

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.call is None or type(arguments) is not tuple:
            raise RefusedError("calls something that is not a function")
        self.push(function.call(*arguments))

    def build(self, _: Any) -> None:
        """State of a dict or parameter (PyTorch's `_metadata`) is left out."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | np.ndarray):
            raise RefusedError("sets attributes of something that is not a dict")


def _checked(pairs: Any) -> Any:
    """Pairs whose keys are plain: hashing nested tuples can take for ever, as can huge numbers that collide."""
    for key, value in pairs:
        plain = key is None or type(key) in (str, bool, float) or (type(key) is int and -_MOST <= key < _MOST)
        if not plain:
            raise RefusedError(f"has a dict key that is neither text nor a number, but {type(key).__name__}")
        yield key, value


def _ordered_dict(pairs: Any = ()) -> dict:
    if type(pairs) not in (list, tuple) or not all(type(p) in (list, tuple) and len(p) == 2 for p in pairs):
        raise RefusedError("makes a dict of something that is not pairs")
    return dict(_checked(pairs))


def _size(sizes: Any = ()) -> tuple:
    if type(sizes) not in (list, tuple):
        raise RefusedError("describes an impossible size")
    return tuple(sizes)


def _parameter(data: Any, *_: Any) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise RefusedError("makes a parameter of something that is not a tensor")
    return data


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A view of a storage; offset and strides count numbers."""
    if not isinstance(storage, Storage):
        raise RefusedError("builds a tensor from something that is not a storage")
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
        raise RefusedError("describes an impossible tensor")
    if len(size) > _MOST_DIMENSIONS or not all(
        type(n) is int and 0 <= n < _MOST for n in (offset, *size, *stride)
    ):
        raise RefusedError("describes an impossible tensor")
    raw, dtype = storage
    if 0 in size:
        return np.empty(size, dtype)
    stored = raw.size // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # With a stride of zero a storage of one number could stand for terabytes.
    if last >= stored or math.prod(size) > stored:
        raise RefusedError("has a tensor that reaches outside its storage")
    steps = tuple(step * dtype.itemsize for step in stride)
    return np.ndarray(size, dtype, raw, offset * dtype.itemsize, steps)


_CALLS = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
}
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.check_protocol,
    "FRAME": _Machine.ignore,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.take_from_mark(),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(
        (
            *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
            *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        ),
        _Machine.push,
    ),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.take_from_mark())),
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.take_from_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.update(machine.take_from_mark()),
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "BINPERSID": _Machine.refer,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
}
