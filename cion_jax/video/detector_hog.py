"""OpenCV's built-in people detector (Dalal and Triggs, 2005): nothing to download, nothing to boast of either."""

import numpy as np

from cion_jax.video import boxes as geometry
from cion_jax.video.detectors import Detections, DetectorSettings, with_confidence
from cion_jax.video.packages import require

# The detector's window is 64x128 pixels with a person about 96 high in it.
_WINDOW = np.array([64, 128])
_PERSON = 96
# The window less this share of its size on each side is the person's box.
_BORDER = np.array([0.19, 0.09])
_STRIDE = (8, 8)
_STEP = 1.05  # between the sizes that are looked for
# SVM output that scores one half: on one street scene (PETS09-S2L1) .79 of the people, .87 of the boxes right; at an
# output of 0 .88 and .50.
_EVEN = 0.8


class HogDetector:
    """Finds standing people from `settings.smallest` pixels on; scores are 1 / (1 + exp(0.8 - SVM output))."""

    hint = "the built-in detector misses many people: give a network by --config.detector.file"

    def __init__(self, settings: DetectorSettings):
        cv2, settings = require("cv2"), with_confidence(settings)
        self._cv2 = cv2
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
        self._scale = _PERSON / settings.smallest
        confidence = min(max(settings.confidence, 1e-6), 1 - 1e-6)
        self._least = float(np.log(confidence / (1 - confidence))) + _EVEN
        self._settings = settings

    def __call__(self, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        size = np.round(np.array([width, height]) * self._scale).astype(int)
        if (size < _WINDOW).any():
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        mode = self._cv2.INTER_LINEAR if self._scale > 1 else self._cv2.INTER_AREA
        resized = self._cv2.resize(image, tuple(map(int, size)), interpolation=mode)
        found, outputs = self._hog.detectMultiScale(
            resized[:, :, ::-1],
            hitThreshold=self._least,
            winStride=_STRIDE,
            padding=(16, 16),
            scale=_STEP,
            groupThreshold=0,
        )
        found = np.asarray(found, np.float64).reshape(-1, 4)
        scores = 1 / (1 + np.exp(_EVEN - np.asarray(outputs, np.float64).reshape(-1)))
        # Threads hand in their finds in any order.
        order = np.lexsort((found[:, 3], found[:, 1], found[:, 0], -scores))
        found, scores = found[order], scores[order]
        start, extent = found[:, :2], found[:, 2:]
        people = np.concatenate([start + _BORDER * extent, start + (1 - _BORDER) * extent], axis=1)
        people *= np.tile([width, height] / size, 2)
        kept = geometry.suppress(people, scores, self._settings.nms_iou)
        people = geometry.clip(people[kept], height, width)
        return Detections(people.astype(np.float32), scores[kept].astype(np.float32))
