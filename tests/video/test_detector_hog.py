"""The built-in detector on drawings; how well it finds people is measured by benchmarks.tracklets on real videos."""

import numpy as np
import pytest

from cion_jax.video.boxes import iou
from cion_jax.video.detector_hog import HogDetector
from cion_jax.video.detectors import DetectorSettings

pytest.importorskip("cv2", reason="the extra `video` is not installed")


def test_a_textured_image_gives_boxes_within_it_in_a_fixed_order():
    """At a low confidence anything looks a little like a person."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    detector = HogDetector(DetectorSettings(confidence=0.01, nms_iou=0.9))
    first, second = detector(pixels), detector(pixels)
    assert first.boxes.shape == (len(first.scores), 4) and len(first.scores) > 0
    assert first.boxes.dtype == first.scores.dtype == np.float32
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert (first.boxes[:, [0, 1]] >= 0).all() and (first.boxes[:, 2:] <= [240, 180]).all()
    assert (np.diff(first.scores) <= 0).all() and (first.scores >= 0.01).all()


def test_a_silhouette_is_a_person():
    """Head, body and two legs, 150 pixels high, dark before a bright wall."""
    y, x = np.mgrid[:300, :240].astype(float)
    unit, y, x = 150 / 8, y - 60, np.abs(x - 120)
    head = x**2 + (y - unit / 2) ** 2 < (unit / 2) ** 2
    body = (x / 0.95) ** 2 + ((y - 2.6 * unit) / 1.7) ** 2 < unit**2
    legs = (x > 0.1 * unit) & (x < 0.7 * unit) & (y > 3.6 * unit) & (y < 8 * unit)
    pixels = np.where(head | body | legs, 40, 200).astype(np.uint8)[:, :, None].repeat(3, 2)
    found = HogDetector(DetectorSettings())(pixels)
    truth = np.array([[101, 60, 139, 210]])
    assert iou(found.boxes, truth).max(initial=0) > 0.45, (
        f"boxes {found.boxes.round().tolist()}, not {truth[0]}"
    )
    assert len(HogDetector(DetectorSettings(confidence=0.999))(pixels).boxes) == 0


def test_smaller_people_need_a_larger_image():
    pixels = np.random.default_rng(0).integers(0, 256, (15, 15, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    assert len(HogDetector(DetectorSettings(confidence=0.0, smallest=96))(pixels).boxes) == 0
    small = HogDetector(DetectorSettings(confidence=0.0, smallest=48))(pixels).boxes
    assert len(small) and (small[:, 3] - small[:, 1]).min() < 72


def test_nobody_is_seen_on_a_wall():
    found = HogDetector(DetectorSettings())(np.full((200, 200, 3), 128, np.uint8))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)
