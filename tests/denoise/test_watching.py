"""Whoever watches hears of all work, to its end, and changes nothing."""

import contextlib

import numpy as np
import pytest

from cion_jax import denoise
from cion_jax.denoise import progressive


class Heard:
    """A watch that keeps (label, total, unit, done) of everything that was counted."""

    def __init__(self):
        self.counts = []

    @contextlib.contextmanager
    def __call__(self, label, total, unit):
        self.counts.append([label, total, unit, 0])
        yield self

    def advance(self, count=1):
        self.counts[-1][3] += count


@pytest.mark.parametrize(
    "settings",
    [
        denoise.paper(half_width=5, second_look=True, give_back=True),
        denoise.recommended(cannot_link=False),
        denoise.paper(merging="agglomerative"),
    ],
)
def test_all_work_is_counted_to_its_end(settings):
    rng = np.random.default_rng(0)
    tracklets = np.repeat(np.arange(40), 10)
    videos = tracklets // 10
    features = np.eye(6)[tracklets % 6] + rng.normal(0, 0.3, (400, 6))
    heard = Heard()
    first = progressive.within_videos(features, tracklets, videos, None, settings, watch=heard)
    second = progressive.across_videos(first.labels, first.sums, None, settings, watch=heard)
    last = progressive.finish(features, second.labels, None, settings, watch=heard)
    labels = [label for label, *_ in heard.counts]
    assert [label for label in ("levels 1 and 2", "level 2", "level 3") if label in labels] == [
        "levels 1 and 2",
        "level 2",
        "level 3",
    ]
    assert ("cutting at switches" in labels) == settings.split and ("rebirth" in labels) == bool(
        settings.rebirth
    )
    assert ("second look" in labels) == settings.second_look and (
        "giving back" in labels
    ) == settings.give_back
    assert ("level 3, merging" in labels) == (settings.merging == "agglomerative")
    unfinished = [one for one in heard.counts if one[1] != one[3]]
    assert not unfinished, "what is counted must reach its total: else the time left is wrong"
    expected = denoise.run(features, tracklets, videos, settings=settings).labels
    np.testing.assert_array_equal(last, expected)
