"""The plain forms compute what the fast ones do, and are what they promise to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.zoo import forms, layers


def applied(module, x, plain, *arguments):
    variables = module.init(jax.random.key(0), x, *arguments)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    variables = jax.tree.map(lambda leaf: leaf + jax.random.uniform(next(keys), leaf.shape), variables)
    run = lambda x: module.apply(variables, x, *arguments)  # noqa: E731
    if not plain:
        return run(x), jax.make_jaxpr(run)(x)
    with forms.plain_convolutions():
        return run(x), jax.make_jaxpr(run)(x)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (layers.Conv(8, 3, 2, 1, groups=4), ()),
        (layers.Conv(4, 5, padding=2, groups=4), ()),
        (layers.Conv(6, 1, 2), ()),
        (layers.Conv(6, 3, padding=1), ()),
        (layers.BatchNorm(), (False,)),
        (layers.IBN(), (False,)),
    ],
    ids=["two filters a channel", "depthwise", "1x1", "small map", "batch norm", "IBN"],
)
def test_plain_forms_are_equal(module, arguments):
    x = jax.random.normal(jax.random.key(2), (2, 5, 6, 4))
    fast, _ = applied(module, x, False, *arguments)
    plain, traced = applied(module, x, True, *arguments)
    np.testing.assert_allclose(plain, fast, rtol=1e-5, atol=1e-5)
    if isinstance(module, layers.Conv):
        assert str(traced).count("conv_general_dilated") == 1


def test_the_block_ends_even_with_an_error():
    with pytest.raises(RuntimeError), forms.plain_convolutions():
        assert forms.plain()
        raise RuntimeError
    assert not forms.plain()


def test_volo_windows_in_both_forms():
    from cion_jax.zoo import volo

    x = jnp.arange(2 * 5 * 4 * 3, dtype=jnp.float32).reshape(2, 5, 4, 3)
    fast = volo.sum_of_windows(volo.windows_of(x))
    with forms.plain_convolutions():
        plain = volo.sum_of_windows(volo.windows_of(x))
    np.testing.assert_array_equal(plain, fast)
