"""How good identity labels are where the truth is known: pairs, BCubed, purity, entropies, and what was discarded.

All comes from the sparse contingency table (predicted x true identity, in how many images), so time is
O(N log N) and memory O(N). No single figure tells all: discarding everything but one tracklet is perfectly precise.
"""

from typing import NamedTuple

import numpy as np

OUT = -1  # predicted: discarded; true: nobody


def label_quality(predicted: np.ndarray, true: np.ndarray) -> dict[str, int | float]:
    """Compares predicted identities with true ones, image by image.

    Images of nobody (true -1) are left out of all fractions, and counted. A discarded image (predicted -1) lies in no
    identity: it costs recall, since the sizes of true identities count all their images. The same figures over kept
    images only stand under `kept_*`, and tell how good the data set is that one trains on.

    Keys, fractions in 0..1 (`ari` may be negative):
      pair_precision, pair_recall, pair_f: of pairs of images in one identity.
      bcubed_precision: mean over kept images of the share of their identity that is of their person;
        bcubed_recall: mean over all images of the share of their person that is in their identity, 0 if discarded;
        bcubed_f.
      purity: share of kept images that are of the most frequent person of their identity; inverse_purity: share
        of all images that are in the identity holding most of their person.
      homogeneity, completeness, v_measure, nmi (arithmetic mean, so equal to v_measure), ari: here a discarded image
        counts as an identity of its own, which leaves homogeneity high and lowers completeness.
      kept_pair_precision, ...: each of these over kept images only.
    and counts:
      images: of somebody; kept, discarded: of those.
      false_positives: images of nobody; false_positives_kept: those in an identity.
      identities: predicted ones with any image; identities_of_nobody: those with images of nobody only.
      true_identities: people; lost: people without a kept image; split: people in several predicted identities.
      merged: predicted identities with several people; singletons: with one image; largest: images of the largest.

    A ratio with nothing to count is 1 (no pair was claimed, so none is wrong), an F of two zeros 0. With no images at
    all every fraction is 1 and every count 0.

    Args:
      predicted: integers [n], -1 discarded.
      true: integers [n], -1 nobody.

    Returns:
      Python floats and integers by key.

    Raises:
      ValueError: other shapes or types, or labels below -1.

    Source: pairs, BCubed (Amigo et al., 2009), purity, V-measure (Rosenberg and Hirschberg, 2007), adjusted Rand index
    (Hubert and Arabie, 1985).
    """
    predicted, true = _labels(predicted, "predicted"), _labels(true, "true")
    if predicted.shape != true.shape:
        raise ValueError(f"predicted and true must have one length, got {len(predicted)} and {len(true)}")
    somebody, kept = true != OUT, predicted != OUT
    table = _contingency(predicted, true)
    sizes = np.unique(predicted[kept], return_counts=True)[1]
    of_person = np.bincount(table.column, minlength=len(table.people))
    of_identity = np.bincount(table.row, minlength=len(table.identities))
    counts = {
        "images": somebody.sum(),
        "kept": (somebody & kept).sum(),
        "discarded": (somebody & ~kept).sum(),
        "false_positives": (~somebody).sum(),
        "false_positives_kept": (~somebody & kept).sum(),
        "identities": len(sizes),
        "identities_of_nobody": len(sizes) - len(table.identities),
        "true_identities": len(table.people),
        "lost": (of_person == 0).sum(),
        "split": (of_person > 1).sum(),
        "merged": (of_identity > 1).sum(),
        "singletons": (sizes == 1).sum(),
        "largest": sizes.max(initial=0),
    }
    kept_only = table._replace(people=np.bincount(table.column, table.count).astype(np.int64))
    return {
        **_fractions(table),
        **{f"kept_{name}": value for name, value in _fractions(kept_only).items()},
        **{name: int(value) for name, value in counts.items()},
    }


def removal_quality(before: np.ndarray, after: np.ndarray, true: np.ndarray) -> dict[str, int | float]:
    """What became of the noise: images of nobody, or of another person than most of their group `before`.

    Where two people are equally frequent in a group the one with the smaller number counts as its person. Groups that
    show nobody at all are noise as a whole.

    Args:
      before, after: integers [n], identities or tracklets before and after denoising, -1 discarded. Images that are
        discarded before count as neither noise nor clean.
      true: integers [n], -1 nobody.

    Returns:
      noise_images, clean_images, removed: counts of the images that were in a group before;
      removal_precision: share of removed images that were noise; removal_recall: share of noise that was removed;
      clean_retention: share of clean images that were kept;
      noise_resolved: share of noise that was removed or now is in a group of its own person.
      A ratio with nothing to count is 1.

    Raises:
      ValueError: as `label_quality`.
    """
    before, after, true = _labels(before, "before"), _labels(after, "after"), _labels(true, "true")
    if not len(before) == len(after) == len(true):
        raise ValueError(f"before, after and true have {len(before)}, {len(after)} and {len(true)} entries")
    had, out = before != OUT, after == OUT
    noise = had & ((true == OUT) | (true != person_of_group(before, true)))
    clean = had & ~noise
    removed = had & out
    right = ~out & (true != OUT) & (true == person_of_group(after, true))
    return {
        "noise_images": int(noise.sum()),
        "clean_images": int(clean.sum()),
        "removed": int(removed.sum()),
        "removal_precision": _ratio((noise & out).sum(), removed.sum()),
        "removal_recall": _ratio((noise & out).sum(), noise.sum()),
        "clean_retention": _ratio((clean & ~out).sum(), clean.sum()),
        "noise_resolved": _ratio((noise & (out | right)).sum(), noise.sum()),
    }


