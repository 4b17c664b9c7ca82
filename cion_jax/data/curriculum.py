"""From the step to the batch: the phases of images per identity, epochs of each, and the rows of any step."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.data.epoch_plans import EpochPlans
from cion_jax.data.sampler import FILL, EpochUse, IdentitySampler


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training with one number of images per identity.

    `first_step` to `last_step` (exclusive) are its steps, `first_epoch` its first epoch, `epoch_length` the steps of
    each of its epochs.
    """

    images_per_identity: int
    first_epoch: int
    epoch_length: int
    first_step: int
    last_step: int


class Curriculum:
    """The batches of a whole run, as a pure function of (seed, step).

    Args:
      identities: identity of every record, int [n].
      batch_size: images per batch, over all devices.
      epochs: epochs of the run.
      stages: (first epoch, images per identity) pairs in order, the first from epoch 0.
      seed: seed of the data order.
      steps: length of the run; 0 means that `epochs` decides. Longer than `epochs`, it goes on in the last phase.
      incomplete_groups: "fill" or "drop", see sampler.py.

    Raises:
      UserError: stages out of order, a batch that does not hold whole identities, or too few identities.
    """

    def __init__(
        self,
        identities: np.ndarray,
        *,
        batch_size: int,
        epochs: int,
        stages: Sequence[tuple[int, int]],
        seed: int,
        steps: int = 0,
        incomplete_groups: str = FILL,
    ):
        self.batch_size, self._seed = batch_size, seed
        stages = _checked(stages, epochs, batch_size)
        self._samplers = {
            n: IdentitySampler(identities, batch_size // n, n, incomplete_groups) for _, n in stages
        }
        self.phases = self._phases(stages, epochs, steps)
        self.total_steps = self.phases[-1].last_step
        self._plans = EpochPlans(self._make_plan)

    def __getstate__(self) -> dict:
        # Plans, and the lock that guards them, stay: worker processes make their own.
        return {key: value for key, value in self.__dict__.items() if key != "_plans"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._plans = EpochPlans(self._make_plan)

    def phase(self, step: int) -> Phase:
        """The phase that `step` belongs to."""
        return next(p for p in self.phases if step < p.last_step)

    def epoch(self, step: int) -> int:
        """The epoch that `step` belongs to."""
        phase = self.phase(step)
        return phase.first_epoch + (step - phase.first_step) // phase.epoch_length

    def rows(self, step: int) -> np.ndarray:
        """Record indices of the batch of `step`, int32 [batch_size]; images of an identity stand together.

        Thread-safe. An epoch is planned when its first rows are asked for, unless it was planned ahead: the next epoch
        is planned in the background from then on.
        """
        phase = self.phase(step)
        epoch, position = divmod(step - phase.first_step, phase.epoch_length)
        first_of_next = min(phase.first_step + (epoch + 1) * phase.epoch_length, phase.last_step)
        following = self._plan_key(first_of_next) if first_of_next < self.total_steps else None
        return self._plans.get(self._plan_key(step), following)[position]

    def use(self) -> list[tuple[Phase, EpochUse]]:
        """What an epoch of each phase draws from the data."""
        return [(phase, self._samplers[phase.images_per_identity].use()) for phase in self.phases]

    def _plan_key(self, step: int) -> tuple[int, int]:
        """Images per identity, and the epoch: what decides the plan that `step` belongs to."""
        return self.phase(step).images_per_identity, self.epoch(step)

    def _make_plan(self, key: tuple[int, int]) -> np.ndarray:
        images_per_identity, epoch = key
        return self._samplers[images_per_identity].epoch(self._seed, epoch)

    def _phases(self, stages: list[tuple[int, int]], epochs: int, steps: int) -> list[Phase]:
        phases, first_step = [], 0
        ends = [start for start, _ in stages[1:]] + [epochs]
        for (start, n), end in zip(stages, ends, strict=True):
            length = self._samplers[n].epoch_length
            last_step = first_step + (end - start) * length
            if steps and (last_step > steps or end == epochs):
                last_step = steps
            if last_step > first_step:
                phases.append(Phase(n, start, length, first_step, last_step))
            first_step = last_step
        return phases


def _checked(stages: Sequence[tuple[int, int]], epochs: int, batch_size: int) -> list[tuple[int, int]]:
    """The stages that begin before `epochs`, validated."""
    stages = [(int(start), int(n)) for start, n in stages]
    starts = [start for start, _ in stages]
    if not stages or starts[0] != 0 or starts != sorted(set(starts)) or min(n for _, n in stages) < 1:
        raise UserError(
            f"train.curriculum={stages} must list (first epoch, images per identity) with rising epochs from 0"
        )
    if epochs < 1:
        raise UserError(f"train.epochs={epochs} must be at least 1")
    used = [(start, n) for start, n in stages if start < epochs]
    for _, n in used:
        if batch_size % n:
            raise UserError(
                f"data.batch_size={batch_size} does not divide into identities of {n} images (train.curriculum): "
                f"take a multiple of {np.lcm.reduce([n for _, n in used])}"
            )
    return used
