"""The three levels in a row."""

import os
import subprocess
import sys

import jax
import numpy as np
from hypothesis import given, settings

from cion_jax import denoise
from tests.denoise import naive
from tests.denoise.strategies import draw_tracklets, seeds


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_equals_the_loops(seed):
    features, tracklets, videos = draw_tracklets(seed, videos=6)
    for half_width in (1, None):
        found = denoise.correlate(features, tracklets, videos, sigma_drm=0.1, half_width=half_width)
        expected = naive.correlate(features, tracklets, videos, 0.2, 0.1, half_width)
        np.testing.assert_array_equal(found, expected, f"half_width={half_width}: other identities")


def test_one_device_gives_the_labels_of_eight(tmp_path):
    assert jax.local_device_count() == 8, "tests/conftest.py asks for eight"
    program = (
        "import sys, jax, numpy as np\n"
        "from cion_jax import denoise\n"
        "assert jax.local_device_count() == 1\n"
        "for source in sys.argv[1:]:\n"
        "    data = np.load(source)\n"
        "    ids = data['features'], data['tracklets'], data['videos']\n"
        "    np.save(source + '.npy', denoise.correlate(*ids, half_width=60))\n"
    )
    draws = [draw_tracklets(seed, people=40, width=16, videos=60) for seed in range(3)]
    files = [tmp_path / f"{number}.npz" for number in range(3)]
    for file, (features, tracklets, videos) in zip(files, draws, strict=True):
        np.savez(file, features=features, tracklets=tracklets, videos=videos)
    subprocess.run([sys.executable, "-c", program, *files], check=True, env=os.environ | {"XLA_FLAGS": ""})
    for file, draw in zip(files, draws, strict=True):
        here = denoise.correlate(*draw, half_width=60)
        np.testing.assert_array_equal(np.load(f"{file}.npy"), here, "devices must not change labels")


def test_nothing_and_all_alone():
    empty = np.zeros(0, int)
    assert denoise.correlate(np.zeros((0, 8)), empty, empty).shape == (0,)
    alone = np.arange(5)
    assert denoise.correlate(np.eye(5), alone, alone).tolist() == [0, 1, 2, 3, 4]
