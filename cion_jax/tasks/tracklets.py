"""Task `tracklets`: videos -> person crops with video, tracklet, frame and box, as a table that data are made from."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.core.files import write_json
from cion_jax.core.progress import Progress
from cion_jax.video import cutting, detectors, following, listing, names, packages, reading, tables
from cion_jax.video.crops import Columns, CropFolder, CropSettings
from cion_jax.video.detectors import Detector, DetectorSettings
from cion_jax.video.ledger import SETTINGS_FILE, Ledger
from cion_jax.video.listing import Video
from cion_jax.video.tracking import NAMES as TRACKERS
from cion_jax.video.tracking import Tracker, TrackerSettings

ABOUT_FILE, SKIPPED_FILE, VIDEOS_FILE = "tracklets.json", "skipped.csv", "videos.csv"
_DISTRIBUTIONS = ("opencv-python-headless", "openvino", "trackers", "supervision")


class _Work(NamedTuple):
    """A video to be cut: its tracks file (None: people are detected) and what changes when it does."""

    video: Video
    tracks: Path | None
    fingerprint: list[Any]


def run(config: ConfigDict, workdir: Path) -> None:
    """Cuts the people out of all videos of config.source into config.target, or `workdir`/tracklets.

    A video that is finished is not looked at again when the same command is given once more; one that cannot be read,
    or ends early, is listed in skipped.csv with the reason.

    Raises:
      UserError: settings, source or tracks that cannot be used, a missing package, or nobody found; see the message.
    """
    if jax.distributed.is_initialized():
        raise UserError("the task tracklets runs in one process: leave out --distributed")
    _check(config)
    source = Path(config.source).expanduser()
    target = Path(config.target).expanduser() if config.target else workdir / "tracklets"
    layout = listing.layout_of(source, config.layout)
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"the target {target} lies in the source, where its crops would be found: name another one"
        )
    if layout == "crops":
        _import_crops(config, source, target, _say)
    else:
        _cut_videos(config, source, layout, target, _say)


def _check(config: ConfigDict) -> None:
    if not config.source:
        raise UserError("no source given: add --config.source=FOLDER (of videos, or one video)")
    if config.tracks and not Path(config.tracks).expanduser().exists():
        raise UserError(f"tracks={config.tracks} does not exist")
    if config.tracker.name not in TRACKERS:
        raise UserError(f"tracker.name={config.tracker.name!r} is none of {', '.join(TRACKERS)}")
    if config.table not in tables.KINDS:
        raise UserError(f"table={config.table!r} is none of {', '.join(tables.KINDS)}")
    if config.on_early_end not in ("skip", "keep"):
        raise UserError(f"on_early_end={config.on_early_end!r} is none of skip, keep")
    size = tuple(config.detector.input_size)
    if len(size) != 2 or not all(isinstance(n, int) for n in size) or (any(size) and min(size) < 32):
        raise UserError(f"detector.input_size={size} must be (height, width) from 32 on, or (0, 0)")
    limits = {
        "frame_step": (1, None),
        "segment": (0, None),
        "min_length": (1, None),
        "min_height": (1, None),
        "margin": (0, 1),
        "quality": (1, 100),
        "threads": (0, None),
        "detector.confidence": (0, 1),
        "detector.nms_iou": (0, 1),
        "detector.maximum": (0, None),
        "detector.smallest": (16, None),
        "tracker.start": (0, 1),
        "tracker.high": (0, 1),
        "tracker.min_iou": (0, 1),
        "tracker.patience": (0, None),
        "tracker.min_hits": (1, None),
    }
    for key, (low, high) in limits.items():
        value = config
        for part in key.split("."):
            value = value[part]
        if value < low or (high is not None and value > high):
            raise UserError(f"{key}={value} must be {low} {'or more' if high is None else f'to {high}'}")


def _cut_videos(
    config: ConfigDict, source: Path, layout: str, target: Path, say: Callable[[str], None]
) -> None:
    packages.require("cv2")
    packages.limit_threads(config.threads)
    videos = listing.find_videos(source, layout)
    tracks = Path(config.tracks).expanduser() if config.tracks else None
    if tracks and tracks.is_file() and len(videos) > 1:
        raise UserError(
            f"tracks={tracks} is one file for {len(videos):,} videos: name a folder with one each"
        )
    ledger = Ledger(target, _settings(config))
    every = [_work(video, tracks) for video in videos]
    missing = [work for work in every if ledger.entry(work.video.name, work.fingerprint) is None]
    say(f"{source}: {len(every):,} videos, {len(every) - len(missing):,} of them finished before")
    if missing:
        _work_through(config, missing, ledger, say)
    _write_outputs(config, every, ledger, target, say)


def _work(video: Video, tracks: Path | None) -> _Work:
    file = following.file_of(tracks, video) if tracks else None
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file else ""
    return _Work(video, file, [*listing.fingerprint(video), digest])


def _settings(config: ConfigDict) -> dict[str, Any]:
    """Everything that the crops depend on, besides the videos."""
    if config.tracks:
        detector = {"kind": "tracks", "confidence": config.detector.confidence}
    else:
        detector = {**_detector_settings(config)._asdict(), **detectors.about(_detector_settings(config))}
        detector = {key: value for key, value in detector.items() if key not in ("file", "threads")}
    chosen = ("frame_step", "segment", "min_length", "min_height", "margin", "quality", "on_early_end")
    return {
        "detector": detector,
        "tracker": _tracker_settings(config)._asdict(),
        **{key: config[key] for key in chosen},
    }


def _detector_settings(config: ConfigDict) -> DetectorSettings:
    values = {**config.detector.to_dict(), "threads": config.threads}
    return DetectorSettings(**{**values, "input_size": tuple(values["input_size"])})


def _tracker_settings(config: ConfigDict) -> TrackerSettings:
    return TrackerSettings(**config.tracker.to_dict())


def _work_through(
    config: ConfigDict, missing: list[_Work], ledger: Ledger, say: Callable[[str], None]
) -> None:
    """Cuts, or skips, every video that is not finished."""
    detector = None if config.tracks else detectors.open_detector(_detector_settings(config))
    known: list[tuple[_Work, reading.Info]] = []
    for work in missing:
        try:
            _check_name(work.video.name)
            if config.tracks and work.tracks is None:
                raise reading.VideoError(f"there are no tracks for it in {config.tracks}")
            known.append((work, reading.info(work.video)))
        except reading.VideoError as error:
            ledger.skip(work.video.name, work.fingerprint, str(error))
    step = config.frame_step
    totals = [info.frames and -(-info.frames // step) for _, info in known]
    with Progress("tracklets", None if None in totals else sum(totals), unit="frames") as progress:
        for work, info in known:
            _cut(config, work, info, ledger, detector, progress)
    if detector is not None and detector.hint:
        say(detector.hint)


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise reading.VideoError("its name is no UTF-8, which tables cannot hold: rename it") from error


def _cut(
    config: ConfigDict,
    work: _Work,
    info: reading.Info,
    ledger: Ledger,
    detector: Detector | None,
    progress: Progress,
) -> None:
    """One video: its crops, table and tracks, and the note that it is finished."""
    name, rate = work.video.name, info.rate and info.rate / config.frame_step

    def new_tracker() -> Tracker:
        return Tracker(_tracker_settings(config), rate)

    if detector is None:
        follow = following.given(work.tracks, config.detector.confidence, new_tracker)
    else:
        follow = following.detected(detector, new_tracker)
    crop_settings = CropSettings(config.min_length, config.min_height, config.margin, config.quality)
    crops = CropFolder(ledger.begin(name), crop_settings, has_segments=config.segment > 0)
    frames = reading.frames(work.video, config.frame_step)
    cut = cutting.cut_video(frames, follow, crops, segment=config.segment, advance=progress.advance)
    if cut.problem and (config.on_early_end == "skip" or not cut.frames):
        ledger.skip(name, work.fingerprint, cut.problem)
        return
    problem = f"{cut.problem}; what came before is kept" if cut.problem else ""
    if not problem and follow.last >= cut.last + config.frame_step:
        problem = f"{work.tracks} goes on to frame {follow.last:,}, but the video ends at {cut.last:,}"
    facts = {"frames": cut.frames, "segments": cut.segments, "boxes": cut.boxes, "problem": problem}
    ledger.finish(name, work.fingerprint, crops.finish(), cut.tracks, **facts)


def _write_outputs(
    config: ConfigDict, every: list[_Work], ledger: Ledger, target: Path, say: Callable[[str], None]
) -> None:
    """The table of all crops, what each video gave, what was left out, and tracklets.json as the last."""
    numbers, skipped, lines = tables.Numbers(), [], []

    def parts() -> Iterator[Columns]:
        for work in every:
            name = work.video.name
            entry = ledger.entry(name, work.fingerprint)
            if entry["skipped"]:
                skipped.append((name, entry["skipped"]))
                continue
            if entry["problem"]:
                skipped.append((name, entry["problem"]))
            before, camera = numbers.counts, len(lines)
            yield numbers.add(f"crops/{name}", camera, ledger.rows(name))
            made = [now - then for now, then in zip(numbers.counts, before, strict=True)]
            lines.append((camera, name, before.videos, *made[::-1], entry["frames"], entry["boxes"]))

    _write_table(target, config.table, parts())
    tables.write_csv(target / SKIPPED_FILE, ("path", "reason"), skipped)
    head = ("camera", "name", "first_video", "videos", "tracklets", "crops", "frames", "boxes")
    tables.write_csv(target / VIDEOS_FILE, head, lines)
    counts = numbers.counts._asdict() | {
        "sources": len(every),
        "skipped": len(skipped),
        "frames": sum(line[6] for line in lines),
        "boxes": sum(line[7] for line in lines),
    }
    _conclude(config, target, counts, _settings(config), say)


def _write_table(target: Path, kind: str, parts: Iterator[Columns]) -> None:
    for other in tables.KINDS:
        if other != kind:
            # Two tables would leave open which one is meant.
            (target / f"tracklets.{other}").unlink(missing_ok=True)
    tables.write(target / f"tracklets.{kind}", parts)


def _conclude(
    config: ConfigDict,
    target: Path,
    counts: dict[str, int],
    settings: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Writes tracklets.json and says what came out.

    Raises:
      UserError: nothing came out.
    """
    about = {"source": config.source, "counts": counts, "settings": settings}
    if config.tracks:
        about["tracks"] = config.tracks
    elif config.detector.file:
        about["detector_file"] = config.detector.file
    write_json(target / ABOUT_FILE, about | {"packages": _versions(), "commit": source_commit()})
    left_out = f"{counts['skipped']:,} left out, cut short or in doubt: see {target / SKIPPED_FILE}"
    if not counts["crops"]:
        hint = (
            left_out
            if counts["skipped"]
            else "a lower detector.confidence, min_height or min_length may help"
        )
        raise UserError(f"no tracklets came out of {config.source}: {hint}")
    say(
        f"wrote {target}: {counts['crops']:,} crops, {counts['tracklets']:,} tracklets in {counts['videos']:,} videos"
    )
    if counts["skipped"]:
        say(left_out)
    say(
        f"To go on with it: --config.source={target} (extract, prepare), --config.data.train={target} (vit_b, ...)"
    )


