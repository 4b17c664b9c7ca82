"""Task `tracklets`: videos -> person crops with video, tracklet, frame and box, as a table that data are made from."""

import functools
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.progress import Progress, duration
from cion_jax.core.target_lock import lock_target
from cion_jax.tasks.tracklet_estimate import estimate
from cion_jax.tasks.tracklet_outputs import import_crops, say, write_outputs
from cion_jax.tasks.tracklet_settings import check, job_settings, ledger_settings, share_cores
from cion_jax.tasks.tracklet_sources import Source, describe_changes, find_sources, needs_cutting
from cion_jax.video import jobs, listing, packages, reading, workers
from cion_jax.video.ledger import Ledger

# Settings that earlier versions did not have, with what they did.
_SINCE = {"crop_step": 1}
_OPENED_FIRST = (
    20  # videos; of no more than these the headers are read at the start, to show the number of frames
)


def run(config: ConfigDict, workdir: Path) -> None:
    """Cuts the people out of all videos of config.source into config.target, or `workdir`/tracklets.

    Worker processes share the videos. Finished videos are not cut again when the same command is given once more. A
    video that cannot be read, or ends early, is listed in skipped.csv with the reason. One run at a time writes a
    target.

    Raises:
      UserError: settings, source or tracks that cannot be used, a missing package, a target that another run writes, or
        nobody found; see the message.
    """
    if jax.distributed.is_initialized():
        raise UserError(
            "the task tracklets starts its own processes (--config.workers): leave out --distributed"
        )
    if not config.source:
        raise UserError("no source given: add --config.source=FOLDER (of videos, or one video)")
    if config.tracks and not Path(config.tracks).expanduser().exists():
        raise UserError(f"tracks={config.tracks} does not exist")
    check(config)
    source = Path(config.source).expanduser()
    target = Path(config.target).expanduser() if config.target else workdir / "tracklets"
    layout = listing.layout_of(source, config.layout)
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"the target {target} lies in the source, where its crops would be found: name another one"
        )
    if config.dry_run:
        _estimate(config, source, layout, target)
        return
    with lock_target(target, "tracklets"):
        if layout == "crops":
            import_crops(config, source, target)
        else:
            _cut_videos(config, source, layout, target)


def _estimate(config: ConfigDict, source: Path, layout: str, target: Path) -> None:
    if layout == "crops":
        raise UserError("dry_run estimates what cutting videos takes, but the source holds crops")
    packages.require("cv2")
    sources = find_sources(config, source, layout)
    ledger = Ledger(target, ledger_settings(config), since=_SINCE, is_dry=True)
    _, missing = _divide(config, sources, ledger)
    for line in estimate(config, sources, missing, target):
        say(line)


def _cut_videos(config: ConfigDict, source: Path, layout: str, target: Path) -> None:
    packages.require("cv2")
    sources = find_sources(config, source, layout)
    settings = ledger_settings(config)
    ledger = Ledger(target, settings, since=_SINCE)
    ledger.clean()
    finished, missing = _divide(config, sources, ledger)
    for done in finished:
        ledger.refresh(done.name, done.fingerprint)
    say(f"{source}: {len(sources):,} videos, {len(finished):,} of them finished before")
    if changes := describe_changes(missing, ledger):
        say(changes)
    failed = _work_through(config, missing, ledger) if missing else {}
    ledger.clean()  # again: a process of a killed run may have written into its folder until it ended
    write_outputs(config, sources, failed, ledger, target, settings)


def _divide(
    config: ConfigDict, sources: Sequence[Source], ledger: Ledger
) -> tuple[list[Source], list[Source]]:
    """The videos that are finished, and those to be cut."""
    finished, missing = [], []
    for source in sources:
        entry = ledger.entry(source.name, source.fingerprint) if source.fingerprint else None
        if needs_cutting(source, entry, config):
            missing.append(source)
        elif entry is not None:
            finished.append(source)
    return finished, missing


def _work_through(config: ConfigDict, missing: list[Source], ledger: Ledger) -> dict[str, str]:
    """Cuts, or skips, every video that is not finished; reasons why some could not be cut in this run, by name."""
    count, threads = share_cores(config, len(missing))
    if count > 1:
        # The longest first, so that no process is left alone with one at the end. What comes out is the same.
        missing = sorted(missing, key=lambda source: -source.fingerprint.size)
    make = functools.partial(jobs.Cutter, job_settings(config, threads))
    folder, failed, begun, hints = ledger.new_folder(), {}, [], []
    try:
        with Progress("tracklets", _count_frames(config, missing), unit="frames") as progress:
            note = _TimeLeft(missing)
            work = _begin(missing, folder, begun, failed)
            results = workers.run_jobs(work, make, count, lambda _, frames: progress.advance(frames))
            for number, result in results:
                source, print_ = begun[number]
                _take(source, print_, result, folder / str(number), ledger, failed)
                if isinstance(result, jobs.Result) and not result.skipped:
                    hints.append(result.hint)
                progress.advance(0, note=note.after(source))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if hints and all(hints):
        say(hints[0])
    return failed


def _begin(
    missing: Sequence[Source],
    folder: Path,
    begun: list[tuple[Source, dict[str, Any]]],
    failed: dict[str, str],
) -> Iterator[jobs.Job]:
    """A job for every video; adds it with its fingerprint to `begun`."""
    for source in missing:
        try:
            # Before it is cut: if it changes meanwhile, the next run sees another video.
            begun.append((source, source.fingerprint.note()))
        except OSError as error:
            failed[source.name] = error.strerror or str(error)
            continue
        yield jobs.Job(source.video, source.tracks, folder / str(len(begun) - 1))


def _take(
    source: Source,
    note: dict[str, Any],
    result: jobs.Result | workers.Died,
    made: Path,
    ledger: Ledger,
    failed: dict[str, str],
) -> None:
    """Puts what was made of a video to its place, or notes why nothing was."""
    try:
        if isinstance(result, workers.Died):
            failed[source.name] = result.reason
        elif not result.skipped:
            ledger.finish(source.name, note, made, result.facts)
        elif result.is_lasting:
            ledger.skip(source.name, note, result.skipped, result.facts)
        else:
            failed[source.name] = result.skipped
    except OSError as error:
        if jobs.is_full(error):
            raise
        failed[source.name] = error.strerror or str(error)
    shutil.rmtree(made, ignore_errors=True)


def _count_frames(config: ConfigDict, missing: Sequence[Source]) -> int | None:
    """Frames of a few videos by their headers; None of many, which take long to open, or where one has no count."""
    if len(missing) > _OPENED_FIRST:
        return None
    total = 0
    for source in missing:
        try:
            frames = reading.info(source.video).frames
        except (reading.VideoError, OSError, UserError):
            continue  # the worker that opens it says why
        if frames is None:
            return None
        total += -(-frames // config.frame_step)
    return total


class _TimeLeft:
    """How many videos are done and, by the bytes of these, how long the others will take."""

    def __init__(self, missing: Sequence[Source]):
        self._count, self._start = len(missing), time.monotonic()
        self._bytes = sum(source.fingerprint.size for source in missing)
        self._done = self._done_bytes = 0

    def after(self, source: Source) -> str:
        """A note for the progress, now that one more video is done."""
        self._done, self._done_bytes = self._done + 1, self._done_bytes + source.fingerprint.size
        note = f"{self._done:,}/{self._count:,} videos"
        if not self._done_bytes or self._done == self._count:
            return note
        passed = time.monotonic() - self._start
        return f"{note}, about {duration(passed * (self._bytes / self._done_bytes - 1))} left"
