"""What a person detector is, and which one the settings ask for."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from cion_jax.core.errors import UserError
from cion_jax.video.overlap import run_ahead
from cion_jax.video.reading import Frame

KINDS = ("auto", "hog", "openvino")
MODEL_SUFFIXES = (".xml", ".onnx")
COLOURS = ("auto", "bgr", "rgb")
FRAMES_AHEAD = 8  # decoded frames that wait for the next step; 6 MB each at 1080p
# ByteTrack's lowest score. The built-in detector finds people everywhere at such scores; see docs/video.md.
NETWORK_CONFIDENCE = 0.1
_CONFIDENCE = {"openvino": NETWORK_CONFIDENCE, "hog": 0.4}


class Detections(NamedTuple):
    """People in one image: boxes float32 [k, 4] (left, top, right, bottom; pixels), scores float32 [k] in 0..1."""

    boxes: np.ndarray
    scores: np.ndarray


class Detector(Protocol):
    """Finds people in an image uint8 [height, width, 3] RGB. `hint` says why it may have found nobody, or "".

    A detector that can work on several images at a time also has a method `detect_ahead` like the function below.
    """

    def __call__(self, image: np.ndarray) -> Detections: ...

    @property
    def hint(self) -> str: ...


class DetectorSettings(NamedTuple):
    """How people are found.

    Attributes:
      file: an OpenVINO IR (.xml) or .onnx; "" for the built-in detector.
      kind: "hog", "openvino", or "auto": openvino where a file is given.
      confidence: boxes of a lower score are left out; -1: 0.1 of a network, 0.4 of the built-in detector.
      person_class: which class is a person; -1: 1 in SSD outputs, 0 in YOLO outputs.
      output: layout of the network's output, one of `detector_outputs.LAYOUTS`, or "auto": what its shape says.
      nms_iou: of boxes that overlap more than this the best one stays (not for outputs that are suppressed already).
      input_size: height, width, for a network that leaves them open; zeros: 640x640.
      colour: order of the input channels: "bgr", "rgb", or "auto": BGR for SSD, RGB for YOLO.
      maximum: what white is in the input; 0: 255 for SSD, 1 for YOLO.
      smallest: height in pixels of the smallest people that the built-in detector is to find.
      device: OpenVINO's name of the device for networks: CPU, GPU, AUTO, ...
      batch: images that a network gets at a time; 0: 4 if the network can take several, else 1.
      threads: 0 for all cores.
    """

    file: str = ""
    kind: str = "auto"
    confidence: float = -1.0
    person_class: int = -1
    output: str = "auto"
    nms_iou: float = 0.5
    input_size: tuple[int, int] = (0, 0)
    colour: str = "auto"
    maximum: float = 0.0
    smallest: int = 72
    device: str = "CPU"
    batch: int = 0
    threads: int = 0


def with_confidence(settings: DetectorSettings) -> DetectorSettings:
    """The settings with the confidence that -1 stands for.

    Raises:
      UserError: as `kind_of`.
    """
    if settings.confidence >= 0:
        return settings
    return settings._replace(confidence=_CONFIDENCE[kind_of(settings)])


def detect_ahead(detector: Detector, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Detections]]:
    """Every frame with its people, in order, while reading and detection go on in the background.

    An error of `frames` is raised behind the frames before it.
    """
    own = getattr(detector, "detect_ahead", None)
    if own is not None:
        return own(frames)
    decoded = run_ahead(frames, FRAMES_AHEAD)
    return run_ahead(((frame, detector(frame.image)) for frame in decoded), FRAMES_AHEAD)


def kind_of(settings: DetectorSettings) -> str:
    """ "hog" or "openvino".

    Raises:
      UserError: settings that contradict each other or name no file.
    """
    if settings.kind not in KINDS:
        raise UserError(f"detector.kind={settings.kind!r} is none of {', '.join(KINDS)}")
    if settings.kind == "hog" and settings.file:
        raise UserError("detector.kind=hog is built in and takes no detector.file: leave one of them out")
    if settings.kind == "hog" or (settings.kind == "auto" and not settings.file):
        return "hog"
    file = Path(settings.file).expanduser()
    if file.suffix.lower() not in MODEL_SUFFIXES or not file.is_file():
        raise UserError(
            f"detector.file={settings.file!r} must be an existing {' or '.join(MODEL_SUFFIXES)} file"
        )
    return "openvino"


def open_detector(settings: DetectorSettings) -> Detector:
    """The detector that the settings ask for, ready to be called.

    Raises:
      UserError: as `kind_of`; a package that is missing; a model that is not understood.
    """
    # Here, since both need what this file defines.
    if kind_of(settings) == "hog":
        from cion_jax.video.detector_hog import HogDetector

        return HogDetector(settings)
    from cion_jax.video.detector_openvino import OpenVinoDetector

    return OpenVinoDetector(settings)


def about(settings: DetectorSettings) -> Mapping[str, Any]:
    """What the results depend on, for a manifest: kind, file and its SHA-256 (weights included)."""
    kind = kind_of(settings)
    if kind == "hog":
        return {"kind": kind}
    digest = hashlib.sha256()
    for file in model_files(Path(settings.file).expanduser()):
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return {"kind": kind, "file": settings.file, "sha256": digest.hexdigest()}


def model_files(file: Path) -> list[Path]:
    """The model's file, with that of the weights beside an .xml.

    Raises:
      UserError: the weights are not there.
    """
    if file.suffix.lower() != ".xml":
        return [file]
    weights = file.with_suffix(".bin")
    if not weights.is_file():
        raise UserError(f"{weights} is missing: an OpenVINO model is a pair of .xml and .bin")
    return [file, weights]
