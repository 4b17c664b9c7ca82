"""The report of a run of the task `denoise`: measures every level and chooses what to show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cion_jax import denoise
from cion_jax.denoise import Result, Settings, near, rows, sums
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


def write(
    target: Path,
    images: Images,
    settings: Settings,
    result: Result,
    true: np.ndarray | None,
    *,
    title: str,
    thumbnails: bool,
) -> None:
    """Writes report.html and report.json."""
    levels, before = [], None
    for name, labels in result.levels.items():
        levels.append(_level(name, labels, before, images, settings, true))
        before = labels
    parts = result.levels["level 2"]
    total = sums.of_labels(images.features, parts, int(parts.max(initial=-1)) + 1)
    identity = _of_parts(parts, result.levels["level 3"], len(total))
    between = label_report.between(total, identity, half_width=settings.half_width)
    final = result.labels
    run = label_report.Run(
        title=title,
        levels=levels,
        sigma_cst=settings.sigma_cst,
        sigma_drm=settings.sigma_drm,
        videos=len(np.unique(images.columns["video"])),
        tracklets=int(result.levels["tracklets"].max()) + 1,
        settings=_shown(settings)
        | {name: str(value) for name, value in images.about.items() if name != "names"},
        sizes=np.bincount(final[final >= 0]) if (final >= 0).any() else np.zeros(0),
        components=np.bincount(identity[identity >= 0]),
        component_unit="single-video identities",
        inside_before=label_report.inside(images.features, result.levels["tracklets"]),
        inside_after=label_report.inside(images.features, final),
        linked=between.linked,
        apart=between.apart,
        galleries=_galleries(images, result, parts, total, between, true),
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


def _level(
    name: str,
    labels: np.ndarray,
    before: np.ndarray | None,
    images: Images,
    settings: Settings,
    true: np.ndarray | None,
) -> label_report.Level:
    figures: dict = {}
    if int(labels.max(initial=-1)) < _MOST_GROUPS:
        found = denoise.noise(
            images.features, labels, sigma_cst=settings.sigma_cst, sigma_drm=settings.sigma_drm
        )
        figures = {
            "consistency": found.consistency,
            "discrimination": found.discrimination,
            "noise": found.total,
        }
    if before is not None:
        figures["moved"] = int(((labels >= 0) & (before < 0)).sum())
        figures["merges"] = max(int(before.max(initial=-1)) - int(labels.max(initial=-1)), 0)
    quality = None if true is None else label_quality(labels, true)
    return label_report.Level.of(_NAMES[name], labels, before, quality=quality, **figures)


def _of_parts(parts: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The identity of every part."""
    identity = np.full(count, -1, np.int64)
    kept = (parts >= 0) & (labels >= 0)
    identity[parts[kept]] = labels[kept]
    return identity


def _shown(settings: Settings) -> dict[str, str]:
    return {name: str(getattr(settings, name)) for name in settings.__dataclass_fields__}


def _galleries(images, result, parts, total, between, true) -> list[label_report.Gallery]:
    final = result.labels
    links = result.links
    if not len(links):
        links = _spanning_links(total, _of_parts(parts, result.levels["level 3"], len(total)))
    linked = label_report.Links(links[:, 0], links[:, 1], near.distances(total, links[:, 0], links[:, 1]))
    centre = sums.of_labels(images.features, final, int(final.max(initial=-1)) + 1)
    sizes = np.bincount(final[final >= 0], minlength=len(centre))
    looseness = 1 - np.linalg.norm(centre, axis=1) / np.maximum(sizes, 1)
    tracklets = result.levels["tracklets"]
    return label_report.galleries(
        label_report.Denoised(
            tracklets,
            images.columns["video"],
            _placed(result),
            parts,
            final,
            denoise_outputs.distances(images, result).astype(np.float64),
            linked,
            between.missed,
            looseness,
            true,
        )
    )


def _placed(result: Result) -> np.ndarray:
    """The tracklet of every image after the run: its own where it stayed, the one most like it where it moved."""
    tracklets, stayed = result.levels["tracklets"], result.levels["level 1"] >= 0
    placed = np.where(stayed, tracklets, -1)
    final = result.labels
    _, first = np.unique(np.where(stayed & (final >= 0), final, -1), return_index=True)
    home = np.full(int(final.max(initial=-1)) + 2, -1)
    home[final[first]] = tracklets[first]
    home[-1] = -1
    moved = ~stayed & (final >= 0)
    placed[moved] = home[final[moved]]
    return placed


def _spanning_links(total: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Each part with the one nearest to it among the earlier parts of its identity: [links, 2]."""
    order = np.argsort(identity, kind="stable")
    order = order[identity[order] >= 0]
    unit, links = rows.unit_or_zero(total), []
    starts = np.flatnonzero(np.diff(identity[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        for place in range(1, len(members)):
            similar = unit[members[:place]] @ unit[members[place]]
            links.append((members[int(np.argmax(similar))], members[place]))
    return np.sort(np.array(links, np.int64).reshape(-1, 2), axis=1)


def _pictures(images: Images) -> Callable[[int], np.ndarray | None] | None:
    """Thumbnails from the images, if they are still where they were."""
    source = denoise_outputs.source_of(images)
    if source is None:
        return None
    number = {path: row for row, path in enumerate(source.paths())}

    def picture(row: int) -> np.ndarray | None:
        at = number.get(images.paths[row])
        return None if at is None else source.read([at], _THUMBNAIL)[0].pixels

    return picture
