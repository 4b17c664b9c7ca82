"""The report: figures that add up, galleries that show what they say, a page that needs nothing else."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cion_jax.evaluation import label_quality
from cion_jax.evaluation.label_report import (
    Denoised,
    Level,
    Links,
    Names,
    Run,
    between,
    bins,
    galleries,
    inside,
    samples,
    sentences,
    write,
)
from cion_jax.evaluation.label_report.thumbnails import Thumbnails

# Six tracklets in two videos; image 3 goes to tracklet 1, image 11 is out; parts 0 and 2 are linked, and 1 and 3.
TRACKLETS = np.repeat(np.arange(6), 4)
VIDEOS = TRACKLETS // 3
PLACED = TRACKLETS.copy()
PLACED[3], PLACED[11] = 1, -1
PARTS = np.where(PLACED < 0, -1, np.array([0, 1, 1, 2, 3, 4])[PLACED])
LABELS = np.where(PARTS < 0, -1, np.array([0, 1, 0, 1, 2])[PARTS])
TRUE = np.array([7, 8, 8, 7, 8, 9])[TRACKLETS]
TRUE[3] = 8
DISTANCES = np.linspace(0.1, 0.3, 24)
LINKED = Links(np.array([0, 1, 0]), np.array([2, 3, 2]), np.array([0.05, 0.15, 0.05]))
MISSED = Links(np.array([2, 3]), np.array([4, 4]), np.array([0.2, 0.19]))


def denoised(**others):
    return Denoised(TRACKLETS, VIDEOS, PLACED, PARTS, LABELS, DISTANCES, LINKED, MISSED)._replace(**others)


def run(**others):
    levels = [
        Level.of("raw tracklets", TRACKLETS, noise=2.5, consistency=5, discrimination=10),
        Level.of("level 1 <b>", np.where(PLACED == TRACKLETS, TRACKLETS, -1), TRACKLETS),
        Level.of("level 3", LABELS, PLACED, moved=1, merges=3, noise=0.5, consistency=1, discrimination=0),
    ]
    usual = {
        "levels": levels,
        "sizes": np.bincount(LABELS[LABELS >= 0]),
        "components": np.array([2, 2, 1]),
        "inside_before": DISTANCES,
        "inside_after": DISTANCES[:9],
        "linked": LINKED.distance,
        "apart": MISSED.distance,
        "galleries": galleries(denoised()),
    }
    return Run("A & B", sigma_cst=0.2, sigma_drm=0.18, videos=2, tracklets=6, **(usual | others))


def picture(row):
    return np.full((40, 20, 3), 10 * row, np.uint8)


class Tags(HTMLParser):
    """Checks that tags close, and gathers what the page refers to."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.images = [], [], []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[key] for key in ("src", "href") if key in values]
        self.images += [values["src"]] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def test_the_page_needs_no_other_file_and_no_script(tmp_path):
    page = write(run(), tmp_path / "new", picture=picture).read_text()
    tags = Tags(page)
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in tags.links)
    assert "<script" not in page and "url(" not in page and "@import" not in page
    assert "A &amp; B" in page and "level 1 &lt;b&gt;" in page, "text must be escaped"
    assert {f"#{name}" for name in re.findall(r'<section id="(\w+)"', page)} == {
        link for link in tags.links if link[0] == "#"
    }
    assert "prefers-color-scheme: dark" in page
    assert len(tags.images) > 20
    image = Image.open(io.BytesIO(base64.b64decode(tags.images[0].split(",")[1])))
    assert image.size == (56, 112), "as high as its place"


