"""Random tracklets for property tests: ragged, with ties, duplicates, singletons and strangers."""

import numpy as np
from hypothesis import strategies as st


def draw_tracklets(seed: int, people: int = 4, width: int = 6, spread: float = 0.5, videos: int = 4):
    """features [n, d] float32, tracklets [n], videos [n] of people who come and go; some images are strangers."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, width))
    features, tracklets, names = [], [], []
    for video in range(videos):
        rows = []
        for tracklet in range(rng.integers(0, 5)):
            size = int(rng.choice([1, 2, 3, 5, 9, 20]))
            who = (
                rng.integers(people, size=size) if rng.random() < 0.3 else np.full(size, rng.integers(people))
            )
            x = centres[who] + spread * rng.normal(size=(size, width)) * rng.choice([0.2, 1.0])
            if rng.random() < 0.3:
                x[:] = x[0]  # all alike: everything ties
            rows += [(tracklet, row) for row in x]
        order = rng.permutation(len(rows))
        features += [rows[k][1] for k in order]
        tracklets += [rows[k][0] for k in order]
        names += [int(video * 7 % 5) * 10 + video] * len(rows)
    return (
        np.array(features, np.float32).reshape(-1, width),
        np.array(tracklets, np.int64),
        np.array(names, np.int64),
    )


seeds = st.integers(0, 10**6)
