"""The command line, called in this process: exit codes, and one clear message for every mistake of a user.

Nothing is learned here: initial weights are zeros and the update is a stand-in, so that no program takes seconds
to compile. Settings, data, batch plan, loader, loop and checkpoints are the real ones.
"""

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cion_jax import main, zoo
from cion_jax.core import commit
from cion_jax.core import mesh as meshes
from cion_jax.methods.distill import Distill
from cion_jax.tasks import outputs, pretrain
from cion_jax.tasks import prepare as prepare_task
from cion_jax.train import logging
from cion_jax.train.preemption import EXIT_CODE, Preempted
from cion_jax.zoo import registry

ROOT = Path(__file__).parent.parent
TINY = ROOT / "tests" / "resume" / "tiny_config.py"
# 16 identities of 2 images make a batch that eight devices share.
SETTINGS = {
    "train.curriculum": "((0, 2),)",
    "train.steps": 4,
    "checkpoint.every_steps": 2,
    "data.threads": 1,
}


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Sixteen people with two pictures each."""
    folder = tmp_path_factory.mktemp("data") / "people"
    noise = np.random.default_rng(0)
    for number in range(32):
        file = folder / f"{number // 2:02}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (32, 32, 3), np.uint8)).save(file)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def the_process_as_it_was(monkeypatch):
    """The command line adds to the module path, and the tiny settings to the models."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_SPECS", registry._SPECS)
    monkeypatch.setattr(registry, "MODELS", registry.MODELS)
    monkeypatch.setattr(zoo, "MODELS", zoo.MODELS)


def put_in(monkeypatch) -> dict:
    """Weights of zeros on one device, an update that does nothing, no outputs; returns what updates call, by step."""
    init, make_mesh, hooks = Distill.init, meshes.make_mesh, {}

    def zeros(self, key, input_size):
        shapes = jax.eval_shape(lambda k: init(self, k, input_size), key)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def step_function(self, step, state, batch):
        loss, skipped = hooks.get(step, lambda: None)() or (1.0, 0)
        state = state.replace(step=jax.device_put(np.int32(step + 1), state.step.sharding))
        return state, {"loss": np.float32(loss), "skipped_in_row": np.int32(skipped)}

    monkeypatch.setattr(meshes, "make_mesh", lambda fsdp: make_mesh(fsdp, jax.devices()[:1]))
    monkeypatch.setattr(Distill, "init", zeros)
    monkeypatch.setattr(pretrain.StepPrograms, "step", step_function)
    monkeypatch.setattr(outputs, "write", lambda *_: None)
    return hooks


@pytest.fixture
def stand_ins(monkeypatch) -> dict:
    return put_in(monkeypatch)


def words_of(people: Path, cache: Path, workdir: Path, **settings) -> list[str]:
    """A command on the tiny settings; `settings` have two underscores for a dot."""
    values = {"data.train": people, "data.cache_dir": cache} | SETTINGS
    values |= {key.replace("__", "."): value for key, value in settings.items()}
    words = [f"--config.{key}={value}" for key, value in values.items()]
    return ["cion_jax", f"--config={TINY}", f"--workdir={workdir}", *words]


@pytest.fixture
def command(people, cache, tmp_path, capfd):
    """Runs a command on the tiny settings; returns its exit code and what it said on stderr."""

    def call(*arguments: str, workdir: Path = tmp_path / "run", **settings) -> tuple[int, str]:
        code = main.main([*words_of(people, cache, workdir, **settings), *arguments])
        return code, capfd.readouterr().err

    return call


@pytest.fixture
def refused(command):
    """Runs a command that must fail as a user's mistake; returns its one message."""

    def call(*arguments: str, **options) -> str:
        return the_one_message(*command(*arguments, **options))

    return call


def the_one_message(code: int, err: str) -> str:
    assert code == main.USER_ERROR_CODE, f"exit code {code}, not {main.USER_ERROR_CODE}:\n{err}"
    assert "Traceback" not in err
    before, found, message = err.partition("cion_jax: ")
    assert found, f"no message for people:\n{err}"
    assert "cion_jax: " not in message, f"more than one message:\n{err}"
    assert "Error" not in before + message, f"words of a program, not of a message:\n{err}"
    assert len(message) < 1200, f"too long to be read:\n{message}"
    return message


