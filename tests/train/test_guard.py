import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.train import guard
from cion_jax.train.state import Network, TrainState


def state_of(number):
    network = Network({"w": jnp.full(3, number)}, {})
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, network, network, {"m": jnp.full(3, number)}, jnp.full(2, number), zero, zero)


def test_finite_trees_of_all_kinds():
    assert guard.all_finite({"a": jnp.ones(3), "b": [jnp.arange(2), jnp.ones(2, jnp.bfloat16)]})
    assert guard.all_finite({})


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_one_entry_that_is_not_finite_is_found(bad):
    assert not guard.all_finite({"a": jnp.ones((2, 2)), "b": jnp.ones((4, 5)).at[3, 4].set(bad)})


@pytest.mark.parametrize("form", [guard._branch, guard._select])
def test_both_forms_take_good_updates_and_leave_bad_ones_bit_by_bit(form):
    update = lambda state, number: jax.tree.map(lambda x: (x + number).astype(x.dtype), state)  # noqa: E731
    state = state_of(3.0)
    guarded = jax.jit(form(update))
    for finite, expected in ((True, update(state, jnp.nan)), (False, state)):
        found = guarded(jnp.bool_(finite), state, (jnp.nan,))
        jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(("platform", "branches"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_accelerators_take_the_form_without_a_branch(platform, branches):
    """A branch on the device's own result makes a GPU's host wait for it."""

    def step(state, number):
        return guard.guarded(
            jnp.isfinite(number), lambda s, n: jax.tree.map(lambda x: x * 2, s), state, number
        )

    exported = jax.export.export(jax.jit(step), platforms=[platform])(state_of(1.0), jnp.float32(1))
    # Two cases with a constant choose the platform; the compiler removes them. A third one depends on data.
    assert exported.mlir_module().count("stablehlo.case") == 2 + branches, f"the step on {platform}"


def test_the_answer_is_sorted_so_that_no_selection_repeats_the_test():
    text = str(jax.make_jaxpr(guard.all_finite)({"a": jnp.ones(3), "b": jnp.ones(4)}))
    assert "sort" in text, "without it XLA copies the test of all gradients into every selection"


def test_the_form_for_accelerators_has_no_branch():
    double = lambda state, number: jax.tree.map(lambda x: x * 2, state)  # noqa: E731
    text = {
        f: str(jax.make_jaxpr(f(double))(True, state_of(1.0), (1.0,))) for f in (guard._branch, guard._select)
    }
    assert "cond[" in text[guard._branch] and "cond[" not in text[guard._select]


def test_bad_updates_leave_everything_but_the_counts_and_good_ones_end_the_row():
    def update(state, number):
        return jax.tree.map(lambda x: x + number, state).replace(
            step=state.step, skipped=state.skipped, skipped_in_row=state.skipped_in_row
        )

    step = jax.jit(lambda state, number: guard.guarded(jnp.isfinite(number), update, state, number))
    state = state_of(0.0)
    counts = []
    for number in (1.0, jnp.nan, jnp.inf, 2.0, jnp.nan):
        state = step(state, number)
        counts.append((int(state.step), int(state.skipped), int(state.skipped_in_row)))
    assert counts == [(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 2, 0), (5, 3, 1)]
    for leaf in jax.tree.leaves((state.student, state.teacher, state.optimizer, state.center)):
        np.testing.assert_array_equal(leaf, 3.0)
