"""AdamW with groups against a plain NumPy account of PyTorch's rules."""

import jax
import jax.numpy as jnp
import numpy as np

from cion_jax.train import optimizer

PARAMS = {
    "backbone": {
        "conv": {"kernel": np.ones((3, 3, 2, 4)), "bias": np.ones(4)},
        "norm": {"scale": np.ones(4)},
        "pos_embed": np.ones((1, 3, 4)),
        "layer_scale": np.ones((4, 1, 1)),
        "gamma": np.ones(4),
    },
    "head": {"last_layer": {"weight_g": np.ones((5, 1)), "weight_v": np.ones((5, 4))}},
}


def params():
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)


def gradients(step):
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), PARAMS)


def test_groups_are_those_of_the_recipe():
    groups = optimizer.parameter_groups(params())
    assert groups["backbone"]["conv"] == {"kernel": "decay", "bias": "no_decay"}
    assert groups["backbone"]["norm"]["scale"] == groups["backbone"]["gamma"] == "no_decay"
    assert groups["backbone"]["pos_embed"] == groups["backbone"]["layer_scale"] == "decay"
    assert groups["head"]["last_layer"] == {"weight_g": "fixed", "weight_v": "last_layer"}


def reference_adamw(value, grads, lr, decay):
    """PyTorch's AdamW over the steps where a gradient exists (None: the tensor is left alone)."""
    m = v = np.zeros_like(value)
    count = 0
    for grad in grads:
        if grad is None:
            continue
        count += 1
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        value = value * (1 - lr * decay)
        value = value - lr * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
    return value


def test_frozen_last_layer_starts_afresh_as_in_pytorch():
    state, p = optimizer.adam().init(params()), params()
    for step in range(5):
        frozen = jnp.bool_(step < 2)
        direction, state = optimizer.adam().update(gradients(step), state, frozen=frozen)
        p = optimizer.apply(p, direction, jnp.float32(0.01), jnp.float32(0.1), frozen)
    steps = [gradients(s) for s in range(5)]

    def expected(pick, decay, first=0):
        values = [None if s < first else np.asarray(pick(g), np.float64) for s, g in enumerate(steps)]
        return reference_adamw(np.asarray(pick(params()), np.float64), values, 0.01, decay)

    for pick, decay, first in [
        (lambda t: t["backbone"]["conv"]["kernel"], 0.1, 0),
        (lambda t: t["backbone"]["conv"]["bias"], 0.0, 0),
        (lambda t: t["backbone"]["gamma"], 0.0, 0),
        (lambda t: t["backbone"]["pos_embed"], 0.1, 0),
        (lambda t: t["head"]["last_layer"]["weight_v"], 0.1, 2),
    ]:
        np.testing.assert_allclose(pick(p), expected(pick, decay, first), rtol=2e-6)
    np.testing.assert_array_equal(p["head"]["last_layer"]["weight_g"], 1.0)


def test_frozen_last_layer_does_not_move_at_all():
    state, p = optimizer.adam().init(params()), params()
    direction, after = optimizer.adam().update(gradients(0), state, frozen=jnp.bool_(True))
    moved = optimizer.apply(p, direction, jnp.float32(0.1), jnp.float32(0.4), jnp.bool_(True))
    np.testing.assert_array_equal(moved["head"]["last_layer"]["weight_v"], 1.0)
    assert int(after.last_layer.count) == 0
    assert int(after.main.count) == 1


def test_clip_acts_on_each_tensor_alone():
    grads = {"large": jnp.full((4,), 3.0), "small": jnp.full((4,), 0.5)}
    clipped = optimizer.clip_per_tensor(grads, 3.0)
    np.testing.assert_allclose(np.linalg.norm(clipped["large"]), 3.0, rtol=1e-5)
    np.testing.assert_array_equal(clipped["small"], grads["small"])


def test_official_clip_gives_every_tensor_one_norm():
    scaled = optimizer.rescale_per_tensor({"a": jnp.full((4,), 3.0), "b": jnp.full((4,), 1e-3)}, 1e-4)
    for value in scaled.values():
        np.testing.assert_allclose(np.linalg.norm(value), 1e-4, rtol=1e-4)
