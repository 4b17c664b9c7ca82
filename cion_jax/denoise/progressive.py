"""The levels with all their options, and what each of them left: what the task and the benchmarks run."""

from typing import NamedTuple

import numpy as np

from cion_jax.denoise import agglomerate, give_back, links, ragged, rebirth, rows, split, sums
from cion_jax.denoise import frames as seen
from cion_jax.denoise.settings import Settings
from cion_jax.denoise.single_tracklet import keep_rows
from cion_jax.denoise.single_video import clean, labels_of
from cion_jax.denoise.watching import Watch, unwatched


class Result(NamedTuple):
    """What became of the rows.

    Attributes:
      labels: int64 [n], identities numbered by first appearance, -1 for images that are out.
      levels: the labels after each stage, by its name, in order; the first is "tracklets" as they came.
      links: int64 [links, 2], pairs of identities of level 2 that level 3 linked directly: the shortest that hold its
        identities together. None where it merged closest pair first.
      warnings: what a person should know.
    """

    labels: np.ndarray
    levels: dict[str, np.ndarray]
    links: np.ndarray
    warnings: list[str]


def run(
    features: np.ndarray,
    tracklets: np.ndarray,
    videos: np.ndarray,
    frames: np.ndarray | None = None,
    *,
    settings: Settings,
) -> Result:
    """From tracklets to identities across videos; with the default `settings` the labels are those of `correlate`.

    Args:
      features, tracklets, videos: as for `denoise_videos`.
      frames: integers [n], needed by the options that ask which people were seen together.

    Raises:
      ValueError: as `denoise_videos`, or frames that are missing, do not fit, or are none (`frames.check`).
    """
    features = rows.checked_features(features)
    moment = _moments(tracklets, videos, frames, len(features), settings)
    within = within_videos(features, tracklets, videos, moment, settings)
    linked = across_videos(within.labels, within.sums, moment, settings)
    labels = finish(features, linked.labels, moment, settings)
    levels = within.levels | linked.levels | {"finished": labels}
    return Result(labels, levels, linked.links, [*within.warnings, *linked.warnings])


class Within(NamedTuple):
    """Levels 1 and 2: labels [n], their sums float64 [identities, d], the labels after each stage, warnings."""

    labels: np.ndarray
    sums: np.ndarray
    levels: dict[str, np.ndarray]
    warnings: list[str]


class Across(NamedTuple):
    """Level 3: labels [n], labels after it by name, links [links, 2] followed, warnings."""

    labels: np.ndarray
    levels: dict[str, np.ndarray]
    links: np.ndarray
    warnings: list[str]


def within_videos(
    features: np.ndarray,
    tracklets: np.ndarray,
    videos: np.ndarray,
    moment: np.ndarray | None,
    settings: Settings,
    *,
    watch: Watch = unwatched,
) -> Within:
    """Levels 1 and 2; arguments as for `run`, with `moment` from `frames.moments` where frames are used."""
    tracklets = rows.checked_ids("tracklets", tracklets, len(features))
    videos = rows.checked_ids("videos", videos, len(features))
    groups = ragged.group(tracklets, videos)
    levels = {"tracklets": groups.of_row}
    if settings.split:
        tracklets = split.split_tracklets(features, groups, settings.sigma_drm, watch=watch)
        groups = ragged.group(tracklets, videos)
        levels["split"] = groups.of_row
    cleaned = clean(features, groups, settings.sigma_cst, watch=watch)
    levels["level 1"] = rows.first_appearance(np.where(cleaned.keep, groups.of_row, -1))
    tracklet, total, video = cleaned.tracklet, cleaned.sums, groups.video
    if settings.rebirth:
        tracklet, total, video = _reborn(features, videos, tracklet, total, video, settings, watch)
    ends = np.searchsorted(video, video, side="right")
    merged = _merge(total, ends, tracklet, moment, settings, watch, "level 2")
    labels = labels_of(tracklet, merged.identities)
    levels["level 2"] = labels
    return Within(labels, _sums_of(labels, tracklet, total), levels, merged.warnings)


def across_videos(
    labels: np.ndarray,
    total: np.ndarray,
    moment: np.ndarray | None,
    settings: Settings,
    *,
    watch: Watch = unwatched,
) -> Across:
    """Level 3 on identities of level 2: labels [n], their sums [identities, d]."""
    width = len(total) if settings.half_width is None else settings.half_width
    ends = np.minimum(np.arange(len(total)) + width + 1, len(total))
    merged = _merge(total, ends, labels, moment, settings, watch, "level 3")
    labels = labels_of(labels, merged.identities)
    return Across(labels, {"level 3": labels}, merged.links, merged.warnings)


