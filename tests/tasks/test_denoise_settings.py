"""Every setting of the task becomes a setting of the levels, or an error that names it."""

import numpy as np
import pytest

from cion_jax import denoise
from cion_jax.core.errors import UserError
from cion_jax.tasks import denoise_input, denoise_settings
from cion_jax.tasks.stages import Stages
from tests.tasks.denoise_data import columns_of, config_of, crowd, save


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save(tmp_path_factory.mktemp("crowd") / "f.npz", columns_of(crowd()))


@pytest.fixture(scope="module")
def images(source):
    return denoise_input.read(source)


@pytest.fixture(scope="module")
def measured():
    made = crowd()
    return denoise.calibrate(made.features, made.tracklets, made.videos, made.frames)


def chosen(images, source, tmp_path, **values):
    said = []
    config = config_of(source, **values)
    denoise_settings.check(config)
    found = denoise_settings.settings(
        config, images, Stages(tmp_path / "stages", 1, said.append), said.append
    )
    return found, said


def test_modes_are_those_of_the_library(images, source, tmp_path, measured):
    assert chosen(images, source, tmp_path, mode="paper") == (denoise.paper(), [])
    found, said = chosen(images, source, tmp_path)
    sigmas = {"sigma_cst": measured.sigma_cst, "sigma_drm": measured.sigma_drm}
    assert found == denoise.recommended(**sigmas)
    assert "from the data" in said[-1] and f"{measured.tracklets:,} tracklets" in said[-1]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("half_width", 0, {"half_width": None}),
        ("half_width", 7, {"half_width": 7}),
        ("half_width", -1, {}),
        ("options__merging", "agglomerative", {"merging": "agglomerative"}),
        ("options__merging", "", {}),
        ("options__cannot_link", "yes", {"cannot_link": True}),
        ("options__cannot_link", "no", {}),
        ("options__split", "yes", {"split": True}),
        ("options__second_look", "yes", {"second_look": True}),
        ("options__give_back", "yes", {"give_back": True}),
        ("options__rebirth", 4, {"rebirth": 4}),
        ("options__rebirth", 0, {}),
        ("options__mutual", 5, {"mutual": 5}),
        ("options__max_share", 0.25, {"max_share": 0.25}),
        ("options__max_radius", 0.5, {"max_radius": 0.5}),
        ("options__min_images", 3, {"min_images": 3}),
        ("sigma_cst", 0.3, {"sigma_cst": 0.3}),
        ("sigma_drm", 0.4, {"sigma_drm": 0.4}),
    ],
)
def test_each_option_is_read(images, source, tmp_path, key, value, expected):
    assert chosen(images, source, tmp_path, mode="paper", **{key: value})[0] == denoise.paper(**expected)


@pytest.mark.parametrize("name", ["cannot_link", "split", "give_back"])
def test_what_the_mode_has_can_be_switched_off(images, source, tmp_path, name):
    given = {"sigma_cst": 0.1, "sigma_drm": 0.2}
    found, _ = chosen(images, source, tmp_path, **given, **{f"options__{name}": "no"})
    assert found == denoise.recommended(**given, **{name: False})


def test_thresholds_come_from_where_the_settings_say(images, source, tmp_path, measured):
    found, _ = chosen(images, source, tmp_path, calibrate="yes", mode="paper")
    assert (found.sigma_cst, found.sigma_drm) == (measured.sigma_cst, measured.sigma_drm)
    found, said = chosen(images, source, tmp_path, sigma_drm=0.4)
    assert (found.sigma_cst, found.sigma_drm) == (measured.sigma_cst, 0.4), "one given, the other measured"
    assert any("thresholds: done before" in line for line in said)
    found, said = chosen(images, source, tmp_path, sigma_cst=0.3, sigma_drm=0.4)
    assert (found.sigma_cst, found.sigma_drm, said) == (0.3, 0.4, []), "nothing is measured"
    found, said = chosen(images, source, tmp_path, calibrate="no")
    assert (found.sigma_cst, found.sigma_drm, said) == (0.2, 0.18, [])


