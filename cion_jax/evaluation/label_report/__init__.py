"""The report of a denoising run: a web page of one file, and the same figures as JSON."""

from cion_jax.evaluation.label_report.description import Gallery, Group, Level, Run, Strip, Tile
from cion_jax.evaluation.label_report.examples import Denoised, Links, Names, galleries
from cion_jax.evaluation.label_report.page import write
from cion_jax.evaluation.label_report.samples import Between, between, inside

__all__ = [
    "Between",
    "Denoised",
    "Gallery",
    "Group",
    "Level",
    "Links",
    "Names",
    "Run",
    "Strip",
    "Tile",
    "between",
    "galleries",
    "inside",
    "write",
]