class _Table(NamedTuple):
    """Non-zero entries of the contingency table over kept images of somebody, and its margins; int64."""

    row: np.ndarray  # [entries]: index into identities
    column: np.ndarray  # [entries]: index into people
    count: np.ndarray  # [entries]: images
    identities: np.ndarray  # images of somebody in each predicted identity
    people: np.ndarray  # images of each person, discarded ones too


def _contingency(predicted: np.ndarray, true: np.ndarray) -> _Table:
    somebody = true != OUT
    _, person, people = np.unique(true[somebody], return_inverse=True, return_counts=True)
    kept = predicted[somebody] != OUT
    _, row, identities = np.unique(predicted[somebody][kept], return_inverse=True, return_counts=True)
    width = max(len(people), 1)
    keys, count = np.unique(row.astype(np.int64) * width + person[kept], return_counts=True)
    row, column = np.divmod(keys, width)
    return _Table(row, column, *(sizes.astype(np.int64) for sizes in (count, identities, people)))


def _fractions(table: _Table) -> dict[str, float]:
    """All fractions, recall over `table.people`."""
    row, column, count, identities, people = table
    kept, images = int(count.sum()), int(people.sum())
    both, claimed, wanted = _pairs(count), _pairs(identities), _pairs(people)
    squares = count.astype(np.float64) ** 2
    # What is discarded counts as identities of one image where entropies and the Rand index ask for a partition.
    of_true, of_claimed, of_both = (_entropy(sizes, images) for sizes in (people, identities, count))
    alone = (images - kept) * np.log(max(images, 1)) / max(images, 1)
    homogeneity = _share_told(of_true, of_both - of_claimed)
    completeness = _share_told(of_claimed + alone, of_both + alone - of_true)
    pairs = {
        "pair": (_ratio(both, claimed), _ratio(both, wanted)),
        "bcubed": (
            _ratio((squares / identities[row]).sum(), kept),
            _ratio((squares / people[column]).sum(), images),
        ),
    }
    found = {}
    for name, (precision, recall) in pairs.items():
        found |= {
            f"{name}_precision": precision,
            f"{name}_recall": recall,
            f"{name}_f": _f(precision, recall),
        }
    v = _f(homogeneity, completeness)
    return {
        **found,
        "purity": _ratio(_largest(row, count, len(identities)), kept),
        "inverse_purity": _ratio(_largest(column, count, len(people)), images),
        "homogeneity": homogeneity,
        "completeness": completeness,
        "v_measure": v,
        "nmi": v,
        "ari": _adjusted_rand(both, claimed, wanted, images),
    }


def _labels(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or values.size == 0):
        raise ValueError(f"{name} must be integers [n], got {values.dtype} {values.shape}")
    if values.size and values.min() < OUT:
        raise ValueError(f"{name}[{values.argmin()}] is {values.min()}: labels are -1 or above")
    if values.size and values.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"{name}[{values.argmax()}] is {values.max()}, more than 64 bits with sign hold: renumber the labels"
        )
    return values.astype(np.int64)


def person_of_group(groups: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The person that most images of an image's group show, int64 [n]; -1 outside groups and with nobody in them."""
    chosen = (groups != OUT) & (true != OUT)
    person = np.full(len(groups), OUT)
    if not chosen.any():
        return person
    names, group = np.unique(groups, return_inverse=True)
    # Numbered anew, in the same order: a product with numbers as they come may not fit 64 bits.
    known, number = np.unique(true[chosen], return_inverse=True)
    width = len(known)
    keys, count = np.unique(group[chosen].astype(np.int64) * width + number, return_counts=True)
    rows, people = np.divmod(keys, width)
    order = np.lexsort((people, -count, rows))
    first = order[np.unique(rows[order], return_index=True)[1]]
    of_group = np.full(len(names), OUT)
    of_group[rows[first]] = known[people[first]]
    return of_group[group]


def _pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _largest(group: np.ndarray, count: np.ndarray, groups: int) -> int:
    """Sum over groups of their largest entry."""
    largest = np.zeros(groups, np.int64)
    np.maximum.at(largest, group, count)
    return int(largest.sum())


def _entropy(sizes: np.ndarray, total: int) -> float:
    """Entropy in nats of the parts of `total`; what `sizes` do not cover adds nothing."""
    sizes = sizes[sizes > 0]
    return float((sizes * (np.log(max(total, 1)) - np.log(sizes))).sum() / max(total, 1))


def _share_told(entropy: float, unknown: float) -> float:
    """Share of an entropy that the other partition explains: 1 - unknown / entropy."""
    return 1.0 if entropy < 1e-12 else float(np.clip(1 - unknown / entropy, 0, 1))


def _adjusted_rand(both: int, claimed: int, wanted: int, images: int) -> float:
    total = images * (images - 1) // 2
    # Python integers: the product of two numbers of pairs does not fit 64 bits.
    above, below = both * total - claimed * wanted, (claimed + wanted) * total - 2 * claimed * wanted
    return 2 * above / below if below else 1.0


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 1.0


def _f(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
