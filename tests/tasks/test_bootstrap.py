"""The task `bootstrap`: rounds wired to real denoising; training and extraction are stand-ins that know the truth.

Training is tested in tests/tasks/test_pretrain.py and tests/resume; one run of everything is marked slow here.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target
from cion_jax.data import pictures, prepare, records
from cion_jax.evaluation import label_quality
from cion_jax.tasks import bootstrap, denoise, denoise_input, extract, feature_shards, pretrain
from configs import bootstrap as settings
from tests.tasks.two_runs import try_during

PEOPLE, VIDEOS, IMAGES, WIDTH = 4, 3, 6, 16


def true_identity(path: str) -> int:
    return int(path.split("_")[1])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A table of crops: every person has a tracklet in every video. Its identities are the truth."""
    folder = tmp_path_factory.mktemp("tracklets")
    rows = []
    for video in range(VIDEOS):
        for person in range(PEOPLE):
            for frame in range(IMAGES):
                path = f"{video}/p_{person}_{frame}.jpg"
                (folder / str(video)).mkdir(exist_ok=True)
                colour = (60 * person, 80 * video, 10 * frame)
                Image.new("RGB", (16, 32), colour).save(folder / path)
                # Numbers of tracklets begin anew in every video: only with the video do they name one.
                rows.append(
                    {"path": path, "identity": person, "tracklet": person, "video": video, "frame": frame}
                )
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / "tracklets.parquet")
    return folder


@pytest.fixture
def asked(monkeypatch):
    """What the parts of the rounds were asked to do, in order, as (name, settings)."""
    made = []

    def train(config, workdir):
        made.append(("pretrain", config))
        (workdir / "backbone.safetensors").write_bytes(b"weights")
        scores = {"trained": {"mAP": 0.5}, "untrained": {"mAP": 0.1}} if config.data.eval else {}
        (workdir / "summary.json").write_text(json.dumps({"scores": scores}))

    def features(config, workdir):
        made.append(("extract", config))
        found = pictures.open_pictures(config.source)
        rng = np.random.default_rng(0)
        person = np.array([true_identity(path) for path in found.paths()])
        rows = 3 * np.eye(WIDTH)[person] + 0.3 * rng.normal(size=(len(found), WIDTH))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        about = {"images": len(rows), "shard_rows": 1000, "width": WIDTH, "dtype": "float32"}
        about |= {"source": config.source}
        feature_shards.begin(Path(config.target), about, found.paths(), found.columns)
        feature_shards.write_shard(Path(config.target), 0, rows.astype(np.float32), [])

    monkeypatch.setattr(pretrain, "run", train)
    monkeypatch.setattr(extract, "run", features)
    return made


def config_of(source="", **values):
    config = settings.get_config()
    config.source, config.truth = str(source), "identity" if source else ""
    config.denoise.sigma_cst, config.denoise.sigma_drm, config.denoise.thumbnails = 0.4, 0.3, False
    config.whitening.shrinkage = 1.0
    config.update_from_flattened_dict(values)
    return config.lock()


def identities(folder):
    """True identity and label of every training record."""
    split = records.open_split(folder, "train")
    true = [true_identity(record.path) for record in split.__getitems__(list(range(len(split))))]
    return np.array(true), split.columns["identity"]


def test_a_round_trains_on_tracklets_and_the_next_on_what_it_found(source, asked, tmp_path):
    bootstrap.run(config_of(source), tmp_path)
    assert [name for name, _ in asked] == ["pretrain", "extract"] * 2
    first, second = (config.data.train for name, config in asked if name == "pretrain")
    true, label = identities(first)
    assert len(np.unique(label)) == PEOPLE * VIDEOS, "identities of round 0 are the tracklets"
    assert label_quality(label, true)["pair_precision"] == 1
    true, label = identities(second)
    assert len(label) == PEOPLE * VIDEOS * IMAGES and label_quality(label, true)["pair_f"] == 1
    for _, config in asked[1::2]:
        assert config.source == first, "every round extracts features of all images"
    assert asked[1][1].weights == str(tmp_path / "round_0/pretrain/backbone.safetensors")
    assert {config.model.weights for name, config in asked if name == "pretrain"} == {""}


