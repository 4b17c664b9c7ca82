"""The three levels in a row."""

import subprocess
import sys

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


def test_eight_devices_give_the_same_labels(tmp_path):
    draw = [draw_tracklets(seed, people=40, width=16, videos=60) for seed in range(3)]
    script = (
        "import sys, numpy as np\n"
        "import jax; jax.config.update('jax_num_cpu_devices', 8)\n"
        "from cion_jax import denoise\n"
        "assert jax.local_device_count() == 8\n"
        "data = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], denoise.correlate(data['features'], data['tracklets'], data['videos'], half_width=60))\n"
    )
    for number, (features, tracklets, videos) in enumerate(draw):
        source, target = tmp_path / f"{number}.npz", tmp_path / f"{number}.npy"
        np.savez(source, features=features, tracklets=tracklets, videos=videos)
        subprocess.run([sys.executable, "-c", script, source, target], check=True)
        here = denoise.correlate(features, tracklets, videos, half_width=60)
        np.testing.assert_array_equal(np.load(target), here, "8 devices must give the labels of one")


def test_nothing_and_all_alone():
    empty = np.zeros(0, int)
    assert denoise.correlate(np.zeros((0, 8)), empty, empty).shape == (0,)
    alone = np.arange(5)
    assert denoise.correlate(np.eye(5), alone, alone).tolist() == [0, 1, 2, 3, 4]
