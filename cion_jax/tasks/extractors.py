"""What computes features: a backbone of the zoo with its weights, or a user's ONNX or OpenVINO file."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cion_jax import bridge, zoo
from cion_jax.bridge import input_settings
from cion_jax.core import mesh as meshes
from cion_jax.core import signal_stack
from cion_jax.core.errors import UserError
from cion_jax.core.rng import key_for
from cion_jax.data.preprocess import prepare_eval
from cion_jax.evaluation.features import ApplyFunction
from cion_jax.tasks import settings
from cion_jax.video import packages

NORMALISATIONS = input_settings.NORMALIZATIONS
FOREIGN_SUFFIXES = (".onnx", ".xml")
COLOURS = ("rgb", "bgr")


class Extractor(NamedTuple):
    """A model ready for use.

    Attributes:
      name: a name of zoo.MODELS, or the file's.
      apply: (images uint8 [b, H, W, 3] RGB on a canvas, sizes int32 [b, 2]) -> features [b, d].
      mesh: the devices that the rows of a batch are split over; None for what does not run on JAX devices.
      size: (height, width) that images are resized to.
      mean, std: that they are normalised by, as shares of 255.
      weights: the file, or "untrained".
      digest: SHA-256 of the file, "" without one.
    """

    name: str
    apply: ApplyFunction
    mesh: Mesh | None
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    digest: str


def check(config: ConfigDict) -> None:
    """Raises UserError for settings that cannot be used."""
    if not config.weights and not config.model.name:
        raise UserError(
            "no weights given: add --config.weights=FILE (.safetensors, .pth, .pt, .onnx or .xml)"
        )
    if config.model.name and config.model.name not in zoo.MODELS:
        raise UserError(f"model.name={config.model.name!r} is none of {', '.join(zoo.MODELS)}")
    if config.normalisation not in input_settings.NORMALIZATION_CHOICES:
        choices = ", ".join(input_settings.NORMALIZATION_CHOICES)
        raise UserError(f"normalisation={config.normalisation!r} is none of {choices}")
    if config.colour not in COLOURS:
        raise UserError(f"colour={config.colour!r} is none of {', '.join(COLOURS)}")
    if config.model.dtype not in ("auto", *settings.DTYPES):
        raise UserError(f"model.dtype={config.model.dtype!r} is none of auto, {', '.join(settings.DTYPES)}")
    size = tuple(config.input_size)
    if len(size) != 2 or not all(isinstance(n, int) for n in size) or (any(size) and min(size) < 16):
        raise UserError(f"input_size={size} must be (height, width), 16 pixels or more each, or (0, 0)")


def load(config: ConfigDict, say: Callable[[str], None]) -> Extractor:
    """The extractor that `config.weights` and the settings beside it name.

    Raises:
      UserError: a file that cannot be read or does not fit; see the message.
    """
    if Path(config.weights).suffix.lower() in FOREIGN_SUFFIXES:
        return _foreign(config, say)
    return _of_zoo(config, say)


def _of_zoo(config: ConfigDict, say: Callable[[str], None]) -> Extractor:
    name, weights = config.model.name or None, None
    if config.weights:
        weights = bridge.read_weights(config.weights, name, resize=config.resize)
        name, variables = weights.name, weights.variables
        say(f"{name} from {config.weights}. {weights.format.description}")
    else:
        say(f"no --config.weights given: these are features of an UNTRAINED {name}, good for comparison only")
        images = jnp.zeros((1, *zoo.spec(name).input_size, 3))
        variables = jax.jit(zoo.create(name).init)(key_for(config.seed, "init"), images)
    mean, std, reason = input_settings.find_normalization(name, weights, config.normalisation)
    say(
        f"images are normalized by mean {mean} and deviation {std} ({reason}; --config.normalisation changes it)"
    )
    size = input_settings.find_input_size(name, weights, tuple(config.input_size))
    # The devices of this process: in a run of several each works on shards of its own.
    mesh = meshes.make_mesh(devices=jax.local_devices())
    module, variables = _for_inference(name, variables, settings.compute_dtype(config))
    variables = jax.device_put(variables, meshes.replicated(mesh))
    jitted = jax.jit(module.apply, static_argnames="train")
    flip = config.colour == "bgr"

    def apply(images: jax.Array, sizes: jax.Array) -> jax.Array:
        # Canvases come in several sizes: only this small program is compiled for each, not the model.
        prepared = prepare_eval(images, sizes, size=size, mean=mean, std=std, dtype=module.dtype)
        return jitted(variables, prepared[..., ::-1] if flip else prepared, train=False)

    return Extractor(
        name, apply, mesh, size, mean, std, config.weights or "untrained", _digest(config.weights)
    )


def _for_inference(name: str, variables: dict, dtype: Any) -> tuple[nn.Module, dict]:
    """RepViT and FastViT folded in float32, where features differ by 5e-5 of their root mean square at most.

    In bfloat16 the folded models are up to twice as far from float32 as the unfolded ones; there they stay as they
    were trained.
    """
    if dtype == jnp.float32:
        return zoo.fuse(name, jax.device_get(variables))
    return zoo.create(name, dtype=dtype), variables


def _foreign(config: ConfigDict, say: Callable[[str], None]) -> Extractor:
    """A network in a file, run by OpenVINO on the processor."""
    if config.normalisation == "auto":
        raise UserError(
            f"{config.weights} does not say how its input is normalised: add --config.normalisation=none (0..255), "
            "imagenet or half"
        )
    network = _network(config.weights, tuple(config.input_size))
    mean, std = NORMALISATIONS[config.normalisation]
    say(
        f"{network.name} from {config.weights}, {network.size[0]}x{network.size[1]}, {config.colour} "
        f"{config.normalisation}, by OpenVINO"
    )

    def apply(images: jax.Array, sizes: jax.Array) -> np.ndarray:
        prepared = np.asarray(prepare_eval(images, sizes, size=network.size, mean=mean, std=std))
        return network.run(prepared[..., ::-1] if config.colour == "bgr" else prepared)

    return Extractor(
        network.name, apply, None, network.size, mean, std, config.weights, _digest(config.weights)
    )


class _Network(NamedTuple):
    """A network: its name, input size, and images float32 [b, height, width, 3] -> features [b, d]."""

    name: str
    size: tuple[int, int]
    run: Callable[[np.ndarray], np.ndarray]


def _network(path: str, wanted: tuple[int, int]) -> _Network:
    openvino = packages.require("openvino")
    if not Path(path).is_file():
        raise UserError(f"weights={path} does not exist")
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise UserError(f"{path} is no network that OpenVINO reads: {str(error).splitlines()[0]}") from error
    if len(model.inputs) != 1 or len(model.input(0).partial_shape) != 4:
        raise UserError(f"{path} does not take one batch of images: its inputs are {model.inputs}")
    dims = [int(n.get_length()) if n.is_static else -1 for n in model.input(0).partial_shape]
    channels_first = dims[1] == 3
    if not channels_first and dims[3] != 3:
        raise UserError(f"{path} takes no colour images: its input is {dims}")
    sides = dims[2:] if channels_first else dims[1:3]
    size = tuple(want or side for want, side in zip(wanted, sides, strict=True))
    if min(size) < 1:
        raise UserError(
            f"{path} takes any size: add --config.input_size='(256, 128)' or what it was trained at"
        )
    try:
        model.reshape([-1, 3, *size] if channels_first else [-1, *size, 3])
        # Else the plugin takes bfloat16 where the processor has it, and features differ between machines.
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise _refused(path, size, tuple(sides), error) from error
    signal_stack.enlarge()

    def run(images: np.ndarray) -> np.ndarray:
        given = images.transpose(0, 3, 1, 2) if channels_first else images
        found = next(iter(compiled(np.ascontiguousarray(given, np.float32)).values()))
        return np.asarray(found, np.float32).reshape(len(images), -1)

    return _Network(Path(path).stem, size, run)


def _refused(path: str, size: tuple[int, int], own: tuple[int, int], error: RuntimeError) -> UserError:
    why = str(error).strip().splitlines()[-1]
    if size == own:
        return UserError(f"{path} is no network that OpenVINO can run: {why}")
    known = f", {own[0]}x{own[1]}" if min(own) > 0 else ""
    return UserError(
        f"{path} does not take input_size={size}: give the size it was trained at{known} ({why})"
    )


def _digest(path: str) -> str:
    """SHA-256 of a file; of an .xml together with its .bin."""
    if not path:
        return ""
    total = hashlib.sha256()
    file = Path(path)
    for part in (file, file.with_suffix(".bin")) if file.suffix.lower() == ".xml" else (file,):
        if part.is_file():
            with part.open("rb") as opened:
                while block := opened.read(1 << 22):
                    total.update(block)
    return total.hexdigest()
