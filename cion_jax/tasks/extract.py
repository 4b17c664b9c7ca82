"""Task `extract`: a folder, data set, table or list of images -> features with their paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_shared_target
from cion_jax.data import pictures
from cion_jax.data.prepare import MAX_SIZE
from cion_jax.evaluation import features
from cion_jax.tasks import extractors, feature_files, feature_shards, settings
from cion_jax.tasks.extractors import Extractor
from cion_jax.tasks.outputs import Speaker

_NOT_FINITE = "its features are not finite"


def run(config: ConfigDict, workdir: Path) -> None:
    """Writes the features of all images of config.source.

    config.target ending in .npz or .parquet is one file, made in one go. Any other is a folder of shards: an
    interrupted run goes on with the shard it was at, and the processes of a cluster share the work. Without a target
    it is `workdir`/features.npz. Images that cannot be read, or whose features are not finite, are counted, and listed
    with the reason in NAME.skipped.csv beside the file, skipped.csv in the folder; on_bad_image=error ends the run at
    the first.

    Raises:
      UserError: settings, source or weights that cannot be used, not one readable image, or another run that writes
        the target; see the message.
    """
    target = Path(config.target).expanduser() if config.target else workdir / "features.npz"
    _check(config, target)
    with lock_shared_target(target, "extract"):
        _extract_source(config, target)


def _extract_source(config: ConfigDict, target: Path) -> None:
    """The task, in a target that no other run writes."""
    say = Speaker()
    source = pictures.open_pictures(Path(config.source), importer=config.importer, split=config.split)
    extractor = extractors.load(config, say)
    say(_reading(extractor.name, source))
    write = _write_file if target.suffix in feature_files.SUFFIXES else _write_shards
    write(config, extractor, source, target, say)


def _check(config: ConfigDict, target: Path) -> None:
    one_file = target.suffix in feature_files.SUFFIXES
    if jax.process_count() > 1 and one_file:
        raise UserError("several processes write a folder of shards: give a --config.target without suffix")
    if not config.source:
        raise UserError("no source given: add --config.source=FOLDER (or a table, a .txt list, an image)")
    extractors.check(config)
    if config.batch_size < 1 or config.threads < 0 or config.shard_rows < 1:
        raise UserError("batch_size and shard_rows must be at least 1, threads at least 0")
    if config.on_bad_image not in ("skip", "error"):
        raise UserError(f"on_bad_image={config.on_bad_image!r} is neither skip nor error")
    if target.suffix:
        feature_files.check_target(target)


def _reading(name: str, source: pictures.Pictures) -> str:
    people = len(np.unique(source.columns["identity"][source.columns["identity"] >= 0]))
    who = f"{people:,} identities" if people else "of no known identity"
    return f"{name}: {len(source):,} images, {who} (layout {source.layout})"


def _write_file(
    config: ConfigDict,
    extractor: Extractor,
    source: pictures.Pictures,
    target: Path,
    say: Callable[[str], None],
) -> None:
    found, read = _extract(config, extractor, source)
    bad = [(picture.path, picture.reason) for picture in read if picture.reason]
    skipped = [*source.skipped, *bad]
    good = np.array([not picture.reason for picture in read])
    if not good.any():
        raise _nothing_readable(config, *bad[0])
    about = _about(config, extractor, source) | {"images": int(good.sum()), "skipped": len(skipped)}
    feature_files.write(
        target,
        _finished(config, found[good]),
        [picture.path for picture in read if not picture.reason],
        {name: column[good] for name, column in source.columns.items()},
        about,
    )
    feature_files.write_skipped(target, skipped)
    say(f"wrote {target}: features of {good.sum():,} images, {found.shape[1]} numbers each")
    _tell_skipped(feature_files.skipped_file(target), skipped, say)


def _write_shards(
    config: ConfigDict,
    extractor: Extractor,
    source: pictures.Pictures,
    target: Path,
    say: Callable[[str], None],
) -> None:
    about = _about(config, extractor, source) | {
        "images": len(source),
        "shard_rows": int(config.shard_rows),
        "dtype": "float16" if config.float16 else "float32",
        "width": _width(config, extractor, source),
        "digest": extractor.digest,
    }
    if jax.process_index() == 0:
        feature_shards.begin(target, about, source.paths(), source.columns)
    _wait("features begun")
    todo = feature_shards.missing(target)
    # All count before the first is done: else the shares of the processes would not fit together.
    _wait("shards counted")
    say(f"{len(todo):,} shards of {config.shard_rows:,} images to do")
    mine = todo[jax.process_index() :: jax.process_count()]
    for done, (number, first, last) in enumerate(mine, start=1):
        label = f"shard {done} of {len(mine)}"
        found, read = _extract(config, extractor, pictures.part(source, first, last), label)
        bad = [(row, picture.reason) for row, picture in enumerate(read) if picture.reason]
        feature_shards.write_shard(target, number, _finished(config, found), bad)
    _wait("features done")
    paths = source.paths()
    bad = [(paths[row], reason) for row, reason in feature_shards.unreadable(target)]
    # All have read before the first removes.
    _wait("unreadable images counted")
    if len(bad) == len(source):
        if jax.process_index() == 0:
            feature_shards.remove(target)
        raise _nothing_readable(config, *bad[0])
    if jax.process_index():
        return
    skipped = [*source.skipped, *bad]
    feature_files.write_list(target / "skipped.csv", skipped)
    images = len(source) - len(bad)
    say(f"{target} holds the features of {images:,} images, {about['width']} numbers each")
    _tell_skipped(target / "skipped.csv", skipped, say)


def _nothing_readable(config: ConfigDict, path: str, reason: str) -> UserError:
    if reason == _NOT_FINITE:
        return UserError(
            f"no image of {config.source} has finite features, first {path}: the weights overflow in "
            "this model.dtype, or are damaged"
        )
    return UserError(f"no image of {config.source} could be read, first {path} ({reason})")


def _wait(name: str) -> None:
    """Until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def _width(config: ConfigDict, extractor: Extractor, source: pictures.Pictures) -> int:
    """Numbers in a feature, from the first image."""
    found, _ = _extract(config, extractor, pictures.part(source, 0, 1), "first image")
    return found.shape[1]


