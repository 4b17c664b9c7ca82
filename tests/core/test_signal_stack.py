"""The stack of signal handlers."""

import subprocess
import sys

import pytest

from cion_jax.core import signal_stack

CODE = """
import ctypes, signal
from cion_jax.core import signal_stack
assert signal_stack.alternate_size() == 0
signal_stack.enlarge()
assert signal_stack.alternate_size() == 0, "the thread's own stack is large enough"
memory = ctypes.create_string_buffer(20144)
small = signal_stack._Stack(ctypes.addressof(memory), 0, 20144)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(small), None) == 0
assert signal_stack.alternate_size() == 20144
signal_stack.enlarge()
assert signal_stack.alternate_size() == 256 * 1024
signal_stack.enlarge()
assert len(signal_stack._stacks) == 1
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
signal.raise_signal(signal.SIGTERM)
assert caught == [1]
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_a_small_stack_is_replaced_and_signals_arrive():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-1500:]


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert signal_stack.alternate_size() == 0
    signal_stack.enlarge()
