"""Learning rate, weight decay and teacher momentum over the steps of a run, as functions of a traced step."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Schedules:
    """Values of the three schedules at a position 0 .. total - 1; beyond the end the last value is kept.

    The rate rises linearly from 0 over `warmup` positions, both ends included, then follows a half cosine to
    `lr_end`. Weight decay and momentum follow half cosines over all positions. As in DINO's tables, the cosine at
    position i of n is taken at i / n, so the end value itself is never reached.
    """

    total: int
    warmup: int
    lr_peak: float
    lr_end: float
    weight_decay: tuple[float, float]
    momentum: tuple[float, float]

    def at(self, position: jax.Array) -> dict[str, jax.Array]:
        """The values at `position` (int32 scalar): "lr", "weight_decay", "momentum", float32 scalars."""
        position = jnp.clip(position, 0, self.total - 1)
        return {
            "lr": self._lr(position),
            "weight_decay": _half_cosine(*self.weight_decay, position, self.total),
            "momentum": _half_cosine(*self.momentum, position, self.total),
        }

    def _lr(self, position: jax.Array) -> jax.Array:
        rising = self.lr_peak * position / max(self.warmup - 1, 1)
        falling = _half_cosine(
            self.lr_peak, self.lr_end, position - self.warmup, max(self.total - self.warmup, 1)
        )
        return jnp.where(position < self.warmup, rising, falling).astype(jnp.float32)


def _half_cosine(start: float, end: float, position: jax.Array, total: int) -> jax.Array:
    # (1 - cos x) / 2 = sin^2(x / 2): in float32 the small steps near either end survive.
    share = jnp.sin(0.5 * jnp.pi * position / total) ** 2
    rest = jnp.cos(0.5 * jnp.pi * position / total) ** 2
    return jnp.asarray(start * rest + end * share, jnp.float32)
