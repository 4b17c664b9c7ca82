"""The report of a run of the task: every level measured, the right images chosen."""

import json
import re

import numpy as np
import pytest

from cion_jax import denoise
from cion_jax.evaluation import label_quality
from cion_jax.tasks import denoise_input, denoise_outputs, denoise_report
from tests.tasks.denoise_data import columns_of, crowd, people, save, with_about


def result_of(images, settings):
    ids = (images.columns[name] for name in ("tracklet", "video", "frame"))
    return denoise.run(images.features, *ids, settings=settings)


def report_of(images, settings, *, truth=True, labels=None):
    result = result_of(images, settings)
    if labels is not None:
        result = result._replace(labels=labels, levels=result.levels | {"subsample": labels})
    distance = denoise_outputs.distances(images, result)
    true = denoise_input.read_truth("identity", images) if truth else None
    return denoise_report.Report(images, settings, result, distance, true)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return denoise_input.read(save(tmp_path_factory.mktemp("crowd") / "f.npz", columns_of(crowd())))


MODES = {
    "paper": denoise.paper(),
    "recommended": denoise.recommended(sigma_cst=0.11, sigma_drm=0.18, second_look=True, min_images=3),
}


@pytest.mark.parametrize("mode", MODES)
def test_figures_of_every_level(images, tmp_path, mode):
    report = report_of(images, MODES[mode])
    denoise_report.write(tmp_path, report, title="crowd", thumbnails=True)
    found = json.loads((tmp_path / "report.json").read_text())
    levels = report.result.levels
    assert [level["name"] for level in found["levels"]] == [denoise_report._NAMES[name] for name in levels]
    for level, labels in zip(found["levels"], levels.values(), strict=True):
        assert level["identities"] == labels.max() + 1 and level["images"] == (labels >= 0).sum()
        quality = label_quality(labels, report.true)
        assert level["quality"]["pair_f"] == pytest.approx(quality["pair_f"])
        noise = denoise.noise(images.features, labels, sigma_cst=report.settings.sigma_cst, sigma_drm=0.18)
        assert level["noise"] == pytest.approx(noise.total)
    text = (tmp_path / "report.html").read_text()
    assert "crowd" in text and "sigma_drm" in text and "<img" not in text, "there are no pictures"


def test_merges_do_not_count_what_is_left_out(images):
    report = report_of(images, MODES["recommended"])
    last = denoise_report._levels(report)[-1]
    before, after = report.result.levels["level 3"], report.result.labels
    assert after.max() < before.max() and last.merges == 0, "min_images leaves identities out, it merges none"


def test_a_subsample_is_a_level_and_its_rest_is_not_shown_as_removed(images, tmp_path):
    labels = result_of(images, MODES["paper"]).labels
    drawn = np.where(labels < 10, labels, -1)
    report = report_of(images, MODES["paper"], labels=drawn, truth=False)
    denoise_report.write(tmp_path, report, title="crowd", thumbnails=False)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["levels"][-1]["name"] == "subsample: drawn" and found["levels"][-1]["identities"] == 10
    whole = report_of(images, MODES["paper"], truth=False)
    parts = report.result.levels["level 2"]
    sums = np.stack([images.features[np.flatnonzero(parts == k)].sum(axis=0) for k in range(parts.max() + 1)])
    identity = denoise_report._of_parts(parts, report.result.levels["level 3"], len(sums))
    between = denoise_report.label_report.between(sums, identity)
    shown = [
        [
            strip
            for gallery in denoise_report._galleries(one, sums, identity, between)
            for strip in gallery.strips
        ]
        for one in (report, whole)
    ]
    assert [strip.groups for strip in shown[0]] == [strip.groups for strip in shown[1]]
    # Identities of 10 and more were not drawn: labels.parquet does not have them.
    numbers = [int(n) for strip in shown[0] for n in re.findall(r"identit\w+ (\d+)", strip.title.lower())]
    assert numbers and max(numbers) < 10 and any("not drawn" in strip.title for strip in shown[0])


def test_where_images_were_placed():
    # 1 left tracklet 0 for 1 in its video, 2 was given to 1's identity at the end, 5 was thrown out, 6 is reborn alone.
    levels = {
        "tracklets": np.array([0, 0, 0, 1, 1, 1, 2]),
        "level 1": np.array([0, -1, 0, 1, 1, -1, -1]),
        "level 2": np.array([0, 1, 0, 1, 1, -1, 2]),
        "level 3": np.array([0, 1, 0, 1, 1, -1, 2]),
        "finished": np.array([0, 1, 1, 1, 1, -1, 2]),
    }
    result = denoise.Result(levels["finished"], levels, np.zeros((0, 2), np.int64), [])
    placed = denoise_report._placed(result, denoise_outputs.actions(result))
    assert placed.tolist() == [0, 1, -1, 1, 1, -1, -1]


