"""Runs of the command line as processes of their own, small enough for tests, that can be cut off at a known place."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "resume" / "tiny_config.py"
TIMEOUT = 240.0  # seconds; a cold run on a busy laptop takes a third of that


class Run:
    """One process of `python -m cion_jax.main` (or of another module); use as a context manager, which kills it.

    Args:
      workdir: folder of the run.
      data: cache folder of the synthetic data; None: the task draws none.
      devices: virtual CPU devices.
      config: of the task.
      cluster: (processes, number of this process, port), joined as a SLURM job on this computer; None: alone.
      settings: config overrides, {"train.steps": 3}.
      module: what to run.
      environment: more environment variables.
    """

    def __init__(
        self,
        workdir: Path,
        data: Path | None,
        *,
        devices: int = 1,
        config: Path = CONFIG,
        cluster: tuple[int, int, int] | None = None,
        settings: dict | None = None,
        module: str = "cion_jax.main",
        environment: dict[str, str] | None = None,
    ):
        self.workdir = workdir
        settings = ({"data.cache_dir": data} if data else {}) | (settings or {})
        command = [sys.executable, "-m", module, f"--config={config}", f"--workdir={workdir}"]
        command += [f"--config.{key}={value}" for key, value in settings.items()]
        command += ["--distributed"] if cluster else []
        # Unoptimised programs compile in a third of the time; they obey the same rules.
        flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": flags} | _slurm(cluster) | (environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()

    def cut_off(self, step: int, how: signal.Signals) -> None:
        """Sends a signal once the row of `step` is written."""
        deadline = time.monotonic() + TIMEOUT
        while not any(row["step"] >= step for row in rows(self.workdir, whole=False)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise AssertionError(f"step {step} was never reached:\n{self._process.stderr.read()[-3000:]}")
            time.sleep(0.02)
        self._process.send_signal(how)

    def end(self) -> tuple[int, str]:
        """Exit code and what was said on stderr."""
        try:
            _, errors = self._process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, errors = self._process.communicate()
            raise AssertionError(f"the run did not end within {TIMEOUT} s:\n{errors[-3000:]}") from None
        return self._process.returncode, errors

    def succeed(self) -> str:
        """Waits for a good end; what was said on stderr."""
        code, errors = self.end()
        assert code == 0, f"exit code {code}:\n{errors[-3000:]}"
        return errors


def free_port() -> int:
    """A port of this computer that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def runs_folder(factory: pytest.TempPathFactory) -> Path:
    """Where runs lie that several tests look at, in whatever process of pytest-xdist they are."""
    own = factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "runs"


def straight(base: Path, *, devices: int, processes: int = 1) -> Path:
    """Work directory of an uninterrupted run that keeps all checkpoints and its first features; made once in `base`.

    With more than one device data.batch_size is auto, limited to the 32 images of the others.
    """
    workdir = base / f"straight-{processes}x{devices}"
    base.mkdir(parents=True, exist_ok=True)
    done = Path(f"{workdir}.done")
    with Path(f"{workdir}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(workdir, ignore_errors=True)
            _run_straight(workdir, base / "data", devices, processes)
            done.touch()
    return workdir


def _run_straight(workdir: Path, data: Path, devices: int, processes: int) -> None:
    settings = {"checkpoint.every_steps": 1, "checkpoint.keep": 20}
    if devices > 1:
        settings |= {"data.batch_size": "auto", "data.batch_limit": 32}
    port = free_port()
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                Run(
                    workdir,
                    data,
                    devices=devices,
                    cluster=(processes, number, port) if processes > 1 else None,
                    settings=settings,
                    module="tests.resume.instrumented",
                    environment={
                        "CION_TEST_FEATURES": f"{workdir}.npz",
                        "CION_TEST_COMPILATIONS": f"{workdir}.json",
                    },
                )
            )
            for number in range(processes)
        ]
        for run in runs:
            run.succeed()


def compilations(workdir: Path) -> dict:
    """Of a straight run: the number of "compilations" of the update, and "images per identity" of each."""
    return json.loads(Path(f"{workdir}.json").read_text())


def back_to(step: int, straight: Path, workdir: Path) -> None:
    """Makes `workdir` what a run that was killed after its checkpoint of `step` would have left."""
    shutil.copytree(straight, workdir, ignore=shutil.ignore_patterns("backbone.safetensors", "summary.*"))
    for folder in (workdir / "checkpoints").iterdir():
        if int(folder.name) > step:
            shutil.rmtree(folder)


def rows(workdir: Path, *, whole: bool = True) -> list[dict]:
    """The rows of metrics.jsonl; with whole=False those that are complete while the run still writes."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if whole or line.endswith("\n")]


def data_order(workdir: Path) -> dict[int, int]:
    """Checksum of the batch by step."""
    return {row["step"]: row["data_order"] for row in rows(workdir) if "data_order" in row}


def state(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint by their path, read without the code under test."""
    folder = workdir / "checkpoints" / str(step) / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        found = checkpointer.restore(folder, restore_args=as_numpy)
    leaves, _ = jax.tree_util.tree_flatten_with_path(found)
    return {"/".join(str(getattr(k, "key", k)) for k in path): np.asarray(leaf) for path, leaf in leaves}


def assert_same_run(workdir: Path, straight: Path, last_step: int) -> None:
    """Rows, final state and exported backbone are equal bit by bit."""
    assert rows(workdir) == rows(straight), (
        "metrics.jsonl of the resumed run differs from that of the straight one"
    )
    _assert_bitwise(state(workdir, last_step), state(straight, last_step), "state")
    _assert_bitwise(
        load_file(workdir / "backbone.safetensors"), load_file(straight / "backbone.safetensors"), "backbone"
    )


def _assert_bitwise(found: dict, expected: dict, what: str) -> None:
    assert found and found.keys() == expected.keys()
    differing = [key for key in found if found[key].tobytes() != expected[key].tobytes()]
    assert not differing, f"{len(differing)} of {len(found)} arrays of the {what} differ: {differing[:5]}"


def _slurm(cluster: tuple[int, int, int] | None) -> dict[str, str]:
    """What JAX's cluster detection reads, all on the loopback address."""
    if cluster is None:
        return {}
    processes, number, port = cluster
    return {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(processes),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
        "JAX_COORDINATOR_PORT": str(port),
        "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}",
    }
