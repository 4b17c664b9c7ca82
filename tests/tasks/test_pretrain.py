"""The task as a whole on one device, with everything real but the size; exact resumption is tested in tests/resume."""

import json
import sys

import jax
import numpy as np
import pytest
from safetensors import safe_open

from cion_jax import zoo
from cion_jax.core import mesh as meshes
from cion_jax.data.importers import synthetic
from cion_jax.tasks import pretrain, settings
from cion_jax.zoo import registry
from tests.resume import tiny_config

STEPS = 6
PEOPLE, BATCH = 16, 16


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over two phases: its wiring, the update programs by phase, its folder, and what it said."""
    folder = tmp_path_factory.mktemp("pretrain")
    runs, said = [], []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for place, name in ((registry, "_SPECS"), (registry, "MODELS"), (zoo, "MODELS"), (sys, "path")):
            monkeypatch.setattr(place, name, type(getattr(place, name))(getattr(place, name)))
        make_mesh, rows, init = meshes.make_mesh, synthetic.rows, pretrain._Run.__init__
        monkeypatch.setattr(meshes, "make_mesh", lambda fsdp: make_mesh(fsdp, jax.devices()[:1]))
        # Started processes cost more than these few pictures.
        monkeypatch.setattr(synthetic, "rows", lambda spec, workers, **kw: rows(spec, workers=0, **kw))
        monkeypatch.setattr(pretrain.outputs.Speaker, "__call__", lambda self, line: said.append(line))

        def remembered(self, *arguments):
            init(self, *arguments)
            runs.append(self)

        monkeypatch.setattr(pretrain._Run, "__init__", remembered)
        config = tiny_config.get_config()
        config.data.cache_dir = str(folder / "cache")
        config.synthetic.identities, config.synthetic.eval_identities = PEOPLE, 2
        config.data.batch_size = BATCH
        config.train.steps = STEPS
        config.eval.every_epochs = 0.0
        config.checkpoint.every_steps = 0
        # Lets two phases of different length alternate within a few steps.
        monkeypatch.setattr(settings, "batch_multiple", lambda config: 4)
        (folder / "run").mkdir()
        pretrain.run(config, folder / "run")
        [run] = runs
        yield run, folder / "run", said


def test_the_update_compiles_once_per_phase(finished):
    run, _, _ = finished
    phases = run.curriculum.phases
    assert [p.images_per_identity for p in phases] == [2, 4]
    steps = [p.last_step - p.first_step for p in phases]
    assert min(steps) >= 2, f"a phase of one step shows nothing: {steps}"
    programs = run.compiled_updates
    assert programs.cache_info().currsize == len(phases)
    compiled = [programs(phase)._cache_size() for phase in phases]
    assert compiled == [1, 1], f"compilations of the update by phase: {compiled}; one each is promised"
    assert programs.cache_info().currsize == len(phases), "a phase was asked for that has no program"


def test_every_step_has_a_row_and_the_ends_are_evaluated(finished):
    _, folder, _ = finished
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
    assert [row["step"] for row in rows if "mAP" in row] == [0, STEPS]
    monitors = {"teacher_entropy", "center_norm", "teacher_kl_uniform", "grad_norm", "lr", "skipped"}
    assert monitors <= rows[1].keys()
    assert all(row["skipped"] == 0 and np.isfinite(row["loss"]) for row in rows if "loss" in row)


def test_the_outputs_of_a_run_are_there(finished):
    _, folder, _ = finished
    for name in ("summary.md", "summary.json", "curves.png", "retrieval.png", "backbone.safetensors"):
        assert (folder / name).stat().st_size > 0, f"{name} is missing"
    assert (folder / "checkpoints" / str(STEPS)).is_dir()
    summary = (folder / "summary.md").read_text()
    for row in ("trained", "untrained", "raw pixels", "colour histogram"):
        assert f"{row} |" in summary, summary


def test_the_backbone_for_users_says_how_to_use_it(finished):
    _, folder, _ = finished
    with safe_open(folder / "backbone.safetensors", "numpy") as file:
        about, names = file.metadata(), list(file.keys())
    assert {"model", "mean", "std", "input_size", "commit", "steps"} <= about.keys()
    assert about["model"] == tiny_config.MODEL and about["input_size"] == "[32, 32]"
    assert "blocks.0.attn.qkv.weight" in names and not [n for n in names if "head" in n]


def test_the_log_says_what_the_run_is(finished):
    _, _, said = finished
    text = "\n".join(said)
    for part in (
        f"training on {PEOPLE} synthetic people",
        f"{STEPS} steps of {BATCH} images",
        "4 images per identity",
    ):
        assert part in text, text
