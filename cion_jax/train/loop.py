"""The training loop. It knows no method: a task hands it a step function and what to do at which step."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.core.progress import Progress
from cion_jax.train.checkpoint import Checkpoints
from cion_jax.train.preemption import Preempted, PreemptionWatch

Batch = dict[str, np.ndarray]
StepFunction = Callable[[int, Any, Batch], tuple[Any, dict[str, jax.Array]]]
STEPS_AHEAD = 2  # dispatched but not finished; more would pile up batches in device memory


class Log(Protocol):
    """Takes rows of figures."""

    def write(self, step: int, figures: dict[str, float | str]) -> None: ...


@dataclasses.dataclass(frozen=True)
class Plan:
    """When things happen.

    Attributes:
      total_steps: length of the run.
      batch_size: images per step, for the rate shown.
      log_every: steps between rows of figures; the last step has one too.
      evaluate_at: whether an evaluation is due after this many steps (0: before the first).
      max_skipped: non-finite updates in a row that end the run.
    """

    total_steps: int
    batch_size: int
    log_every: int
    evaluate_at: Callable[[int], bool]
    max_skipped: int


def run(
    state: Any,
    first_step: int,
    *,
    plan: Plan,
    step_function: StepFunction,
    batches: Iterator[Batch],
    evaluate: Callable[[Any, int], None],
    evaluated: Callable[[int], bool],
    checkpoints: Checkpoints,
    log: Log,
    preemption: PreemptionWatch,
    show_progress: bool = True,
) -> Any:
    """Trains from `first_step` to the end.

    Order within a step, on which exact resumption rests: update, row of figures, evaluation, checkpoint. Rows up to
    the checkpoint's step stay when a run goes on; an evaluation that a stop cut off is caught up first.

    Args:
      state: the state after `first_step` steps; given up to the step function.
      first_step: steps taken.
      plan: see `Plan`.
      step_function: (step, state, host batch) -> (state, metrics on the device); metrics has "loss" and
        "skipped_in_row".
      batches: host batches from `first_step` on.
      evaluate: evaluates the state and logs the figures; may raise `Preempted` before it has logged.
      evaluated: whether the figures of an evaluation after so many steps are logged already.
      checkpoints: where states go.
      log: where figures go.
      preemption: polled after every step.
      show_progress: False on all processes but the first.

    Returns:
      The state after the last step.

    Raises:
      Preempted: after saving, when the machine is about to be taken away.
      UserError: too many non-finite updates in a row.
    """
    in_flight: collections.deque = collections.deque()
    with _progress(plan, first_step, show_progress) as progress:
        step = first_step
        try:
            if plan.evaluate_at(step) and not evaluated(step):
                evaluate(state, step)
            for step in range(first_step + 1, plan.total_steps + 1):
                state, metrics = step_function(step - 1, state, next(batches))
                in_flight.append(metrics["skipped_in_row"])
                if len(in_flight) > STEPS_AHEAD:
                    # Waits for that step; its count is ready with it.
                    _stop_if_stuck(int(in_flight.popleft()), step - STEPS_AHEAD, plan.max_skipped)
                note = ""
                if step % plan.log_every == 0 or step == plan.total_steps:
                    figures = _to_host(metrics)
                    log.write(step, figures)
                    _stop_if_stuck(int(figures["skipped_in_row"]), step, plan.max_skipped)
                    note = f"loss {figures['loss']:.4f}"
                progress.advance(1, note)
                if plan.evaluate_at(step):
                    evaluate(state, step)
                if preemption.reached():
                    raise Preempted
                if checkpoints.due(step) or step == plan.total_steps:
                    checkpoints.save(step, state)
        except Preempted:
            checkpoints.save(step, state)
            checkpoints.wait()
            raise
    checkpoints.wait()
    return state


def _progress(plan: Plan, first_step: int, show: bool) -> Progress:
    if not show:
        return Progress("", None, stream=_Nowhere())
    return Progress(
        "train",
        plan.total_steps,
        unit="steps",
        initial=first_step,
        weight=plan.batch_size,
        weight_unit="images",
    )


class _Nowhere:
    """A stream for processes that say nothing."""

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> None:
        """Drops the text."""

    def flush(self) -> None:
        """Has nothing to flush."""


def _to_host(metrics: dict[str, jax.Array]) -> dict[str, float]:
    # Integers (the checksum of the data order) stay integers: a float would round them.
    fetched = jax.device_get(metrics)
    return {
        name: int(value) if np.issubdtype(np.asarray(value).dtype, np.integer) else float(value)
        for name, value in fetched.items()
    }


def _stop_if_stuck(skipped_in_row: int, step: int, limit: int) -> None:
    if skipped_in_row >= limit:
        raise UserError(
            f"{skipped_in_row} updates in a row up to step {step} were not finite and were left out. "
            "Lower --config.optimizer.lr or train with --config.model.dtype=float32; the last checkpoint is sound"
        )
