"""When groups of images were seen: two people in one frame are two, whatever they look like."""

import numpy as np

# Of images in a frame that their tracklet has already: trackers slip, but numbers that are no frames repeat everywhere.
NEGLIGIBLE = 0.01
# Of so many tracklets, such a share that begins with its video is no chance.
FEWEST, SUSPICIOUS = 20, 0.9


def check(tracklets: np.ndarray, videos: np.ndarray, frames: np.ndarray) -> None:
    """Raises ValueError for frames that cannot tell who was seen together; integers [n] each.

    They are unknown (-1), or one tracklet is in one frame twice for more than a hundredth of all images. The message
    names the tracklet that repeats most.
    """
    unknown = np.flatnonzero(frames < 0)
    if len(unknown):
        raise ValueError(f"row {unknown[0]} has no frame number ({len(unknown):,} of {len(frames):,} rows)")
    order = np.lexsort((frames, tracklets, videos))
    again = np.zeros(len(order), bool)
    again[1:] = np.logical_and.reduce([np.diff(column[order]) == 0 for column in (videos, tracklets, frames)])
    if again.sum() <= NEGLIGIBLE * len(frames):
        return
    starts = np.flatnonzero(~again)
    times = np.diff(starts, append=len(order))
    row = order[starts[np.argmax(times)]]
    raise ValueError(
        f"tracklet {tracklets[row]} of video {videos[row]} has {times.max():,} images in frame {frames[row]}, and "
        f"{again.sum():,} of {len(frames):,} images are in a frame that their tracklet has already: these are no frame "
        "numbers"
    )


def doubt(tracklets: np.ndarray, videos: np.ndarray, frames: np.ndarray) -> str:
    """Why frames may be places in the tracklet, "" if nothing says so; integers [n] each."""
    order = np.lexsort((frames, tracklets, videos))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(videos[order]) != 0) | (np.diff(tracklets[order]) != 0)
    first = order[new]  # row of each tracklet, by video
    starts = np.flatnonzero(np.diff(videos[first], prepend=-1))
    sizes = np.diff(starts, append=len(first))
    earliest = np.repeat(np.minimum.reduceat(frames[first], starts), sizes) if len(first) else frames[first]
    several = np.repeat(sizes > 1, sizes)
    count, total = int((frames[first] == earliest)[several].sum()), int(several.sum())
    if total < FEWEST or count <= SUSPICIOUS * total:
        return ""
    return (
        f"{count:,} of {total:,} tracklets begin at the first frame of their video. If frame numbers count within the "
        "tracklet, people who never met pass for seen together: give those of the video"
    )


def moments(videos: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """One id for every (video, frame): int64 [n] from integers [n] and [n]."""
    _, video = np.unique(videos, return_inverse=True)
    _, frame = np.unique(frames, return_inverse=True)
    return video.astype(np.int64) * (int(frame.max(initial=0)) + 1) + frame


def of_groups(moment: np.ndarray, group: np.ndarray, count: int) -> list[np.ndarray]:
    """The moments of each group: int64 [n], groups [n] of 0..count-1 (-1: of none) -> `count` arrays."""
    inside = np.flatnonzero(group >= 0)
    by_group = inside[np.argsort(group[inside], kind="stable")]
    starts = np.searchsorted(group[by_group], np.arange(count + 1))
    return [moment[by_group[starts[k] : starts[k + 1]]] for k in range(count)]


def together(moment: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Pairs of groups that share a moment: int64 [n], [n] -> int64 [pairs, 2], each pair once, first < second.

    The work is that of the pairs of every moment, however many images a group has there.
    """
    inside = np.flatnonzero(group >= 0)
    width = int(group.max(initial=0)) + 1
    # Numbered anew: a product of two numbers has to fit an int64.
    _, number = np.unique(moment[inside], return_inverse=True)
    m, g = np.divmod(_distinct(number * width + group[inside]), width)
    found, first, step = [np.zeros(0, np.int64)], np.arange(len(m)), 1
    while len(first):
        # What has no neighbour at this step has none further on: every pair of a moment is looked at once.
        first = first[: np.searchsorted(first, len(m) - step)]
        first = first[m[first + step] == m[first]]
        found.append(_distinct(g[first] * width + g[first + step]))
        step += 1
    return np.stack(np.divmod(_distinct(np.concatenate(found)), width), axis=1)


def _distinct(keys: np.ndarray) -> np.ndarray:
    """As np.unique, which hashes integers and is ten times slower here."""
    keys = np.sort(keys)
    return keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
