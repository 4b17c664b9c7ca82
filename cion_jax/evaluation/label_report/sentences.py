"""What the figures of a run mean, in plain sentences, and what in them should worry a curator."""

import numpy as np

from cion_jax.evaluation.label_report.description import Level, Run

_MANY_REMOVED = 0.3
_MANY_INCONSISTENT = 0.1
_SMALL = 100  # units: below, one per cent of them says nothing
_LONG = 25  # units in a chain: fewer may well be one person who is seen in many videos


def percent(share: float) -> str:
    """Rounded so that what is not everything never reads as 100 %, nor what is something as 0 %."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    digits = 1 if 0.01 <= share <= 0.99 else 2
    return f"{min(max(100 * share, 0.01), 99.99):.{digits}f} %"


def count(number: int, noun: str) -> str:
    """ "1 image", "2,000 images", "2 identities"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def summary(run: Run) -> list[str]:
    """What was done and what came out, a paragraph each, for somebody who has not read the paper."""
    first, last = run.levels[0], run.levels[-1]
    where = f" of {count(run.videos, 'video')}" if run.videos is not None else ""
    groups = run.tracklets if run.tracklets is not None else first.identities
    sentences = [
        f"{count(first.images, 'image')} in {count(groups, 'tracklet')}{where} became "
        f"{count(last.identities, 'identity')} holding {count(last.images, 'image')}"
        + (f" ({percent(last.images / first.images)})." if first.images else ".")
    ]
    removed, moved = first.images - last.images, sum(level.moved for level in run.levels)
    if removed > 0:
        sentences.append(
            f"{count(removed, 'image')} fitted nowhere and {'was' if removed == 1 else 'were'} left out."
        )
    if moved:
        sentences.append(f"{count(moved, 'image')} fitted another tracklet better and moved there.")
    if len(run.sizes):
        middle, single = int(np.median(run.sizes)), int((run.sizes == 1).sum())
        alone = (
            f"; {count(single, 'identity')} of one image can teach nothing about a person" if single else ""
        )
        sentences.append(
            f"Half of the identities have {count(middle, 'image')} or more, "
            f"the largest has {run.sizes.max():,}{alone}."
        )
    return [" ".join(sentences), *_noise(first, last), *_truth(first, last)]


def _noise(first: Level, last: Level) -> list[str]:
    if first.noise is None or last.noise is None or first is last:
        return []
    return [
        f"Noise, in the paper's measure (images too far from the centre of their group, and groups too near to one "
        f"another, per group), went from {first.noise:.3g} to {last.noise:.3g}. It is measured by the same distances "
        "that denoising decides by: a low value says that the labels agree with the features, not that they are right."
    ]


def _truth(first: Level, last: Level) -> list[str]:
    if not last.quality:
        return []
    was = ""
    if first.quality and first is not last:
        was = (
            f" (raw tracklets: {percent(first.quality['pair_precision'])} and "
            f"{percent(first.quality['pair_recall'])})"
        )
    q = last.quality
    sentences = [
        f"The truth is known here: two images of one identity show one person in {percent(q['pair_precision'])} of "
        f"cases, and of all pairs of images of one person {percent(q['pair_recall'])} are in one identity{was}.",
        f"{count(q['true_identities'], 'true person').replace('persons', 'people')} became "
        f"{count(q['identities'], 'identity')}: {q['split']:,} of them {_is(q['split'])} split over several, and "
        f"{count(q['merged'], 'identity')} {_is(q['merged'])} of more than one person.",
    ]
    if q["false_positives"]:
        sentences.append(
            f"Of {count(q['false_positives'], 'image')} of nobody {q['false_positives_kept']:,} were kept."
        )
    return [" ".join(sentences)]


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def warnings(run: Run) -> list[str]:
    """What should be looked at before the labels are used."""
    first, last = run.levels[0], run.levels[-1]
    found = [*run.warnings, *_chaining(run)]
    if last.images == 0:
        found.append("No image is left. The thresholds do not suit these features: calibrate them.")
    elif first.images and 1 - last.images / first.images > _MANY_REMOVED:
        found.append(
            f"{percent(1 - last.images / first.images)} of the images were removed. If the removed images below are "
            f"of the right people, sigma_cst = {run.sigma_cst:g} is too small for this extractor: calibrate it."
        )
    if last.consistency and last.consistency > _MANY_INCONSISTENT * last.images:
        found.append(
            f"{percent(last.consistency / last.images)} of the images kept are sigma_cst = {run.sigma_cst:g} or "
            "farther from the centre of their identity. Their identities hold different people, or one person's "
            "looks in different videos are that far apart."
        )
    if last.identities > 1 and sum(level.merges for level in run.levels) == 0:
        found.append(
            f"Nothing was merged: every identity is a single tracklet. sigma_drm = {run.sigma_drm:g} may be too "
            "small for this extractor: calibrate it."
        )
    return found


def _chaining(run: Run) -> list[str]:
    """A giant component: one false link after the other joins different people."""
    total = int(run.components.sum())
    if not total:
        return []
    largest = int(run.components.max())
    share = largest / total
    # Of a few people who are seen often everybody has more than one per cent.
    if share <= run.guard or total < _SMALL or largest < max(_LONG, 5 * np.median(run.components)):
        return []
    return [
        f"The largest identity was linked from {largest:,} of {total:,} {run.component_unit} ({percent(share)}; the "
        f"guard is {percent(run.guard)}). A chain of false links may have joined many people in it: look at it under "
        "Identities, lower sigma_drm, or link with a guard (mutual nearest neighbours, cannot-link, or a largest "
        "diameter)."
    ]
