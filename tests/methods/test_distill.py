"""One step of CION on a small network, against a plain account of what must happen."""

import dataclasses
import functools
import re

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_jax import zoo
from cion_jax.core import mesh as meshes
from cion_jax.losses import distill as loss
from cion_jax.methods.distill import Distill, Settings, split_batch
from cion_jax.train import memory
from cion_jax.train.schedules import Schedules
from cion_jax.zoo.layers import BatchNorm

SIZE, LOCAL = (16, 8), (8, 4)


class TinyBackbone(nn.Module):
    """A convolution, BatchNorm and a mean: everything a backbone has, in no time."""

    @nn.compact
    def __call__(self, images, train: bool = False):
        x = nn.Conv(6, (3, 3), name="conv")(images)
        x = BatchNorm(name="norm")(x, train)
        return jnp.mean(nn.relu(x), axis=(1, 2))


def method(**settings):
    schedules = Schedules(20, 3, 1e-2, 1e-4, (0.04, 0.4), (0.9, 1.0))
    return Distill(TinyBackbone(), zoo.DINOHead(12, hidden=8, bottleneck=4), schedules, Settings(**settings))


def views(batch=8, local=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "global": jnp.asarray(rng.normal(size=(batch, 2, *SIZE, 3)), jnp.float32),
        "local": jnp.asarray(rng.normal(size=(batch, local, *LOCAL, 3)), jnp.float32),
    }


def start(m):
    return m.init(jax.random.key(0), SIZE)


def stepper(m, n=2):
    return jax.jit(functools.partial(m.step, images_per_identity=n))


KEY = jax.random.key(7)


def test_teacher_starts_as_the_student():
    state = start(method())
    jax.tree.map(np.testing.assert_array_equal, state.student, state.teacher)
    assert not state.center.any()


def test_loss_is_that_of_the_views_through_both_networks():
    m = method()
    state, crops = start(m), views()
    _, metrics = stepper(m)(state, crops, KEY)

    def outputs(images):
        flat = images.reshape(-1, *images.shape[2:])
        variables = {
            "params": state.student.params["backbone"],
            "batch_stats": state.student.batch_stats["backbone"],
        }
        features, _ = m.backbone.apply(variables, flat, train=True, mutable=["batch_stats"])
        logits = m.head.apply({"params": state.student.params["head"]}, features)
        return jnp.swapaxes(logits.reshape(*images.shape[:2], -1), 0, 1)

    teacher, local = outputs(crops["global"]), outputs(crops["local"])
    expected = loss.identity_loss(
        jnp.concatenate([teacher, local]), teacher, state.center, images_per_identity=2
    )
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)  # temperature 0.04 magnifies rounding


def test_student_sees_two_sizes_and_the_teacher_one():
    """The student's running statistics move twice a step, the teacher's once, and are no average."""
    m = method()
    before, crops = start(m), views()
    after, _ = stepper(m)(before, crops, KEY)

    def moved(stats, images):
        variables = {"params": before.student.params["backbone"], "batch_stats": stats}
        flat = images.reshape(-1, *images.shape[2:])
        return m.backbone.apply(variables, flat, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    once = moved(before.student.batch_stats["backbone"], crops["global"])
    twice = moved(once, crops["local"])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, after.teacher.batch_stats["backbone"], once)
    jax.tree.map(close, after.student.batch_stats["backbone"], twice)


def test_teacher_follows_the_student_by_the_momentum():
    m = method()
    step = stepper(m)
    state, _ = step(start(m), views(), KEY)  # the first rate is 0
    after, metrics = step(state, views(seed=1), KEY)
    momentum = float(metrics["momentum"])
    assert 0.9 < momentum < 1
    expected = jax.tree.map(
        lambda t, s: momentum * t + (1 - momentum) * s, state.teacher.params, after.student.params
    )
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after.teacher.params, expected
    )
    different = jax.tree.map(lambda a, b: bool((a != b).any()), after.student.params, state.student.params)
    assert different["backbone"]["conv"]["kernel"], "the student did not move"


def test_center_moves_to_the_mean_of_the_teacher():
    m = method(center_momentum=0.75)
    state, _ = stepper(m)(start(m), views(), KEY)
    assert float(jnp.linalg.norm(state.center)) > 0
    same, _ = stepper(method(center_momentum=1.0))(start(m), views(), KEY)
    assert not same.center.any()


def test_last_layer_stays_for_the_frozen_steps():
    m = method(freeze_steps=2)
    step, state = stepper(m), start(m)
    layer = lambda s: s.student.params["head"]["last_layer"]  # noqa: E731
    moved = []
    for index in range(4):
        before = layer(state)["weight_v"]
        state, _ = step(state, views(seed=index), KEY)
        moved.append(bool((layer(state)["weight_v"] != before).any()))
    assert moved == [False, False, True, True]
    np.testing.assert_array_equal(layer(state)["weight_g"], 1.0)


def test_a_step_that_is_not_finite_changes_nothing_but_the_counts():
    m = method()
    step = stepper(m)
    state, _ = step(start(m), views(), KEY)
    broken = views(seed=1)
    broken["local"] = broken["local"].at[0, 0, 0, 0, 0].set(jnp.nan)
    after, _ = step(state, broken, KEY)
    assert (int(after.step), int(after.skipped), int(after.skipped_in_row)) == (2, 1, 1)
    for part in ("student", "teacher", "optimizer", "center"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, part), getattr(state, part))
    after, _ = step(after, views(seed=2), KEY)
    assert (int(after.skipped), int(after.skipped_in_row)) == (1, 0)


