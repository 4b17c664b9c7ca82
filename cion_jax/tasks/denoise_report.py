"""The report of a run of the task `denoise`: measures every level and chooses what to show."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cion_jax import denoise
from cion_jax.core.errors import UserError
from cion_jax.denoise import Result, Settings, near, rows, sums
from cion_jax.denoise.watching import Watch, unwatched
from cion_jax.evaluation import label_quality, label_report
from cion_jax.tasks import denoise_outputs
from cion_jax.tasks.denoise_input import Images

_NAMES = {
    "tracklets": "raw tracklets",
    "split": "split: cut at switches",
    "level 1": "level 1: single tracklet",
    "level 2": "level 2: single video",
    "level 3": "level 3: across videos",
    "finished": "finished: last passes",
    "subsample": "subsample: drawn",
}
_THUMBNAIL = (128, 64)  # height, width
_MOST_GROUPS = 20_000  # of a level, for its noise: all pairs of them are compared
_MOST_EARLIER = 1000  # parts of an identity that each part is compared with, to draw what holds it together


class Report(NamedTuple):
    """What is reported on: a run of the task, the distances of its images, the truth or None."""

    images: Images
    settings: Settings
    result: Result
    distance: np.ndarray
    true: np.ndarray | None

    @property
    def finished(self) -> np.ndarray:
        """The labels before a subsample is drawn, int64 [n]."""
        return self.result.levels["finished"]


def write(target: Path, report: Report, *, title: str, thumbnails: bool, watch: Watch = unwatched) -> None:
    """Writes report.html and report.json; `watch` is told how far the measuring is."""
    images, settings, result = report.images, report.settings, report.result
    parts = result.levels["level 2"]
    total = sums.of_labels(images.features, parts, int(parts.max(initial=-1)) + 1)
    identity = _of_parts(parts, result.levels["level 3"], len(total))
    between = label_report.between(total, identity, half_width=settings.half_width)
    about = {name: str(value) for name, value in images.about.items() if name != "names"}
    run = label_report.Run(
        title=title,
        levels=_levels(report, watch),
        sigma_cst=settings.sigma_cst,
        sigma_drm=settings.sigma_drm,
        videos=len(np.unique(images.columns["video"])),
        tracklets=int(result.levels["tracklets"].max()) + 1,
        settings={name: str(getattr(settings, name)) for name in settings.__dataclass_fields__} | about,
        sizes=np.bincount(result.labels[result.labels >= 0]),
        components=np.bincount(identity[identity >= 0]),
        component_unit="single-video identities",
        inside_before=label_report.inside(images.features, result.levels["tracklets"]),
        inside_after=label_report.inside(images.features, report.finished),
        linked=between.linked,
        apart=between.apart,
        galleries=_galleries(report, total, identity, between),
        warnings=result.warnings,
    )
    label_report.write(run, target, picture=_pictures(images) if thumbnails else None)


def summary(result: Result, true: np.ndarray) -> str:
    """A table of how right every level is, for a terminal."""
    lines = [f"{'after':<26}{'P':>8}{'R':>8}{'F':>8}{'BCubed F':>10}{'identities':>12}"]
    for name, labels in result.levels.items():
        quality = label_quality(labels, true)
        figures = "".join(f"{quality[f'pair_{key}']:>8.3f}" for key in ("precision", "recall", "f"))
        lines.append(f"{_NAMES[name]:<26}{figures}{quality['bcubed_f']:>10.3f}{quality['identities']:>12,}")
    return "\n".join(lines)


def _levels(report: Report, watch: Watch = unwatched) -> list[label_report.Level]:
    levels, before, noise = [], None, {}
    with watch("measuring levels", len(report.result.levels), "levels") as counter:
        for name, labels in report.result.levels.items():
            # Passes that change nothing are not measured again.
            if before is None or not np.array_equal(labels, before):
                noise = _noise(report, labels)
            levels.append(_level(report, name, labels, before, noise))
            before = labels
            counter.advance()
    return levels


def _noise(report: Report, labels: np.ndarray) -> dict[str, float]:
    """The noise of a level, unless it has too many groups."""
    if int(labels.max(initial=-1)) >= _MOST_GROUPS:
        return {}
    sigmas = {"sigma_cst": report.settings.sigma_cst, "sigma_drm": report.settings.sigma_drm}
    found = denoise.noise(report.images.features, labels, **sigmas)
    return {
        "consistency": found.consistency,
        "discrimination": found.discrimination,
        "noise": found.total,
    }


def _level(
    report: Report, name: str, labels: np.ndarray, before: np.ndarray | None, noise: dict[str, float]
) -> label_report.Level:
    changes = {}
    if before is not None:
        changes["moved"] = int(((labels >= 0) & (before < 0)).sum())
        both = (labels >= 0) & (before >= 0)
        changes["merges"] = max(len(np.unique(before[both])) - len(np.unique(labels[both])), 0)
    quality = None if report.true is None else label_quality(labels, report.true)
    return label_report.Level.of(_NAMES[name], labels, before, quality=quality, **noise, **changes)


def _of_parts(parts: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The identity of every part."""
    identity = np.full(count, -1, np.int64)
    kept = (parts >= 0) & (labels >= 0)
    identity[parts[kept]] = labels[kept]
    return identity