def test_json_has_the_same_figures(tmp_path):
    write(run(), tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert [level["images"] for level in found["levels"]] == [24, 22, 23]
    assert [level["removed"] for level in found["levels"]] == [0, 2, 0]
    assert [level["identities"] for level in found["levels"]] == [6, 6, 3]
    assert sum(found["distances_inside"]["counts"]["raw tracklets"]) == 24
    assert sum(one["members"] for one in found["sizes"]) == 23
    assert found["largest_component"] == 2 and found["warnings"] == []
    assert {one["title"] for one in found["galleries"]} == {
        "Most doubtful links",
        "Identities",
        "Removed images",
        "Moved images",
        "Near misses",
    }


def test_not_a_number_is_no_json(tmp_path):
    write(run(settings={"a": float("nan"), "b": np.float32(2), "c": (1, tmp_path)}), tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())["settings"]
    assert found["a"] is None and found["b"] == 2 and found["c"] == [1, str(tmp_path)]


def test_a_run_of_nothing_is_reported_too(tmp_path):
    none = np.zeros(0, np.int64)
    level = Level.of("raw tracklets", none, quality=label_quality(none, none))
    nothing = Run(
        "nothing", [level], sigma_cst=0.2, sigma_drm=0.18, galleries=galleries(Denoised(*[none] * 5))
    )
    Tags(write(nothing, tmp_path, picture=picture).read_text())
    assert "No image is left" in sentences.warnings(nothing)[0]
    with pytest.raises(ValueError, match="one level"):
        Run("nothing", [], sigma_cst=0.2, sigma_drm=0.18)
    with pytest.raises(ValueError, match="linked must be finite"):
        run(linked=np.array([np.nan]))


def test_galleries_show_what_they_say():
    by_title = {gallery.title: gallery.strips for gallery in galleries(denoised())}
    (removed,) = by_title["Removed images"]
    assert [tile.row for tile in removed.groups[0].tiles] == [11]
    assert [tile.row for tile in removed.groups[1].tiles] == [8, 9, 10] and "0.196" in removed.note
    (moved,) = by_title["Moved images"]
    source, image, target = ([tile.row for tile in group.tiles] for group in moved.groups)
    assert (source, image, target) == ([0, 1, 2], [3], [4, 5, 6, 7])
    links = by_title["Most doubtful links"]
    assert [strip.title for strip in links] == ["Distance 0.150, identity 1", "Distance 0.050, identity 0"]
    assert all(len(strip.groups) == 2 for strip in links)
    misses = by_title["Near misses"]
    assert [strip.title for strip in misses] == [
        "Distance 0.190, identities 1 and 2",
        "Distance 0.200, identities 0 and 2",
    ]
    identities = by_title["Identities"]
    assert sorted(strip.title for strip in identities) == ["Identity 0", "Identity 1", "Identity 2"]
    assert [group.label for group in identities[0].groups] == ["video 0", "video 1"]
    assert not any(strip.wrong for strips in by_title.values() for strip in strips), "nobody knows the truth"


def names(identities=(30, -1, 32)):
    """What the user calls things: tracklets begin anew in every video, one identity was not drawn."""
    return Names(
        tracklets=8800 + TRACKLETS % 3, identities=np.array(identities), image=lambda row: f"<i>/{row}&.jpg"
    )


def test_galleries_call_things_what_the_user_calls_them(tmp_path):
    shown = galleries(denoised(names=names()))
    by_title = {gallery.title: gallery.strips for gallery in shown}
    (removed,), (moved,) = by_title["Removed images"], by_title["Moved images"]
    assert removed.title == "Tracklet 8802, video 0" and removed.note == "distance 0.196; <i>/11&.jpg"
    assert [group.label for group in moved.groups] == ["from tracklet 8800", "moved", "to tracklet 8801"]
    assert moved.note.endswith("<i>/3&.jpg") and moved.groups[1].tiles[0].name == "<i>/3&.jpg"
    assert {strip.title for strip in by_title["Identities"]} == {
        "Identity 30",
        "Identity not drawn",
        "Identity 32",
    }
    assert [strip.title for strip in by_title["Near misses"]] == [
        "Distance 0.190, identity not drawn and identity 32",
        "Distance 0.200, identities 30 and 32",
    ]
    page = write(run(galleries=shown), tmp_path, picture=picture).read_text()
    assert "<i>/" not in page and 'alt="&lt;i&gt;/11&amp;.jpg"' in page
    Tags(page)
    told = json.loads((tmp_path / "report.json").read_text())["galleries"]
    tile = told[0]["strips"][0]["groups"][0]["tiles"][0]
    assert tile["name"] == f"<i>/{tile['row']}&.jpg"


def test_links_whose_sides_were_parted_or_left_out_at_the_end_are_not_shown():
    labels = LABELS.copy()
    labels[PARTS == 2] = 2  # went to another identity after all
    labels[(PARTS == 1) & (np.arange(24) < 8)] = -1  # of this side some were left out, others stayed
    by_title = {gallery.title: gallery.strips for gallery in galleries(denoised(labels=labels))}
    assert [strip.title for strip in by_title["Most doubtful links"]] == ["Distance 0.150, identity 1"]
    labels[PARTS == 1] = -1
    assert "Most doubtful links" not in {gallery.title for gallery in galleries(denoised(labels=labels))}


def test_a_table_and_a_chart_can_be_read_without_eyes_or_mouse(tmp_path):
    page = write(run(), tmp_path, picture=picture).read_text()
    heads = re.findall(r"<th[ >][^>]*", page)
    assert heads and all('scope="' in head for head in heads)
    charts = page.count("<svg")
    assert charts and page.count("<details") == charts, "every chart has its figures as a table"
    assert 'alt="image 11"' in page
    for count in json.loads((tmp_path / "report.json").read_text())["sizes"]:
        assert f"<td>{count['groups']:,}</td>" in page


def test_a_title_that_is_no_text_does_not_end_the_report(tmp_path):
    odd = dataclasses.replace(run(), title=b"a\xff".decode(errors="surrogateescape"))
    assert "a\\udcff" in write(odd, tmp_path).read_text()


def test_with_the_truth_wrong_decisions_are_marked():
    true = TRUE.copy()
    true[[5, 12]] = 9, -1
    by_title = {gallery.title: gallery.strips for gallery in galleries(denoised(true=true))}
    assert by_title["Removed images"][0].wrong, "image 11 is of its tracklet's person"
    assert not by_title["Moved images"][0].wrong and not any(s.wrong for s in by_title["Near misses"])
    assert not any(strip.wrong for strip in by_title["Most doubtful links"])
    one, two = (strip for strip in by_title["Identities"] if strip.title in ("Identity 0", "Identity 1"))
    if one.title != "Identity 0":
        one, two = two, one
    assert not one.wrong and "1 image of nobody" in one.note, "a box on nobody is no second person"
    assert [(tile.row, tile.wrong) for tile in one.groups[-1].tiles] == [(12, True)]
    assert two.wrong and "1 image of other people" in two.note
    assert [(tile.row, tile.wrong) for tile in two.groups[-1].tiles] == [(5, True)]


def test_of_parallel_and_longer_links_the_bridge_is_shown():
    n = 4
    labels = np.zeros(n, int)
    links = Links(np.array([0, 1, 0, 2]), np.array([1, 2, 2, 3]), np.array([0.1, 0.0, 0.17, 0.12]))
    base = Denoised(np.arange(n), np.arange(n), np.arange(n), np.arange(n), labels, linked=links)
    strips = {gallery.title: gallery.strips for gallery in galleries(base)}["Most doubtful links"]
    found = [strip.title.split(",")[0] for strip in strips]
    assert found == ["Distance 0.120", "Distance 0.100", "Distance 0.000"], "0-2 has a shorter way over 1"


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_galleries_stand_any_labels(n, seed):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, 5, n), rng.integers(0, 3, n), *(rng.integers(-1, 5, n) for _ in range(3))]
    links = Links(rng.integers(0, 5, 6), rng.integers(0, 5, 6), rng.random(6))
    true = rng.integers(-1, 3, n) if seed % 2 else None
    made = galleries(Denoised(*columns, rng.random(n), links, links, None, true), strips=3)
    rows = [tile.row for g in made for strip in g.strips for group in strip.groups for tile in group.tiles]
    assert all(0 <= row < n for row in rows) and all(len(g.strips) <= 3 for g in made)


