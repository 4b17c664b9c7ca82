"""Components against networkx-free plain search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.denoise import closure


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.data())
def test_equals_plain_search_in_any_order_and_in_pieces(count, data):
    node = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(node, node), max_size=40))
    label = list(range(count))
    for i, j in links:
        low, high = sorted((label[i], label[j]))
        label = [low if name == high else name for name in label]
    names = {name: k for k, name in enumerate(dict.fromkeys(label))}
    expected = [names[name] for name in label]
    found = closure.Components(count)
    for piece in np.array_split(data.draw(st.permutations(links)), 3) if links else []:
        found.link(*np.reshape(piece, (-1, 2)).T)
    assert found.labels().tolist() == expected


def test_many_equal_links_and_folding(monkeypatch):
    monkeypatch.setattr(closure, "_PENDING", 300)
    found = closure.Components(1000)
    for _ in range(5):  # 256 equal links would be none if they were counted in eight bits
        found.link(np.zeros(256, int), np.full(256, 999))
    found.link(np.arange(0, 998), np.arange(1, 999))
    assert found.labels().tolist() == [0] * 1000


def test_no_links():
    assert closure.Components(3).labels().tolist() == [0, 1, 2]
    assert closure.Components(0).labels().tolist() == []


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.data())
def test_the_forest_is_of_the_lightest_links_that_came_and_spans_the_same_components(count, data):
    node = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(node, node), max_size=60))
    weights = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(links), max_size=len(links)))) / 5
    found = closure.Components(count, forest=True)
    for piece in np.array_split(np.arange(len(links)), 3):
        i, j = np.reshape([links[k] for k in piece], (-1, 2)).astype(int).T
        found.link(i, j, weights[piece])
        found.labels()  # folds
    forest = found.forest()
    assert len(forest) == count - (found.labels().max() + 1), "as many links as components were joined"
    again = closure.Components(count)
    again.link(*forest.T)
    assert again.labels().tolist() == found.labels().tolist()
    lightest = {}
    for (i, j), weight in zip(links, weights.tolist(), strict=True):
        pair = (min(i, j), max(i, j))
        lightest[pair] = min(weight, lightest.get(pair, 1.0))
    total = sum(lightest[tuple(link)] for link in forest.tolist())
    assert total == pytest.approx(kruskal(count, lightest))


def kruskal(count, weights):
    """The weight of a minimum spanning forest."""
    label, total = list(range(count)), 0.0
    for (i, j), weight in sorted(weights.items(), key=lambda item: item[1]):
        if label[i] != label[j]:
            total += weight
            label = [label[j] if name == label[i] else name for name in label]
    return total