def _import_crops(config: ConfigDict, source: Path, target: Path, say: Callable[[str], None]) -> None:
    """A table of crops that others cut, which stay where they are."""
    is_used = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if is_used and ((target / SETTINGS_FILE).exists() or not (target / ABOUT_FILE).is_file()):
        raise UserError(f"{target} holds something else: name a new folder by --config.target")
    found, skipped = names.read(listing.image_paths(source))
    numbers, videos = tables.Numbers(), []
    root = str(source.resolve())

    def parts() -> Iterator[Columns]:
        for camera, (video, files) in enumerate(names.by_video(found)):
            videos.append((camera, video, len(files)))
            columns = {
                "path": [file.path for file in files],
                "segment": [0] * len(files),
                "tracklet": [file.person for file in files],
                "frame": [file.frame for file in files],
            }
            yield numbers.add(root, camera, columns)

    _write_table(target, config.table, parts())
    tables.write_csv(target / SKIPPED_FILE, ("path", "reason"), skipped)
    tables.write_csv(target / VIDEOS_FILE, ("camera", "name", "crops"), videos)
    counts = numbers.counts._asdict() | {"sources": len(videos), "skipped": len(skipped)}
    _conclude(config, target, counts, {"layout": "crops"}, say)


def _say(line: str) -> None:
    """Prints a line for people; without asking JAX which process this is, for that would take hold of the GPU."""
    print(line, file=sys.stderr, flush=True)


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
