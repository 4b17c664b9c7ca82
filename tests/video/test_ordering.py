"""Numbers within names count as numbers, whatever characters the names have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.video.ordering import natural

# Digits of other scripts, superscripts and fractions are isdigit() or isnumeric(), but int() refuses some of them.
STRANGE = "0019aA/.- _１２２٢٠५²½Ⅷ㊿éあ\udcff\n\x00"
names = st.text(max_size=40) | st.text(alphabet=STRANGE, max_size=40)


def test_natural_order():
    names = ["v10", "v9", "v09", "10", "9", "v", "v2/a10", "v2/a9", "", "é1"]
    expected = ["", "9", "10", "v", "v2/a9", "v2/a10", "v09", "v9", "v10", "é1"]
    assert sorted(names, key=natural) == expected


@pytest.mark.parametrize("name", ["１２３.mp4", "٢٠٢٠.mp4", "5² test.mp4", "²", "9" * 5000])
def test_digits_of_other_scripts_and_long_runs_are_taken(name):
    assert sorted([name, "a"], key=natural)


@settings(deadline=None, max_examples=200)
@given(names, names)
def test_keys_are_equal_only_for_equal_names(first, second):
    assert (natural(first) == natural(second)) == (first == second)
    assert natural(first) <= natural(second) or natural(second) <= natural(first), "every two keys compare"


@settings(deadline=None, max_examples=200)
@given(names, st.integers(0, 10**20), st.integers(0, 10**20), names)
def test_numbers_sort_by_value_wherever_they_stand(before, low, high, after):
    before = before.rstrip("0123456789")
    after = after.lstrip("0123456789")
    low, high = sorted((low, high))
    keys = [natural(f"{before}{number}{after}") for number in (low, high)]
    assert (keys[0] < keys[1]) == (low < high)
