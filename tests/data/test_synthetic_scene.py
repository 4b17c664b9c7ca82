import numpy as np
import pytest

from cion_jax.data import synthetic_scene as scene
from cion_jax.data.synthetic_drawing import Canvas
from cion_jax.data.synthetic_people import generator


def test_cameras_differ_and_repeat():
    eyes = [scene.camera(0, k, 6, 1.0, 1.0) for k in range(6)]
    assert len(set(eyes)) == 6
    assert len({eye.place for eye in eyes}) == 6, "six cameras must look at six places"
    assert eyes[2] == scene.camera.__wrapped__(0, 2, 6, 1.0, 1.0)


def test_a_perfect_camera_changes_nothing():
    eye = scene.camera(0, 1, 6, 0.0, 0.0)
    picture = generator(0).random((32, 16, 3), dtype=np.float32)
    taken = scene.expose(picture, eye, (1.0, 1.0, 1.0), generator(1))
    assert np.abs(taken / 255 - picture).max() <= 1.01 / 255


def test_a_poor_camera_does():
    picture = np.full((32, 16, 3), (0.6, 0.5, 0.4), np.float32)
    takes = [
        scene.expose(picture, scene.camera(0, k, 6, 1.0, 1.0), (1, 1, 1), generator(1)) for k in range(6)
    ]
    means = np.stack([take.mean(axis=(0, 1)) for take in takes])
    assert np.ptp(means, axis=0).min() > 8, "cameras see the same colours"


@pytest.mark.parametrize("index", range(6))
def test_backgrounds_take_any_window(index):
    eye = scene.camera(0, index, 6, 1.0, 1.0)
    for offset, window in ((0.0, (-0.3, -0.4, 0.6)), (0.999, (0.3, 0.4, 1.6)), (0.5, (0.0, 0.0, 1.0))):
        place = scene.background(0, eye, index, offset, window, (64, 32))
        assert place.shape == (64, 32, 3)
        assert place.dtype == np.float32
        assert 0 <= place.min() <= place.max() <= 1
        assert place.std() > 0.005


@pytest.mark.parametrize("index", range(len(scene.OCCLUDERS)))
def test_things_in_the_way_hide_a_part(index):
    for seed in range(5):
        canvas = Canvas(np.full((128, 64, 3), 0.5, np.float32))
        scene.OCCLUDERS[index](canvas, generator(seed), 128.0, 64.0)
        hidden = (np.abs(canvas.image - 0.5).max(axis=-1) > 0.02).mean()
        assert 0.01 < hidden < 0.6, f"{scene.OCCLUDERS[index].__name__} hides {hidden:.0%} of the picture"
