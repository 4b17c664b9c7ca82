"""A detection network that the user names, run by OpenVINO: an OpenVINO IR or an ONNX file."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cion_jax.core import signal_stack
from cion_jax.core.errors import UserError
from cion_jax.video import boxes as geometry
from cion_jax.video import detector_outputs as outputs
from cion_jax.video.detectors import (
    COLOURS,
    FRAMES_AHEAD,
    Detections,
    DetectorSettings,
    model_files,
    with_confidence,
)
from cion_jax.video.overlap import run_ahead
from cion_jax.video.packages import count_cores, require
from cion_jax.video.reading import Frame

_DEFAULT_SIZE = (640, 640)
_GREY = 114  # around a letterboxed image, as YOLO networks are trained
_SUPPRESSED = ("ssd", "yolo_end")  # outputs that went through non-maximum suppression already
_BATCH = 4  # images at a time where a network takes several
_REQUESTS_A_STREAM = 2  # one runs, the next waits, so that no stream is idle while results are taken in order


class _Prepared(NamedTuple):
    """A frame, and scale and offset (x, y) that lead from its pixels to the output's coordinates."""

    frame: Frame
    scale: np.ndarray
    offset: np.ndarray


class _Batch(NamedTuple):
    """Frames with the input of the network, float32, whose places behind them are zero."""

    items: list[_Prepared]
    input: np.ndarray


class _Compiled(NamedTuple):
    """A network that runs: whether its input has the channels last, height and width, and images at a time."""

    network: Any
    channels_last: bool
    size: tuple[int, int]
    batch: int


class OpenVinoDetector:
    """Finds people with an SSD or YOLO network; see `DetectorSettings` for what can be set.

    SSD networks get the image stretched to their input, YOLO networks get it letterboxed. Computed in float32, so that
    machines agree. `detect_ahead` has several requests under way, each of them on one thread, so that results do not
    depend on the number of threads.

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
        self._settings = settings = with_confidence(settings)
        file = Path(settings.file).expanduser()
        self._network, self._channels_last, self._size, self._batch = _compile(file, settings)
        # An empty image shows the shapes, also those that the file leaves open.
        shapes = _as_of_one({name: array.shape for name, array in self._try_empty().items()}, self._batch)
        try:
            self._output, self._layout = _chosen(shapes, self._size, settings.output)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        named = {_name(output, n): output for n, output in enumerate(self._network.outputs)}
        self._output_port = named[self._output]
        person = settings.person_class
        self._person = person if person >= 0 else int(self._layout == "ssd")
        self._classes: Counter[int] = Counter()
        self._single: OpenVinoDetector | None = (
            None  # the same for one image at a time, made when it is needed
        )

    @property
    def hint(self) -> str:
        """Which classes it has met, if no person was among them."""
        if not self._classes or self._person in self._classes:
            return ""
        met = ", ".join(f"{count:,} of class {number}" for number, count in self._classes.most_common(5))
        return f"the detector found {met}, none of class {self._person}: see --config.detector.person_class"

    def __call__(self, image: np.ndarray) -> Detections:
        if self._batch > 1:
            # The other places of a batch would be computed for nothing.
            if self._single is None:
                self._single = OpenVinoDetector(self._settings._replace(batch=1))
                self._single._classes = self._classes
            return self._single(image)
        ((_, found),) = self.detect_ahead([Frame(1, image)])
        return found

    def detect_ahead(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Detections]]:
        """Every frame with its people, in order; reading and detection go on in the background.

        An error of `frames` is raised behind the frames before it.
        """
        streams = self._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # A ring of requests, not an AsyncInferQueue: results come in order, and a failed request raises where its
        # result is taken.
        idle = deque(self._network.create_infer_request() for _ in range(_REQUESTS_A_STREAM * streams))
        running: deque[tuple[Any, _Batch]] = deque()
        problem = None
        batches = run_ahead(self._batches(frames), FRAMES_AHEAD)
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:  # raised again behind the frames that are under way
                batch, problem = None, error
            if batch is None:
                break
            if not idle:
                request, before = running.popleft()
                yield from self._results(request, before)
                idle.append(request)
            request = idle.popleft()
            # Without a copy: the batch is kept as long as the request runs.
            request.start_async({0: batch.input}, share_inputs=True)
            running.append((request, batch))
        while running:
            yield from self._results(*running.popleft())
        if problem is not None:
            raise problem

    def _batches(self, frames: Iterable[Frame]) -> Iterator[_Batch]:
        """Frames ready for the network, as many together as it takes; an error behind those before it."""
        batch, problem = self._empty_batch(), None
        try:
            for frame in frames:
                prepared, scale, offset = self._prepared(frame.image)
                self._fill(batch.input[len(batch.items)], prepared)
                batch.items.append(_Prepared(frame, scale, offset))
                if len(batch.items) == self._batch:
                    yield batch
                    batch = self._empty_batch()
        except Exception as error:  # raised again behind the frames before it
            problem = error
        if batch.items:
            yield batch
        if problem is not None:
            raise problem

    def _empty_batch(self) -> _Batch:
        shape = (*self._size, 3) if self._channels_last else (3, *self._size)
        return _Batch([], np.zeros((self._batch, *shape), np.float32))

    def _results(self, request: Any, batch: _Batch) -> Iterator[tuple[Frame, Detections]]:
        request.wait()
        # A copy, since the request will be used again.
        output = request.get_tensor(self._output_port).data.copy()
        for place, item in enumerate(batch.items):
            yield item.frame, self._people(_of_image(output, self._layout, place, self._batch), item)

    def _people(self, output: np.ndarray, item: _Prepared) -> Detections:
        """The people in the network's output for one image."""
        height, width = item.frame.image.shape[:2]
        found = outputs.decode(output, self._layout, self._settings.confidence)
        self._classes.update(found.classes.tolist())
        own = found.classes == self._person
        scores = np.clip(found.scores[own], 0, 1)
        people = (found.boxes[own] - np.tile(item.offset, 2)) / np.tile(item.scale, 2)
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

    def _fill(self, place: np.ndarray, prepared: np.ndarray) -> None:
        """Writes an image uint8 [height, width, 3] RGB of the input's size as the network wants it, float32."""
        is_ssd, colour = self._layout == "ssd", self._settings.colour
        if colour == "bgr" or (colour == "auto" and is_ssd):
            prepared = prepared[:, :, ::-1]
        white = self._settings.maximum or (255.0 if is_ssd else 1.0)
        prepared = prepared if self._channels_last else prepared.transpose(2, 0, 1)
        np.multiply(prepared, np.float32(white / 255), out=place)

    def _try_empty(self) -> dict[str, np.ndarray]:
        """All outputs by name for empty images."""
        results = self._network(self._empty_batch().input)
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


