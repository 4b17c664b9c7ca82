"""The wiring of the task on one device. Initial weights, crops and update are stand-ins that compile at once.

The real update, its one compilation per phase and exact resumption are tested in tests/resume.
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from cion_jax import zoo
from cion_jax.core import mesh as meshes
from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target
from cion_jax.data.curriculum import Curriculum
from cion_jax.data.importers import synthetic
from cion_jax.methods.distill import Distill
from cion_jax.tasks import pretrain, programs, settings
from cion_jax.zoo import registry
from tests.resume import tiny_config

STEPS = 10
PEOPLE, BATCH = 12, 16


def stand_in(self, state, views, key, *, images_per_identity, schedule_offset=0):
    """Takes a step that shows what it was given."""
    assert views["global"].shape == (BATCH, 2, 32, 32, 3)
    assert views["local"].shape == (BATCH, 1, 32, 32, 3)
    shown = {"loss": jnp.mean(views["global"]), "skipped_in_row": state.skipped_in_row}
    shown |= {"n": jnp.float32(images_per_identity), "offset": jnp.float32(schedule_offset)}
    return state.replace(step=state.step + 1), shown


def plain_crops(key, images, sizes, *, policy, dtype):
    """Views that are the pictures, a little brighter at every step."""
    views = images[:, None, :32, :32].astype(dtype) / 255 + jax.random.uniform(key)
    return jnp.repeat(views, 2, axis=1), jnp.repeat(views, policy.local_count, axis=1)


def plain_weights(init):
    """Weights that compile at once, in the shapes and types of the real ones."""

    def plain(self, key, input_size):
        shapes = jax.eval_shape(lambda k: init(self, k, input_size), key)
        waves = [jnp.sin(jnp.arange(s.size) + i) / 9 for i, s in enumerate(jax.tree.leaves(shapes))]
        leaves = [
            w.reshape(s.shape).astype(s.dtype) for w, s in zip(waves, jax.tree.leaves(shapes), strict=True)
        ]
        state = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
        variances = jax.tree.map(jnp.abs, state.student.batch_stats)
        student = state.student.replace(batch_stats=variances)
        return state.replace(student=student, teacher=jax.tree.map(jnp.copy, student))

    return plain


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over two phases: its wiring, its folder, and what it said."""
    folder = tmp_path_factory.mktemp("pretrain")
    runs, said = [], []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for place, name in ((registry, "_SPECS"), (registry, "MODELS"), (zoo, "MODELS"), (sys, "path")):
            monkeypatch.setattr(place, name, type(getattr(place, name))(getattr(place, name)))
        make_mesh, rows, train = meshes.make_mesh, synthetic.rows, pretrain._Run.train
        real_step = Distill.step
        monkeypatch.setattr(meshes, "make_mesh", lambda fsdp: make_mesh(fsdp, jax.devices()[:1]))
        # Started processes cost more than these few pictures.
        monkeypatch.setattr(synthetic, "rows", lambda spec, workers, **kw: rows(spec, workers=0, **kw))
        monkeypatch.setattr(pretrain.outputs.Speaker, "__call__", lambda self, line: said.append(line))

        def remembered(self, *arguments, **options):
            # Asked for later, when the stand-ins are still in place.
            self.real_step = functools.partial(real_step, self.method)
            self.real_init = functools.partial(real_init, self.method)
            runs.append(self)
            return train(self, *arguments, **options)

        monkeypatch.setattr(pretrain._Run, "train", remembered)
        config = tiny_config.get_config()
        config.data.cache_dir = str(folder / "cache")
        config.synthetic.identities, config.synthetic.eval_identities = PEOPLE, 2
        config.data.batch_size = BATCH
        config.train.steps = STEPS
        config.eval.every_epochs = 0.0
        config.checkpoint.every_steps = 0
        config.optimizer.schedule = "official"
        monkeypatch.setattr(Distill, "step", stand_in)
        real_init = Distill.init
        monkeypatch.setattr(Distill, "init", plain_weights(real_init))
        monkeypatch.setattr(programs, "multi_crop", plain_crops)
        # This process has eight devices, the run has one.
        monkeypatch.setattr(settings, "batch_multiple", lambda config: 4)
        (folder / "run").mkdir()
        pretrain.run(config, folder / "run")
        [run] = runs
        yield run, folder / "run", said


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_every_phase_has_one_program(finished):
    run, folder, _ = finished
    phases = run.curriculum.phases
    assert [(p.images_per_identity, p.first_step, p.last_step) for p in phases] == [(2, 0, 7), (4, 7, STEPS)]
    assert [n for n, _ in run.programs.compiled] == [2, 4], "one compilation of the update per phase"
    assert [row["n"] for row in rows_of(folder) if "n" in row] == [2.0] * 7 + [4.0] * 3


