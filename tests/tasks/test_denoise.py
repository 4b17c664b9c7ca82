"""The task `denoise` as the command line calls it, on a crowd of numbers and an album of pictures."""

import json
import os

import numpy as np
import pytest

from cion_jax import denoise as levels
from cion_jax import main
from cion_jax.core.commit import source_commit
from cion_jax.core.errors import UserError
from cion_jax.data import prepare, records
from cion_jax.tasks import denoise
from tests.tasks.denoise_data import (
    columns_of,
    config_of,
    crowd,
    labels_in,
    partition,
    people,
    save,
    shards,
    with_about,
)
from tests.tasks.two_runs import try_during

GIVEN = {"sigma_cst": 0.11, "sigma_drm": 0.18, "report": False}
STAGES = ("levels_1_2", "level_3", "finish")


@pytest.fixture(scope="module")
def columns():
    """In the order in which the task puts them."""
    made = columns_of(crowd())
    order = np.lexsort((made["tracklet"], made["frame"], made["video"]))
    return {name: column[order] for name, column in made.items()}


@pytest.fixture(scope="module")
def source(columns, tmp_path_factory):
    return save(tmp_path_factory.mktemp("crowd") / "f.npz", columns)


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the task into tmp_path/out: columns of labels.parquet, and what was said."""

    def call(source, **values):
        target = tmp_path / values.pop("target", "out")
        denoise.run(config_of(str(source), target=str(target), **values), tmp_path)
        return labels_in(target), capsys.readouterr().err

    return call


def library(columns, settings):
    ids = (columns[name] for name in ("tracklet", "video", "frame"))
    return levels.run(columns["features"], *ids, settings=settings)


def test_labels_are_those_of_the_library(columns, source, run):
    found, _ = run(source, mode="paper", report=False)
    ids = columns["tracklet"], columns["video"]
    assert found["identity"] == levels.correlate(columns["features"], *ids).tolist()
    found, _ = run(source, **GIVEN)
    recommended = levels.recommended(sigma_cst=0.11, sigma_drm=0.18)
    assert found["identity"] == library(columns, recommended).labels.tolist()


def test_a_folder_with_everything(source, run, tmp_path):
    found, said = run(source, truth="identity")
    out = tmp_path / "out"
    names = ["annos.json", "labels.parquet", "report.html", "report.json", "settings.json", "stages"]
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".lock") == names
    assert sorted(p.stem for p in (out / "stages").iterdir()) == [
        "finish",
        "level_3",
        "levels_1_2",
        "thresholds",
    ]
    settings = json.loads((out / "settings.json").read_text())
    assert settings["source"] == source and settings["mode"] == "recommended"
    assert settings["merging"] == "agglomerative" and settings["sigma_cst"] != 0.2
    assert settings["commit"] == source_commit()
    assert {"kept", "moved", "removed"} == set(found["action"])
    assert "levels 1 and 2:" in said and "level 3:" in said and "left" in said, "progress with the time left"
    assert "BCubed F" in said and f"wrote {out / 'report.html'}" in said


def test_without_target_the_result_is_in_the_work_directory(source, tmp_path):
    denoise.run(config_of(source, mode="paper", report=False), tmp_path)
    assert (tmp_path / "denoised/labels.parquet").is_file()
    assert not (tmp_path / "denoised/report.html").exists()


def contents(target):
    files = [path for path in target.iterdir() if path.is_file() and path.suffix != ".lock"]
    return {path.name: path.read_bytes() for path in files}


def test_nothing_of_other_labels_stays_beside_new_ones(columns, source, run, tmp_path):
    out = tmp_path / "out"
    run(source, mode="paper")
    assert {"annos.json", "report.html", "report.json"} < set(contents(out))
    _, said = run(source, mode="paper", sigma_drm=0.3, report=False)
    assert f"removed {out / 'report.html'}, {out / 'report.json'}, of an earlier run" in said
    assert set(contents(out)) == {"annos.json", "labels.parquet", "settings.json"}
    pathless = save(tmp_path / "g.npz", {name: columns[name] for name in columns if name != "path"})
    run(pathless, mode="paper", report=False)
    assert set(contents(out)) == {"labels.parquet", "settings.json"}


def test_settings_are_those_of_the_labels_beside_them(source, run, tmp_path, monkeypatch):
    run(source, mode="paper")
    written = contents(tmp_path / "out")
    with pytest.raises(UserError, match=r"subsample\.images=1"):
        run(source, mode="paper", sigma_drm=0.3, subsample__images=1)
    assert contents(tmp_path / "out") == written, "a run that fails before it writes changes nothing"

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(denoise.denoise_outputs.pyarrow.parquet, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        run(source, mode="paper", sigma_drm=0.3)
    assert contents(tmp_path / "out").keys() == {"labels.parquet"}, (
        "what told of the old labels is gone first"
    )


def test_options_have_their_effect(columns, source, run):
    """Each of those that change something here changes the labels as the library does."""
    for values, settings in (
        ({"half_width": 5}, {"half_width": 5}),
        ({"half_width": 0}, {"half_width": None}),
        ({"options__merging": "agglomerative"}, {"merging": "agglomerative"}),
        ({"options__min_images": 20}, {"min_images": 20}),
        ({"options__split": "yes", "options__give_back": "yes"}, {"split": True, "give_back": True}),
    ):
        found, _ = run(source, mode="paper", report=False, **values)
        assert found["identity"] == library(columns, levels.paper(**settings)).labels.tolist(), values


def test_a_random_draw(source, run):
    whole, _ = run(source, **GIVEN)
    found, _ = run(source, **GIVEN, subsample__identities=7, subsample__seed=3)
    assert max(found["identity"]) == 6 and "not drawn" in found["action"]
    assert found["distance"] == whole["distance"]
    assert partition(found["identity"]) <= partition(whole["identity"])
    other, _ = run(source, **GIVEN, subsample__identities=7, subsample__seed=4)
    assert other["identity"] != found["identity"]
    few, _ = run(source, **GIVEN, subsample__images=100)
    assert 0 < sum(name >= 0 for name in few["identity"]) <= 100


def test_rows_in_another_order_give_the_same_identities(columns, source, run, tmp_path):
    """Videos in turns, upside down, and anyhow; the table stands in the order of videos and frames again."""
    expected, _ = run(source, **GIVEN)
    turns = np.lexsort((columns["video"], columns["frame"]))
    anyhow = np.random.default_rng(0).permutation(len(turns))
    for order in (turns, np.arange(len(turns))[::-1], anyhow):
        shuffled = save(tmp_path / "g.npz", {name: column[order] for name, column in columns.items()})
        found, _ = run(shuffled, **GIVEN)
        assert found["path"] == expected["path"] and found["identity"] == expected["identity"]
        assert found["action"] == expected["action"]
        np.testing.assert_allclose(found["distance"], expected["distance"], atol=1e-6)


def test_unreadable_images_of_shards_shift_nothing(columns, run, tmp_path):
    bad = [0, 3, 500, len(columns["path"]) - 1]
    good = np.delete(np.arange(len(columns["path"])), bad)
    left = save(tmp_path / "left.npz", {name: column[good] for name, column in columns.items()})
    expected, _ = run(left, **GIVEN)
    stored = shards(tmp_path / "shards", columns, {}, unreadable=bad, rows=300)
    found, _ = run(stored, **GIVEN)
    assert found == expected


def test_finished_stages_are_reused_and_others_are_not(columns, source, run, tmp_path):
    def done(said):
        return [name for name in STAGES if f"{name}: done before" in said]

    def again(**values):
        return done(run(source, **{"mode": "paper", "report": False} | values)[1])

    assert again() == []
    assert again() == [*STAGES]
    assert again(options__min_images=2) == ["levels_1_2", "level_3"]
    assert again(half_width=3) == ["levels_1_2"]
    assert again(half_width=3, sigma_cst=0.3) == []
    assert again(half_width=3, sigma_cst=0.3, truth="identity", subsample__identities=3) == [*STAGES]
    assert again() == []
    # The same numbers under the same name, but written anew; then others.
    os.utime(source, ns=(5, 5))
    assert again() == []
    changed = columns["features"].copy()
    changed[: len(changed) // 2] = changed[0]
    other = save(tmp_path / "g.npz", columns)
    run(other, mode="paper", report=False, target="b")
    save(tmp_path / "g.npz", columns | {"features": changed})
    found, said = run(other, mode="paper", report=False, target="b")
    assert done(said) == []
    expected = levels.correlate(changed, columns["tracklet"], columns["video"])
    assert found["identity"] == expected.tolist()


def test_a_new_version_does_not_take_over_stages(source, run, monkeypatch):
    run(source, mode="paper", report=False)
    monkeypatch.setattr(denoise, "VERSION", denoise.VERSION + 1)
    assert "done before" not in run(source, mode="paper", report=False)[1]


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    folder = tmp_path_factory.mktemp("album")
    return folder, people(folder)


def test_from_pictures_to_records(album, run, tmp_path):
    folder, columns = album
    source = save(tmp_path / "f.npz", with_about(columns, folder))
    (tmp_path / "truth.csv").write_text(
        "path,identity\n"
        + "".join(f"{p},{k}\n" for p, k in zip(columns["path"], columns["person"], strict=True))
    )
    found, said = run(source, mode="paper", records=True, truth=str(tmp_path / "truth.csv"))
    # One image stands in another's tracklet; three people in two videos are three people.
    person = dict(zip(columns["path"].tolist(), columns["person"].tolist(), strict=True))
    assert partition(found["identity"]) == partition([person[path] for path in found["path"]])
    assert "truth known for 24 of 24 images" in said
    (tmp_path / "part.csv").write_text(
        f"path,identity\n{columns['path'][3]},7\n{columns['path'][5]},8\nelsewhere,9\n"
    )
    assert "truth known for 2 of 24 images" in run(source, mode="paper", truth=str(tmp_path / "part.csv"))[1]
    assert found["action"].count("moved") == 1 and "removed" not in found["action"]
    stored = records.open_split(tmp_path / "out/records", "train")
    assert [r.path for r in stored] == found["path"]
    assert stored.columns["identity"].tolist() == found["identity"]
    last = next(line for line in said.splitlines() if line.startswith("finished"))
    assert "1.000   1.000" in last, "every pair is right"
    assert "data:image" in (tmp_path / "out/report.html").read_text()
    assert "there already" in run(source, mode="paper", records=True)[1]


def test_records_with_other_labels_stop_a_run_before_it_changes_anything(album, run, tmp_path):
    folder, columns = album
    source = save(tmp_path / "f.npz", with_about(columns, folder))
    run(source, mode="paper", records=True)
    written = contents(tmp_path / "out")
    for asked in (True, False):
        with pytest.raises(UserError, match=r"out/records holds records with other labels.*remove it"):
            run(source, mode="paper", records=asked, report=False, sigma_drm=1.5)
        assert contents(tmp_path / "out") == written
    # The same labels: records stay without being asked for.
    run(source, mode="paper", options__give_back="yes")
    assert records.is_prepared(tmp_path / "out/records")


def test_records_of_other_features_are_refused_before_the_work(album, run, tmp_path):
    folder, columns = album
    source = save(tmp_path / "f.npz", with_about(columns, folder))
    run(source, mode="paper", records=True)
    other = save(tmp_path / "f.npz", with_about(columns | {"features": columns["features"] + 1}, folder))
    (tmp_path / "out/stages/levels_1_2.npz").unlink()
    with pytest.raises(UserError, match=r"out/records holds records of other features: remove it"):
        run(other, mode="paper")
    assert not (tmp_path / "out/stages/levels_1_2.npz").exists(), "nothing was computed"


def test_records_that_may_not_fit_are_told_of_before_the_work(album, run, tmp_path):
    folder, columns = album
    source = save(tmp_path / "f.npz", with_about(columns, folder))
    run(source, mode="paper", records=True)
    _, said = run(source, mode="paper")
    assert "other settings" not in said
    _, said = run(source, mode="paper", options__give_back="yes")
    assert said.index("out/records was made with other settings (give_back)") < said.index("finish ...")


def test_records_of_a_killed_run_are_gone_on_with_or_removed(album, run, tmp_path, monkeypatch):
    folder, columns = album
    source = save(tmp_path / "f.npz", with_about(columns, folder))
    monkeypatch.setattr(prepare, "SHARD_BYTES", 2000)
    take, taken = prepare._Tally.take, []

    def dying(self, row, result):
        taken.append(row.path)
        if len(taken) == 10:
            raise KeyboardInterrupt
        take(self, row, result)

    monkeypatch.setattr(prepare._Tally, "take", dying)
    for asked, left in (({}, 1), ({"sigma_drm": 1.5, "records": False}, 0), ({}, 1)):
        taken.clear()
        if asked:
            run(source, mode="paper", **asked)
        else:
            with pytest.raises(KeyboardInterrupt):
                run(source, mode="paper", records=True)
        assert len(list((tmp_path / "out").glob(".records.partial-*"))) == left
    begun = taken.copy()
    found, _ = run(source, mode="paper", records=True)
    again = set(taken[10:]) & set(begun)
    assert 0 < len(again) < 5, "only images of the shard that was open are written again"
    assert [r.path for r in records.open_split(tmp_path / "out/records", "train")] == found["path"]
    assert not list((tmp_path / "out").glob(".records.partial-*"))


def test_records_without_images_are_refused_before_the_work(album, run, tmp_path):
    source = save(tmp_path / "f.npz", with_about(album[1], tmp_path / "gone"))
    with pytest.raises(UserError, match=r"gone and are gone: put them back"):
        run(source, records=True, mode="paper")
    assert not (tmp_path / "out").exists()
    run(source, mode="paper")


@pytest.mark.parametrize("mode", ["paper", "recommended"])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "hold NaN"), (0.0, "are zero")])
def test_a_row_without_direction_is_named_as_the_user_knows_it(columns, run, tmp_path, mode, value, what):
    backwards = {name: column[::-1].copy() for name, column in columns.items()}
    backwards["features"][777] = value
    source = save(tmp_path / "f.npz", backwards)
    with pytest.raises(
        UserError, match=rf"f\.npz: the features of row 777 \({backwards['path'][777]}\) {what}"
    ):
        run(source, mode=mode)
    assert not list((tmp_path / "out/stages").glob("level*"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "add --config.source"),
        ({"source": "absent.npz"}, r"absent\.npz does not exist"),
        ({"mode": "x"}, "mode='x'"),
        ({"truth": "absent.csv"}, r"truth=absent\.csv"),
        ({"labelled": "absent.npz"}, r"absent\.npz does not exist"),
        ({"records": True}, "do not say where they come from"),
        ({"subsample.images": 1, "sigma_cst": 0.1, "sigma_drm": 0.2}, r"subsample\.images=1"),
    ],
)
def test_mistakes_end_with_a_sentence_and_no_traceback(source, tmp_path, capsys, values, message):
    words = [f"--config.{key}={value}" for key, value in ({"source": source} | values).items()]
    code = main.main(["main", "--config=configs/denoise.py", f"--workdir={tmp_path / 'w'}", *words])
    said = capsys.readouterr().err
    assert code == main.USER_ERROR_CODE and "Traceback" not in said
    with pytest.raises(UserError, match=message):
        raise UserError(said.strip().splitlines()[-1])


def test_guards_warn(columns, run, tmp_path):
    # Everybody alike: one component of everything.
    same = np.ones(8) + 0.05 * np.random.default_rng(0).normal(size=(len(columns["path"]), 8))
    source = save(tmp_path / "f.npz", columns | {"features": same})
    _, said = run(source, mode="paper", options__max_share=0.5, report=False)
    assert "warning: level 3: 1 identities held more than 50.0%" in said
    _, said = run(source, mode="paper", options__max_share=0.5, report=False)
    assert "level_3: done before" in said and "warning: level 3: 1 identities" in said, (
        "a warning is kept with its stage"
    )


def test_warnings_of_level_2_are_told_and_kept(columns, run, tmp_path):
    # One video of people all alike: level 2 joins everything, and level 3 has nothing left to join.
    same = np.ones(8) + 0.05 * np.random.default_rng(0).normal(size=(len(columns["path"]), 8))
    source = save(tmp_path / "f.npz", columns | {"features": same, "video": np.zeros_like(columns["video"])})
    for again in (False, True):
        _, said = run(source, mode="paper", options__max_share=0.5)
        assert "warning: level 2: 1 identities held more than 50.0%" in said
        assert ("levels_1_2: done before" in said) == again
        shown = json.loads((tmp_path / "out/report.json").read_text())["warnings"]
        assert any(one.startswith("level 2: 1 identities held more") for one in shown)


def test_nothing_left_is_a_result_too(source, run, tmp_path):
    found, said = run(source, mode="paper", options__min_images=10**6, truth="identity")
    assert set(found["identity"]) == {-1} and set(found["action"]) == {"removed"}
    assert "0 of 1,370 images in 0 identities" in said
    assert json.loads((tmp_path / "out/annos.json").read_text()) == []


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mode", ["paper", "recommended"])
def test_the_smallest_sources(columns, run, tmp_path, count, mode):
    few = save(tmp_path / "f.npz", {name: column[:count] for name, column in columns.items()})
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "path,identity\n" + "".join(f"{path},{n}\n" for n, path in enumerate(columns["path"][:count]))
    )
    found, _ = run(few, mode=mode, calibrate="no", truth=str(truth))
    assert len(found["identity"]) == count and found["identity"][0] == 0
    assert (tmp_path / "out/report.html").is_file()


def test_a_second_run_on_the_target_is_refused_and_the_first_is_unharmed(source, run, tmp_path, monkeypatch):
    expected, _ = run(source, **GIVEN, target="alone")

    def second():
        denoise.run(config_of(source, target=str(tmp_path / "out"), mode="paper"), tmp_path)

    refusals = try_during(monkeypatch, denoise.progressive, "across_videos", second)
    found, _ = run(source, **GIVEN)
    assert "out is being written by task denoise" in refusals[0]
    assert found == expected
    assert json.loads((tmp_path / "out/settings.json").read_text())["mode"] == "recommended"
