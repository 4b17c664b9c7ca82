import itertools

import jax
import numpy as np

from cion_jax.core.rng import key_for


def test_every_seed_and_purpose_has_a_key_of_its_own():
    keys = [
        jax.random.key_data(key_for(*pair))
        for pair in itertools.product((0, 1, 2**32 - 1), ("init", "augment"))
    ]
    assert len({key.tobytes() for key in map(np.asarray, keys)}) == 6


def test_a_key_does_not_change_between_versions():
    """Runs go on after an update of this package only as long as this holds."""
    assert np.asarray(jax.random.key_data(key_for(0, "init"))).tolist() == [3020537540, 2946840664], (
        "keys differ from those of earlier runs: a run that goes on would change its augmentation"
    )
