"""New tracklets of rejected images."""

import numpy as np

from cion_jax.denoise import rebirth

A, B = [1.0, 0.0], [0.0, 1.0]


def test_alike_images_of_a_video_become_a_tracklet():
    features = np.array([A, B, A, B, A, B, A, A])
    videos = np.array([3, 3, 3, 3, 3, 3, 1, 1])
    out = np.array([0, 1, 2, 3, 4, 6, 7])
    found = rebirth.new_tracklets(features, out, videos, 0.2, min_images=3)
    assert found.tolist() == [0, -1, 0, -1, 0, -1, -1], "three of A in video 3; two are too few"


def test_nothing_rejected():
    none = np.zeros(0, np.int64)
    assert rebirth.new_tracklets(np.ones((2, 2)), none, np.zeros(2, int), 0.2).tolist() == []
