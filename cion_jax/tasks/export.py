"""Task `export`: weights -> a file for ONNX Runtime, for JAX programs without this package, or for PyTorch."""

import time
from pathlib import Path

import jax
from ml_collections import ConfigDict

from cion_jax import bridge, zoo
from cion_jax.bridge import input_settings
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
    name = _model(config, source)
    say(f"reading {source} as {name}")
    weights = bridge.read_weights(source, name, resize=config.resize)
    say(weights.format.description)
    size = input_settings.find_input_size(name, weights, tuple(config.input_size))
    normalization = input_settings.find_normalization(name, weights, config.normalization)
    mean, std, reason = normalization
    say(f"input normalized by mean {mean} and deviation {std} ({reason}; --config.normalization changes it)")
    target = Path(config.target).expanduser() if config.target else workdir / (name + SUFFIXES[config.format])
    with lock_target(target, "export"):
        _write(config, weights, target, size, normalization, say)


def _write(
    config: ConfigDict, weights, target: Path, size: tuple[int, int], normalization, say: Speaker
) -> None:
    """Converts and checks, for a target that no other process writes."""
    if config.format == "torch":
        _write_torch(weights, target, size, normalization)
        return
    write = {"onnx": bridge.export_onnx, "stablehlo": bridge.export_stablehlo}[config.format]
    say(f"converting to {config.format} at {size[0]}x{size[1]}, then comparing features on 10 pictures")
    done = write(
        weights.name,
        weights.variables,
        target,
        input_size=size,
        mean=normalization.mean,
        std=normalization.std,
        metadata={key: weights.metadata[key] for key in ("steps",) if key in weights.metadata},
        **{key: config[key] for key in _OPTIONS[config.format]},
    )
    print(summary(done), flush=True)


def summary(done: bridge.Export) -> str:
    """An export in one line."""
    return (
        f"wrote {done.path}: {done.size / 1e6:,.1f} MB in {done.seconds:,.0f} s; features differ by "
        f"{done.deviation.error:.1e} of their root mean square, least cosine {done.deviation.cosine:.6f}"
    )


def _write_torch(
    weights: bridge.Weights, target: Path, size: tuple[int, int], normalization: input_settings.Normalization
) -> None:
    """Official key names; the source's metadata go along, with the settings of the input as they were found."""
    start = time.perf_counter()
    about = {
        **weights.metadata,
        "model": weights.name,
        "mean": str(list(normalization.mean)),
        "std": str(list(normalization.std)),
        "input_size": str(list(size)),
        "commit": weights.metadata.get("commit", source_commit()),
    }
    bridge.save_file(target, bridge.to_torch(weights.name, weights.variables), about)
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
    if config.normalization not in input_settings.NORMALIZATION_CHOICES:
        choices = ", ".join(input_settings.NORMALIZATION_CHOICES)
        raise UserError(f"normalization={config.normalization!r} is none of {choices}")


def _model(config: ConfigDict, source: Path) -> str:
    """The name given, or the one that the file states."""
    told = bridge.load_metadata(source).get("model", "") if source.is_file() else ""
    if config.model.name and told and config.model.name != told:
        raise UserError(f"{source} holds {told}, not model.name={config.model.name}: leave out the name")
    if not (config.model.name or told):
        raise UserError(f"{source} does not tell which model it holds: add --config.model.name=NAME")
    return zoo.spec(config.model.name or told).name
