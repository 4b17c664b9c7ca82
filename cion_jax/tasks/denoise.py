"""Task `denoise`: features of noisy tracklets -> identities, a report, and a data set to train on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from cion_jax import denoise
from cion_jax.core.errors import UserError
from cion_jax.core.files import write_json
from cion_jax.denoise import progressive
from cion_jax.denoise.settings import MERGING
from cion_jax.tasks import denoise_input, denoise_outputs, denoise_report
from cion_jax.tasks.denoise_input import Images
from cion_jax.tasks.outputs import Speaker
from cion_jax.tasks.stages import Stages

MODES = {"paper": denoise.paper, "recommended": denoise.recommended}
_SWITCHES = ("cannot_link", "split", "second_look", "give_back")
_NUMBERS = ("rebirth", "mutual", "max_share", "max_radius", "min_images")


def run(config: ConfigDict, workdir: Path) -> None:
    """Finds identities in config.source and writes them to config.target, or `workdir`/denoised.

    Every stage is kept in target/stages when it is done, and reused by a run that asks for the same: after an
    interruption only the stage that was at work is done again.

    Raises:
      UserError: settings or features that cannot be used; see the message.
    """
    _check(config)
    say = Speaker()
    target = Path(config.target).expanduser() if config.target else workdir / "denoised"
    images = denoise_input.read(config.source)
    if not len(images):
        raise UserError(f"source={config.source} holds no image with features")
    true = denoise_input.read_truth(config.truth, images)
    stages = Stages(target / "stages", say)
    videos, tracklets = (len(np.unique(images.columns[name])) for name in ("video", "tracklet"))
    say(f"{len(images):,} images in {tracklets:,} tracklet numbers of {videos:,} videos")
    try:
        settings = _settings(config, images, stages, say)
        say(f"sigma_cst {settings.sigma_cst:.4f}, sigma_drm {settings.sigma_drm:.4f}, {settings.merging}")
        result = _levels(images, settings, stages)
    except ValueError as error:
        raise UserError(f"{config.source}: {error}") from error
    result = denoise_outputs.subsampled(result, config.subsample)
    for warning in result.warnings:
        say(f"warning: {warning}")
    write_json(target / "settings.json", dataclasses.asdict(settings) | {"source": config.source})
    denoise_outputs.write(target, images, result, say)
    if config.records:
        denoise_outputs.write_records(target / "records", images, result, say)
    if config.report:
        denoise_report.write(
            target,
            images,
            settings,
            result,
            true,
            title=Path(config.source).stem,
            thumbnails=config.thumbnails,
        )
        say(f"wrote {target / 'report.html'}")
    if true is not None:
        say(denoise_report.summary(result, true))


def _levels(images: Images, settings: denoise.Settings, stages: Stages) -> denoise.Result:
    """The three levels and the passes after them, stage by stage."""
    moment = None
    if settings.needs_frames:
        moment = denoise.frames.moments(images.columns["video"], images.columns["frame"])
    depends = [images.fingerprint, dataclasses.asdict(settings)]

    def within():
        found = progressive.within_videos(
            images.features, images.columns["tracklet"], images.columns["video"], moment, settings
        )
        return {"labels": found.labels, "sums": found.sums} | {
            f"after {name}": labels for name, labels in found.levels.items()
        }

    first, print_first = stages.get("levels_1_2", depends, within)

    def across():
        found = progressive.across_videos(first["labels"], first["sums"], moment, settings)
        return {"labels": found.labels, "links": found.links, "warnings": np.array(found.warnings, "U512")}

    second, print_second = stages.get("level_3", [*depends, print_first], across)

    def finish():
        return {"labels": progressive.finish(images.features, second["labels"], moment, settings)}

    last, _ = stages.get("finish", [*depends, print_second], finish)
    levels = {name.removeprefix("after "): first[name] for name in first if name.startswith("after ")}
    levels |= {"level 3": second["labels"], "finished": last["labels"]}
    return denoise.Result(last["labels"], levels, second["links"], second["warnings"].tolist())


def _settings(
    config: ConfigDict, images: Images, stages: Stages, say: Callable[[str], None]
) -> denoise.Settings:
    """The mode with its options, and thresholds from where the configuration says."""
    changes = {name: value for name in _NUMBERS if (value := config.options[name]) >= 0}
    changes |= {name: value == "yes" for name in _SWITCHES if (value := config.options[name])}
    if config.options.merging:
        changes["merging"] = config.options.merging
    if config.half_width >= 0:
        changes["half_width"] = config.half_width or None
    settings = MODES[config.mode](**changes)
    wanted = {name: config[name] for name in ("sigma_cst", "sigma_drm") if config[name] > 0}
    measure = config.labelled or config.calibrate == "yes"
    measure = measure or (config.calibrate == "auto" and config.mode == "recommended")
    if measure and len(wanted) < 2:
        found = _calibrated(config, images, stages)
        say(
            f"from the data: sigma_cst {found['sigma_cst']:.4f} ({int(found['tracklets']):,} tracklets), sigma_drm "
            f"{found['sigma_drm']:.4f} ({int(found['pairs']):,} pairs of different people)"
        )
        wanted = {name: float(found[name]) for name in ("sigma_cst", "sigma_drm")} | wanted
    return dataclasses.replace(settings, **wanted)


def _calibrated(config: ConfigDict, images: Images, stages: Stages) -> dict[str, np.ndarray]:
    def compute():
        if config.labelled:
            labelled = denoise_input.read(config.labelled)
            found = denoise.calibrate_labelled(labelled.features, labelled.columns["identity"])
        else:
            ids = (images.columns[name] for name in ("tracklet", "video", "frame"))
            found = denoise.calibrate(images.features, *ids)
        return {name: np.asarray(value) for name, value in found._asdict().items()}

    return stages.get("thresholds", [images.fingerprint, config.labelled], compute)[0]


def _check(config: ConfigDict) -> None:
    if jax.process_count() > 1:
        raise UserError("the task denoise runs in one process, on all its devices: leave out --distributed")
    if not config.source:
        raise UserError("no source given: add --config.source=FEATURES, which the task extract makes")
    if config.mode not in MODES:
        raise UserError(f"mode={config.mode!r} is none of {', '.join(MODES)}")
    if config.calibrate not in ("auto", "yes", "no"):
        raise UserError(f"calibrate={config.calibrate!r} is none of auto, yes, no")
    for name in _SWITCHES:
        if config.options[name] not in ("", "yes", "no"):
            raise UserError(f"options.{name}={config.options[name]!r} is neither yes nor no")
    if config.options.merging not in ("", *MERGING):
        raise UserError(f"options.merging={config.options.merging!r} is none of {', '.join(MERGING)}")
    if config.options.min_images == 0 or config.half_width < -1:
        raise UserError("options.min_images must be at least 1, half_width at least 0 (all pairs)")
    for name in ("sigma_cst", "sigma_drm"):
        if not 0 <= config[name] <= 2:
            raise UserError(f"{name}={config[name]} is no cosine distance: 0 (from the mode) to 2")