def test_the_table_tells_every_round(source, asked, tmp_path):
    bootstrap.run(config_of(source), tmp_path)
    raw, first, second = json.loads((tmp_path / "rounds.json").read_text())
    assert (raw["identities"], raw["images"]) == (PEOPLE * VIDEOS, PEOPLE * VIDEOS * IMAGES)
    assert raw["pair_precision"] == 1 and raw["pair_recall"] == pytest.approx(5 / 17)
    for row in (first, second):
        assert (row["identities"], row["pair_f"], row["bcubed_f"]) == (PEOPLE, 1, 1)
        assert row["median_size"] == row["largest"] == VIDEOS * IMAGES
        assert row["noise"] <= row["noise_before"] and set(row["seconds"]) == set(bootstrap.PARTS)
    text = (tmp_path / "rounds.md").read_text()
    for part in ("raw tracklets", "after round 1", "BCubed F", "| 12 | 72 |"):
        assert part in text, text
    assert "mAP" not in text, "nobody was held out"


def test_without_truth_there_is_a_table_too(source, asked, tmp_path):
    bootstrap.run(config_of(source, truth="", rounds=1), tmp_path)
    text = (tmp_path / "rounds.md").read_text()
    assert "after round 0" in text and "BCubed" not in text, text


def test_a_restart_goes_on_where_it_was_interrupted(source, asked, tmp_path, monkeypatch):
    run, config = extract.run, config_of(source)

    def killed(settings, workdir):
        if "round_1" in settings.target:
            raise KeyboardInterrupt
        run(settings, workdir)

    with monkeypatch.context() as context:
        context.setattr(extract, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            bootstrap.run(config, tmp_path)
    assert [name for name, _ in asked] == ["pretrain", "extract", "pretrain"]
    bootstrap.run(config, tmp_path)
    assert [name for name, _ in asked[3:]] == ["extract"], "finished parts were done again"
    bootstrap.run(config, tmp_path)
    bootstrap.run(config_of(source, rounds=3), tmp_path)
    assert [name for name, _ in asked[4:]] == ["pretrain", "extract"], "a third round adds itself"


def test_later_rounds_may_begin_with_the_backbone_before(source, asked, tmp_path):
    bootstrap.run(config_of(source, start="previous"), tmp_path)
    weights = [config.model.weights for name, config in asked if name == "pretrain"]
    assert weights == ["", str(tmp_path / "round_0/pretrain/backbone.safetensors")]


def test_records_give_the_labels_that_the_table_gives(source, asked, tmp_path):
    prepare.prepare(source, tmp_path / "records")
    bootstrap.run(config_of(source, rounds=1), tmp_path / "a")
    bootstrap.run(config_of(tmp_path / "records", rounds=1), tmp_path / "b")
    tables = [
        pyarrow.parquet.read_table(tmp_path / name / "round_0/denoised/labels.parquet") for name in "ab"
    ]
    assert (
        tables[0]
        .select(["path", "video", "tracklet", "identity"])
        .equals(tables[1].select(["path", "video", "tracklet", "identity"]))
    )


def test_truth_may_be_a_table_of_its_own(source, asked, tmp_path):
    known = tmp_path / "truth.csv"
    paths = pictures.open_pictures(source).paths()
    known.write_text("path,identity\n" + "".join(f"{path},{true_identity(path)}\n" for path in paths))
    bootstrap.run(config_of(source, rounds=1, truth=str(known)), tmp_path)
    assert json.loads((tmp_path / "rounds.json").read_text())[1]["pair_f"] == 1


def test_a_truth_that_contradicts_itself_is_told_before_the_work(source, asked, tmp_path):
    (tmp_path / "truth.csv").write_text("path,identity\n0/p_0_0.jpg,1\n0/p_0_0.jpg,2\n")
    with pytest.raises(UserError, match=r"0/p_0_0\.jpg is 1 and 2"):
        bootstrap.run(config_of(source, truth=str(tmp_path / "truth.csv")), tmp_path / "run")
    assert asked == []


def test_finished_work_of_other_settings_is_not_taken(source, asked, tmp_path):
    bootstrap.run(config_of(source, rounds=1), tmp_path)
    with pytest.raises(UserError, match=r"pretrain\.train\.steps: 300 there, 7 asked for.*another --workdir"):
        bootstrap.run(config_of(source, **{"pretrain.train.steps": 7}), tmp_path)
    bootstrap.run(config_of(source, **{"pretrain.log.every_steps": 7, "rounds": 1}), tmp_path)
    bootstrap.run(config_of(source, **{"denoise.sigma_drm": 0.2, "rounds": 2}), tmp_path)
    sigma = [row.get("sigma_drm") for row in json.loads((tmp_path / "rounds.json").read_text())]
    assert sigma == [None, 0.3, 0.2], "thresholds that are given later count from then on"


def test_a_work_directory_may_be_called_otherwise(source, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    for workdir in (Path("b"), tmp_path / "b", Path("./b/../b"), tmp_path / "link"):
        bootstrap.run(config_of(source, start="previous"), workdir)
    assert [name for name, _ in asked] == ["pretrain", "extract"] * 2, "finished parts were done again"
    assert asked[1][1].weights == str(tmp_path / "b/round_0/pretrain/backbone.safetensors")


def test_a_work_directory_may_be_moved(source, asked, tmp_path, capsys):
    bootstrap.run(config_of(source, start="previous"), tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    capsys.readouterr()
    bootstrap.run(config_of(source, start="previous", rounds=3), tmp_path / "b")
    assert [name for name, _ in asked[4:]] == ["pretrain", "extract"], "the third round only"
    assert "other settings" not in capsys.readouterr().err
    with pytest.raises(
        UserError, match=r"pretrain\.model\.weights: .*backbone\.safetensors' there, '' asked for"
    ):
        bootstrap.run(config_of(source, start="scratch", rounds=3), tmp_path / "b")


def test_weights_may_be_called_otherwise_but_not_be_others(source, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(weights):
        bootstrap.run(config_of(source, rounds=1, **{"pretrain.model.weights": weights}), tmp_path / "b")

    run("w.pth")
    assert asked[0][1].model.weights == str(tmp_path / "w.pth")
    for same in (str(tmp_path / "w.pth"), "./w.pth", "b/../w.pth"):
        run(same)
    assert len(asked) == 2
    # Inside the work directory and beside it are two files.
    for other in ("v.pth", "b/w.pth", ""):
        with pytest.raises(UserError, match=r"pretrain\.model\.weights"):
            run(other)


def test_rounds_told_by_an_earlier_version_go_on(source, asked, tmp_path, monkeypatch):
    """It spelled paths as the command did, and did not tell the work directory."""
    monkeypatch.chdir(tmp_path)
    bootstrap.run(config_of(source, rounds=1), tmp_path / "b")
    file = tmp_path / "b/round_0/done.json"
    told = json.loads(file.read_text().replace(f"{tmp_path}/b/", "b/"))
    for part in told.values():
        del part["workdir"]
    file.write_text(json.dumps(told))
    bootstrap.run(config_of(source, rounds=1), Path("b"))
    assert len(asked) == 2


def test_features_that_tell_nobody_apart_end_the_round_by_its_name(source, asked, tmp_path):
    config = config_of(source, **{"denoise.sigma_cst": 0.0})
    with pytest.raises(UserError, match=r"round_0, denoise: .*tracklets or identities have"):
        bootstrap.run(config, tmp_path)
    bootstrap.run(config_of(source, rounds=1), tmp_path)
    assert [name for name, _ in asked] == ["pretrain", "extract"], "what was done is kept"


@pytest.mark.parametrize(
    ("identities", "stages", "expected"),
    [
        (100, ((0, 2), (4, 4)), ((0, 2), (4, 4))),
        (16, ((0, 2), (4, 4)), ((0, 3), (4, 4))),
        (10, ((0, 4),), ((0, 6),)),
        (1, ((0, 4),), ((0, 48),)),
    ],
)
def test_few_identities_bring_more_images_each(identities, stages, expected, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    config = settings.get_config().pretrain
    config.train.curriculum = stages
    assert tuple(bootstrap.fitted(config, identities, print).train.curriculum) == expected


def test_sources_that_cannot_be_used_are_refused(source, asked, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (16, 32)).save(images / "1.jpg")
    with pytest.raises(UserError, match="does not say the tracklet of its images"):
        bootstrap.run(config_of(images), tmp_path / "run")
    with pytest.raises(UserError, match="is none of scratch, previous"):
        bootstrap.run(config_of(source, start="middle"), tmp_path / "run")
    with pytest.raises(UserError, match="truth belongs to a source"):
        bootstrap.run(config_of(truth="identity"), tmp_path / "run")
    bootstrap.run(config_of(source, rounds=1), tmp_path / "run")
    other = tmp_path / "other"
    prepare.prepare(source, other)
    with pytest.raises(UserError, match=r"holds rounds of .*, not of"):
        bootstrap.run(config_of(other), tmp_path / "run")


def test_settings_of_denoise_are_checked_before_the_training(source, asked, tmp_path):
    for values in ({"denoise.options.mutual": 3}, {"denoise.calibrate": "yes"}, {"denoise.mode": "best"}):
        with pytest.raises(UserError, match=r"options\.mutual|calibrate=yes|mode='best'"):
            bootstrap.run(config_of(source, **values), tmp_path)
    assert not asked


def test_tracklets_are_no_truth(source, asked, tmp_path):
    table = pyarrow.parquet.read_table(source / "tracklets.parquet").to_pylist()
    rows = [
        row | {"path": str(source / row["path"]), "identity": PEOPLE * row["video"] + row["tracklet"]}
        for row in table
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "own.parquet")
    with pytest.raises(UserError, match="are its tracklets"):
        bootstrap.run(config_of(tmp_path / "own.parquet"), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("absent", "does not say the frame of its images"),
        ("zero", "tracklet 0 of video 0 has 6 images in frame 0"),
    ],
)
def test_frames_that_are_none_are_refused_before_the_work(source, asked, tmp_path, change, message):
    table = pyarrow.parquet.read_table(source / "tracklets.parquet").drop_columns("frame")
    if change == "zero":
        table = table.append_column("frame", pa.array(np.zeros(len(table), np.int64)))
    paths = [str(source / path) for path in table["path"].to_pylist()]
    table = table.set_column(table.column_names.index("path"), "path", pa.array(paths))
    pyarrow.parquet.write_table(table, tmp_path / "own.parquet")
    with pytest.raises(UserError, match=message):
        bootstrap.run(config_of(tmp_path / "own.parquet"), tmp_path / "run")
    assert asked == []


def test_every_round_is_denoised_with_its_own_features(source, asked, tmp_path):
    bootstrap.run(config_of(source, **{"whitening.shrinkage": -1.0}), tmp_path)
    assert not (tmp_path / "round_0/features_whitened").exists()
    for number in range(2):
        folder = tmp_path / f"round_{number}"
        told = json.loads((folder / "denoised/settings.json").read_text())
        assert told["source"] == str(folder / "features")
        assert len(denoise_input.read(told["source"])) == PEOPLE * VIDEOS * IMAGES


@pytest.mark.slow
def test_synthetic_people_go_through_two_real_rounds(tmp_path, capsys):
    from tests.resume import tiny_config

    config = config_of(rounds=2, start="previous", **{"denoise.sigma_drm": 0.02})
    with config.unlocked():
        config.pretrain = tiny_config.get_config()
    config.pretrain.train.steps, config.pretrain.data.batch_size = 2, 8 * jax.device_count()
    config.pretrain.eval.every_epochs = 0.0
    config.synthetic.identities, config.synthetic.eval_identities = 40, 2
    config.synthetic.height, config.synthetic.width = 32, 16
    bootstrap.run(config, tmp_path / "made")
    (tmp_path / "made").rename(tmp_path / "moved")
    bootstrap.run(config, tmp_path / "moved")
    assert "extract: done before" in capsys.readouterr().err
    raw, first, second = json.loads((tmp_path / "moved/rounds.json").read_text())
    assert raw["pair_precision"] < 1 and 0 < first["mAP"] <= 1 and 0 < second["pair_f"] <= 1
    for number in range(2):
        for name in ("denoised/report.html", "denoised/records", "pretrain/backbone.safetensors"):
            assert (tmp_path / f"moved/round_{number}" / name).exists(), name


def test_a_second_run_in_the_work_directory_is_refused_and_the_first_is_unharmed(
    source, asked, tmp_path, monkeypatch
):
    work = tmp_path / "work"
    refusals = try_during(monkeypatch, extract, "run", lambda: bootstrap.run(config_of(source), work))
    bootstrap.run(config_of(source, rounds=1), work)
    assert "work is being written by task bootstrap" in refusals[0]
    assert [name for name, _ in asked] == ["pretrain", "extract"]
    assert len(json.loads((work / "rounds.json").read_text())) == 2


def test_parts_of_a_round_hold_their_own_targets(source, asked, tmp_path, monkeypatch):
    def second():
        with lock_target(tmp_path / "round_0/denoised", "evaluate"):
            raise AssertionError("the part denoise holds it")

    refusals = try_during(monkeypatch, denoise.progressive, "across_videos", second)
    bootstrap.run(config_of(source, rounds=1), tmp_path)
    assert "round_0/denoised is being written by task denoise" in refusals[0]