@pytest.mark.parametrize(
    "values",
    [
        {"options__merging": "closure", "options__mutual": 3, "options__max_share": 0.1},
        {"options__mutual": 0, "options__max_share": 1.0, "options__max_radius": 2.0},
        {"labelled": "l.npz", "sigma_cst": 0.1},
        {"labelled": "l.npz", "calibrate": "no"},
        {"calibrate": "yes", "sigma_drm": 0.1},
    ],
)
def test_settings_that_go_together_are_taken(values):
    denoise_settings.check(config_of("f.npz", **values))


def test_thresholds_from_labelled_images(images, source, tmp_path):
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 6)
    features = np.eye(30)[who] + 0.03 * rng.normal(size=(180, 30))
    labelled = save(tmp_path / "labelled.npz", {"features": features, "identity": who})
    expected = denoise.calibrate_labelled(features, who)
    found, said = chosen(images, source, tmp_path, labelled=labelled, mode="paper")
    assert (found.sigma_cst, found.sigma_drm) == (expected.sigma_cst, expected.sigma_drm)
    assert "labelled.npz" in said[-1] and "30 identities" in said[-1]
    # Other images under the same name are other thresholds.
    save(tmp_path / "labelled.npz", {"features": features[:150], "identity": who[:150]})
    _, said = chosen(images, source, tmp_path, labelled=labelled, mode="paper")
    assert "thresholds ..." in said and "25 identities" in said[-1]
    save(tmp_path / "labelled.npz", {"features": features[:20], "identity": who[:20]})
    with pytest.raises(UserError, match=r"labelled=.*labelled\.npz: only 3 tracklets or identities"):
        chosen(images, source, tmp_path, labelled=labelled)


def test_features_that_tell_no_thresholds_are_told(tmp_path):
    few = {name: column[:40] for name, column in columns_of(crowd()).items()}
    source = save(tmp_path / "f.npz", few)
    with pytest.raises(
        UserError, match=r"f\.npz: only .* are needed to tell what one person looks like: give sigma"
    ):
        chosen(denoise_input.read(source), source, tmp_path)
    whole = columns_of(crowd())
    whole["frame"] = np.full(len(whole["frame"]), -1)
    source = save(tmp_path / "g.npz", whole)
    with pytest.raises(UserError, match=r"row 0 .* has no frame number, which calibrate needs"):
        chosen(denoise_input.read(source), source, tmp_path)
    whole = columns_of(crowd())
    whole["features"] = whole["features"][whole["tracklet"]]
    source = save(tmp_path / "h.npz", whole)
    with pytest.raises(UserError, match="sigma_cst"):  # every tracklet a single point
        chosen(denoise_input.read(source), source, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "--config.source"),
        ({"mode": "best"}, "mode='best' is none of paper, recommended"),
        ({"calibrate": "maybe"}, "calibrate='maybe'"),
        ({"half_width": -2}, "half_width=-2"),
        ({"sigma_cst": -0.1}, "sigma_cst=-0.1 is no cosine distance"),
        ({"sigma_drm": 2.1}, "sigma_drm=2.1"),
        ({"options__split": "true"}, "options.split='true' is neither yes nor no"),
        ({"options__merging": "greedy"}, "options.merging='greedy' is none of closure, agglomerative"),
        ({"options__min_images": 0}, "options.min_images=0"),
        ({"options__rebirth": -3}, "options.rebirth=-3"),
        ({"subsample__images": -1}, "subsample"),
        (
            {"options__mutual": 3},
            "mode=recommended with these .*: mutual would do nothing.*merging=closure, or leave out options.mutual",
        ),
        (
            {"mode": "paper", "options__merging": "agglomerative", "options__max_share": 0.1},
            "mode=paper with these options: max_share would do nothing.*leave out options.max_share",
        ),
        ({"options__max_radius": 0.5}, "leave out options.max_radius"),
        (
            {"labelled": "l.npz", "sigma_cst": 0.1, "sigma_drm": 0.2},
            "labelled would tell no threshold, sigma_cst and sigma_drm give both",
        ),
        (
            {"calibrate": "yes", "sigma_cst": 0.1, "sigma_drm": 0.2},
            "calibrate=yes would tell no threshold, sigma_cst and sigma_drm give both",
        ),
        ({"calibrate": "yes", "labelled": "l.npz"}, "labelled and calibrate=yes both tell the thresholds"),
    ],
)
def test_settings_that_cannot_be_used_or_do_nothing_are_told(values, message):
    with pytest.raises(UserError, match=message):
        denoise_settings.check(config_of(**{"source": "f.npz"} | values))
