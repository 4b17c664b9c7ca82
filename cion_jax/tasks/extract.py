"""Task `extract`: a folder, data set, table or list of images -> features with their paths."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cion_jax import bridge, zoo
from cion_jax.core import mesh as meshes
from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.core.rng import key_for
from cion_jax.data import pictures
from cion_jax.data.prepare import MAX_SIZE
from cion_jax.data.preprocess import prepare_eval
from cion_jax.evaluation import features
from cion_jax.tasks import feature_files, settings
from cion_jax.tasks.outputs import Speaker

# Mean and standard deviation of the input channels, by name.
NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "lup": ((0.3525, 0.3106, 0.3140), (0.2660, 0.2522, 0.2505)),
}
# What foreign checkpoints were trained with: TransReID fine-tunes with "half", LUP has its own figures.
_OF_ORIGIN = {"transreid": "half", "lup": "lup"}


class _Model(NamedTuple):
    """A backbone ready for use, and how its images are prepared."""

    name: str
    variables: dict
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str  # the file, or "untrained"


def run(config: ConfigDict, workdir: Path) -> None:
    """Writes the features of all images of config.source into config.target, or `workdir`/features.npz.

    Images that cannot be read are counted, and listed with the reason in NAME.skipped.csv beside the target.

    Raises:
      UserError: settings, source or weights that cannot be used, or not one readable image; see the message.
    """
    target = Path(config.target).expanduser() if config.target else workdir / "features.npz"
    _check(config, target)
    say = Speaker()
    source = pictures.open_pictures(Path(config.source), importer=config.importer, split=config.split)
    model = _model(config, say)
    say(_reading(config.source, source))
    found, read = _extract(config, model, source)
    bad = [(picture.path, picture.reason) for picture in read if picture.reason]
    skipped = [*source.skipped, *bad]
    good = np.array([not picture.reason for picture in read])
    if not good.any():
        raise UserError(f"no image of {config.source} could be read, first {bad[0][0]} ({bad[0][1]})")
    feature_files.write(
        target,
        _finished(config, found[good]),
        [picture.path for picture in read if not picture.reason],
        {name: column[good] for name, column in source.columns.items()},
        _about(config, model, source, int(good.sum()), len(skipped)),
    )
    feature_files.write_skipped(target, skipped)
    say(f"wrote {target}: features of {good.sum():,} images, {found.shape[1]} numbers each")
    if skipped:
        say(
            f"{len(skipped):,} images left out; {feature_files.skipped_file(target)} lists them with the reason"
        )


def _check(config: ConfigDict, target: Path) -> None:
    if jax.process_count() > 1:
        raise UserError("the task extract runs in one process, on all its devices: leave out --distributed")
    if not config.source:
        raise UserError("no source given: add --config.source=FOLDER (or a table, a .txt list, an image)")
    if not config.weights and not config.model.name:
        raise UserError("no weights given: add --config.weights=FILE (.safetensors, .pth or .pt)")
    if config.model.name and config.model.name not in zoo.MODELS:
        raise UserError(f"model.name={config.model.name!r} is none of {', '.join(zoo.MODELS)}")
    if config.normalisation not in ("auto", *NORMALISATIONS):
        choices = ", ".join(("auto", *NORMALISATIONS))
        raise UserError(f"normalisation={config.normalisation!r} is none of {choices}")
    if config.model.dtype not in ("auto", *settings.DTYPES):
        raise UserError(f"model.dtype={config.model.dtype!r} is none of auto, {', '.join(settings.DTYPES)}")
    if config.batch_size < 1 or config.threads < 0:
        raise UserError("batch_size must be at least 1, threads at least 0")
    size = tuple(config.input_size)
    if len(size) != 2 or not all(isinstance(n, int) for n in size) or (any(size) and min(size) < 16):
        raise UserError(f"input_size={size} must be (height, width), 16 pixels or more each, or (0, 0)")
    feature_files.check_target(target)


def _model(config: ConfigDict, say: Callable[[str], None]) -> _Model:
    name, origin, told = config.model.name or None, "", {}
    if config.weights:
        weights = bridge.read_weights(config.weights, name, resize=config.resize)
        name, variables, origin = weights.name, weights.variables, weights.format.origin
        told = {key: _numbers(weights.metadata, key) for key in ("mean", "std", "input_size")}
        say(f"{name} from {config.weights}. {weights.format.description}")
    else:
        say(f"no --config.weights given: these are features of an UNTRAINED {name}, good for comparison only")
        images = jnp.zeros((1, *zoo.spec(name).input_size, 3))
        variables = jax.jit(zoo.create(name).init)(key_for(config.seed, "init"), images)
    spec = zoo.spec(name)
    mean, std = told.get("mean") or spec.mean, told.get("std") or spec.std
    chosen = config.normalisation
    if chosen == "auto" and origin in _OF_ORIGIN:
        chosen = _OF_ORIGIN[origin]
        say(f"images are normalised as its training does it: --config.normalisation={chosen}")
    if chosen != "auto":
        mean, std = NORMALISATIONS[chosen]
    size = tuple(config.input_size) if any(config.input_size) else told.get("input_size") or spec.input_size
    return _Model(
        name, variables, tuple(map(int, size)), tuple(mean), tuple(std), config.weights or "untrained"
    )


def _numbers(metadata: dict[str, str], key: str) -> tuple:
    """Numbers that a weight file says of itself; () if it does not."""
    try:
        return tuple(json.loads(metadata[key]))
    except KeyError:
        return ()
    except (ValueError, TypeError) as error:
        raise UserError(f"{key}={metadata[key]!r} in the weight file is no list of numbers") from error


def _reading(name: str, source: pictures.Pictures) -> str:
    people = len(np.unique(source.columns["identity"][source.columns["identity"] >= 0]))
    who = f"{people:,} identities" if people else "of no known identity"
    return f"{name}: {len(source):,} images, {who} (layout {source.layout})"


def _extract(
    config: ConfigDict, model: _Model, source: pictures.Pictures
) -> tuple[np.ndarray, list[pictures.Picture]]:
    """Features of all rows, also of those that could not be read, and what became of each."""
    mesh = meshes.make_mesh()
    module = zoo.create(model.name, dtype=settings.compute_dtype(config))
    variables = jax.device_put(model.variables, meshes.replicated(mesh))
    apply = jax.jit(module.apply, static_argnames="train")

    def of_canvas(images: jax.Array, sizes: jax.Array) -> jax.Array:
        # Canvases come in several sizes: only this small program is compiled for each, not the model.
        prepared = prepare_eval(
            images, sizes, size=model.size, mean=model.mean, std=model.std, dtype=module.dtype
        )
        return apply(variables, prepared, train=False)

    read: list[pictures.Picture] = []

    def batches():
        limit = tuple(max(pair) for pair in zip(MAX_SIZE, model.size, strict=True))
        size = -(-config.batch_size // mesh.size) * mesh.size
        for batch, contents in pictures.batches(source, size, limit=limit, threads=config.threads):
            read.extend(contents)
            yield batch

    return features.extract(of_canvas, batches(), total=len(source), mesh=mesh), read


def _finished(config: ConfigDict, found: np.ndarray) -> np.ndarray:
    """Normalised and in the type wanted."""
    if config.l2_normalise:
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    if config.float16:
        found = found.astype(np.float16)
        if not np.isfinite(found).all():
            raise UserError("float16 does not hold these features: leave it out, or set l2_normalise=True")
    return found


def _about(
    config: ConfigDict, model: _Model, source: pictures.Pictures, images: int, skipped: int
) -> dict[str, Any]:
    return {
        "model": model.name,
        "weights": model.weights,
        "source": config.source,
        "layout": source.layout,
        "input_size": model.size,
        "mean": model.mean,
        "std": model.std,
        "l2_normalised": bool(config.l2_normalise),
        "images": images,
        "skipped": skipped,
        "names": source.names,
        "commit": source_commit(),
    }