def test_the_number_of_pictures_is_bounded():
    asked = []
    thumbnails = Thumbnails(lambda row: (asked.append(row), picture(row))[1], most=2)
    assert thumbnails(1) and thumbnails(2) and thumbnails(1) and thumbnails(3) is None
    assert asked == [1, 2], "each is read once"
    assert Thumbnails(lambda row: None)(5) is None
    with pytest.raises(ValueError, match="picture 4 must be uint8"):
        Thumbnails(lambda row: np.zeros((2, 2)))(4)


def test_a_chain_is_warned_of_and_a_small_set_is_not():
    chain = run(components=np.array([40] + [1] * 200))
    (warning,) = sentences.warnings(chain)
    assert "40 of 240 tracklets (16.7 %" in warning
    assert sentences.warnings(run(components=np.array([20] * 10))) == [], "ten people who are seen often"
    assert sentences.warnings(run(components=np.full(3000, 3))) == []
    lost = run(levels=[Level("raw", 6, 24), Level("level 1", 6, 10, merges=1, consistency=5)])
    assert (
        len(sentences.warnings(lost)) == 2
        and "58.3 % of the images were removed" in sentences.warnings(lost)[0]
    )


def test_percentages_do_not_round_to_everything_or_nothing():
    assert [sentences.percent(x) for x in (0, 1, 0.9999999, 1e-9, 0.5)] == [
        "0 %",
        "100 %",
        "99.99 %",
        "0.01 %",
        "50.0 %",
    ]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0, 2, width=32), max_size=40),
    st.lists(st.floats(0, 2, width=32), max_size=40),
    st.floats(0.001, 1.5),
)
def test_histograms_count_everything_and_no_bin_lies_on_both_sides(one, two, threshold):
    found = bins.of_distances({"one": np.array(one), "two": np.array(two)}, threshold)
    wanted = {name: len(values) for name, values in (("one", one), ("two", two)) if values}
    assert {name: sum(counts) for name, counts in found.counts.items()} == wanted
    if not wanted:
        return
    edges = np.array(found.edges)
    assert (np.diff(edges) > 0).all() and len(edges) < 100
    inside = (edges[:-1] < threshold) & (edges[1:] > threshold)
    assert not inside.any()
    below = edges[1:] <= threshold
    for name, values in (("one", one), ("two", two)):
        if values and below.any():
            assert np.array(found.counts[name])[below].sum() == (np.array(values) < threshold).sum()