def test_numbers_and_names_are_those_of_the_source(tmp_path):
    """The source numbers tracklets from 8823 on; the report says those, and paths, not its own counts."""
    columns = columns_of(crowd())
    columns |= {"tracklet": 8823 + 7 * columns["tracklet"], "video": 500 + 3 * columns["video"]}
    columns["path"] = np.array([f"<b>{path}" for path in columns["path"]])
    images = denoise_input.read(save(tmp_path / "f.npz", columns))
    report = report_of(images, MODES["recommended"])
    denoise_report.write(tmp_path, report, title="crowd", thumbnails=False)
    known = set(zip(columns["tracklet"].tolist(), columns["video"].tolist(), strict=True))
    galleries = json.loads((tmp_path / "report.json").read_text())["galleries"]
    strips = {gallery["title"]: gallery["strips"] for gallery in galleries}
    for strip in strips["Removed images"]:
        tracklet, video = map(int, re.fullmatch(r"Tracklet (\d+), video (\d+)", strip["title"]).groups())
        assert (tracklet, video) in known
        tile = strip["groups"][0]["tiles"][0]
        row = tile["row"]
        assert tile["name"] == images.paths[row] and images.paths[row] in strip["note"]
        assert (images.columns["tracklet"][row], images.columns["video"][row]) == (tracklet, video)
    assert all(
        int(re.search(r"from tracklet (\d+)", strip["groups"][0]["label"])[1]) >= 8823
        for strip in strips["Moved images"]
    )
    text = (tmp_path / "report.html").read_text()
    assert "<b>0/" not in text and "&lt;b&gt;" in text


def test_images_without_paths_are_called_by_their_row(images, tmp_path):
    columns = columns_of(crowd())
    order = np.random.default_rng(0).permutation(len(columns["path"]))
    del columns["path"]
    shuffled = save(tmp_path / "f.npz", {name: column[order] for name, column in columns.items()})
    images = denoise_input.read(shuffled)
    names = denoise_report._names(report_of(images, MODES["paper"], truth=False))
    assert names.image(5) == f"row {images.rows[5]}"


def test_identities_that_were_merged_again_are_shown_by_links_that_held(images):
    """The closure's links do not span them any more: the nearest of their parts do."""
    settings = denoise.paper(sigma_drm=0.3, max_share=0.01)
    report = report_of(images, settings, truth=False)
    assert report.result.warnings, "the test needs a component that is merged again"
    parts, labels = report.result.levels["level 2"], report.result.levels["level 3"]
    total = denoise_report.sums.of_labels(images.features, parts, parts.max() + 1)
    identity = denoise_report._of_parts(parts, labels, len(total))
    first, second = denoise_report._holding_links(report.result.links, total, identity).T
    assert (identity[first] == identity[second]).all()
    assert len(first) == len(total) - len(np.unique(identity)), "every identity hangs together by them"


def test_what_holds_an_identity_together():
    rng = np.random.default_rng(0)
    total, identity = rng.normal(size=(40, 6)), rng.integers(-1, 4, 40)
    links = denoise_report._spanning_links(total, identity)
    assert (links[:, 0] < links[:, 1]).all() and (identity[links[:, 0]] == identity[links[:, 1]]).all()
    assert sorted(links[:, 1].tolist()) == sorted(
        k for k in range(40) if identity[k] >= 0 and (identity[:k] == identity[k]).any()
    )
    unit = total / np.linalg.norm(total, axis=1, keepdims=True)
    for first, second in links:
        earlier = np.flatnonzero(identity[:second] == identity[second])
        assert first == earlier[np.argmax(unit[earlier] @ unit[second])]
    assert denoise_report._spanning_links(total, np.full(40, -1)).shape == (0, 2)


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    folder = tmp_path_factory.mktemp("album")
    return folder, people(folder)


@pytest.mark.parametrize(("thumbnails", "gone"), [(True, False), (False, False), (True, True)])
def test_thumbnails_where_the_images_still_are(album, tmp_path, thumbnails, gone):
    folder, columns = album
    source = tmp_path / "gone" if gone else folder
    images = denoise_input.read(save(tmp_path / "f.npz", with_about(columns, source)))
    report = report_of(images, denoise.paper(), truth=False)
    denoise_report.write(tmp_path, report, title="album", thumbnails=thumbnails)
    text = (tmp_path / "report.html").read_text()
    assert ("data:image" in text) == (thumbnails and not gone)


def test_thumbnails_are_of_the_row(album, tmp_path):
    folder, columns = album
    shuffled = np.random.default_rng(1).permutation(len(columns["path"]))
    source = save(tmp_path / "f.npz", with_about({k: v[shuffled] for k, v in columns.items()}, folder))
    images = denoise_input.read(source)
    picture = denoise_report._pictures(images)
    person = columns["person"][shuffled][images.rows]
    for row in range(len(images)):
        assert abs(int(picture(row)[-1, 0, 0]) - (40 + 80 * person[row])) < 8


def test_the_summary_has_a_line_a_level(images):
    report = report_of(images, denoise.paper())
    lines = denoise_report.summary(report.result, report.true).splitlines()
    assert len(lines) == 1 + len(report.result.levels) and lines[-1].startswith("finished")
    quality = label_quality(report.result.labels, report.true)
    assert f"{quality['pair_f']:.3f}" in lines[-1] and f"{quality['identities']:,}" in lines[-1]


def test_looseness_is_what_the_report_says_it_is(images):
    report = report_of(images, denoise.paper(), truth=False)
    found = denoise_report._looseness(report.finished, report.distance)
    unit = images.features / np.linalg.norm(images.features, axis=1, keepdims=True)
    for name, loose in enumerate(found):
        mine = unit[report.finished == name]
        assert loose == pytest.approx(1 - np.linalg.norm(mine.sum(axis=0)) / len(mine), abs=1e-5)
    assert denoise_report._looseness(np.full(3, -1), np.ones(3)).tolist() == []
