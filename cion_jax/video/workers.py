"""Jobs shared among processes that are started afresh ("spawn"), so that none inherits threads or locks."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from multiprocessing import connection
from typing import Any, Generic, NamedTuple, TypeVar

from cion_jax.core.errors import UserError

Job, Result = TypeVar("Job"), TypeVar("Result")
# Does one job; the second argument is called after every unit of work.
Work = Callable[[Job, Callable[[], None]], Result]
_REPORT_SECONDS = 0.5  # between messages of a worker about how far it is
_TRIES = 2  # a process that dies may have been killed for lack of memory: the job is tried once more
_JOIN_SECONDS = 5


class Died(NamedTuple):
    """In place of a result: the process that did the job ended, twice. `reason` says how."""

    reason: str


def run_jobs(
    jobs: Iterable[Job],
    make: Callable[[], Work],
    workers: int,
    advance: Callable[[int, int], None] = lambda number, count: None,
    ready: Callable[[], None] = lambda: None,
) -> Generator[tuple[int, Any], None, None]:
    """Does jobs in `workers` processes, or in this one for 1; yields (number of the job, result) as they are finished.

    Args:
      jobs: are taken in order; a job is asked for when a worker is free for it.
      make: called once in each process; what it returns does the jobs. Can be pickled, as can jobs and results.
      workers: number of processes.
      advance: called in this process with the number of a job and how many units of it were done since the last call.
      ready: called once, when the first worker is ready.

    Yields:
      The result, or `Died` for a job whose process died twice.

    Raises:
      Exception: what `make` or a job raised in a process; the other processes are ended.
      UserError: a process died before it was ready.
    """
    if workers > 1:
        with contextlib.closing(_Pool(jobs, make, workers, advance, ready)) as pool:
            yield from pool.results()
        return
    work = make()
    ready()
    for number, job in enumerate(jobs):
        yield number, work(job, lambda number=number: advance(number, 1))


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, make: Callable[[], Work]):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.is_ready, self.number = False, None

    def end(self) -> str:
        """Waits for the process, which has ended; how it did."""
        self.process.join(_JOIN_SECONDS)
        self.pipe.close()
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"signal {-code}, {signal.Signals(-code).name}"
        return f"exit code {code}"


class _Pool(Generic[Job]):
    def __init__(self, jobs, make, workers, advance, ready):
        self._jobs, self._make = enumerate(jobs), make
        self._advance, self._ready = advance, ready
        self._again: list[int] = []
        self._open: dict[int, Job] = {}
        self._tries: dict[int, int] = {}
        self._workers = [_Worker(make) for _ in range(workers)]

    def results(self) -> Generator[tuple[int, Any], None, None]:
        while self._workers:
            waiting = [w.pipe for w in self._workers] + [w.process.sentinel for w in self._workers]
            happened = set(connection.wait(waiting))
            for worker in list(self._workers):
                if worker.pipe in happened:
                    try:
                        kind, value = worker.pipe.recv()
                    except (EOFError, ConnectionError):
                        yield from self._bury(worker)
                        continue
                    yield from self._hear(worker, kind, value)
                elif worker.process.sentinel in happened and not worker.pipe.poll():
                    yield from self._bury(worker)

    def _hear(self, worker: _Worker, kind: str, value: Any) -> Generator[tuple[int, Any], None, None]:
        """Takes a message of a worker."""
        if kind == "failed":
            raise value
        if kind == "advanced":
            self._advance(worker.number, value)
            return
        if kind == "done":
            del self._open[worker.number]
            yield worker.number, value
            worker.number = None
        elif not worker.is_ready:
            worker.is_ready = True
            self._ready()
            self._ready = lambda: None
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Hands the next job to a worker, or ends it."""
        if self._again:
            worker.number = self._again.pop()
        else:
            number, job = next(self._jobs, (None, None))
            if number is None:
                self._send(worker, None)
                worker.end()
                self._workers.remove(worker)
                return
            worker.number, self._open[number] = number, job
        self._tries[worker.number] = self._tries.get(worker.number, 0) + 1
        self._send(worker, (self._open[worker.number],))

    @staticmethod
    def _send(worker: _Worker, message: Any) -> None:
        # A worker that died meanwhile is buried when its pipe is read.
        with contextlib.suppress(ConnectionError):
            worker.pipe.send(message)

    def _bury(self, worker: _Worker) -> Generator[tuple[int, Any], None, None]:
        """Replaces a worker that died, and has its job tried again or gives it up."""
        how = worker.end()
        self._workers.remove(worker)
        if not worker.is_ready:
            raise UserError(
                f"a worker process ended before it was ready ({how}): --config.workers=1 starts none and shows more"
            )
        number = worker.number
        self._workers.append(_Worker(self._make))
        if number is None:
            return
        if self._tries[number] < _TRIES:
            self._again.append(number)
        else:
            del self._open[number]
            yield number, Died(f"the process that worked on it ended ({how}), {_TRIES} times")

    def close(self) -> None:
        """Ends all processes at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers = []


def _serve(make: Callable[[], Work], pipe: connection.Connection) -> None:
    """What a process does: jobs out of the pipe, messages and results into it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it too, and ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = make()
        pipe.send(("ready", None))
        while (message := pipe.recv()) is not None:
            pipe.send(("done", _with_reports(work, message[0], pipe)))
    except (EOFError, ConnectionError):
        return  # the first process is gone
    except Exception as error:
        pipe.send(("failed", _portable(error)))


def _with_reports(work: Work, job: Any, pipe: connection.Connection) -> Any:
    """Does a job and reports now and then how much of it was done."""
    count, last = 0, time.monotonic()

    def advance() -> None:
        nonlocal count, last
        count += 1
        if time.monotonic() - last >= _REPORT_SECONDS:
            pipe.send(("advanced", count))
            count, last = 0, time.monotonic()

    result = work(job, advance)
    if count:
        pipe.send(("advanced", count))
    return result


def _end_with_parent() -> None:
    """Ends this process when the first one ends, even if that was killed."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """An error that can be pickled and shows where it came from."""
    if isinstance(error, UserError | OSError):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
