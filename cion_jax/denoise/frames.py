"""When groups of images were seen: two people in one frame are two, whatever they look like."""

import numpy as np


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
    """Pairs of groups that share a moment: int64 [n], [n] -> int64 [pairs, 2], each pair once, first < second."""
    inside = np.flatnonzero(group >= 0)
    by_moment = inside[np.argsort(moment[inside], kind="stable")]
    m, g = moment[by_moment], group[by_moment]
    found, step = [], 1
    while step < len(m):
        same = m[step:] == m[:-step]
        if not same.any():
            break
        pair = np.stack([g[:-step][same], g[step:][same]], axis=1)
        found.append(np.unique(np.sort(pair[pair[:, 0] != pair[:, 1]], axis=1), axis=0))
        step += 1
    return np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), np.int64)
