import pytest

from cion_jax.data.synthetic_people import DISTINCT, cast, differences


@pytest.mark.parametrize("seed", [0, 1])
def test_no_two_identities_are_alike_in_everything(seed):
    train, held_out = cast(seed, 0, 300, 5), cast(seed, 1, 60, 5)
    signatures = [person.signature() for person in train + held_out]
    assert len(signatures) == 360
    assert len(set(signatures)) == 360


@pytest.mark.parametrize("size", [1, 4, 5])
def test_groups_share_colours_and_differ_in_shape(size):
    people = cast(0, 0, 6 * size, size)
    for start in range(0, len(people), size):
        group = people[start : start + size]
        assert len({person.palette for person in group}) == 1
        for k, person in enumerate(group):
            assert all(differences(person, other) >= DISTINCT for other in group[:k])
    assert len({person.palette for person in people}) == 6


def test_a_last_group_may_be_smaller():
    assert cast(0, 0, 7, 4) == cast(0, 0, 8, 4)[:7]


def test_large_groups_are_still_distinct():
    assert len({person.signature() for person in cast(0, 0, 16, 16)}) == 16