def _as_of_one(shapes: dict[str, tuple], batch: int) -> dict[str, tuple]:
    """The shapes that outputs have for one image; those of an SSD have its rows in another place."""
    return {
        name: (1, *shape[1:]) if batch > 1 and len(shape) == 3 and shape[0] == batch else tuple(shape)
        for name, shape in shapes.items()
    }


def _of_image(output: np.ndarray, layout: str, place: int, batch: int) -> np.ndarray:
    """What the output of a batch says of the image at `place`."""
    if batch == 1:
        return output
    if layout != "ssd":
        return output[place : place + 1]
    rows = output.reshape(-1, 7)
    ends = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: ends[0]] if len(ends) else rows
    return rows[rows[:, 0] == place]


def _compile(file: Path, settings: DetectorSettings) -> _Compiled:
    """The network, ready to run."""
    openvino = require("openvino")
    model_files(file)
    core = openvino.Core()
    try:
        model = core.read_model(file)
        shape, channels_last, size = _input(file, model, settings)
        batch = _reshape(file, model, shape, settings.batch)
        network = core.compile_model(model, settings.device, _options(settings))
        signal_stack.enlarge()
        return _Compiled(network, channels_last, size, batch)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        devices = ", ".join(core.available_devices)
        raise UserError(
            f"{file} is no network that OpenVINO can run on detector.device={settings.device} (here: {devices}): "
            f"{lines[-1] if lines else error}"
        ) from error


def _options(settings: DetectorSettings) -> dict[str, Any]:
    """How OpenVINO is to run a network."""
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    if settings.device == "CPU":
        threads = settings.threads or count_cores()
        # One thread a stream: results do not depend on the number of threads. Not bound to cores: several processes
        # would all take the first ones.
        options |= {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return options


def _reshape(file: Path, model: Any, shape: list[int], wanted: int) -> int:
    """Fixes the shape of a network's input; how many images it takes at a time, `wanted` or, if 0, what it can.

    Raises:
      UserError: it cannot take as many as wanted.
    """
    model.reshape(shape)
    if wanted == 1:
        return 1
    batch, single = wanted or _BATCH, [output.partial_shape for output in model.outputs]
    try:
        model.reshape([batch, *shape[1:]])
        scales = all(
            _grows(before, output.partial_shape, batch)
            for before, output in zip(single, model.outputs, strict=True)
        )
    except RuntimeError:
        scales = False
    if scales:
        return batch
    if wanted:
        raise UserError(f"{file} cannot take {wanted} images at a time: set --config.detector.batch=1")
    model.reshape(shape)
    return 1


def _grows(one: Any, several: Any, batch: int) -> bool:
    """Whether an output of one image has room for `batch` of them: in its first axis, or in the rows of an SSD."""
    if one.is_dynamic or several.is_dynamic or len(one) != len(several):
        return False
    before, after = list(one.to_shape()), list(several.to_shape())
    axis = 2 if len(before) == 4 and before[:2] == [1, 1] and before[3] == 7 else 0
    before[axis] *= batch
    return before == after


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
