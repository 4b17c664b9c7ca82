"""The names that figures have in summaries."""

import pytest

from cion_jax.tasks import outputs
from configs import base

FIGURES = {"mAP": 0.1, "mINP": 0.1, "rank1": 0.1, "rank5": 0.1, "rank10": 0.1}


@pytest.mark.parametrize(
    ("weights", "first_step", "name"),
    [
        ("", 0, "vit_base, untrained"),
        ("/files/lup.pth", 0, "vit_base, at the start (lup.pth)"),
        ("", 500, "vit_base, after 500 steps"),
        ("/files/lup.pth", 500, "vit_base, after 500 steps"),
    ],
)
def test_the_first_figures_have_the_name_of_their_weights(weights, first_step, name):
    """A pre-trained start, or an evaluation that was added later, is not an untrained network."""
    config = base.get_config()
    config.model.weights = weights
    rows = [{"step": first_step} | FIGURES, {"step": 900, "loss": 1.0}, {"step": 900} | FIGURES]
    assert list(outputs._scores(config, rows)) == ["vit_base, trained", name]
