"""From the configuration of the task `denoise` to settings of the levels: modes, options, thresholds."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from cion_jax import denoise
from cion_jax.core.errors import UserError
from cion_jax.denoise.settings import MERGING, OF_CLOSURE
from cion_jax.tasks import denoise_input
from cion_jax.tasks.denoise_input import Images
from cion_jax.tasks.stages import Stages

MODES = {"paper": denoise.paper, "recommended": denoise.recommended}
_SWITCHES = ("cannot_link", "split", "second_look", "give_back")
_NUMBERS = ("rebirth", "mutual", "max_share", "max_radius", "min_images")


def check(config: ConfigDict) -> None:
    """Raises UserError for a setting that cannot be used; the message names it."""
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
    for name in _NUMBERS:
        value = config.options[name]
        if (value < 0 and value != -1) or (name == "min_images" and value == 0):
            raise UserError(f"options.{name}={value} must be -1 (as the mode has it) or more than 0")
    if config.half_width < -1:
        raise UserError(
            f"half_width={config.half_width} must be -1 (as the mode has it), 0 (all pairs) or more"
        )
    for name in ("sigma_cst", "sigma_drm"):
        if not 0 <= config[name] <= 2:
            raise UserError(f"{name}={config[name]} is no cosine distance: 0 (from the mode) to 2")
    if min(config.subsample.values()) < 0:
        raise UserError("subsample.identities, images and seed must be 0 or more")
    _check_sources_of_thresholds(config)
    _of_mode(config)


def _check_sources_of_thresholds(config: ConfigDict) -> None:
    """Raises UserError where what one key asks for another one overrides."""
    asked = ["labelled"] * bool(config.labelled) + ["calibrate=yes"] * (config.calibrate == "yes")
    if len(asked) == 2:
        raise UserError("labelled and calibrate=yes both tell the thresholds: leave one of them out")
    if asked and min(config.sigma_cst, config.sigma_drm) > 0:
        raise UserError(
            f"{asked[0]} would tell no threshold, sigma_cst and sigma_drm give both: leave it out, or one of those"
        )


def _of_mode(config: ConfigDict) -> denoise.Settings:
    """The mode with the options, before thresholds are known."""
    changes = {name: value for name in _NUMBERS if (value := config.options[name]) >= 0}
    changes |= {name: value == "yes" for name in _SWITCHES if (value := config.options[name])}
    if config.options.merging:
        changes["merging"] = config.options.merging
    if config.half_width >= 0:
        changes["half_width"] = config.half_width or None
    try:
        return MODES[config.mode](**changes)
    except ValueError as error:
        raise UserError(
            f"mode={config.mode} with these options: {error}. Add --config.options.merging=closure, or leave out "
            f"options.{', options.'.join(name for name in OF_CLOSURE if name in changes)}"
        ) from error


def settings(
    config: ConfigDict, images: Images, stages: Stages, say: Callable[[str], None]
) -> denoise.Settings:
    """The mode with its options, and thresholds from where the configuration says.

    Raises:
      UserError: features or labelled features that tell no thresholds.
    """
    chosen = _of_mode(config)
    wanted = {name: config[name] for name in ("sigma_cst", "sigma_drm") if config[name] > 0}
    measure = config.labelled or config.calibrate == "yes"
    measure = measure or (config.calibrate == "auto" and config.mode == "recommended")
    if measure and len(wanted) < 2:
        found = _labelled(config, stages) if config.labelled else _calibrated(config, images, stages)
        say(
            f"from {config.labelled or 'the data'}: sigma_cst {found['sigma_cst']:.4f} ({int(found['tracklets']):,} "
            f"{'identities' if config.labelled else 'tracklets'}), sigma_drm {found['sigma_drm']:.4f} "
            f"({int(found['pairs']):,} pairs of different people)"
        )
        wanted = {name: float(found[name]) for name in ("sigma_cst", "sigma_drm")} | wanted
    try:
        return dataclasses.replace(chosen, **wanted)
    except ValueError as error:
        raise UserError(f"the data tell no thresholds ({error}): give sigma_cst and sigma_drm") from error


def _calibrated(config: ConfigDict, images: Images, stages: Stages) -> dict[str, np.ndarray]:
    """Thresholds from the tracklets themselves."""
    denoise_input.require_frames(images, "calibrate")
    ids = (images.columns[name] for name in ("tracklet", "video", "frame"))

    def compute():
        try:
            return _evidence(denoise.calibrate(images.features, *ids))
        except ValueError as error:
            raise denoise_input.told(config.source, images, error) from error

    return stages.get("thresholds", [images.fingerprint], compute)[0]


def _labelled(config: ConfigDict, stages: Stages) -> dict[str, np.ndarray]:
    """Thresholds from images whose identities are known."""
    labelled = denoise_input.read_labelled(config.labelled)

    def compute():
        try:
            return _evidence(denoise.calibrate_labelled(labelled.features, labelled.identities))
        except ValueError as error:
            raise UserError(f"labelled={config.labelled}: {error}") from error

    return stages.get("thresholds", [labelled.fingerprint, "labelled"], compute)[0]


def _evidence(found: denoise.Calibration) -> dict[str, np.ndarray]:
    names = ("sigma_cst", "sigma_drm", "tracklets", "pairs")
    return {name: np.asarray(getattr(found, name)) for name in names}