def holds(message: str, *parts: object) -> None:
    missing = [str(part) for part in parts if str(part) not in message]
    assert not missing, f"the message should name {missing}; it says: {message}"


# The words of the command.


def test_an_unknown_key_is_named(refused):
    # Of two keys that end alike, the one that is wrong.
    message = refused("--config.model.name=vit_tiny", "--config.loss.name=3", "--config.seed=1")
    holds(message, "'loss.name'", "--config.loss.name=3", "configs/base.py")


def test_a_misspelt_key_is_answered_with_the_right_one(refused):
    holds(
        refused("--config.train.epoch=3"), "'train.epoch'", "--config.train.epoch=3", 'Did you mean "epochs"'
    )


def test_a_key_of_a_missing_section_is_named(refused):
    holds(refused("--config.trian.epochs=3"), "trian", "configs/base.py")


def test_a_value_of_a_wrong_type_is_named_with_its_key(refused):
    holds(refused("--config.train.epochs=many"), "train.epochs", "many", "configs/base.py")


def test_a_missing_settings_file_is_named(capfd):
    code = main.main(["cion_jax", "--config=configs/nowhere.py"])
    holds(the_one_message(code, capfd.readouterr().err), "configs/nowhere.py", "configs/demo.py")


@pytest.mark.parametrize("words", [[], ["--config"], ["--workdir=x"]])
def test_a_command_without_settings_is_told_of_some(words, capfd):
    code = main.main(["cion_jax", *words])
    holds(the_one_message(code, capfd.readouterr().err), "--config", "configs/demo.py")


def test_settings_that_do_not_load_are_told_in_their_words(tmp_path, capfd):
    file = tmp_path / "settings.py"
    file.write_text("def get_config():\n    raise RuntimeError('the moon is full')\n")
    code = main.main(["cion_jax", f"--config={file}"])
    holds(the_one_message(code, capfd.readouterr().err), "the moon is full")


def test_settings_without_a_task_are_told_of_the_tasks(tmp_path, capfd):
    file = tmp_path / "settings.py"
    file.write_text("from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict()\n")
    code = main.main(["cion_jax", f"--config={file}"])
    holds(the_one_message(code, capfd.readouterr().err), "task", *main.TASKS)


def test_an_unknown_task_is_named_with_those_there_are(refused):
    holds(refused("--config.task=dance"), "'dance'", *main.TASKS)


@pytest.mark.parametrize("word", ["--workdri=x", "train"])
def test_a_word_that_means_nothing_is_named(refused, word):
    holds(refused(word), word.lstrip("-").partition("=")[0])


def test_help_is_given_without_settings(capfd):
    with pytest.raises(SystemExit) as left:
        main.main(["cion_jax", "--help"])
    assert left.value.code == 0
    holds(capfd.readouterr().out, "--config", "--workdir", "--config.key=value")


def test_without_a_workdir_the_run_is_called_as_its_settings(tmp_path, monkeypatch):
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare_task, "run", lambda config, workdir: seen.append(workdir))
    assert main.main(["cion_jax", f"--config={ROOT}/configs/prepare.py"]) == 0
    assert seen == [Path("runs/prepare")] and seen[0].is_dir()


# Values.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("seed", 2**32),
        ("model.name", "vit_huge"),
        ("loss.student_temp", 0.0),
        ("loss.teacher_temp", -1.0),
        ("loss.pairs", "all"),
        ("crops.global_size", "(8, 8)"),
        ("train.curriculum", "((1, 2),)"),
        ("train.accumulate", 0),
        ("checkpoint.keep", 0),
        ("data.on_bad_image", "hide"),
        ("data.batch_size", "large"),
    ],
)
def test_a_value_that_no_run_can_use_is_named_with_its_key(refused, stand_ins, key, value):
    holds(refused(**{key.replace(".", "__"): value}), key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crops.local_scale", (0.8, 0.2)),
        ("crops.aspect", (0.0, 0.5)),
        ("crops.flip", 1.5),
        ("synthetic.seed", -1),
        ("synthetic.identities", 0),
    ],
)
def test_a_value_out_of_its_range_is_named_before_anything_is_prepared(
    refused, stand_ins, key, value, tmp_path
):
    options = {key.replace(".", "__"): value, "data__train": "", "data__cache_dir": tmp_path / "new"}
    holds(refused(**options), key.partition(".")[2], value)
    assert not list(tmp_path.glob("new/data/*"))


