"""Little videos of two coloured blocks that walk, and a detector that knows their colours."""

from pathlib import Path

import numpy as np

from cion_jax.video.detectors import Detections

HEIGHT, WIDTH = 96, 160
COLOURS = ((220, 30, 30), (30, 30, 220))  # RGB of the two people


def box(person: int, frame: int) -> np.ndarray:
    """Where a person is in a frame (from 1): the red one walks right, the blue one left, below each other."""
    step = 2 * (frame - 1)
    left, top = (10 + step, 4) if person == 0 else (WIDTH - 36 - step, 50)
    return np.array([left, top, left + 20, top + 42], np.float32)


def image(frame: int) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3] RGB."""
    canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for person, colour in enumerate(COLOURS):
        left, top, right, bottom = box(person, frame).astype(int)
        canvas[top:bottom, left:right] = colour
    return canvas


def write_video(path: Path, count: int = 12, rate: float = 10.0) -> Path:
    """An AVI of Motion-JPEG, every frame a key frame."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (WIDTH, HEIGHT))
    assert writer.isOpened(), "this OpenCV writes no Motion-JPEG"
    for frame in range(1, count + 1):
        writer.write(image(frame)[:, :, ::-1])
    writer.release()
    return path


def write_frames(folder: Path, count: int = 12, pattern: str = "{:06}.png") -> Path:
    """The frames as images, MOTChallenge's way."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(1, count + 1):
        Image.fromarray(image(frame)).save(folder / pattern.format(frame))
    return folder


class ColourDetector:
    """Finds the blocks, and counts how often it was asked."""

    hint = ""

    def __init__(self):
        self.calls = 0

    def __call__(self, pixels: np.ndarray) -> Detections:
        self.calls += 1
        boxes = []
        for colour in COLOURS:
            rows, columns = np.nonzero(np.abs(pixels.astype(int) - colour).max(axis=2) < 60)
            if len(rows) > 50:
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))
