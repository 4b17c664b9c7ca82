"""Rejected images and the nearest identity."""

import numpy as np

from cion_jax.denoise import give_back

A, B = [1.0, 0.0], [0.0, 1.0]
SUMS = np.array([A, B])


def test_goes_to_the_nearest_within_sigma():
    features = np.array([A, [0.9, 0.2], [0.7, 0.7], [-1.0, 0.1]])
    labels = np.array([0, -1, -1, -1])
    found = give_back.give_back(features, labels, SUMS, 0.1)
    assert found.tolist() == [0, 0, -1, -1]


def test_an_identity_has_one_image_in_a_frame_and_the_closest_gets_it():
    features = np.array([[0.9, 0.3], [0.99, 0.1], [0.8, 0.5]])
    labels, moment = np.full(3, -1), np.array([4, 4, 5])
    assert give_back.give_back(features, labels, SUMS[:1], 0.5, moment=moment).tolist() == [-1, 0, 0]


def test_the_next_nearest_takes_what_the_nearest_cannot():
    features = np.array([A, [0.8, 0.6]])
    found = give_back.give_back(features, np.array([0, -1]), SUMS, 0.5, moment=np.array([4, 4]))
    assert found.tolist() == [0, 1]


def test_nearest_over_tiles_equals_plain_numpy():
    rng = np.random.default_rng(0)
    features, sums = rng.normal(size=(1100, 6)), rng.normal(size=(2300, 6))
    distance, place = give_back.nearest(features, np.arange(1100), sums, 3)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, sums)]
    expected = 1 - unit[0] @ unit[1].T
    order = np.argsort(expected, axis=1)[:, :3]
    np.testing.assert_array_equal(place, order)
    np.testing.assert_allclose(distance, np.take_along_axis(expected, order, axis=1), atol=1e-12)


def test_nothing_rejected_and_nobody_found():
    labels = np.array([0, 0])
    assert give_back.give_back(np.ones((2, 2)), labels, SUMS[:1], 0.5).tolist() == [0, 0]
    assert give_back.give_back(np.ones((2, 2)), np.array([-1, -1]), SUMS[:0], 0.5).tolist() == [-1, -1]