def finish(
    features: np.ndarray,
    labels: np.ndarray,
    moment: np.ndarray | None,
    settings: Settings,
    *,
    watch: Watch = unwatched,
) -> np.ndarray:
    """The passes over finished identities."""
    if settings.second_look:
        labels = np.where(_consistent(features, labels, settings.sigma_cst, watch), labels, -1)
    if settings.give_back:
        labels = rows.first_appearance(labels)
        total = sums.of_labels(features, labels, int(labels.max(initial=-1)) + 1)
        labels = give_back.give_back(features, labels, total, settings.sigma_drm, moment=moment, watch=watch)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    large = (labels >= 0) & (sizes[np.maximum(labels, 0)] >= settings.min_images)
    return rows.first_appearance(np.where(large, labels, -1))


def _moments(tracklets, videos, frames, count: int, settings: Settings) -> np.ndarray | None:
    if not settings.needs_frames:
        return None
    if frames is None:
        raise ValueError("cannot_link needs the frame of every image: give frames, or set cannot_link=False")
    given = {"tracklets": tracklets, "videos": videos, "frames": frames}
    ids = [rows.checked_ids(name, column, count) for name, column in given.items()]
    seen.check(*ids)
    return seen.moments(*ids[1:])


def _merge(
    total: np.ndarray,
    ends: np.ndarray,
    group: np.ndarray,
    moment: np.ndarray | None,
    settings: Settings,
    watch: Watch,
    label: str,
) -> links.Linked:
    """Merges groups [n] of rows with sums [t, d] in the way the settings say."""
    moments = None if moment is None else seen.of_groups(moment, group, len(total))
    if settings.merging == "agglomerative":
        merged = agglomerate.merge_closest(
            total, settings.sigma_drm, ends=ends, moments=moments, watch=watch, label=label
        )
        linked = links.Linked(merged.identities, np.zeros((0, 2), np.int64), merged.warnings)
    else:
        linked = links.close_over(
            total,
            ends,
            settings.sigma_drm,
            mutual=settings.mutual,
            max_share=settings.max_share,
            max_radius=settings.max_radius,
            moments=moments,
            watch=watch,
            label=label,
        )
    return linked._replace(warnings=[f"{label}: {warning}" for warning in linked.warnings])


def _reborn(features, videos, tracklet, total, video, settings: Settings, watch: Watch):
    """Tracklets with those made of rejected images, in the order of videos again."""
    out = np.flatnonzero(tracklet < 0)
    group = rebirth.new_tracklets(
        features, out, videos, settings.sigma_cst, min_images=settings.rebirth, watch=watch
    )
    count = int(group.max(initial=-1)) + 1
    if count == 0:
        return tracklet, total, video
    tracklet = tracklet.copy()
    tracklet[out] = np.where(group >= 0, group + len(total), -1)
    new_video = np.zeros(count, np.int64)
    # Videos are numbered in the order in which they come, in `video` as here.
    number = np.cumsum(np.diff(videos, prepend=videos[0]) != 0)
    new_video[group[group >= 0]] = number[out[group >= 0]]
    fresh = np.zeros((count, total.shape[1]))
    inside = out[group >= 0]
    sums.add(fresh, rows.unit(features[inside], names=inside), group[group >= 0])
    total, video = np.concatenate([total, fresh]), np.concatenate([video, new_video])
    order = np.argsort(video, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.where(tracklet >= 0, rank[tracklet], -1), total[order], video[order]


def _sums_of(labels: np.ndarray, tracklet: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Sums of labels from those of the tracklets they are made of."""
    kept = labels >= 0
    number = np.full(len(total), -1, np.int64)
    number[tracklet[kept]] = labels[kept]
    merged = np.zeros((int(labels.max(initial=-1)) + 1, total.shape[1]))
    sums.add(merged, total[number >= 0], number[number >= 0])
    return merged


def _consistent(features: np.ndarray, labels: np.ndarray, sigma_cst: float, watch: Watch) -> np.ndarray:
    """Level 1 on identities: bool [n], True for rows without a label too."""
    keep = np.ones(len(labels), bool)
    groups = ragged.group(labels[labels >= 0])
    inside = np.flatnonzero(labels >= 0)
    with watch("second look", len(inside), "images") as counter:
        for first, last in ragged.chunks(groups.starts):
            part = inside[groups.rows[groups.starts[first] : groups.starts[last]]]
            starts = groups.starts[first : last + 1] - groups.starts[first]
            keep[part] = keep_rows(rows.unit(features[part], names=part), starts, sigma_cst)
            counter.advance(len(part))
    return keep
