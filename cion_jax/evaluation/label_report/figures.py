"""The figures that the page and report.json have in common."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cion_jax.evaluation.label_report import bins, sentences
from cion_jax.evaluation.label_report.description import Run

BEFORE, AFTER = "raw tracklets", "final identities"
APART, LINKED = "nearest of another identity", "of one identity"


def of_run(run: Run) -> dict[str, Any]:
    """Histograms, sentences and warnings: what both files have in common."""
    return {
        "summary": sentences.summary(run),
        "warnings": sentences.warnings(run),
        "inside": bins.of_distances({BEFORE: run.inside_before, AFTER: run.inside_after}, run.sigma_cst),
        "between": bins.of_distances({APART: run.apart, LINKED: run.linked}, run.sigma_drm),
        "sizes": bins.of_sizes(run.sizes),
        "components": bins.of_sizes(run.components),
    }


def as_json(run: Run, shown: Mapping[str, Any]) -> dict[str, Any]:
    """All that report.json holds, in Python's own types."""
    largest = int(run.components.max(initial=0))
    return _plain(
        {
            "title": run.title,
            "settings": {"sigma_cst": run.sigma_cst, "sigma_drm": run.sigma_drm, **run.settings},
            "videos": run.videos,
            "tracklets": run.tracklets,
            "summary": shown["summary"],
            "warnings": shown["warnings"],
            "levels": [dataclasses.asdict(level) for level in run.levels],
            "largest_component": largest,
            "largest_component_share": largest / max(int(run.components.sum()), 1),
            "distances_inside": shown["inside"]._asdict(),
            "distances_between": shown["between"]._asdict(),
            "sizes": [one._asdict() for one in shown["sizes"]],
            "components": [one._asdict() for one in shown["components"]],
            "galleries": [dataclasses.asdict(gallery) for gallery in run.galleries],
        }
    )


def _plain(value: Any) -> Any:
    """NumPy numbers as Python's; what JSON cannot say (NaN, infinity) as null; anything else as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