def _tell_skipped(file: Path, skipped: list[tuple[str, str]], say: Callable[[str], None]) -> None:
    if skipped:
        say(f"{len(skipped):,} images left out; {file} lists them with the reason")


def _extract(
    config: ConfigDict, extractor: Extractor, source: pictures.Pictures, label: str = "features"
) -> tuple[np.ndarray, list[pictures.Picture]]:
    """Features of all rows, and what became of each; zero for those that cannot be used, which have a reason.

    Raises:
      UserError: such an image, with on_bad_image=error.
    """
    devices = 1 if extractor.mesh is None else extractor.mesh.size
    read: list[pictures.Picture] = []

    def batches():
        limit = tuple(max(pair) for pair in zip(MAX_SIZE, extractor.size, strict=True))
        size = -(-config.batch_size // devices) * devices
        for batch, contents in pictures.batches(source, size, limit=limit, threads=config.threads):
            _check_images(config, contents)
            read.extend(contents)
            yield batch

    found = features.extract(
        *(extractor.apply, batches()),
        total=len(source),
        mesh=extractor.mesh,
        label=label,
        require_finite=False,
    )
    finite = np.isfinite(found).all(axis=1)
    read = [
        picture if picture.reason or finite[row] else picture._replace(reason=_NOT_FINITE)
        for row, picture in enumerate(read)
    ]
    _check_images(config, read)
    found[[row for row, picture in enumerate(read) if picture.reason]] = 0
    return found, read


def _check_images(config: ConfigDict, found: list[pictures.Picture]) -> None:
    bad = next((picture for picture in found if picture.reason), None)
    if bad is not None and config.on_bad_image == "error":
        raise UserError(f"{bad.path}: {bad.reason}; on_bad_image=skip leaves such images out and lists them")


def _finished(config: ConfigDict, found: np.ndarray) -> np.ndarray:
    """Normalised and in the type wanted."""
    if config.l2_normalise:
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    if config.float16:
        with np.errstate(over="ignore"):
            found = found.astype(np.float16)
        if not np.isfinite(found).all():
            raise UserError("float16 does not hold these features: leave it out, or set l2_normalise=True")
    return found


def _about(config: ConfigDict, extractor: Extractor, source: pictures.Pictures) -> dict[str, Any]:
    return {
        "model": extractor.name,
        "weights": extractor.weights,
        "source": str(Path(config.source).expanduser().absolute()),
        "layout": source.layout,
        "input_size": extractor.size,
        "mean": extractor.mean,
        "std": extractor.std,
        "colour": config.colour,
        "resize": bool(config.resize),
        # The plugin's own choice for networks that JAX does not run.
        "compute_dtype": jnp.dtype(settings.compute_dtype(config)).name if extractor.mesh else "openvino",
        "l2_normalised": bool(config.l2_normalise),
        "names": source.names,
        "commit": source_commit(),
    }
