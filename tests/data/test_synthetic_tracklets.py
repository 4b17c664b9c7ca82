"""Synthetic tracklets: the stated statistics, the order of rows, the truth of every image, purity of the function."""

import dataclasses

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import synthetic_tracklets, tracklet_noise
from cion_jax.data.synthetic_tracklets import World, from_labelled, generate
from cion_jax.data.tracklet_noise import PRESETS, Kind, Noise

WORLD = World(people=80, width=64)


def leave_one_out(features, groups):
    """Cosine distance of every image to the mean of the others of its group; groups of two and more."""
    found = []
    for group in np.unique(groups):
        rows = features[groups == group].astype(np.float64)
        if len(rows) > 1:
            others = rows.sum(0) - rows
            found.append(1 - (rows * others).sum(1) / np.linalg.norm(others, axis=1))
    return np.concatenate(found)


@pytest.mark.parametrize("width", [64, 256])
def test_clean_tracks_are_as_compact_as_the_benchmark_wants(width):
    made = generate(World(people=150, width=width, seed=3), "clean")
    distances = leave_one_out(made.features, made.tracklets)
    assert 0.05 < np.median(distances) < 0.08
    assert np.quantile(distances, 0.975) < 0.15
    assert (made.kinds == Kind.CLEAN).all()


def test_lookalikes_are_alike():
    people = synthetic_tracklets._people(World(people=400, width=256))
    cosines = people @ people.T
    pairs = cosines[np.arange(0, 400, 4), np.arange(1, 400, 4)]  # two of one group each
    assert ((pairs > 0.65) & (pairs < 0.85)).all() and 0.7 < np.median(pairs) < 0.8
    assert abs(np.median(cosines[::4, 2::4]) - 0.3) < 0.05


