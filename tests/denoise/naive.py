"""The three levels as loops over images, in float64: written from the specification alone, to compare with."""

import numpy as np

TIE = 1e-6


def unit(features):
    x = np.asarray(features, np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distance(a, b):
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return 1 - (a @ b / lengths if lengths > 1e-12 else 0.0)


def single_tracklet(x, sigma):
    """Rows that stay, of one tracklet."""
    stay = list(range(len(x)))
    while len(stay) > 1:
        far = [distance(x[i], sum(x[j] for j in stay if j != i)) for i in stay]
        if max(far) < sigma:
            break
        stay.pop(max(k for k, d in enumerate(far) if d >= max(far) - TIE))
    return stay


def denoise_tracklets(features, tracklets, sigma=0.2):
    x, keep = unit(features), np.zeros(len(tracklets), bool)
    for name in set(tracklets.tolist()):
        members = np.flatnonzero(tracklets == name)
        keep[members[single_tracklet(x[members], sigma)]] = True
    return keep


def components(count, linked):
    """Labels by first member, from a function that tells whether i and j are linked."""
    labels = [-1] * count
    for start in range(count):
        if labels[start] >= 0:
            continue
        labels[start], queue = start, [start]
        while queue:
            i = queue.pop()
            for j in range(count):
                if labels[j] < 0 and linked(i, j):
                    labels[j] = start
                    queue.append(j)
    return labels


def by_first_appearance(labels):
    names = {}
    return np.array([-1 if label < 0 else names.setdefault(label, len(names)) for label in labels], np.int64)


def denoise_videos(features, tracklets, videos, sigma_cst=0.2, sigma_drm=0.18):
    x = unit(features)
    labels = np.full(len(x), -1)
    offset = 0
    for video in dict.fromkeys(videos.tolist()):
        rows = np.flatnonzero(videos == video)
        names = list(dict.fromkeys(tracklets[rows].tolist()))
        members = {name: [r for r in rows if tracklets[r] == name] for name in names}
        stays = {
            name: [members[name][k] for k in single_tracklet(x[members[name]], sigma_cst)] for name in names
        }
        centroids = {name: sum(x[r] for r in stays[name]) for name in names}
        after = {name: list(stays[name]) for name in names}
        for name in names:
            for row in sorted(set(members[name]) - set(stays[name])):
                others = [other for other in names if other != name]
                if not others:
                    continue
                away = [distance(x[row], centroids[other]) for other in others]
                if min(away) < sigma_cst:
                    after[others[min(k for k, d in enumerate(away) if d <= min(away) + TIE)]].append(row)
        sums = [sum(x[r] for r in sorted(after[name])) for name in names]
        merged = components(len(names), lambda i, j, s=sums: distance(s[i], s[j]) <= sigma_drm)
        for name, label in zip(names, merged, strict=True):
            labels[after[name]] = offset + label
        offset += len(names)
    return by_first_appearance(labels)


def link_tracklets(sums, counts, half_width=1000, sigma=0.18):
    sums = np.asarray(sums, np.float64)
    alive = np.flatnonzero(counts > 0)
    reach = len(alive) if half_width is None else half_width
    merged = components(
        len(alive), lambda i, j: abs(i - j) <= reach and distance(sums[alive[i]], sums[alive[j]]) <= sigma
    )
    labels = np.full(len(sums), -1)
    labels[alive] = merged
    return by_first_appearance(labels)


def correlate(features, tracklets, videos, sigma_cst=0.2, sigma_drm=0.18, half_width=1000):
    x = unit(features)
    labels = denoise_videos(features, tracklets, videos, sigma_cst, sigma_drm)
    count = labels.max(initial=-1) + 1
    sums = np.array([x[labels == k].sum(axis=0) for k in range(count)]).reshape(count, x.shape[1])
    identities = link_tracklets(sums, np.ones(count, int), half_width, sigma_drm)
    return by_first_appearance([identities[label] if label >= 0 else -1 for label in labels])


def noise(features, labels, sigma_cst=0.2, sigma_drm=0.18):
    x, names = unit(features), sorted(set(labels[labels >= 0].tolist()))
    means = [x[labels == name].sum(axis=0) for name in names]
    far = sum(
        distance(x[r], m) >= sigma_cst
        for n, m in zip(names, means, strict=True)
        for r in np.flatnonzero(labels == n)
    )
    near = sum(
        distance(a, b) <= sigma_drm for i, a in enumerate(means) for j, b in enumerate(means) if i != j
    )
    return far, near, (far + near) / max(len(names), 1)
