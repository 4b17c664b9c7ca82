import itertools

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.core.errors import UserError
from cion_jax.train import memory


def test_bytes_of_arrays_and_of_shapes():
    tree = {
        "a": jnp.zeros((2, 3)),
        "b": jax.ShapeDtypeStruct((5,), jnp.bfloat16),
        "c": jnp.zeros((), jnp.int32),
    }
    assert memory.tree_bytes(tree) == 24 + 10 + 4


def test_what_the_backward_pass_keeps_grows_with_the_layers_and_nothing_is_computed():
    def loss(layers):
        def of(w):
            x = jnp.ones((1000, 1000))
            for _ in range(layers):
                x = jnp.sin(w * x)
            return x.sum(), None

        return of

    weight = jax.ShapeDtypeStruct((), jnp.float32)
    kept = [memory.traced_bytes(loss(layers), weight) for layers in (1, 2, 3)]
    # Per layer the cosine and the product's other factor, but for the rounding of scalars.
    assert [round((more - less) / 8e6, 3) for less, more in itertools.pairwise(kept)] == [1.0, 1.0]


@settings(deadline=None, max_examples=200)
@given(
    fixed=st.integers(0, 10**6),
    each=st.integers(1, 10**4),
    budget=st.floats(0, 1e9),
    multiple=st.integers(1, 64),
    limit=st.integers(64, 5000),
)
def test_the_batch_is_the_largest_that_fits(fixed, each, budget, multiple, limit):
    size = memory.largest_batch(lambda n: fixed + each * n, budget, multiple=multiple, limit=limit)
    assert size % multiple == 0 and multiple <= size <= limit
    assert size == multiple or fixed + each * size <= budget * (1 + 1e-9) + 1e-3
    larger = size + multiple
    assert larger > limit or fixed + each * larger > budget * (1 - 1e-9) - 1e-3


def test_a_need_that_does_not_grow_meets_the_limit():
    assert memory.largest_batch(lambda n: 5, 1e9, multiple=8, limit=100) == 96


def test_the_budget_of_a_cpu_is_a_share_of_what_is_free_over_the_processes():
    budget, units = memory.device_budget()
    assert units == jax.process_count() == 1
    assert 0 < budget < memory.psutil.virtual_memory().total


@pytest.mark.parametrize("stats", [None, {}, {"bytes_limit": 0}])
def test_an_accelerator_that_does_not_tell_its_memory_is_named(monkeypatch, stats):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return stats

        def __repr__(self):
            return "gpu:0"

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    with pytest.raises(UserError, match=r"gpu:0.*--config\.data\.batch_size"):
        memory.device_budget()


def test_an_accelerator_lends_most_of_its_memory_and_every_device_counts(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 1000}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert memory.device_budget() == (850.0, jax.device_count())


def test_a_device_out_of_memory_is_one_sentence_with_the_key():
    with (
        pytest.raises(
            UserError, match=r"with data\.batch_size=960: give a smaller --config\.data\.batch_size=N"
        ),
        memory.explain_out_of_memory("data.batch_size", 960),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes")


def test_other_errors_of_a_device_pass():
    with pytest.raises(jax.errors.JaxRuntimeError), memory.explain_out_of_memory("data.batch_size", 960):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
