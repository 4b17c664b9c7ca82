"""Random keys by name: every use of randomness derives its own key from the run's seed."""

import zlib

import jax


def key_for(seed: int, purpose: str) -> jax.Array:
    """The key of one purpose ("init", "augment", ...) in a run."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
