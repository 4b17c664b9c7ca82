"""Models for other runtimes: ONNX, and StableHLO by jax.export. A file is kept only if it gives our features."""

import importlib.util
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from cion_jax import zoo
from cion_jax.bridge import agreement, inference, onnx_graph, onnx_half
from cion_jax.bridge.agreement import Deviation
from cion_jax.bridge.inference import Interface
from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically, write_json
from cion_jax.zoo.forms import plain_convolutions

PLATFORMS = ("cpu", "cuda", "tpu")


class Export(NamedTuple):
    """What became of an export."""

    path: Path
    size: int  # bytes
    seconds: float
    deviation: Deviation


def export_onnx(
    name: str,
    variables: Mapping[str, Any],
    path: str | Path,
    *,
    input_size: tuple[int, int] = (256, 128),
    l2_normalise: bool = False,
    preprocess: bool = False,
    half: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Export:
    """Writes a model as ONNX, folded where it can be, after ONNX Runtime has given the same features.

    Input `images`, float32 [batch, 3, height, width], normalised; output `features`, float32 [batch, embed_dim];
    any batch size. The file's metadata tells model, mean, std, input_size, commit and the options.

    Args:
      name: one of zoo.MODELS.
      variables: {"params", "batch_stats"} of `zoo.create(name)`, unfused.
      path: file to write; one that is there is replaced once the new one has passed.
      input_size: (height, width), fixed in the file.
      l2_normalise: features of length one.
      preprocess: the input is uint8 RGB [batch, height, width, 3] of that size; scaling and normalising are inside.
      half: weights and products in float16, statistics of norms and softmax in float32, as input and output are.
      mean, std: of the input channels, as shares of 255; they go into the metadata, and with `preprocess` into the
        graph. None: the model's own. `bridge.find_normalization` finds those of a weight file.
      metadata: further properties for the file.

    Raises:
      UserError: a package is missing (the message has the command), the model or size is unknown, the converter
        cannot write it, or the features differ by more than `agreement.EXACT` (`HALF`) allows: no file is left.
      ValueError: variables of another model, or folded ones.
    """
    onnx_graph.require_packages()
    start = time.perf_counter()
    path = Path(path)
    interface = Interface(tuple(input_size), *_statistics(name, mean, std), l2_normalise, preprocess)
    module, folded = inference.fused(name, variables, interface.input_size)
    with plain_convolutions():
        model = onnx_graph.convert(
            inference.function(module, folded, interface),
            interface.input_shape("batch"),
            interface.input_dtype,
        )
    about = dict(metadata or {}) | _about(name, interface, precision="float16" if half else "float32")
    with _checked_file(path) as partial:
        model = onnx_graph.tidy(model, partial)
        if half:
            onnx_half.to_half(model)
        onnx_graph.describe(model, about, name)
        partial.write_bytes(model.SerializeToString())
        found = agreement.measure(name, variables, interface, onnx_graph.runner(partial))
        agreement.require(found, agreement.HALF if half else agreement.EXACT, str(path))
    return Export(path, path.stat().st_size, time.perf_counter() - start, found)


def export_stablehlo(
    name: str,
    variables: Mapping[str, Any],
    path: str | Path,
    *,
    input_size: tuple[int, int] = (256, 128),
    l2_normalise: bool = False,
    preprocess: bool = False,
    platforms: tuple[str, ...] = PLATFORMS,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Export:
    """Writes a model for JAX programs without this package: jax.export.deserialize(bytes).call(images) -> features.

    images: float32 [batch, height, width, 3], normalised, or uint8 RGB with `preprocess`; any batch size. The rest is
    as for `export_onnx`. Such a program has no place for metadata: they are written beside it, as `path`.json.

    Raises:
      UserError: flatbuffers is missing, the model or size is unknown, or the features differ; no file is left.
      ValueError: variables of another model, or folded ones.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError("export to StableHLO needs flatbuffers. Install with: pip install flatbuffers")
    start = time.perf_counter()
    path = Path(path)
    interface = Interface(
        tuple(input_size), *_statistics(name, mean, std), l2_normalise, preprocess, channels_first=False
    )
    module, folded = inference.fused(name, variables, interface.input_size)
    function = inference.function(module, folded, interface)
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct(interface.input_shape(batch), interface.input_dtype)
    # The plain forms: which form is fastest is not known here, and one program serves all platforms.
    with plain_convolutions():
        content = bytes(jax.export.export(jax.jit(function), platforms=platforms)(images).serialize())
    found = agreement.measure(name, variables, interface, jax.jit(jax.export.deserialize(content).call))
    agreement.require(found, agreement.EXACT, str(path))
    write_atomically(path, content)
    about = dict(metadata or {}) | _about(name, interface, precision="float32")
    write_json(path.with_name(f"{path.name}.json"), about)
    return Export(path, path.stat().st_size, time.perf_counter() - start, found)


def _statistics(
    name: str, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation as given, else the model's own."""
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: give both or neither")
    spec = zoo.spec(name)
    found = (spec.mean, spec.std) if mean is None or std is None else (mean, std)
    mean, std = (tuple(map(float, values)) for values in found)
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(f"mean={mean} and std={std} must be three numbers each, std above zero")
    return mean, std


def _about(name: str, interface: Interface, precision: str) -> dict[str, Any]:
    return {
        "model": name,
        "mean": list(interface.mean),
        "std": list(interface.std),
        "input_size": list(interface.input_size),
        "commit": source_commit(),
        "l2_normalise": interface.l2_normalise,
        "preprocess": interface.preprocess,
        "precision": precision,
    }


@contextmanager
def _checked_file(path: Path) -> Iterator[Path]:
    """Yields a name beside `path` whose file becomes `path` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
