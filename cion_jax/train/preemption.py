"""Notices that the machine is about to be taken away (SIGTERM), so that the loop can save and leave."""

import signal
import threading

import jax
from jax.experimental import multihost_utils

EXIT_CODE = 75  # EX_TEMPFAIL: run the same command again and it goes on


class Preempted(Exception):
    """Training stopped on request; the state is saved."""


class PreemptionWatch:
    """Polled after every step and every batch of an evaluation, equally often on all processes.

    With `jax.distributed` running, its own service has the signal and agrees on one poll over all processes; a
    handler of ours would hide it. Otherwise SIGTERM sets a flag. Use as a context manager.
    """

    def __init__(self) -> None:
        self._requested = False
        self._polls = 0
        self._previous = None
        self._distributed = jax.distributed.is_initialized()

    def __enter__(self) -> "PreemptionWatch":
        if not self._distributed and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def reached(self) -> bool:
        """Whether to save and leave now; the same answer on all processes. Once true it stays true."""
        self._polls += 1
        if self._distributed and not self._requested:
            self._requested = multihost_utils.reached_preemption_sync_point(self._polls)
        return self._requested

    def _request(self, *_) -> None:
        self._requested = True
