"""Room for signal handlers, after a library has given them too little."""

import ctypes
import sys

_ROOM = 256 * 1024  # bytes
_DISABLED = 2  # SS_DISABLE
_stacks: list[ctypes.Array] = []  # kept as long as the process lives, for a signal may come at any time


class _Stack(ctypes.Structure):
    """stack_t of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def alternate_size() -> int:
    """Bytes of the alternate stack on which this thread's signal handlers run, 0 where they run on its own."""
    current = _Stack()
    if not sys.platform.startswith("linux") or ctypes.CDLL(None).sigaltstack(None, ctypes.byref(current)):
        return 0
    return 0 if current.flags & _DISABLED else current.size


def enlarge() -> None:
    """Gives this thread a larger alternate signal stack if it has a small one.

    OpenVINO installs one of 20 kB where the processor has AMX, and switches AMX on. Its registers then take 11 kB in
    every signal frame, and as much again where a handler calls a function of another library for the first time:
    Python's own handler ends the process with a segmentation fault. Linux only; elsewhere nothing happens.
    """
    if not 0 < alternate_size() < _ROOM:
        return
    memory = ctypes.create_string_buffer(_ROOM)
    larger = _Stack(ctypes.addressof(memory), 0, _ROOM)
    _stacks.append(memory)
    ctypes.CDLL(None).sigaltstack(ctypes.byref(larger), None)
