"""From a JAX function to an ONNX file: conversion by jax2onnx, tidying by ONNX Runtime, metadata."""

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cion_jax.core.errors import UserError

# LayerNormalization and the reductions with axes as inputs are in it; ONNX Runtime has it since 1.14.
OPSET = 18
PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "jax2onnx")
INSTALL = "pip install onnx onnx-ir onnxruntime && pip install --no-deps jax2onnx"


def require_packages() -> None:
    """Raises UserError, with the command that installs them, if a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX export needs {', '.join(missing)}. Install with: {INSTALL} (docs/export.md says why so)"
        )


def convert(function: Callable[[jax.Array], jax.Array], shape: tuple[Any, ...], dtype: np.dtype) -> Any:
    """The function as an onnx.ModelProto from `images` to `features`.

    Args:
      function: of one array.
      shape: of the array; a text stands for a size that may vary.
      dtype: of the array.

    Raises:
      UserError: the converter cannot write an operation of the function.
    """
    import jax2onnx
    import onnx

    size = [jax.export.symbolic_shape(n)[0] if isinstance(n, str) else n for n in shape]
    with _quiet():
        try:
            model = jax2onnx.to_onnx(
                function,
                [jax.ShapeDtypeStruct(tuple(size), dtype)],
                opset=OPSET,
                input_names=["images"],
                output_names=["features"],
            )
            onnx.checker.check_model(model)
        except Exception as error:  # a converter fails in many ways
            raise UserError(
                f"jax2onnx could not convert the model: {type(error).__name__}: {error}"
            ) from error
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """jax2onnx loads its extensions for frameworks that are not there, and logs a traceback for each."""
    logger = logging.getLogger("jax2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def tidy(model: Any, scratch: Path) -> Any:
    """The model after ONNX Runtime's basic optimisations, which know no hardware and write standard operators.

    Constants are computed, norms folded into convolutions, and layout changes between them cancelled.
    """
    import onnx
    import onnxruntime

    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(scratch)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    tidied = onnx.load(scratch)
    scratch.unlink()
    used = {node.domain for node in tidied.graph.node}
    if used - {"", "ai.onnx"}:
        raise UserError(f"ONNX Runtime wrote operators of its own ({', '.join(used)}); please report it")
    # It declares every set of operators that it knows.
    kept = [entry for entry in tidied.opset_import if entry.domain == ""]
    del tidied.opset_import[:]
    tidied.opset_import.extend(kept)
    tidied.ir_version = model.ir_version
    return tidied


def describe(model: Any, about: Mapping[str, Any], name: str) -> None:
    """Writes the metadata properties and the graph's name into the model."""
    import onnx

    onnx.helper.set_model_props(model, {key: str(value) for key, value in about.items()})
    model.graph.name = name
    model.producer_name = "cion_jax"
    model.doc_string = ""


def runner(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The file's function, as ONNX Runtime computes it on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), _options(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["features"], {"images": images})[0]


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options
