"""The loop with a stand-in for everything around it: what happens at which step, and in which order."""

import jax.numpy as jnp
import pytest

from cion_jax.core.errors import UserError
from cion_jax.train import loop
from cion_jax.train.preemption import Preempted


class World:
    """Writes down what the loop does; a state is the number of steps taken."""

    def __init__(self, *, stop_after=None, stop_in_evaluation=None, due=(), skipped=None):
        self.events, self.polls = [], 0
        self._stop_after, self._stop_in_evaluation = stop_after, stop_in_evaluation
        self._due, self._skipped = due, skipped or {}
        self._state = None

    def run(self, first_step=0, *, total=6, log_every=1, evaluate_at=(), evaluated=(), max_skipped=100):
        self._state = first_step
        return loop.run(
            first_step,
            first_step,
            plan=loop.Plan(total, 4, log_every, lambda s: s in evaluate_at, max_skipped),
            step_function=self._step,
            batches=self._batches(first_step, total),
            evaluate=self._evaluate,
            evaluated=lambda s: s in evaluated,
            checkpoints=self,
            log=self,
            preemption=self,
            show_progress=False,
        )

    def _batches(self, first_step, total):
        for step in range(first_step, total):
            self.events.append(("batch", step))
            yield {"number": step}

    def _step(self, step, state, batch):
        assert state == step == batch["number"], "state, step and batch must belong together"
        self.events.append(("update", step))
        self._state = state + 1
        metrics = {"loss": jnp.float32(step), "skipped_in_row": jnp.int32(self._skipped.get(step + 1, 0))}
        return self._state, metrics | {"data_order": jnp.uint32(2**32 - 1)}

    def _evaluate(self, state, step):
        assert state == step
        if step == self._stop_in_evaluation:
            raise Preempted
        self.events.append(("evaluation", step))

    def write(self, step, figures):
        self.events.append(("row", step))
        self.figures = figures

    def due(self, step):
        return step in self._due

    def save(self, step, state):
        assert state == step, f"the state of step {state} was saved as step {step}"
        self.events.append(("save", step))

    def wait(self):
        self.events.append(("wait", self._state))

    def reached(self):
        self.polls += 1
        return self._state == self._stop_after

    def steps(self, kind):
        return [step for event, step in self.events if event == kind]


def test_every_step_has_its_batch_and_the_last_state_comes_back():
    world = World()
    assert world.run() == 6
    assert world.steps("update") == world.steps("batch") == list(range(6))
    assert world.polls == 6, "a stop must be noticed after every step, equally often on all processes"


def test_rows_come_at_intervals_and_at_the_end():
    world = World()
    world.run(total=7, log_every=3)
    assert world.steps("row") == [3, 6, 7]


def test_figures_are_numbers_of_the_host_and_checksums_stay_exact():
    world = World()
    world.run(total=2)
    assert world.figures == {"loss": 1.0, "skipped_in_row": 0, "data_order": 2**32 - 1}
    types = {name: type(value) for name, value in world.figures.items()}
    assert types == {"loss": float, "skipped_in_row": int, "data_order": int}


def test_evaluations_come_when_they_are_due_the_first_before_any_step():
    world = World()
    world.run(evaluate_at=(0, 3, 6))
    assert world.steps("evaluation") == [0, 3, 6]
    assert world.events[0] == ("evaluation", 0)


def test_within_a_step_the_row_comes_first_then_the_evaluation_then_the_checkpoint_then_the_next_batch():
    world = World(due=(2,))
    world.run(evaluate_at=(2,))
    start = world.events.index(("update", 1))
    assert world.events[start : start + 5] == [
        ("update", 1),
        ("row", 2),
        ("evaluation", 2),
        ("save", 2),
        ("batch", 2),
    ]


def test_the_end_is_saved_and_waited_for():
    world = World()
    world.run()
    assert world.events[-2:] == [("save", 6), ("wait", 6)]


@pytest.mark.parametrize("evaluated", [(), (4,)])
def test_a_run_goes_on_where_it_was_and_catches_up_with_an_evaluation(evaluated):
    world = World()
    world.run(4, evaluate_at=(4,), evaluated=evaluated)
    assert world.steps("update") == [4, 5]
    assert world.steps("evaluation") == ([] if evaluated else [4])


def test_a_run_that_is_over_takes_no_step():
    world = World()
    assert world.run(6) == 6
    assert not world.steps("batch") and not world.steps("save")


def test_a_stop_saves_the_state_before_the_next_batch_and_leaves():
    world = World(stop_after=3)
    with pytest.raises(Preempted):
        world.run()
    assert world.events[-2:] == [("save", 3), ("wait", 3)]
    assert world.steps("batch") == [0, 1, 2]


@pytest.mark.parametrize("step", [0, 3])
def test_a_stop_in_an_evaluation_saves_the_state_that_was_evaluated(step):
    world = World(stop_in_evaluation=step)
    with pytest.raises(Preempted):
        world.run(evaluate_at=(0, 3))
    assert world.events[-2:] == [("save", step), ("wait", step)]


def test_too_many_updates_left_out_in_a_row_end_the_run_without_another_checkpoint():
    world = World(due=range(7), skipped={2: 1, 3: 2, 4: 3})
    with pytest.raises(UserError, match=r"3 updates in a row up to step 4.*optimizer\.lr"):
        world.run(max_skipped=3)
    assert world.steps("row")[-1] == 4, "the figures of the last step help to find the cause"
    assert world.steps("save") == [1, 2, 3]


def test_a_few_updates_left_out_do_not():
    world = World(skipped={2: 1, 3: 2})
    assert world.run(max_skipped=3) == 6


def test_skipped_updates_end_the_run_within_a_few_steps_whatever_the_log_interval():
    """Looked at with the log's rows alone, a limit of 3 in a row would hold after 50 steps, or never."""
    world = World(skipped={k: k for k in range(1, 30)})
    with pytest.raises(UserError, match="3 updates in a row up to step 3"):
        world.run(total=40, log_every=40, max_skipped=3)
    assert max(world.steps("update")) <= 3 + loop.STEPS_AHEAD