def _galleries(
    report: Report, total: np.ndarray, identity: np.ndarray, between: label_report.Between
) -> list[label_report.Gallery]:
    """What to look at, from sums [parts, d] and identities [parts] of level 3."""
    result, final = report.result, report.finished
    links = _holding_links(result.links, total, identity)
    linked = label_report.Links(links[:, 0], links[:, 1], near.distances(total, links[:, 0], links[:, 1]))
    return label_report.galleries(
        label_report.Denoised(
            tracklets=result.levels["tracklets"],
            videos=report.images.columns["video"],
            placed=_placed(result, denoise_outputs.actions(result)),
            parts=result.levels["level 2"],
            labels=final,
            distances=report.distance.astype(np.float64),
            linked=linked,
            missed=between.missed,
            looseness=_looseness(final, report.distance),
            true=report.true,
            names=_names(report),
        )
    )


def _names(report: Report) -> label_report.Names:
    """Tracklets as the source numbers them, identities as labels.parquet does, images by path or row of the source."""
    final, labels = report.finished, report.result.labels
    identities = np.full(int(final.max(initial=-1)) + 1, -1)
    drawn = labels >= 0
    identities[final[drawn]] = labels[drawn]
    paths, rows = report.images.paths, report.images.rows
    return label_report.Names(
        report.images.columns["tracklet"], identities, lambda row: paths[row] or f"row {rows[row]}"
    )


def _looseness(labels: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """1 - |sum of unit features| / images of every identity: the mean distance of its images to their mean."""
    kept = labels >= 0
    sizes = np.bincount(labels[kept])
    return np.bincount(labels[kept], weights=distance[kept]) / np.maximum(sizes, 1)


def _placed(result: Result, actions: np.ndarray) -> np.ndarray:
    """The tracklet of every image: its own where it was kept, where it moved one of the single-video identity it is in.

    -1 where it was removed, or moved to an identity after level 2.
    """
    tracklets, parts = result.levels["tracklets"], result.levels["level 2"]
    stayed = (result.levels["level 1"] >= 0) & (parts >= 0)
    names, first = np.unique(parts[stayed], return_index=True)
    home = np.full(int(parts.max(initial=-1)) + 1, -1)
    home[names] = tracklets[stayed][first]
    moved = ~stayed & (parts >= 0) & (actions != denoise_outputs.REMOVED)
    placed = np.where(stayed & (actions != denoise_outputs.MOVED), tracklets, -1)
    placed[moved] = home[parts[moved]]
    placed[actions == denoise_outputs.REMOVED] = -1
    return placed


def _holding_links(links: np.ndarray, total: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Links [links, 2] that hold identities [parts] together: those that were followed, where they are a whole tree.

    Identities that were merged closest pair first have no links, or too few: they get `_spanning_links`.
    """
    count = int(identity.max(initial=-1)) + 1
    found = np.bincount(identity[links[:, 0]], minlength=count)
    whole = found == np.bincount(identity[identity >= 0], minlength=count) - 1
    rest = np.where((identity >= 0) & ~whole[identity], identity, -1) if count else identity
    return np.concatenate([links[whole[identity[links[:, 0]]]], _spanning_links(total, rest)])


def _spanning_links(total: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Each part with the nearest of the 1,000 parts of its identity before it: [links, 2], first < second."""
    order = np.argsort(identity, kind="stable")
    order = order[identity[order] >= 0]
    starts = np.flatnonzero(np.diff(identity[order], prepend=-1))
    links = []
    for members in np.split(order, starts[1:]):
        unit = rows.unit_or_zero(total[members])
        for place in range(1, len(members)):
            earlier = max(place - _MOST_EARLIER, 0)
            nearest = earlier + int(np.argmax(unit[earlier:place] @ unit[place]))
            links.append((members[nearest], members[place]))
    return np.array(links, np.int64).reshape(-1, 2)


def _pictures(images: Images) -> Callable[[int], np.ndarray | None] | None:
    """Thumbnails from the images, if they are still where they were."""
    try:
        source = denoise_outputs.source_of(images)
        place = denoise_outputs.places(images, source)
    except UserError:
        return None

    def picture(row: int) -> np.ndarray | None:
        at = int(place[row])
        return None if at < 0 else source.read([at], _THUMBNAIL)[0].pixels

    return picture