def test_accumulation_averages_the_gradients_of_its_parts():
    """Without BatchNorm in the way (evaluation of one and the same image), parts and whole agree."""
    m, parts = method(), method(accumulate=2)
    same = jax.tree.map(lambda x: jnp.repeat(x[:1], 8, axis=0), views())
    one, metrics = stepper(m)(start(m), same, KEY)
    two, metrics_of_parts = stepper(parts)(start(parts), same, KEY)
    np.testing.assert_allclose(metrics["loss"], metrics_of_parts["loss"], rtol=1e-4)  # see above
    np.testing.assert_allclose(metrics["grad_norm"], metrics_of_parts["grad_norm"], rtol=1e-3)
    np.testing.assert_allclose(one.center, two.center, atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
@hypothesis.settings(deadline=None, max_examples=30)
def test_parts_of_a_batch_are_shares_of_every_device_and_hold_each_row_once(parts, shards, share):
    rows = np.arange(parts * shards * share)
    split = np.asarray(split_batch(jnp.asarray(rows), parts, shards))
    assert split.shape == (parts, shards * share)
    np.testing.assert_array_equal(np.sort(split.ravel()), rows)
    # On one device the parts are consecutive stretches; on several, of each device's own stretch.
    owners = split // (parts * share)
    for part in owners:
        np.testing.assert_array_equal(part, np.repeat(np.arange(shards), share))


@functools.cache
def compiled_accumulation(parts):
    """The step of 96 images on eight devices, split into `parts` micro-batches, compiled."""
    m = method(accumulate=parts, shards=8)
    mesh = meshes.make_mesh()
    rows, one = meshes.batch_sharding(mesh), meshes.replicated(mesh)
    state = jax.eval_shape(lambda k: m.init(k, SIZE), jax.random.key(0))
    crops = jax.eval_shape(lambda: views(96))
    step = jax.jit(
        functools.partial(m.step, images_per_identity=2),
        in_shardings=(one, rows, one),
        out_shardings=(one, one),
    )
    return step.lower(state, crops, KEY).compile()


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_on_eight_devices_gathers_no_views(parts):
    """Each device works on its own images in each micro-batch: 96 / 8 / parts of them."""
    text = compiled_accumulation(parts).as_text()
    gathered = [
        line for line in text.splitlines() if "all-gather" in line and f"{SIZE[0]},{SIZE[1]},3" in line
    ]
    assert not gathered, (
        f"views travel between devices, so every device computes foreign images: {gathered[0]}"
    )
    own = 96 // 8 // parts
    assert re.search(rf"f32\[{2 * own},{SIZE[0]},{SIZE[1]},6\]", text), (
        "a device computes more images than its own"
    )


def test_more_parts_take_less_memory():
    sizes = [compiled_accumulation(parts).memory_analysis().temp_size_in_bytes for parts in (1, 2, 4)]
    assert sizes[0] > sizes[1] > sizes[2], f"temporary bytes in 1, 2 and 4 parts: {sizes}"


def test_accumulated_gradients_are_kept_once():
    """Gradients are added up as they come. Stacked, each further part would take the parameters' size."""
    m = [method(accumulate=parts) for parts in (2, 8)]
    wide = [dataclasses.replace(x, head=zoo.DINOHead(256, hidden=256, bottleneck=128)) for x in m]
    state = jax.eval_shape(lambda k: wide[0].init(k, SIZE), jax.random.key(0))
    two, eight = (
        stepper(x, n=1).lower(state, jax.eval_shape(lambda: views(16)), KEY).compile().memory_analysis()
        for x in wide
    )
    weights = memory.tree_bytes(state.student.params)
    assert eight.temp_size_in_bytes < two.temp_size_in_bytes + weights, "gradients of the parts are stacked"


@pytest.mark.parametrize("local", [0, 2])
def test_learns_to_tell_identities_apart(local):
    """On views that show who it is, the loss falls below that of a teacher without knowledge."""
    m = Distill(
        TinyBackbone(),
        zoo.DINOHead(12, hidden=8, bottleneck=4),
        Schedules(60, 5, 2e-2, 1e-3, (0.0, 0.0), (0.9, 0.95)),
        Settings(),
    )
    step, state, losses = stepper(m), start(m), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        colour = np.repeat(rng.normal(size=(4, 3)), 2, axis=0)[:, None, None, None]
        crops = jax.tree.map(lambda v, c=colour: 0.1 * v + 2 * c.astype(np.float32), views(8, local, seed))
        state, metrics = step(state, crops, KEY)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-5:]) < np.log(12) - 0.1, f"the loss stays at {losses[-1]:.3f}"


def test_eight_devices_do_what_one_does():
    m = method()
    mesh = meshes.make_mesh(fsdp=2)
    rules = ((r"weight_v$", ("fsdp", None)), (r"kernel$", (None, "fsdp")))
    state, crops = start(m), views(16)
    layout = meshes.shardings(mesh, state, rules)
    assert layout.student.params["head"]["last_layer"]["weight_v"].spec == jax.sharding.PartitionSpec(
        "fsdp", None
    )
    rows, one = meshes.batch_sharding(mesh), meshes.replicated(mesh)
    spread = jax.jit(
        functools.partial(m.step, images_per_identity=2),
        in_shardings=(layout, rows, one),
        out_shardings=(layout, one),
    )
    alone, metrics = stepper(m)(state, crops, KEY)
    together, metrics_of_eight = spread(jax.device_put(state, layout), jax.device_put(crops, rows), KEY)
    np.testing.assert_allclose(metrics["loss"], metrics_of_eight["loss"], rtol=1e-4)
    np.testing.assert_allclose(metrics["grad_norm"], metrics_of_eight["grad_norm"], rtol=1e-3)
    np.testing.assert_allclose(alone.center, together.center, atol=1e-6)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        alone.teacher.batch_stats,
        together.teacher.batch_stats,
    )