def checked_order(made):
    """Asserts what `denoise` asks for: videos and tracklets contiguous, frames ascending."""
    tracklets, videos = made.tracklets, made.videos
    steps = np.diff(tracklets, prepend=0)
    assert set(np.unique(steps)) <= {0, 1} and tracklets[0] == 0
    for group in (tracklets, videos):
        assert (np.diff(group) != 0).sum() + 1 == len(np.unique(group)), "a group is torn apart"
    same = np.diff(tracklets) == 0
    assert (np.diff(videos)[same] == 0).all() and (np.diff(made.frames)[same] >= 0).all()
    first = np.flatnonzero(np.diff(tracklets, prepend=-1))
    assert (np.diff(videos[first]) >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(made.features, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_rows_stand_in_order_and_nobody_is_seen_twice_in_a_frame(preset):
    made = generate(WORLD, preset)
    checked_order(made)
    somebody = made.identities >= 0
    seen = np.stack([made.videos, made.frames, made.identities])[:, somebody]
    assert len(np.unique(seen, axis=1).T) == seen.shape[1], "one person in two places at a time"
    nobody = np.isin(made.kinds, (Kind.BACKGROUND, Kind.TWO_PEOPLE))
    np.testing.assert_array_equal(nobody, ~somebody)


def test_the_shares_are_those_asked_for():
    noise = Noise(switches=0.3, cuts=1.0, background=0.06, two_people=0.02, occlusion=0.1, duplicates=0.2)
    made, clean = generate(WORLD, noise), generate(WORLD, "clean")
    n, counts = len(clean.kinds), np.bincount(made.kinds, minlength=6)
    assert n < len(made.kinds) < 1.06 * n, (
        "half of the boxes on nobody are added, the other half replace images"
    )
    assert counts[Kind.BACKGROUND] == pytest.approx(0.06 * n, rel=0.15)
    assert counts[Kind.TWO_PEOPLE] == pytest.approx(0.02 * n, rel=0.25)
    assert counts[Kind.OCCLUDED] == pytest.approx(0.1 * n, rel=0.15)
    assert counts[Kind.DUPLICATE] == pytest.approx(0.2 * counts[Kind.CLEAN], rel=0.3)
    mixed = 0
    for tracklet in np.unique(made.tracklets[made.kinds == Kind.SWITCHED]):
        rows = made.tracklets == tracklet
        people = made.identities[rows][made.identities[rows] >= 0]
        switched = made.kinds[rows] == Kind.SWITCHED
        mixed += len(np.unique(people)) == 2
        if not switched.all():
            assert switched.mean() <= 0.6 and switched.argmax() > 0, "the stranger is the tail"
    assert mixed > 0.1 * len(clean.tracklets[np.diff(clean.tracklets, prepend=-1) > 0])


def test_noise_looks_as_its_kind_says():
    made = generate(WORLD, Noise(0.2, 0.0, 0.05, 0.05, 0.2, 0.3))
    people = synthetic_tracklets._people(WORLD)
    own = (made.features * people[made.identities]).sum(1)
    by_kind = {kind: own[(made.kinds == kind) & (made.identities >= 0)] for kind in Kind}
    assert by_kind[Kind.CLEAN].min() > 0.7 and by_kind[Kind.SWITCHED].min() > 0.7
    assert np.median(by_kind[Kind.OCCLUDED]) < 0.85
    assert np.max(made.features[made.kinds == Kind.BACKGROUND] @ people.T) < 0.75
    again = np.flatnonzero(made.kinds == Kind.DUPLICATE)
    assert ((made.features[again] * made.features[again - 1]).sum(1) > 0.99).all()


def test_a_pure_function_of_seed_and_settings():
    one, same = generate(WORLD), generate(WORLD)
    for name, column in one._asdict().items():
        np.testing.assert_array_equal(column, getattr(same, name), err_msg=name)
    other = generate(dataclasses.replace(WORLD, seed=1))
    assert len(other.kinds) != len(one.kinds) or (other.kinds != one.kinds).any()


def test_into_a_file_as_in_memory(tmp_path, monkeypatch):
    made = []
    path = tmp_path / "new" / "features.npy"
    written = generate(WORLD, path=path, progress=made.append)
    assert isinstance(written.features, np.memmap) and written.features.dtype == np.float16
    assert sum(made) == len(written.features) and [file.name for file in path.parent.iterdir()] == [path.name]
    np.testing.assert_allclose(written.features, generate(WORLD).features, atol=1e-3)


def test_blocks_do_not_tear_near_duplicates():
    made = generate(World(people=400, width=8), Noise(duplicates=1.0))
    assert len(made.kinds) > tracklet_noise.BLOCK, "the test needs two blocks"
    again = np.flatnonzero(made.kinds == Kind.DUPLICATE)
    assert not (again % tracklet_noise.BLOCK == 0).any()
    assert ((made.features[again] * made.features[again - 1]).sum(1) > 0.98).all()


def test_labelled_images_become_tracklets_of_their_own():
    rng = np.random.default_rng(0)
    people = rng.standard_normal((20, 32))
    names = rng.choice(1000, 20, replace=False)
    person, cameras, frames = rng.integers(0, 20, 2000), rng.integers(0, 3, 2000), rng.permutation(2000)
    identities = np.where(rng.random(2000) < 0.05, -1, names[person])
    features = people[person] + 0.3 * rng.standard_normal((2000, 32))
    clean = from_labelled(features, identities, cameras, frames, noise="clean", longest=15)
    checked_order(clean)
    assert sorted(clean.identities) == sorted(identities[identities >= 0]), "every labelled image once"
    assert np.bincount(clean.tracklets).max() == 15
    # The features are still those of their person, wherever they went.
    unit = people / np.linalg.norm(people, axis=1, keepdims=True)
    nearest = names[(clean.features @ unit.T).argmax(1)]
    assert (nearest == clean.identities).mean() > 0.99
    noisy = from_labelled(features, identities, cameras, frames, noise="heavy")
    checked_order(noisy)
    good = np.isin(noisy.kinds, (Kind.CLEAN, Kind.SWITCHED, Kind.DUPLICATE))
    nearest = names[(noisy.features[good] @ unit.T).argmax(1)]
    assert (nearest == noisy.identities[good]).mean() > 0.99
    assert set(np.unique(noisy.kinds)) == set(Kind) and set(noisy.identities) <= {-1, *names.tolist()}


def test_no_images_and_one_image():
    none = from_labelled(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, int), noise="heavy")
    assert none.features.shape == (0, 4) and len(none.tracklets) == 0
    one = from_labelled(np.ones((1, 4)), np.array([7]), np.array([0]), noise="light")
    assert one.identities.tolist() == [7] and one.tracklets.tolist() == [0]


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"'loud' is not one of clean, light"):
        generate(WORLD, "loud")
    with pytest.raises(UserError, match="switches"):
        Noise(switches=1.5)
    with pytest.raises(UserError, match="likeness"):
        World(likeness=0.1)
    with pytest.raises(ValueError, match="feature 1 is zero"):
        from_labelled(np.array([[1.0, 0], [0, 0]]), np.zeros(2, int), np.zeros(2, int))
    with pytest.raises(ValueError, match="do not fit"):
        from_labelled(np.ones((2, 2)), np.zeros(3, int), np.zeros(2, int))
