"""Thresholds from the data."""

import numpy as np
import pytest

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
    assert 0.1 < found.sigma_drm < 0.5, "the nearest two of 40 people are about .5 apart"
    assert found.tracklets == 120
    assert 150 < found.pairs <= 180, (
        "4 people in 30 videos meet; a pair that one tracklet holds both of may be left out"
    )


def pairs_of(apart, others, hump, limit, tracklets):
    """Pairs of tracklets drawn at random."""
    ends = np.random.default_rng(1).integers(0, tracklets, (len(others), 2)).astype(np.int32)
    return calibration._Pairs(np.sort(apart), np.sort(others), ends, tracklets, hump, limit)


def test_the_gap_is_found_between_the_humps():
    rng = np.random.default_rng(0)
    one, two = rng.normal(0.1, 0.02, 400), rng.normal(0.7, 0.08, 4000)
    pairs = pairs_of(two[:300], np.concatenate([one, two]), 0.1, 0.55, 94)
    assert 0.17 < pairs.threshold(0.5) < 0.45


def test_the_gap_behind_look_alikes_is_not_taken():
    rng = np.random.default_rng(0)
    one, alike, two = rng.normal(0.1, 0.02, 400), rng.normal(0.3, 0.02, 800), rng.normal(0.8, 0.05, 9000)
    apart = np.concatenate([alike[:30], two[:300]])
    pairs = pairs_of(apart, np.concatenate([one, alike, two]), 0.1, 0.7, 143)
    assert 0.15 < pairs.threshold(0.5) < 0.28, "between one person and look-alikes, not beyond these"


def test_without_a_gap_it_goes_as_far_as_links_are_more_often_right():
    rng = np.random.default_rng(0)
    one, two = 0.6 * np.sqrt(rng.random(300)), rng.normal(1.0, 0.2, 5000)  # denser and denser
    pairs = pairs_of(two[:400], np.concatenate([one, two]), 0.02, 0.75, 103)
    found = pairs.threshold(0.5)
    right, wrong = (one < found).sum(), (two < found).sum()
    assert 0.3 < found < 0.7
    assert wrong < 1.2 * right, "half of the links may be wrong, as far as a sample tells"


def test_a_dip_that_chance_makes_is_no_gap():
    """Some sixty near pairs between 0 and .4, with a few less around .28: seen with little data."""
    rng = np.random.default_rng(0)
    one = np.concatenate(
        [rng.uniform(0.1, 0.24, 36), rng.uniform(0.24, 0.36, 12), rng.uniform(0.36, 0.6, 60)]
    )
    two = rng.normal(1.1, 0.2, 5000)
    pairs = pairs_of(two[:200], np.concatenate([one, two]), 0.19, 0.75, 102)
    assert pairs.threshold(0.5) > 0.45


def test_pairs_of_few_tracklets_prove_less_than_as_many_of_many():
    """Sixty pairs at the hump and twenty at the gap: of six clumps of five tracklets, and each of its own."""
    clumps = [5 * k + np.stack(np.triu_indices(5, 1), axis=1) for k in range(6)]
    own = np.arange(240, 400).reshape(-1, 2)
    near = np.repeat([0.1, 0.5], [60, 20])
    apart = np.full(100, 1.0)

    def stands_out(at_hump):
        ends = np.concatenate([at_hump, own[60:]]).astype(np.int32)
        return calibration._Pairs(apart, near, ends, 400, 0.1, 0.9)._stands_out(0.5)

    assert stands_out(own[:60])
    assert not stands_out(np.concatenate(clumps))


def test_networks_that_find_all_people_alike_are_no_harder():
    """What all features share makes all distances smaller; thresholds follow, and identities stay."""
    features, tracklets, videos, frames, _ = crowd()
    shared = np.concatenate([features, np.full((len(features), 1), 7.0)], axis=1)  # 1 + 7 ** 2 times nearer
    plain, near = (denoise.calibrate(f, tracklets, videos, frames) for f in (features, shared))
    assert 50 * near.sigma_cst == pytest.approx(plain.sigma_cst, rel=0.1)
    assert 50 * near.sigma_drm == pytest.approx(plain.sigma_drm, rel=0.2)


