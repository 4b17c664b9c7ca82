"""Task `bootstrap`: raw tracklets -> identities with no extractor at hand, in rounds of pre-train, extract, denoise."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_json
from cion_jax.core.target_lock import lock_target
from cion_jax.tasks import (
    bootstrap_source,
    bootstrap_table,
    denoise,
    denoise_settings,
    extract,
    outputs,
    pretrain,
    whitening,
)
from cion_jax.tasks.bootstrap_source import Source

TASKS = {"pretrain": pretrain, "extract": extract, "denoise": denoise}
PARTS = {"pretrain": pretrain, "extract": extract, "whitening": whitening, "denoise": denoise}
DONE = "done.json"
_STARTS = ("scratch", "previous")
# Settings that leave the result as it is: finished work is kept whatever they are.
_OF_NO_EFFECT = (
    *(
        "pretrain.log",
        "pretrain.checkpoint",
        "pretrain.eval",
        "pretrain.data.threads",
        "pretrain.data.workers",
    ),
    *("pretrain.data.cache_dir", "extract.threads", "extract.batch_size", "extract.shard_rows"),
    *("denoise.truth", "denoise.thumbnails"),
)
# Settings that are paths: where they lead counts, not how they are spelled.
_PATHS = (
    *("pretrain.data.train", "pretrain.data.eval", "pretrain.model.weights"),
    *("extract.source", "extract.target", "extract.weights", "whitening.source", "whitening.target"),
    *("denoise.source", "denoise.target", "denoise.labelled"),
)


def run(config: ConfigDict, workdir: Path) -> None:
    """Makes, or goes on with, the rounds of `workdir`: round_0, round_1, ..., and tells how good their labels are.

    Round 0 trains on the tracklets as they are, each an identity of its own; every later round on the identities that
    the round before found. Each round extracts features of all images anew and denoises the raw tracklets with them.
    A restart goes on where the run was interrupted: what a round has finished stays.

    Raises:
      UserError: settings or a source that cannot be used, finished work of other settings, or features by which the
        tracklets cannot be denoised; see the message.
      Preempted: the machine is about to be taken away; the state of the training is saved.
    """
    _check(config)
    workdir = workdir.resolve()
    with lock_target(workdir, "bootstrap"):
        _run_rounds(config, workdir, outputs.Speaker())


def _run_rounds(config: ConfigDict, workdir: Path, say: Callable[[str], None]) -> None:
    """The rounds, in a work directory that no other process writes; their parts lock their own targets."""
    source = bootstrap_source.prepare_source(config, workdir, say)
    # Told before hours of training, not after.
    denoise_settings.check(round_settings(config, workdir, 0, source)["denoise"])
    table: list[dict[str, Any]] = []
    for number in range(config.rounds):
        folder = workdir / f"round_{number}"
        say(f"round {number} of {config.rounds}, in {folder}")
        made = round_settings(config, workdir, number, source)
        if number:
            made["pretrain"] = fitted(made["pretrain"], table[-1]["identities"], say)
        for part, settings in made.items():
            _once(part, settings, folder, say)
        table = bootstrap_table.extended(table, folder, json.loads((folder / DONE).read_text()))
        say("\n" + bootstrap_table.write(workdir, table))


def round_settings(config: ConfigDict, workdir: Path, number: int, source: Source) -> dict[str, ConfigDict]:
    """What the parts of a round are asked to do, by their name, in order."""
    folder, before = workdir / f"round_{number}", workdir / f"round_{number - 1}"
    made = {
        name: config[name].copy_and_resolve_references()
        for name in PARTS
        if name != "whitening" or config.whitening.shrinkage >= 0
    }
    train, features, labels = (made[name] for name in TASKS)
    train.data.train = str(before / "denoised/records" if number else source.tracklets)
    train.data.eval = _absolute(train.data.eval or source.evaluation)
    train.model.weights = _absolute(train.model.weights)
    if number and config.start == "previous":
        train.model.weights = str(_backbone(before))
    features.source, features.target = str(source.tracklets), str(folder / "features")
    features.weights = str(_backbone(folder))
    labels.source, labels.target = features.target, str(folder / "denoised")
    if "whitening" in made:
        made["whitening"].source = features.target
        made["whitening"].target = labels.source = str(folder / "features_whitened")
    labels.truth, labels.records, labels.report = source.truth, True, True
    labels.labelled = _absolute(labels.labelled)
    return made


def fitted(settings: ConfigDict, identities: int, say: Callable[[str], None]) -> ConfigDict:
    """Pre-training with more images per identity where there are too few identities for a batch.

    Few people, well denoised, are fewer identities than a batch of so many tracklets asks for.
    """
    batch = settings.data.batch_size
    if not isinstance(batch, int) or batch < 1:
        return settings
    parts = jax.device_count() * settings.train.accumulate
    fitting = [n for n in range(1, batch + 1) if batch % (n * parts) == 0 and batch // n <= identities]
    stages = tuple(
        (epoch, n if batch // n <= identities or not fitting else fitting[0])
        for epoch, n in settings.train.curriculum
    )
    if stages != tuple(tuple(stage) for stage in settings.train.curriculum):
        say(
            f"{identities} identities do not fill batches of {batch} as train.curriculum={settings.train.curriculum} "
            f"has it: this round trains with {stages}"
        )
        settings.train.curriculum = stages
    return settings


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


def _backbone(folder: Path) -> Path:
    return folder / "pretrain" / outputs.BACKBONE_FILE


def _once(part: str, settings: ConfigDict, folder: Path, say: Callable[[str], None]) -> None:
    """Does a part of a round, unless it is done."""
    done = _done(folder)
    wanted = _plain(settings.to_dict())
    if part in done:
        _compare(part, done[part], wanted, folder, say)
        say(f"{part}: done before, in {folder}")
        return
    begin = time.monotonic()
    workdir = folder / "pretrain" if part == "pretrain" else folder
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        PARTS[part].run(settings, workdir)
    except UserError as error:
        raise UserError(f"{folder}, {part}: {error}") from error
    seconds = round(time.monotonic() - begin, 1)
    done[part] = {"settings": wanted, "workdir": str(folder.parent), "seconds": seconds}
    write_json(folder / DONE, done)


def _done(folder: Path) -> dict[str, Any]:
    """Finished parts with their settings and seconds."""
    file = folder / DONE
    return json.loads(file.read_text()) if file.exists() else {}


def _compare(part: str, there: dict, wanted: dict, folder: Path, say: Callable[[str], None]) -> None:
    """Thresholds may be given when a later round asks for them; training and features must be of one kind."""
    old = _placed(_flat(there["settings"], part), Path(there.get("workdir", folder.parent)))
    new = _placed(_flat(wanted, part), folder.parent)
    differing = [key for key in new if old.get(key) != new[key] and not key.startswith(_OF_NO_EFFECT)]
    if not differing:
        return
    what = "; ".join(f"{key}: {old.get(key)!r} there, {new[key]!r} asked for" for key in differing)
    if part == "denoise":
        say(f"{folder} was denoised with other settings and stays as it is ({what})")
        return
    raise UserError(
        f"{folder} was made with other settings ({what}). Give another --workdir, or the settings of that run"
    )


def _placed(settings: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """With paths inside the work directory counted from there: it may have been moved since."""
    base, found = workdir.resolve(), dict(settings)
    for key in settings.keys() & set(_PATHS):
        if settings[key]:
            path = Path(settings[key]).resolve()
            found[key] = str(path.relative_to(base) if path.is_relative_to(base) else path)
    return found


def _flat(tree: dict, prefix: str) -> dict[str, Any]:
    found = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}"
        found |= _flat(value, name) if isinstance(value, dict) else {name: value}
    return found


def _plain(settings: dict) -> dict:
    """As JSON gives it back: tuples as lists."""
    return json.loads(json.dumps(settings))


def _check(config: ConfigDict) -> None:
    if jax.process_count() > 1:
        raise UserError("the task bootstrap runs in one process, on all its devices: leave out --distributed")
    if config.rounds < 1:
        raise UserError(f"rounds={config.rounds} must be at least 1")
    if config.start not in _STARTS:
        raise UserError(f"start={config.start!r} is none of {', '.join(_STARTS)}")
    for name in TASKS:
        if config[name].task != name:
            raise UserError(f"{name}.task={config[name].task!r}: the part {name} is the task of this name")
    if config.truth and not config.source:
        raise UserError(
            "truth belongs to a source: add --config.source=TRACKLETS; the synthetic people's is known"
        )
