"""What the task `tracklets` writes of all videos together: the table of crops, lists for people, tracklets.json."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.core.files import write_json
from cion_jax.tasks.tracklet_sources import Source
from cion_jax.video import listing, names, tables
from cion_jax.video.crops import Columns
from cion_jax.video.ledger import SETTINGS_FILE, Ledger

ABOUT_FILE, SKIPPED_FILE, VIDEOS_FILE = "tracklets.json", "skipped.csv", "videos.csv"
_DISTRIBUTIONS = ("opencv-python-headless", "openvino", "trackers", "supervision")
_HEAD = (
    "camera",
    "name",
    "first_video",
    "videos",
    "tracklets",
    "crops",
    "frames",
    "boxes",
    "bad_frames",
    "quality",
)


def write_outputs(
    config: ConfigDict,
    sources: Sequence[Source],
    failed: Mapping[str, str],
    ledger: Ledger,
    target: Path,
    settings: Mapping[str, Any],
) -> None:
    """The table of all crops, what each video gave, what was left out, and tracklets.json as the last.

    Args:
      config: the settings of the task.
      sources: all videos in order.
      failed: reasons why videos could not be cut in this run, by name.
      ledger: what was made of each.
      target: the folder.
      settings: as the ledger has them.

    Raises:
      UserError: nothing came out.
    """
    numbers, skipped, lines = tables.Numbers(), [], []

    def parts() -> Iterator[Columns]:
        for source in sources:
            entry, reason = _outcome(config, source, failed.get(source.name, ""), ledger)
            if reason:
                skipped.append((source.name, reason))
            if entry is None:
                continue
            before, camera = numbers.counts, len(lines)
            yield numbers.add(ledger.crops_path(source.name), camera, ledger.rows(source.name))
            made = [now - then for now, then in zip(numbers.counts, before, strict=True)]
            facts = (entry["frames"], entry["boxes"], entry.get("bad_frames", 0), entry.get("quality"))
            lines.append((camera, source.name, before.videos, *made[::-1], *facts))

    _write_table(target, config.table, parts())
    tables.write_csv(target / SKIPPED_FILE, ("path", "reason"), skipped)
    tables.write_csv(target / VIDEOS_FILE, _HEAD, lines)
    counts = numbers.counts._asdict() | {
        "sources": len(sources),
        "skipped": len(skipped),
        "frames": sum(line[6] for line in lines),
        "boxes": sum(line[7] for line in lines),
    }
    others = sum(line[9] not in (None, config.quality) for line in lines)
    if others:
        say(
            "videos that were finished before keep their JPEG quality, "
            f"which is not {config.quality} (videos.csv): {others:,}"
        )
    _conclude(config, target, counts, settings, skipped)


def _outcome(
    config: ConfigDict, source: Source, failure: str, ledger: Ledger
) -> tuple[dict[str, Any] | None, str]:
    """The entry of a video whose crops belong into the table (else None), and what skipped.csv says of it."""
    entry = ledger.entry(source.name, source.fingerprint) if source.fingerprint else None
    if entry is None:
        # It cannot be read or cut now. What was made of a file of its name before is still there.
        reason, entry = source.reason or failure, ledger.noted(source.name)
        if entry is None or entry["skipped"]:
            return None, reason
        return entry, f"{reason}; the crops that were made before are kept"
    if entry["skipped"]:
        return None, failure or entry["skipped"]
    if entry.get("early") and config.on_early_end == "skip":
        return None, f"{entry['problem']} in crops/, but on_early_end=skip leaves them out of the table"
    return entry, entry["problem"]


def import_crops(config: ConfigDict, source: Path, target: Path) -> None:
    """A table of crops that others cut, which stay where they are.

    Raises:
      UserError: the target holds something else, or nothing came out.
    """
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
    _conclude(config, target, counts, {"layout": "crops"}, skipped)


def say(line: str) -> None:
    """Prints a line for people; without asking JAX which process this is, for that would take hold of the GPU."""
    print(line, file=sys.stderr, flush=True)


def _write_table(target: Path, kind: str, parts: Iterator[Columns]) -> None:
    for other in tables.KINDS:
        if other != kind:
            # Two tables would leave open which one is meant.
            (target / f"tracklets.{other}").unlink(missing_ok=True)
    tables.write(target / f"tracklets.{kind}", parts)


def _conclude(
    config: ConfigDict,
    target: Path,
    counts: Mapping[str, int],
    settings: Mapping[str, Any],
    skipped: Sequence[tuple[str, str]],
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
        about["detector_device"] = config.detector.device
    write_json(target / ABOUT_FILE, about | {"packages": _versions(), "commit": source_commit()})
    left_out = f"{len(skipped):,} left out, cut short or in doubt: see {target / SKIPPED_FILE}"
    if not counts["crops"]:
        hint = "a lower detector.confidence, min_height or min_length may help"
        if skipped:
            hint = f"{left_out} (the first: {skipped[0][1]})"
        raise UserError(f"no tracklets came out of {config.source}: {hint}")
    say(
        f"wrote {target}: {counts['crops']:,} crops, {counts['tracklets']:,} tracklets in {counts['videos']:,} videos"
    )
    if skipped:
        say(left_out)
    say(
        f"To go on with it: --config.source={target} (extract, prepare), --config.data.train={target} (vit_b, ...)"
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
