"""Thresholds from the data."""

import numpy as np
import pytest
from scipy import special

from cion_jax import denoise
from cion_jax.denoise import calibration


def crowd(seed=0, people=40, videos=30, switch=0.2, spread=0.25, width=32):
    """People walking in pairs: tracklets of 12 images, some with a stranger's images at their end."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(people, width))
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    features, tracklets, names, frames, true = [], [], [], [], []
    for video in range(videos):
        chosen = rng.choice(people, 4, replace=False)
        for tracklet, who in enumerate(chosen):
            person = np.full(12, who)
            if rng.random() < switch:
                person[-int(rng.integers(2, 6)) :] = chosen[tracklet - 1]
            noise = rng.normal(size=(12, width))
            features.append(centre[person] + spread * noise / np.linalg.norm(noise, axis=1, keepdims=True))
            tracklets += [tracklet] * 12
            names += [video] * 12
            frames += list(range(12))
            true += person.tolist()
    return np.concatenate(features), *(np.array(a) for a in (tracklets, names, frames, true))


def test_thresholds_lie_between_one_person_and_two():
    features, tracklets, videos, frames, _ = crowd()
    found = denoise.calibrate(features, tracklets, videos, frames)
    assert 0.02 < found.sigma_cst < 0.1, "images of one person are .03 from their mean, with little spread"
    assert 0.3 < found.sigma_drm < 0.7, "the nearest two of 40 people are about .5 apart"
    assert found.tracklets == 120
    assert 150 < found.pairs <= 180, (
        "4 people in 30 videos meet; a pair that one tracklet holds both of may be left out"
    )


@pytest.mark.parametrize("share", [0.4, 0.05, 0.01, 1e-3, 1e-5])
def test_rare_distances_are_extrapolated(share):
    rng = np.random.default_rng(0)
    sample = np.sort(rng.normal(0.8, 0.1, size=1000))
    expected = 0.8 + 0.1 * special.ndtri(share)
    assert calibration.quantile(sample, share) == pytest.approx(expected, abs=0.05)


def test_more_people_ask_for_a_smaller_threshold():
    few, many = (denoise.calibrate(*crowd(people=people)[:4]).sigma_drm for people in (8, 80))
    assert many < few


def test_switches_in_a_fifth_of_the_tracklets_hardly_matter():
    clean = denoise.calibrate(*crowd(switch=0.0)[:4])
    noisy = denoise.calibrate(*crowd(switch=0.2)[:4])
    assert noisy.sigma_cst == pytest.approx(clean.sigma_cst, rel=0.3)
    assert noisy.sigma_drm == pytest.approx(clean.sigma_drm, rel=0.3)


def test_labelled_images():
    features, _, _, _, true = crowd(switch=0.0)
    found = denoise.calibrate_labelled(features, true, false_links=0.01)
    people = len(set(true.tolist()))
    assert 0.02 < found.sigma_cst < 0.1
    assert 0.3 < found.sigma_drm < 0.8
    assert found.pairs == people * (people - 1) // 2


def test_too_little_to_tell_is_refused():
    features, tracklets, videos, frames, _ = crowd(videos=3)
    with pytest.raises(ValueError, match="12 tracklets"):
        denoise.calibrate(features, tracklets, videos, frames)
    features, tracklets, videos, frames, _ = crowd()
    with pytest.raises(ValueError, match="0 pairs of different people"):
        denoise.calibrate(features, tracklets, videos, np.arange(len(frames)))
