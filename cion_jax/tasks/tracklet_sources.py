"""The videos that the task `tracklets` is given, and which of them are to be cut."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.core.progress import Progress
from cion_jax.video import following, listing
from cion_jax.video.fingerprints import Fingerprint
from cion_jax.video.ledger import Ledger
from cion_jax.video.listing import Video
from cion_jax.video.ordering import natural


class Source(NamedTuple):
    """A video, or an entry that looks like one.

    Attributes:
      name: unique; its path within the source.
      video: None where `reason` says why it cannot be read.
      tracks: the file with its people; None: they are detected.
      fingerprint: by which it is known again; None without a video.
      reason: why nothing can be made of it now; "" otherwise.
    """

    name: str
    video: Video | None
    tracks: Path | None
    fingerprint: Fingerprint | None
    reason: str


def find_sources(config: ConfigDict, source: Path, layout: str) -> list[Source]:
    """All videos of a source in natural order, those that cannot be read with the reason.

    Raises:
      UserError: as `listing.find_videos`; one tracks file for several videos.
    """
    found = listing.find_videos(source, layout)
    tracks = Path(config.tracks).expanduser() if config.tracks else None
    if tracks and tracks.is_file() and len(found.videos) > 1:
        raise UserError(
            f"tracks={tracks} is one file for {len(found.videos):,} videos: name a folder with one each"
        )
    sources = [Source(name, None, None, None, reason) for name, reason in found.skipped]
    # A network drive takes milliseconds for each.
    with Progress("listing", len(found.videos), unit="videos") as progress:
        for video in found.videos:
            sources.append(_identify(video, tracks))
            progress.advance()
    return sorted(sources, key=lambda item: natural(item.name))


def _identify(video: Video, tracks: Path | None) -> Source:
    try:
        file = following.file_of(tracks, video) if tracks else None
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file else ""
        fingerprint = Fingerprint(video, digest)
    except OSError as error:
        return Source(video.name, None, None, None, error.strerror or str(error))
    reason = f"there are no tracks for it in {tracks}" if tracks and not file else ""
    return Source(video.name, video, file, fingerprint, reason)


def needs_cutting(source: Source, entry: dict[str, Any] | None, config: ConfigDict) -> bool:
    """Whether a video is to be cut.

    Args:
      source: the video.
      entry: what was noted of this very video; None if nothing was.
      config: one that was skipped for its early end is cut now if that is to be kept, or more undecodable frames are
        tolerated than then.
    """
    if source.reason:
        return False
    if entry is None:
        return True
    # Earlier versions did not note why they skipped a video.
    ended_early = bool(entry["skipped"]) and entry.get("early", True)
    return ended_early and (
        config.on_early_end == "keep" or config.max_bad_frames > entry.get("bad_allowed", 0)
    )


def describe_changes(sources: Sequence[Source], ledger: Ledger, most: int = 5) -> str:
    """Names the videos whose crops will be replaced, since the file is another one now; "" without any."""
    changed = []
    for source in sources:
        before = ledger.noted(source.name)
        if before and not before["skipped"]:
            changed.append(source.name)
    if not changed:
        return ""
    more = f" and {len(changed) - most:,} more" if len(changed) > most else ""
    return (
        f"{len(changed):,} finished videos are other files now; their crops are replaced once the new ones are there: "
        f"{', '.join(changed[:most])}{more}"
    )
