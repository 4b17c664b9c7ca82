"""The dry run of the task `tracklets`: how long it will take and how much disk it needs, from a sample."""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cion_jax.core.progress import Progress, duration
from cion_jax.tasks.tracklet_settings import job_settings, share_cores
from cion_jax.tasks.tracklet_sources import Source
from cion_jax.video import jobs, reading, workers

_VIDEOS, _FRAMES = 8, 60  # size of the sample: videos, and frames of each
_BLOCK = 4096  # bytes; files take whole ones on most file systems, half a block more than their size


def estimate(
    config: ConfigDict, sources: Sequence[Source], missing: Sequence[Source], target: Path
) -> list[str]:
    """What a run would take, as lines for people; nothing is written.

    The first frames of a few videos, spread over the list, are done as a run would do them, by as many processes. The
    number of all frames follows from the headers of the sample and the sizes of all files.

    Args:
      config: the settings of the task.
      sources: all videos.
      missing: those that are to be cut.
      target: where the run would write.

    Raises:
      UserError: settings or files of the detector that cannot be used.
    """
    lines = [f"dry run: {len(sources):,} videos, {len(missing):,} to be cut; nothing is written"]
    unread = [source for source in sources if source.reason]
    lines += [f"left out: {source.name}: {source.reason}" for source in unread[:_VIDEOS]]
    if not missing:
        return lines
    count, threads = share_cores(config, len(missing))
    sample = choose(missing, max(_VIDEOS, count))
    frames = _count_frames(config, missing, sample)
    results = _try_out(config, sample, count, threads)
    good = [result for result in results if not result.skipped and result.facts["frames"]]
    lines += [
        f"cannot be cut: {source.name}: {result.skipped}"
        for source, result in zip(sample, results, strict=True)
        if result.skipped
    ]
    if not good:
        return [*lines, "no frame of the sample could be read: no estimate"]
    done = sum(result.facts["frames"] for result in good)
    rate = count * done / sum(result.seconds for result in good)
    crops = sum(result.facts["crops"] for result in good) / done
    size = sum(result.written for result in good) / max(sum(result.encoded for result in good), 1)
    lines.append(
        f"sample: {done:,} frames of {len(good):,} videos, {rate:,.1f} frames/s with {count} processes of {threads} "
        f"threads, {crops:.2f} crops a frame of {size / 1000:,.1f} kB"
    )
    if frames is None:
        return [
            *lines,
            "the headers of the sample give no number of frames: no estimate of time and disk space",
        ]
    return [*lines, *_project(frames, rate, crops, size, target)]


def choose(missing: Sequence[Source], count: int) -> list[Source]:
    """Some of the videos, spread evenly over the list."""
    count = min(count, len(missing))
    return [missing[(2 * n + 1) * len(missing) // (2 * count)] for n in range(count)]


def _try_out(config: ConfigDict, sample: Sequence[Source], count: int, threads: int) -> list[jobs.Result]:
    """The results of the first frames of each video of the sample."""
    make = functools.partial(jobs.Cutter, job_settings(config, threads))
    work = [jobs.Job(source.video, source.tracks, None, _FRAMES) for source in sample]
    results: dict[int, jobs.Result] = {}
    with Progress("sample", None, unit="frames") as progress:
        for number, result in workers.run_jobs(work, make, count, lambda _, done: progress.advance(done)):
            is_dead = isinstance(result, workers.Died)
            results[number] = jobs.Result(result.reason, False, {}) if is_dead else result
    return [results[number] for number in range(len(sample))]


def _count_frames(config: ConfigDict, missing: Sequence[Source], sample: Sequence[Source]) -> float | None:
    """Frames to be worked on in all videos; None where the headers of the sample give no number."""
    frames = size = 0
    for source in sample:
        try:
            found = reading.info(source.video).frames
        except reading.VideoError:
            continue
        if found is not None:
            frames, size = frames + found, size + source.fingerprint.size
    if not size:
        return None
    return frames / size * sum(source.fingerprint.size for source in missing) / config.frame_step


def _project(frames: float, rate: float, crops: float, size: float, target: Path) -> list[str]:
    number = frames * crops
    space = number * (size + _BLOCK / 2)
    existing = next(folder for folder in [target.absolute(), *target.absolute().parents] if folder.exists())
    free = shutil.disk_usage(existing).free
    lines = [
        f"all: about {frames:,.0f} frames, {duration(frames / rate)} on this machine as busy as it is now, "
        f"{number:,.0f} crops, {_bytes(space)} on disk; {_bytes(free)} are free"
    ]
    if space > free:
        lines.append("the disk is too small: a larger crop_step or a lower quality needs less")
    return lines


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
