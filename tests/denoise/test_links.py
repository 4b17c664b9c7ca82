"""Options of the closure: mutual links, guards, people seen together."""

import numpy as np

from cion_jax.denoise import agglomerate, links


def chain(count=12, step=10):
    angles = np.deg2rad(np.arange(count) * step)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def close(sums, sigma=0.05, **options):
    return links.close_over(sums, np.full(len(sums), len(sums)), sigma, **options)


def test_without_options_it_is_the_closure():
    found = close(chain())
    assert set(found.identities.tolist()) == {0}
    assert not found.warnings
    assert (found.links[:, 0] < found.links[:, 1]).all()


def test_mutual_links():
    given = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])
    distance = np.array([0.1, 0.2, 0.3, 0.05])
    assert links.mutual_links(given, distance, 1).tolist() == [[0, 1], [2, 3]]
    assert links.mutual_links(given, distance, 2).tolist() == [[0, 1], [0, 2], [2, 3]]
    assert links.mutual_links(given, distance, 3).tolist() == given.tolist()


def test_a_component_that_is_too_large_is_merged_again_and_told():
    found = close(chain(), max_share=0.5)
    assert found.identities.max() > 0
    assert "hold more than" in found.warnings[0] or "held more than" in found.warnings[0]


def test_a_component_that_is_too_wide_is_merged_again_and_told():
    found = close(chain(), max_radius=0.1)
    assert found.identities.max() > 0
    assert "0.1" in found.warnings[0]


def test_guards_leave_small_components_alone():
    sums = np.concatenate([chain(), -np.ones((2, 2))])
    found = close(sums, max_share=0.5)
    assert found.identities[-1] == found.identities[-2]


def test_people_seen_together_are_not_linked_directly():
    moments = [np.array([1]), np.array([1, 2])]
    assert close(np.ones((2, 3)), moments=moments).identities.tolist() == [0, 1]
    assert close(np.ones((2, 3)), moments=[np.array([1]), np.array([2])]).identities.tolist() == [0, 0]


def test_links_that_were_cut_are_not_listed():
    found = close(chain(), max_radius=0.1)
    first, second = found.links.T
    assert len(found.links) and found.identities.max() > 0
    assert (found.identities[first] == found.identities[second]).all(), "a link joins two identities"


def test_what_is_told_while_a_component_is_merged_again_is_told_on(monkeypatch):
    monkeypatch.setattr(agglomerate, "_NEAREST", 1)
    monkeypatch.setattr(agglomerate, "_MOST_PAIRS", 5)
    found = close(chain(24, 1), max_radius=0.01)
    assert any("nearest of each group were followed" in warning for warning in found.warnings)
