"""Numbers within names count as numbers."""

from cion_jax.video.ordering import natural


def test_natural_order():
    names = ["v10", "v9", "v09", "10", "9", "v", "v2/a10", "v2/a9", "", "é1"]
    expected = ["", "9", "10", "v", "v2/a9", "v2/a10", "v09", "v9", "v10", "é1"]
    assert sorted(names, key=natural) == expected
