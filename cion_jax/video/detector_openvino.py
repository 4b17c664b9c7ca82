"""A detection network that the user names, run by OpenVINO: an OpenVINO IR or an ONNX file."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cion_jax.core import signal_stack
from cion_jax.core.errors import UserError
from cion_jax.video import boxes as geometry
from cion_jax.video import detector_outputs as outputs
from cion_jax.video.detectors import COLOURS, Detections, DetectorSettings, model_files
from cion_jax.video.packages import require

_DEFAULT_SIZE = (640, 640)
_GREY = 114  # around a letterboxed image, as YOLO networks are trained
_SUPPRESSED = ("ssd", "yolo_end")  # outputs that went through non-maximum suppression already


class OpenVinoDetector:
    """Finds people with an SSD or YOLO network; see `DetectorSettings` for what can be set.

    SSD networks get the image stretched to their input, YOLO networks get it letterboxed. Computed in float32, so that
    machines agree.

    Raises:
      UserError: a file that OpenVINO does not read, a network with other inputs or outputs, settings of no meaning.
    """

    def __init__(self, settings: DetectorSettings):
        self._cv2 = require("cv2")
        if settings.colour not in COLOURS:
            raise UserError(f"detector.colour={settings.colour!r} is none of {', '.join(COLOURS)}")
        if settings.output not in ("auto", *outputs.LAYOUTS):
            raise UserError(
                f"detector.output={settings.output!r} is none of auto, {', '.join(outputs.LAYOUTS)}"
            )
        self._settings = settings
        file = Path(settings.file).expanduser()
        self._network, self._channels_last, self._size = _compiled(file, settings)
        # One empty image shows the shapes, also those that the file leaves open.
        shape = (*self._size, 3) if self._channels_last else (3, *self._size)
        shapes = {name: array.shape for name, array in self._run(np.zeros(shape, np.float32)).items()}
        try:
            self._output, self._layout = _chosen(shapes, self._size, settings.output)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        person = settings.person_class
        self._person = person if person >= 0 else int(self._layout == "ssd")
        self._classes: Counter[int] = Counter()

    @property
    def hint(self) -> str:
        """Which classes it has met, if no person was among them."""
        if not self._classes or self._person in self._classes:
            return ""
        met = ", ".join(f"{count:,} of class {number}" for number, count in self._classes.most_common(5))
        return f"the detector found {met}, none of class {self._person}: see --config.detector.person_class"

    def __call__(self, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        prepared, scale, offset = self._prepared(image)
        found = outputs.decode(
            self._run(self._as_input(prepared))[self._output], self._layout, self._settings.confidence
        )
        self._classes.update(found.classes.tolist())
        own = found.classes == self._person
        scores = np.clip(found.scores[own], 0, 1)
        people = (found.boxes[own] - np.tile(offset, 2)) / np.tile(scale, 2)
        if self._layout not in _SUPPRESSED:
            kept = geometry.suppress(people, scores, self._settings.nms_iou)
            people, scores = people[kept], scores[kept]
        people = geometry.clip(people, height, width)
        seen = geometry.areas(people) > 0
        return Detections(people[seen].astype(np.float32), scores[seen].astype(np.float32))

    def _prepared(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The input, and scale and offset (x, y) that lead from the image's pixels to the output's coordinates."""
        height, width = image.shape[:2]
        if self._layout == "ssd":
            stretched = self._cv2.resize(image, self._size[::-1])
            return stretched, np.array([1 / width, 1 / height]), np.zeros(2)
        return letterboxed(image, self._size)

    def _as_input(self, prepared: np.ndarray) -> np.ndarray:
        """An image uint8 [height, width, 3] RGB of the input's size as the network wants it, float32."""
        is_ssd, colour = self._layout == "ssd", self._settings.colour
        if colour == "bgr" or (colour == "auto" and is_ssd):
            prepared = prepared[:, :, ::-1]
        white = self._settings.maximum or (255.0 if is_ssd else 1.0)
        array = prepared.astype(np.float32) * np.float32(white / 255)
        return array if self._channels_last else array.transpose(2, 0, 1)

    def _run(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs by name for one image as the network wants it."""
        results = self._network(np.ascontiguousarray(array[None]))
        return {_name(output, n): results[output] for n, output in enumerate(self._network.outputs)}


def letterboxed(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image with its aspect kept, centred on grey.

    Args:
      image: uint8 [height, width, 3].
      size: height and width to fill.

    Returns:
      uint8 [*size, 3], and scale [2] and offset [2] (x, y): pixel p of the image lies at p * scale + offset.
    """
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    inner = max(round(height * ratio), 1), max(round(width * ratio), 1)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas = np.full((*size, 3), _GREY, np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = require("cv2").resize(image, inner[::-1])
    return canvas, np.array([inner[1] / width, inner[0] / height]), np.array([left, top], float)


def _chosen(shapes: dict[str, tuple], size: tuple[int, int], layout: str) -> tuple[str, str]:
    """Name and layout of the output with the boxes; a layout that the user names is believed of a single output."""
    if layout != "auto" and len(shapes) == 1:
        return next(iter(shapes)), layout
    name, found = outputs.recognise(shapes, size)
    return name, found if layout == "auto" else layout


def _compiled(file: Path, settings: DetectorSettings) -> tuple[Any, bool, tuple[int, int]]:
    """The network ready to run, whether its input has the channels last, and the input's height and width."""
    openvino = require("openvino")
    model_files(file)
    core = openvino.Core()
    try:
        model = core.read_model(file)
        shape, channels_last, size = _input(file, model, settings)
        model.reshape(shape)
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        if settings.threads:
            options["INFERENCE_NUM_THREADS"] = settings.threads
        network = core.compile_model(model, "CPU", options)
        signal_stack.enlarge()
        return network, channels_last, size
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"{file} is no network that OpenVINO can run: {lines[-1] if lines else error}"
        ) from error


def _input(file: Path, model: Any, settings: DetectorSettings) -> tuple[list[int], bool, tuple[int, int]]:
    if len(model.inputs) != 1 or len(model.inputs[0].partial_shape) != 4:
        listed = ", ".join(str(item.partial_shape) for item in model.inputs)
        raise UserError(f"{file} should take one image [1, 3, height, width], but takes {listed}")
    sides = [side.get_length() if side.is_static else 0 for side in model.inputs[0].partial_shape]
    channels_last = sides[3] == 3 and sides[1] != 3
    wanted = tuple(settings.input_size) if any(settings.input_size) else _DEFAULT_SIZE
    fixed = sides[1:3] if channels_last else sides[2:4]
    size = fixed[0] or wanted[0], fixed[1] or wanted[1]
    return [1, *size, 3] if channels_last else [1, 3, *size], channels_last, size


def _name(output: Any, number: int) -> str:
    """An output's name; not all have one."""
    return output.get_any_name() if output.get_names() else str(number)