def test_devices_that_cannot_share_parameters_are_counted(refused):
    holds(refused(mesh__fsdp=3), "mesh.fsdp=3", "8 devices")


# Data.


def test_a_missing_data_folder_is_named(refused):
    holds(refused(data__train="/nowhere/people"), "/nowhere/people", "does not exist")


def test_a_folder_without_images_is_named(refused, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.txt").write_text("nothing here")
    holds(refused(data__train=tmp_path / "notes"), tmp_path / "notes", "image")


def test_an_empty_folder_is_named(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    holds(refused(data__train=tmp_path / "empty"), tmp_path / "empty", "empty")


def test_evaluation_data_without_queries_are_named(refused, people):
    holds(refused(data__eval=people), people, "query", "32 train")


def test_fewer_identities_than_a_batch_needs_are_counted(refused):
    holds(refused(data__batch_size=64), "16 identities", "64", "--config.data.batch_size")


def test_a_batch_that_devices_and_identities_do_not_divide_is_told_the_next(refused):
    holds(refused(data__batch_size=40), "data.batch_size=40", 2 * jax.device_count(), 32, 48)


def test_a_batch_that_cannot_be_found_is_explained(refused):
    holds(refused(data__batch_size="auto", data__batch_limit=8), "data.batch_size=auto", "data.batch_limit=8")


@pytest.mark.parametrize("damage", ["cut short", "changed"])
def test_a_corrupt_record_file_is_named(refused, stand_ins, people, tmp_path, damage):
    cache = tmp_path / "cache"
    refused(data__cache_dir=cache, data__batch_size=64)  # prepares the data, and stops
    [file] = cache.glob("data/*/*.array_record*")
    content = bytearray(file.read_bytes())
    if damage == "cut short":
        content = content[:-100]
    else:
        inside = content.index(b"\xff\xd8\xff", 5000) + 200  # a picture's own bytes
        content[inside : inside + 64] = bytes(64)
    file.write_bytes(content)
    # The changed one is found while training, by a thread of the loader.
    holds(refused(data__cache_dir=cache), file, "prepare it anew")


# The run and its checkpoints.


@pytest.fixture(scope="module")
def finished(people, cache, tmp_path_factory) -> Path:
    """A work directory with checkpoints of the tiny model, 32x32; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        for place, name in ((registry, "_SPECS"), (registry, "MODELS"), (zoo, "MODELS"), (sys, "path")):
            monkeypatch.setattr(place, name, type(getattr(place, name))(getattr(place, name)))
        put_in(monkeypatch)
        assert main.main(words_of(people, cache, folder)) == 0
    assert sorted(f.name for f in (folder / "checkpoints").iterdir()) == ["2", "4"]
    return folder


@pytest.fixture
def a_run(finished, stand_ins, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_a_stop_on_request_is_saved_and_has_a_code_of_its_own(command, stand_ins, tmp_path):
    stand_ins[2] = lambda: signal.raise_signal(signal.SIGTERM)
    code, err = command()
    assert code == EXIT_CODE == 75, err
    holds(err, "stopped on request", "the same command goes on", tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "3").is_dir()
    stand_ins.clear()
    code, err = command()
    assert code == 0, err
    holds(err, "going on from step 3")


@pytest.mark.parametrize(("key", "value"), [("model.name", "resnet18"), ("crops.global_size", "(64, 32)")])
def test_a_checkpoint_of_another_model_or_size_is_told_apart(a_run, refused, key, value):
    message = refused(**{key.replace(".", "__"): value})
    holds(message, a_run, f"{key}: ", "--workdir", value.strip("()"))


@pytest.mark.parametrize("part", ["state", "identity"])
def test_a_corrupt_checkpoint_is_named_and_can_be_deleted(a_run, refused, command, part):
    folder = a_run / "checkpoints" / "4"
    for file in (folder / part).rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    holds(refused(), folder, "Delete that folder", "--workdir")
    shutil.rmtree(folder)
    code, err = command()
    assert code == 0, err
    holds(err, "going on from step 2")


def test_a_corrupt_row_of_figures_is_named(a_run, refused):
    rows = (a_run / "metrics.jsonl").read_text().splitlines()
    rows[1] = rows[1][:7]
    (a_run / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    holds(refused(), a_run / "metrics.jsonl", "line 2")


def test_a_disk_without_room_for_a_checkpoint_is_told_before_the_run(
    refused, stand_ins, monkeypatch, tmp_path
):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    stand_ins[0] = lambda: pytest.fail("a step was taken")
    holds(refused(), tmp_path / "run" / "checkpoints", "full", "--workdir")


def test_a_disk_that_fills_up_while_figures_are_written_is_told(refused, stand_ins, monkeypatch, tmp_path):
    class Full:
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            self.write("")

    init = logging.MetricsLog.__init__

    def on_a_full_disk(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self._file.close()
        self._file = Full()

    monkeypatch.setattr(logging.MetricsLog, "__init__", on_a_full_disk)
    holds(refused(), tmp_path / "run" / "metrics.jsonl", "No space left", "the same command")


def test_updates_that_are_never_finite_stop_the_run(refused, stand_ins):
    for step in range(4):
        stand_ins[step] = lambda step=step: (float("nan"), step + 1)
    message = refused(train__max_skipped=3)
    holds(message, "3 updates in a row up to step 3", "not finite", "--config.optimizer.lr")


def test_a_work_directory_that_cannot_be_made_is_named(refused, tmp_path):
    (tmp_path / "file").write_text("")
    holds(refused(workdir=tmp_path / "file" / "run"), tmp_path / "file")


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Preempted(), EXIT_CODE),
        (OSError(errno.ENOSPC, "No space left on device", "/data/file"), main.USER_ERROR_CODE),
        (OSError(errno.ENOSPC, "No space left on device"), main.USER_ERROR_CODE),
        (PermissionError(errno.EACCES, "Permission denied", "/data/file"), main.USER_ERROR_CODE),
    ],
)
def test_what_a_task_raises_decides_the_code(command, monkeypatch, raised, code):
    def run(config, workdir):
        raise raised

    monkeypatch.setattr(pretrain, "run", run)
    assert command()[0] == code


@pytest.mark.parametrize(
    "raised", [ValueError("a bug"), OSError("a bug"), BrokenPipeError(errno.EPIPE, "pipe")]
)
def test_mistakes_of_the_program_keep_their_traceback(command, monkeypatch, raised):
    def run(config, workdir):
        raise raised

    monkeypatch.setattr(pretrain, "run", run)
    with pytest.raises(type(raised)):
        command()


def test_outputs_name_the_commit_that_the_run_began_with(command, monkeypatch):
    found = iter(["at the start", "at the end"])
    monkeypatch.setattr(commit, "commit_of", lambda root: next(found))
    commit.source_commit.cache_clear()
    named = []

    def run(config, workdir):
        assert next(found) == "at the end", "the commit is looked for before the task begins"
        named.append(commit.source_commit())

    monkeypatch.setattr(pretrain, "run", run)
    assert command()[0] == 0
    commit.source_commit.cache_clear()
    assert named == ["at the start"]


# Joining a cluster.


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("coordinator_address should be defined."),
        jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out."),
        RuntimeError("jax.distributed.initialize() must be called before any JAX calls"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_a_message(refused, monkeypatch, raised):
    def initialize():
        raise raised

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    holds(refused("--distributed"), "--distributed", str(raised).partition(":")[0], "launch/README.md")


def test_a_long_wait_for_the_cluster_is_explained(command, monkeypatch):
    """JAX's runtime aborts the process when the wait ends, so nothing can be said then."""
    monkeypatch.setattr(main, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(jax.distributed, "initialize", lambda: time.sleep(0.5))
    monkeypatch.setattr(pretrain, "run", lambda config, workdir: None)
    code, err = command("--distributed")
    assert code == 0
    holds(err, "waits for the other processes", "300 s", "launch/README.md")


def test_a_short_wait_for_the_cluster_is_not_mentioned(command, monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda: None)
    monkeypatch.setattr(pretrain, "run", lambda config, workdir: None)
    assert "waits" not in command("--distributed")[1]
