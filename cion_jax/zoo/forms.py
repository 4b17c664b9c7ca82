"""Which form of a layer is traced: the fastest one here, or the plain one that other systems know by name."""

import contextlib
import contextvars
from collections.abc import Iterator

_PLAIN = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Convolutions traced in this block are `lax.conv_general_dilated`, grouped where they are depthwise.

    Elsewhere XLA's weak spots are gone round: shifted sums and matrix products stand in for convolutions, and a
    conditional for nothing at all. Results are equal up to rounding. A converter to another system would write them
    down as they are, dozens of slices for one convolution. The block holds for tracing, in this thread: a function
    that jax.jit has traced before keeps its form.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def plain() -> bool:
    """Whether the plain forms are asked for."""
    return _PLAIN.get()