def test_the_official_schedule_counts_epochs_of_the_first_phase(finished):
    _, folder, _ = finished
    # Phase two begins after one epoch of seven steps; in its own epochs of nine that would be step nine.
    assert [row["offset"] for row in rows_of(folder) if "offset" in row] == [0.0] * 7 + [2.0] * 3


def test_every_step_has_a_row_and_batch_of_its_own_and_the_ends_are_evaluated(finished):
    _, folder, _ = finished
    rows = rows_of(folder)
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
    assert [row["step"] for row in rows if "mAP" in row] == [0, STEPS]
    for name in ("loss", "data_order"):
        assert len({row[name] for row in rows if "loss" in row}) == STEPS, f"{name} comes twice"


def test_the_real_update_gives_back_a_state_of_the_same_types(finished):
    """A weak type or another dtype would compile the second step anew."""
    run, _, _ = finished
    state = jax.eval_shape(lambda k: run.real_init(k, (32, 32)), jax.random.key(0))
    views = {
        name: jax.ShapeDtypeStruct((BATCH, count, 32, 32, 3), jnp.float32)
        for name, count in (("global", 2), ("local", 1))
    }
    after, metrics = jax.eval_shape(
        lambda s, v, k: run.real_step(s, v, k, images_per_identity=2), state, views, jax.random.key(0)
    )
    kinds = [[(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)] for tree in (state, after)]
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert kinds[0] == kinds[1]
    assert {"loss", "skipped", "skipped_in_row", "teacher_entropy", "teacher_kl_uniform"} <= metrics.keys()
    assert {"center_norm", "grad_norm", "lr"} <= metrics.keys()


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


def test_a_work_directory_that_another_run_writes_is_refused(finished):
    _, folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    refused = pytest.raises(UserError, match="run is being written by task pretrain")
    with lock_target(folder, "pretrain"), refused:
        pretrain.run(tiny_config.get_config(), folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(("steps", "total"), [(0, 6), (4, 4)])
def test_the_official_schedule_decays_over_a_run_of_given_steps(steps, total):
    """Sized by epochs alone, a short run would end in its warm-up."""
    config = tiny_config.get_config()
    config.model.name, config.optimizer.schedule = "resnet18", "official"
    config.train.epochs, config.train.steps, config.train.curriculum = 2, steps, ((0, 2),)
    people = np.repeat(np.arange(6), 4)
    curriculum = Curriculum(
        people, batch_size=8, epochs=2, stages=config.train.curriculum, seed=0, steps=steps
    )
    assert curriculum.phases[0].epoch_length == 3
    assert pretrain._method(config, curriculum, lambda line: None).schedules.total == total


def test_a_phase_with_the_images_of_an_earlier_one_has_its_program():
    config = tiny_config.get_config()
    config.model.name = "resnet18"
    curriculum = Curriculum(
        np.repeat(np.arange(6), 4), batch_size=8, epochs=3, stages=((0, 2), (1, 4), (2, 2)), seed=0
    )
    method = pretrain._method(config, curriculum, lambda line: None)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), meshes.AXES)
    steps = programs.StepPrograms(config, mesh, method, curriculum, (32, 32))
    steps.compiled = {(2, 0): "two", (4, 0): "four"}
    assert [steps.update(phase) for phase in curriculum.phases] == ["two", "four", "two"]