def test_features_that_are_all_equal_are_refused():
    _, tracklets, videos, frames, _ = crowd()
    with pytest.raises(ValueError, match="do not tell people apart"):
        denoise.calibrate(np.ones((len(frames), 8)), tracklets, videos, frames)


def test_features_that_tell_nobody_apart_are_refused():
    _, tracklets, videos, frames, _ = crowd()
    noise = np.random.default_rng(0).normal(size=(len(frames), 32))
    with pytest.raises(ValueError, match="do not tell people apart"):
        denoise.calibrate(noise + 1, tracklets, videos, frames)


def test_one_person_under_two_boxes_is_not_two_people():
    """Every video has one tracklet twice, as from a detector with two boxes on a person."""
    features, tracklets, videos, frames, _ = crowd(switch=0.0)
    twice = tracklets == 0
    noise = np.random.default_rng(1).normal(0, 0.01, (twice.sum(), features.shape[1]))
    more = (features[twice] + noise, np.full(twice.sum(), 9), videos[twice], frames[twice])
    columns = [np.concatenate(pair) for pair in zip((features, tracklets, videos, frames), more, strict=True)]
    by_video = np.argsort(columns[2], kind="stable")
    doubled = denoise.calibrate(*(column[by_video] for column in columns))
    plain = denoise.calibrate(features, tracklets, videos, frames)
    assert doubled.sigma_drm == pytest.approx(plain.sigma_drm, rel=0.2)


def test_people_who_are_seen_once_have_a_threshold_too():
    """No two tracklets show one person: as few are linked as three of 180 pairs seen together can tell."""
    _, tracklets, videos, frames, _ = crowd(people=120)
    rng = np.random.default_rng(0)
    people = rng.normal(size=(120, 32))
    features = people[videos * 4 + tracklets] + 0.1 * rng.normal(size=(len(frames), 32))
    found = denoise.calibrate(features, tracklets, videos, frames).sigma_drm
    apart = calibration._all_pairs(people)
    assert found > 0.02
    assert (apart < found).mean() < 0.05


@pytest.mark.parametrize("quiet", [0.1, 0.3])
def test_people_who_stand_still_do_not_rule_those_who_walk_out(quiet):
    """Images of three tracklets in ten hardly differ."""
    _, tracklets, videos, frames, true = crowd(switch=0.0)
    rng = np.random.default_rng(0)
    still = rng.random(120) < 0.3
    spread = np.where(still, quiet, 1.0)[videos * 4 + tracklets][:, None]
    centre = rng.normal(size=(40, 32))
    look = 1.2 * rng.normal(size=(120, 32))[videos * 4 + tracklets]
    features = 4 * centre[true] + look + spread * rng.normal(size=(len(true), 32))
    found = denoise.calibrate(features, tracklets, videos, frames)
    assert found.pairs > 100, "of 180 pairs that were seen together"


def test_a_large_set_is_sampled_in_stretches(monkeypatch):
    monkeypatch.setattr(calibration, "_SAMPLE", 40)
    monkeypatch.setattr(calibration, "_STRETCH", 10)
    tracklets = np.repeat(np.arange(300), 2)
    videos = np.repeat([0, 1], [500, 100])
    frames = tracklets[::-1].copy()  # the last begin first
    groups = calibration.ragged.group(tracklets, videos)
    taken = calibration._sample(groups, frames)
    assert 30 <= taken.sum() <= 50
    begin = frames[groups.rows[groups.starts[:-1]]]
    runs = np.flatnonzero(taken[:250][np.argsort(begin[:250])])
    assert (np.diff(runs) == 1).mean() > 0.8, "tracklets that begin one after another"
    monkeypatch.setattr(calibration, "_SAMPLE", 1000)
    assert calibration._sample(groups, frames).all()


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


@pytest.mark.parametrize("count", [0, 1, 2, 7, 10])
def test_all_pairs_in_blocks_are_all_pairs(monkeypatch, count):
    monkeypatch.setattr(calibration, "_PAIR_ROWS", 3)
    total = np.random.default_rng(0).normal(size=(count, 5))
    first, second = np.triu_indices(count, 1)
    expected = calibration.near.distances(total, first, second)
    np.testing.assert_allclose(np.sort(calibration._all_pairs(total)), np.sort(expected), atol=1e-12)
