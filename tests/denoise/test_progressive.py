"""The levels with their options."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from cion_jax import denoise
from cion_jax.evaluation import label_quality
from tests.denoise.strategies import draw_tracklets, seeds
from tests.denoise.test_calibration import crowd

OPTIONS = (
    {"cannot_link": True},
    {"split": True},
    {"rebirth": 2},
    {"mutual": 2},
    {"max_share": 0.02},
    {"max_radius": 0.1},
    {"second_look": True},
    {"give_back": True},
    {"merging": "agglomerative"},
    {"min_images": 4},
    {"half_width": None},
)


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_without_options_the_stages_are_the_public_functions(seed):
    features, tracklets, videos = draw_tracklets(seed)
    found = denoise.run(features, tracklets, videos, settings=denoise.paper())
    np.testing.assert_array_equal(found.labels, denoise.correlate(features, tracklets, videos))
    np.testing.assert_array_equal(
        found.levels["level 2"], denoise.denoise_videos(features, tracklets, videos)
    )
    names = videos * 100 + tracklets
    np.testing.assert_array_equal(found.levels["level 1"] >= 0, denoise.denoise_tracklets(features, names))


@settings(deadline=None, max_examples=10)
@given(seeds)
def test_every_option_gives_contiguous_labels(seed):
    features, tracklets, videos = draw_tracklets(seed)
    same = (videos[:, None] == videos) & (tracklets[:, None] == tracklets)
    frames = np.tril(same, -1).sum(axis=1)  # the place in the tracklet: many are seen together
    for option in OPTIONS:
        found = denoise.run(features, tracklets, videos, frames, settings=denoise.paper(**option))
        names = found.labels[found.labels >= 0]
        assert list(dict.fromkeys(names.tolist())) == list(range(names.max(initial=-1) + 1)), option


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: next(iter(option)))
def test_every_option_changes_something(option):
    # Six numbers do not keep 40 people apart: everything that can go wrong does.
    features, tracklets, videos, frames, _ = crowd(seed=1, width=6, spread=0.5, switch=0.5)
    base = denoise.paper(sigma_cst=0.12, sigma_drm=0.2, half_width=20)
    plain = denoise.run(features, tracklets, videos, frames, settings=base).labels
    changed = dataclasses.replace(base, **option)
    other = denoise.run(features, tracklets, videos, frames, settings=changed).labels
    assert (plain != other).any(), f"{option} is read and ignored, or this crowd does not need it"


def test_recommended_finds_the_people_of_an_easy_crowd():
    features, tracklets, videos, frames, true = crowd(seed=2)
    thresholds = denoise.calibrate(features, tracklets, videos, frames)
    settings_ = denoise.recommended(sigma_cst=thresholds.sigma_cst, sigma_drm=thresholds.sigma_drm)
    found = denoise.run(features, tracklets, videos, frames, settings=settings_).labels
    assert (found >= 0).mean() > 0.95
    quality = label_quality(found, true)
    assert quality["pair_f"] > 0.95, quality


def test_frames_are_asked_for():
    with pytest.raises(ValueError, match="cannot_link needs the frame"):
        denoise.run(np.eye(3), np.arange(3), np.zeros(3, int), settings=denoise.recommended())


def test_warnings_say_which_level_they_are_of():
    features, tracklets, videos, _, _ = crowd(seed=1, width=6, spread=0.5, switch=0.5)
    settings_ = denoise.paper(sigma_cst=0.5, sigma_drm=0.3, max_radius=0.05)
    found = denoise.run(features, tracklets, videos, settings=settings_).warnings
    assert [one[:8] for one in found] == ["level 2:", "level 3:"], found
    assert all("reached further than 0.05" in one for one in found)


def test_frames_that_are_none_are_refused():
    """All in frame 0 would be all different people, whatever they look like."""
    features, tracklets, videos, frames, _ = crowd()
    for wrong, message in ((0, "tracklet 0 of video 0 has 12 images in frame 0"), (-1, "row 0 has no frame")):
        frames[:] = wrong
        with pytest.raises(ValueError, match=message):
            denoise.run(features, tracklets, videos, frames, settings=denoise.recommended())
        with pytest.raises(ValueError, match=message):
            denoise.calibrate(features, tracklets, videos, frames)


def test_nothing_gives_nothing():
    empty = np.zeros(0, int)
    found = denoise.run(np.zeros((0, 4)), empty, empty, empty, settings=denoise.recommended())
    assert found.labels.shape == (0,)
