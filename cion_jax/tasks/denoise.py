"""Task `denoise`: features of noisy tracklets -> identities, a report, and a data set to train on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from cion_jax import denoise
from cion_jax.core.commit import source_commit
from cion_jax.core.files import write_json
from cion_jax.core.progress import Progress
from cion_jax.core.target_lock import lock_target
from cion_jax.denoise import progressive
from cion_jax.tasks import denoise_input, denoise_outputs, denoise_report, denoise_settings
from cion_jax.tasks.denoise_input import Images
from cion_jax.tasks.outputs import Speaker
from cion_jax.tasks.stages import Stages

# Of the stages: raise it when the same features and settings give other arrays.
VERSION = 5
# What a stage does not look at, so that it is kept when only that changes.
_OF_FINISH = ("second_look", "give_back", "min_images")
_OF_LEVEL_3 = ("half_width", *_OF_FINISH)


def run(config: ConfigDict, workdir: Path) -> None:
    """Finds identities in config.source and writes them to config.target, or `workdir`/denoised.

    Every stage is kept in target/stages when it is done, and reused by a run that asks for the same: after an
    interruption only the stage that was at work is done again.

    Raises:
      UserError: settings or features that cannot be used, records of other labels in the target, or another process
        that writes it; see the message.
    """
    denoise_settings.check(config)
    target = Path(config.target).expanduser() if config.target else workdir / "denoised"
    with lock_target(target, "denoise"):
        _denoise(config, target, Speaker())


def _denoise(config: ConfigDict, target: Path, say: Callable[[str], None]) -> None:
    """The task, in a target that no other process writes."""
    images = denoise_input.read(config.source)
    true = denoise_input.read_truth(config.truth, images)
    if true is not None:
        say(f"truth known for {(true >= 0).sum():,} of {len(images):,} images")
    # Before hours of work, not after.
    denoise_outputs.check_features_of_records(target / "records", images)
    if config.records:
        denoise_outputs.source_of(images)
    videos, tracklets = (len(np.unique(images.columns[name])) for name in ("video", "tracklet"))
    say(f"{len(images):,} images in {tracklets:,} tracklet numbers of {videos:,} videos")
    stages = Stages(target / "stages", VERSION, say)
    settings = denoise_settings.settings(config, images, stages, say)
    say(f"sigma_cst {settings.sigma_cst:.4f}, sigma_drm {settings.sigma_drm:.4f}, {settings.merging}")
    if changed := denoise_outputs.find_changed_settings(target, dataclasses.asdict(settings)):
        say(
            f"warning: {target / 'records'} was made with other settings ({', '.join(changed)}): if the labels come "
            "out different, this run will stop before it writes any. Remove it now, or give another target"
        )
    if settings.needs_frames:
        ids = (images.columns[name] for name in ("tracklet", "video", "frame"))
        if doubt := denoise.frames.doubt(*ids):
            say(f"warning: {doubt}")
    result = _levels(config, images, settings, stages)
    for warning in result.warnings:
        say(f"warning: {warning}")
    _write(config, target, images, settings, result, true, say)


def _write(
    config: ConfigDict,
    target: Path,
    images: Images,
    settings: denoise.Settings,
    result: denoise.Result,
    true: np.ndarray | None,
    say: Callable[[str], None],
) -> None:
    """All outputs; each is whole or absent, and all are of these labels: others are removed, or records refused."""
    result = denoise_outputs.subsampled(result, config.subsample)
    denoise_outputs.check_records(target / "records", images, result)
    denoise_outputs.remove_partial_records(target / "records", images, result)
    distance = denoise_outputs.distances(images, result, watch=_watch)
    earlier = denoise_outputs.clear(target)
    denoise_outputs.write(target, images, result, distance, say)
    about = {"source": config.source, "mode": config.mode, "features": images.fingerprint}
    about["commit"] = source_commit()
    write_json(target / denoise_outputs.SETTINGS, dataclasses.asdict(settings) | about)
    if config.report:
        report = denoise_report.Report(images, settings, result, distance, true)
        title = Path(config.source).stem
        denoise_report.write(target, report, title=title, thumbnails=config.thumbnails, watch=_watch)
        say(f"wrote {target / 'report.html'}")
    if gone := [str(file) for file in earlier if not file.exists()]:
        say(f"removed {', '.join(gone)}, of an earlier run")
    if true is not None:
        say(denoise_report.summary(result, true))
    if config.records:
        denoise_outputs.write_records(target / "records", images, result, say)


def _levels(config: ConfigDict, images: Images, settings: denoise.Settings, stages: Stages) -> denoise.Result:
    """The three levels and the passes after them, stage by stage."""
    try:
        return _stage_by_stage(images, settings, stages)
    except ValueError as error:
        raise denoise_input.told(config.source, images, error) from error


def _stage_by_stage(images: Images, settings: denoise.Settings, stages: Stages) -> denoise.Result:
    """Every stage depends on the features, the settings it looks at, and the stage before it."""
    moment = None
    if settings.needs_frames:
        denoise_input.require_frames(images, "cannot_link")
        moment = denoise.frames.moments(images.columns["video"], images.columns["frame"])

    def within():
        ids = images.columns["tracklet"], images.columns["video"]
        found = progressive.within_videos(images.features, *ids, moment, settings, watch=_watch)
        levels = {f"after {name}": labels for name, labels in found.levels.items()}
        return {"labels": found.labels, "sums": found.sums, "warnings": _texts(found.warnings)} | levels

    depends = [images.fingerprint, _without(settings, _OF_LEVEL_3)]
    first, fingerprint = stages.get("levels_1_2", depends, within)

    def across():
        found = progressive.across_videos(first["labels"], first["sums"], moment, settings, watch=_watch)
        return {"labels": found.labels, "links": found.links, "warnings": _texts(found.warnings)}

    depends = [fingerprint, _without(settings, _OF_FINISH)]
    second, fingerprint = stages.get("level_3", depends, across)

    def finish():
        labels = second["labels"]
        return {"labels": progressive.finish(images.features, labels, moment, settings, watch=_watch)}

    last, _ = stages.get("finish", [fingerprint, _without(settings, ())], finish)
    levels = {name.removeprefix("after "): first[name] for name in first if name.startswith("after ")}
    levels |= {"level 3": second["labels"], "finished": last["labels"]}
    warnings = [*first["warnings"].tolist(), *second["warnings"].tolist()]
    return denoise.Result(last["labels"], levels, second["links"], warnings)


def _texts(warnings: list[str]) -> np.ndarray:
    """As an array of a stage; without any it has a type too."""
    return np.array(warnings, "U512")


def _without(settings: denoise.Settings, names: tuple[str, ...]) -> dict:
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in names}


def _watch(label: str, total: int, unit: str) -> Progress:
    return Progress(label, total, unit=unit)
