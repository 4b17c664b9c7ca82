"""Task `export`: weights -> a file for ONNX Runtime, for JAX programs without this package, or for PyTorch."""

import json
import time
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from cion_jax import bridge, zoo
from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target
from cion_jax.tasks.outputs import Speaker

SUFFIXES = {"onnx": ".onnx", "stablehlo": ".stablehlo", "torch": ".safetensors"}
_OPTIONS = {
    "onnx": ("l2_normalise", "preprocess", "half"),
    "stablehlo": ("l2_normalise", "preprocess"),
    "torch": (),
}


def run(config: ConfigDict, workdir: Path) -> None:
    """Writes config.source in config.format to config.target, or into `workdir` without one, and says how it went.

    ONNX and StableHLO files are compared with our own features first and not kept if they differ.

    Raises:
      UserError: no source, no model name, a setting that the format does not have, or whatever `bridge` refuses.
    """
    if jax.distributed.is_initialized():
        raise UserError("the task export runs in one process: leave out --distributed")
    _check(config)
    say, source = Speaker(), Path(config.source).expanduser()
    metadata = bridge.load_metadata(source) if source.suffix == ".safetensors" else {}
    name = _model(config, source, metadata)
    size = _input_size(config, name, metadata)
    target = Path(config.target).expanduser() if config.target else workdir / (name + SUFFIXES[config.format])
    with lock_target(target, "export"):
        _write(config, name, source, target, size, metadata, say)


def _write(
    config: ConfigDict,
    name: str,
    source: Path,
    target: Path,
    size: tuple[int, int],
    metadata: dict[str, str],
    say: Speaker,
) -> None:
    """Converts and checks, for a target that no other process writes."""
    say(f"reading {source} as {name}")
    variables = bridge.from_torch(name, bridge.load_file(source))
    if config.format == "torch":
        _write_torch(name, variables, target, size, metadata)
        return
    options = {key: config[key] for key in _OPTIONS[config.format]}
    say(f"converting to {config.format} at {size[0]}x{size[1]}, then comparing features on 10 pictures")
    if config.format == "onnx":
        kept = {key: metadata[key] for key in ("steps",) if key in metadata}
        done = bridge.export_onnx(name, variables, target, input_size=size, metadata=kept, **options)
    else:
        done = bridge.export_stablehlo(name, variables, target, input_size=size, **options)
    print(summary(done), flush=True)


def summary(done: bridge.Export) -> str:
    """An export in one line."""
    return (
        f"wrote {done.path}: {done.size / 1e6:,.1f} MB in {done.seconds:,.0f} s; features differ by "
        f"{done.deviation.error:.1e} of their root mean square, least cosine {done.deviation.cosine:.6f}"
    )


def _write_torch(
    name: str, variables: Any, target: Path, size: tuple[int, int], metadata: dict[str, str]
) -> None:
    """Official key names; what the file was trained with goes along where the kind of file has room for it."""
    start, spec = time.perf_counter(), zoo.spec(name)
    about = {
        **metadata,
        "model": name,
        "mean": str(list(spec.mean)),
        "std": str(list(spec.std)),
        "input_size": str(list(size)),
        "commit": metadata.get("commit", source_commit()),
    }
    bridge.save_file(
        target, bridge.to_torch(name, variables), about if target.suffix == ".safetensors" else None
    )
    size_mb, seconds = target.stat().st_size / 1e6, time.perf_counter() - start
    print(f"wrote {target}: {size_mb:,.1f} MB in {seconds:,.0f} s; the weights bit by bit", flush=True)


def _check(config: ConfigDict) -> None:
    if config.format not in SUFFIXES:
        raise UserError(f"format={config.format!r} is none of {', '.join(SUFFIXES)}")
    if not config.source:
        raise UserError(
            "no source given: add --config.source=FILE, for example runs/vit_b/backbone.safetensors"
        )
    for key in ("l2_normalise", "preprocess", "half"):
        if config[key] and key not in _OPTIONS[config.format]:
            raise UserError(f"{key}=True has no meaning for format={config.format}: leave it out")


def _model(config: ConfigDict, source: Path, metadata: dict[str, str]) -> str:
    told = metadata.get("model", "")
    if config.model.name and told and config.model.name != told:
        raise UserError(f"{source} holds {told}, not model.name={config.model.name}: leave out the name")
    if not (config.model.name or told):
        raise UserError(f"{source} does not tell which model it holds: add --config.model.name=NAME")
    return zoo.spec(config.model.name or told).name


def _input_size(config: ConfigDict, name: str, metadata: dict[str, str]) -> tuple[int, int]:
    """As asked for, else as the file has it, else the model's own."""
    size = tuple(config.input_size)
    if size == (0, 0):
        size = (
            tuple(json.loads(metadata["input_size"]))
            if "input_size" in metadata
            else zoo.spec(name).input_size
        )
    if len(size) != 2 or not all(isinstance(n, int) and n >= 16 for n in size):
        raise UserError(f"input_size={size} must be (height, width), 16 pixels or more each")
    return size