@given(st.lists(st.integers(1, 5000), max_size=40))
def test_sizes_fall_into_powers_of_two(values):
    found = bins.of_sizes(np.array(values, np.int64))
    assert sum(one.groups for one in found) == len(values)
    assert sum(one.members for one in found) == sum(values)
    for low, high, groups, _ in found:
        assert groups == sum(low <= value <= high for value in values)
    assert all(a.high + 1 == b.low for a, b in pairwise(found))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 150), st.sampled_from([None, 0, 1, 5, 70, 1000]), st.integers(0, 2**32 - 1))
def test_sampled_distances_are_those_of_loops(n, half_width, seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.standard_normal((n, 6)), rng.integers(-1, 9, n)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    wanted = []
    for i in np.flatnonzero(labels >= 0):
        others = unit[(labels == labels[i]) & (np.arange(n) != i)].sum(axis=0)
        if others.any():
            wanted.append(1 - unit[i] @ others / np.linalg.norm(others))
    np.testing.assert_allclose(np.sort(inside(3 * features, labels)), np.sort(wanted), atol=1e-12)

    used = np.flatnonzero(labels >= 0)
    reach = n if half_width is None else half_width
    nearest = {True: [], False: []}
    for a, i in enumerate(used):
        for same, values in nearest.items():
            near = [
                1 - unit[i] @ unit[j]
                for b, j in enumerate(used)
                if 0 < abs(a - b) <= reach and (labels[i] == labels[j]) == same
            ]
            values += [min(near)] if near else []
    with mock.patch.multiple(samples, _ROWS=7, _COLUMNS=11):
        found = between(features, labels, half_width=half_width)
    np.testing.assert_allclose(np.sort(found.linked), np.sort(nearest[True]), atol=1e-12)
    np.testing.assert_allclose(np.sort(found.apart), np.sort(nearest[False]), atol=1e-12)
    for i, j, distance in zip(*found.missed, strict=True):
        assert labels[i] != labels[j] and distance == pytest.approx(1 - unit[i] @ unit[j], abs=1e-12)
    assert len(between(features, labels, most=3).apart) <= 3


def test_a_sample_of_whole_groups_is_enough():
    labels = np.repeat(np.arange(100), 10)
    features = np.random.default_rng(0).standard_normal((1000, 4))
    assert len(inside(features, labels, most=25)) == 30
