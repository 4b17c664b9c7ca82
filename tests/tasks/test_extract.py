"""The task `extract`, as the command line calls it, with a small network on eight devices."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from cion_jax import bridge, zoo
from cion_jax.core.errors import UserError
from cion_jax.data import pictures
from cion_jax.data.preprocess import prepare_eval
from cion_jax.tasks import extract, extractors, feature_files, feature_shards
from configs import extract as settings
from tests.parity import weights
from tests.tasks.two_runs import try_during

NAME, SIZE = "resnet18", (32, 16)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Eleven pictures of several sizes, one of them not a picture."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    for number in range(11):
        file = folder / f"{number // 4}/{number:02}.png"
        file.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (40 + 30 * (number % 3), 20 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    (folder / "1/05.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    about = {
        "model": NAME,
        "input_size": str(list(SIZE)),
        "mean": "[0.5, 0.4, 0.3]",
        "std": "[0.2, 0.2, 0.2]",
    }
    bridge.save_file(path, weights.state_dict(NAME), about)
    return path


def config_of(**values):
    config = settings.get_config().lock()
    with config.ignore_type():
        config.update(values)
    return config


@pytest.fixture(scope="module")
def done(people, backbone, tmp_path_factory):
    """A run with raw float32 features: its target, and what it said."""
    work = tmp_path_factory.mktemp("work")
    extract.run(
        config_of(source=str(people), weights=str(backbone), l2_normalise=False, batch_size=5), work / "new"
    )
    return work / "new/features.npz"


def test_features_are_those_of_the_model(done, people, backbone):
    """Against one image at a time, without canvases, shards and threads."""
    found = np.load(done)
    assert found["features"].shape == (10, 512) and found["features"].dtype == np.float32
    module, variables = bridge.load(backbone)
    apply = jax.jit(module.apply)
    for row in (0, 4, 9):
        pixels = np.asarray(Image.open(people / str(found["path"][row])))
        image = prepare_eval(
            pixels[None], np.array([pixels.shape[:2]]), size=SIZE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
        )
        expected = np.asarray(apply(variables, image))[0]
        # Resizing rounds to whole grey levels, and on another canvas a half may go the other way.
        deviation = weights.deviation(found["features"][row], expected)
        assert deviation < 0.05, f"{deviation:.2g} rms: size, mean or std are not the file's"


def test_paths_identities_and_what_was_left_out(done):
    found = np.load(done)
    assert list(found["path"]) == [f"{n // 4}/{n:02}.png" for n in range(11) if n != 5]
    assert list(found["identity"]) == [n // 4 for n in range(11) if n != 5]
    assert set(found["camera"]) == {0} and set(found["split"]) == {"train"}
    about = json.loads(str(found["about"]))
    assert (about["model"], about["images"], about["skipped"]) == (NAME, 10, 1)
    assert (about["input_size"], about["l2_normalised"]) == ([32, 16], False)
    with feature_files.skipped_file(done).open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"] and rows[1][0] == "1/05.png" and "not a readable" in rows[1][1]
    names = sorted(p.name for p in done.parent.iterdir() if not p.name.startswith("."))
    assert names == ["features.npz", "features.skipped.csv"]


def test_parquet_with_unit_length_in_float16(done, people, backbone, tmp_path, capsys):
    target = tmp_path / "f.parquet"
    values = {"source": str(people), "weights": str(backbone), "batch_size": 5, "float16": True}
    extract.run(config_of(target=str(target), importer="images", **values), tmp_path)
    table, raw = pyarrow.parquet.read_table(target), np.load(done)["features"]
    assert table.column_names == ["path", "split", *pictures.NUMBERS, "feature"]
    assert set(table["identity"].to_pylist()) == {-1}, "plain images have no identity"
    found = np.array(table["feature"].to_pylist(), np.float32)
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert json.loads(table.schema.metadata[b"cion_jax"])["weights"] == str(backbone)
    said = capsys.readouterr().err
    assert "This is a plain backbone." in said and "layout images" in said
    assert "1 images left out" in said and "10/11" not in said


def test_weights_of_others_bring_their_own_normalisation(backbone):
    said = []
    origins = {"base.": "half", "module.encoder_q.": "lup", "": "imagenet"}
    for prefix, expected in origins.items():
        path = backbone.parent / f"{expected}.safetensors"
        bridge.save_file(path, {prefix + k: v for k, v in weights.state_dict(NAME).items()})
        config = config_of(weights=str(path), model={"name": NAME, "dtype": "auto"})
        model = extractors.load(config, said.append)
        assert (model.mean, model.std) == extractors.NORMALISATIONS[expected]
        assert model.size == zoo.spec(NAME).input_size
    assert any("TransReID" in line for line in said)
    assert any("lup, as its training does it" in line for line in said)
    config.normalisation, config.input_size = "half", (64, 32)
    model = extractors.load(config, said.append)
    assert (model.mean[0], model.size) == (0.5, (64, 32))


@pytest.fixture
def white_is_not_finite(monkeypatch):
    """Extractors whose features are NaN for images that begin with a white pixel."""
    load = extractors.load

    def apply_of(extractor):
        def apply(images, sizes):
            white = (np.asarray(images)[:, 0, 0] == 255).all(axis=1)
            return jnp.where(jnp.asarray(white)[:, None], jnp.nan, extractor.apply(images, sizes))

        return extractor._replace(apply=apply)

    monkeypatch.setattr(extractors, "load", lambda *given: apply_of(load(*given)))


@pytest.fixture
def some_white(tmp_path):
    """Nine pictures; numbers 2 and 6 are white."""
    folder = tmp_path / "some_white"
    folder.mkdir()
    for number in range(9):
        pixels = np.full((32, 16, 3), 255 if number in (2, 6) else 20 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_images_without_finite_features_are_listed_with_their_paths(
    some_white, backbone, white_is_not_finite, tmp_path
):
    extract.run(config_of(source=str(some_white), weights=str(backbone)), tmp_path)
    found = np.load(tmp_path / "features.npz")
    assert list(found["path"]) == [f"{n}.png" for n in (0, 1, 3, 4, 5, 7, 8)]
    assert np.isfinite(found["features"]).all()
    skipped = (tmp_path / "features.skipped.csv").read_text().splitlines()
    assert skipped[1:] == [f"{n}.png,its features are not finite" for n in (2, 6)]


@pytest.mark.parametrize("float16", [False, True])
def test_shards_have_zeros_for_them(some_white, backbone, white_is_not_finite, tmp_path, float16):
    values = shard_values(some_white, backbone, tmp_path / "store") | {"l2_normalise": True}
    extract.run(config_of(**values, float16=float16), tmp_path)
    stored = feature_shards.Stored(tmp_path / "store")
    assert [row for row in range(9) if not stored[row : row + 1].any()] == [2, 6]
    assert [row for row, _ in feature_shards.unreadable(tmp_path / "store")] == [2, 6]
    assert "6.png,its features are not finite" in (tmp_path / "store/skipped.csv").read_text()


def test_a_bad_image_ends_the_run_on_request(some_white, people, backbone, white_is_not_finite, tmp_path):
    values = {"weights": str(backbone), "on_bad_image": "error"}
    with pytest.raises(UserError, match=r"2\.png: its features are not finite; on_bad_image=skip"):
        extract.run(config_of(source=str(some_white), **values), tmp_path)
    with pytest.raises(UserError, match=r"1/05\.png: .*on_bad_image=skip"):
        extract.run(config_of(source=str(people), **values), tmp_path)


def test_no_finite_features_at_all(some_white, backbone, white_is_not_finite, tmp_path):
    for number in range(9):
        if number not in (2, 6):
            (some_white / f"{number}.png").unlink()
    with pytest.raises(UserError, match=r"no image of .* has finite features, first 2\.png: the weights"):
        extract.run(config_of(source=str(some_white), weights=str(backbone)), tmp_path)


@pytest.mark.parametrize("target", ["work/features.npz", "store"])
def test_nothing_readable_and_nothing_written(backbone, tmp_path, monkeypatch, target):
    (tmp_path / "x").mkdir()
    for name in "123":
        (tmp_path / f"x/{name}.jpg").write_bytes(b"no")
    monkeypatch.setattr(
        extract.features,
        "extract",
        lambda apply, batches, total, **_: np.ones((total, 2)) * len(list(batches)),
    )
    with pytest.raises(UserError, match=r"no image of .* could be read, first 1\.jpg"):
        values = {"source": str(tmp_path / "x"), "weights": str(backbone), "shard_rows": 2}
        extract.run(config_of(**values, target=str(tmp_path / target)), tmp_path / "work")
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "x"]
    left = [path for path in left if path.suffix != ".lock"]
    assert not left, "images that are mended would be taken for done"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "--config.source"),
        ({"weights": ""}, "--config.weights"),
        ({"weights": "", "model": {"name": "resnet19", "dtype": "auto"}}, "resnet19"),
        ({"target": "f.csv"}, r"must end in \.npz or \.parquet"),
        ({"normalisation": "no"}, "normalisation='no'"),
        ({"colour": "grey"}, "colour='grey'"),
        ({"shard_rows": 0}, "shard_rows"),
        ({"input_size": (8, 8)}, "16 pixels"),
        ({"batch_size": 0}, "batch_size"),
        ({"on_bad_image": "no"}, "on_bad_image='no' is neither"),
        ({"weights": "absent.pth"}, "no weight file absent.pth"),
        ({"source": "absent"}, "absent does not exist"),
    ],
)
def test_settings_that_cannot_be_used_are_told(people, backbone, tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        extract.run(config_of(**{"source": str(people), "weights": str(backbone)} | values), tmp_path)


def test_overflow_of_float16_is_told():
    with pytest.raises(UserError, match="float16"):
        extract._finished(config_of(l2_normalise=False, float16=True), np.full((1, 2), 1e6, np.float32))


def test_a_path_that_is_no_text_is_kept_readable(tmp_path):
    target = tmp_path / "f.parquet"
    paths = [b"a\xff.jpg".decode(errors="surrogateescape")]
    feature_files.write(target, np.ones((1, 2), np.float32), paths, {}, {})
    assert pyarrow.parquet.read_table(target)["path"].to_pylist() == ["a\\udcff.jpg"]
    feature_files.write_skipped(target, [(paths[0], "why")])
    assert "a\\udcff.jpg,why" in feature_files.skipped_file(target).read_text()
    feature_files.write_skipped(target, [])
    assert not feature_files.skipped_file(target).exists()


def shard_values(people, backbone, target):
    """Settings for a folder of shards of four images."""
    return {"source": str(people), "weights": str(backbone), "batch_size": 5, "shard_rows": 4} | {
        "target": str(target),
        "l2_normalise": False,
    }


def test_shards_hold_what_one_file_holds(done, people, backbone, tmp_path):
    extract.run(config_of(**shard_values(people, backbone, tmp_path / "store")), tmp_path)
    stored, raw = feature_shards.Stored(tmp_path / "store"), np.load(done)["features"]
    assert stored.shape == (11, 512) and feature_shards.manifest(tmp_path / "store")["width"] == 512
    readable = [row for row in range(11) if row != 5]
    for row, expected in zip(readable, raw, strict=True):
        assert weights.deviation(stored[row : row + 1][0], expected) < 0.05
    assert not stored[5:6].any(), "an image that cannot be read has zeros"
    assert feature_shards.unreadable(tmp_path / "store")[0][0] == 5
    assert (tmp_path / "store/skipped.csv").read_text().count("\n") == 2


def test_a_run_goes_on_with_the_shards_that_are_missing(people, backbone, tmp_path, monkeypatch):
    values = shard_values(people, backbone, tmp_path / "store")
    extract.run(config_of(**values), tmp_path)
    whole = {file.name: file.read_bytes() for file in (tmp_path / "store").glob("*.npy")}
    (tmp_path / "store/features-00001.npy").unlink()
    made = []
    monkeypatch.setattr(
        feature_shards,
        "write_shard",
        lambda folder, number, *rest: made.append(number) or write_shard(folder, number, *rest),
    )
    extract.run(config_of(**values), tmp_path)
    assert made == [1], "only the missing shard is done again"
    assert {file.name: file.read_bytes() for file in (tmp_path / "store").glob("*.npy")} == whole


def test_weights_are_known_by_their_content(people, backbone, tmp_path, capsys):
    values = shard_values(people, backbone, tmp_path / "store")
    extract.run(config_of(**values), tmp_path)
    assert "the features of 10 images" in capsys.readouterr().err
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(backbone.read_bytes())
    extract.run(config_of(**values | {"weights": str(moved)}), tmp_path)
    assert "0 shards of 4 images to do" in capsys.readouterr().err


def test_a_folder_of_other_features_is_refused(people, backbone, tmp_path):
    values = shard_values(people, backbone, tmp_path / "store")
    extract.run(config_of(**values), tmp_path)
    with pytest.raises(UserError, match=r"holds features of other work .*input_size"):
        extract.run(config_of(**values, input_size=(64, 32)), tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"name": "", "dtype": "bfloat16"}}, "compute_dtype 'float32', not 'bfloat16'"),
        ({"resize": True}, "resize False, not True"),
        ({"normalisation": "half"}, r"mean \[0.5, 0.4, 0.3\]"),
    ],
)
def test_shards_of_another_precision_are_refused(people, backbone, tmp_path, monkeypatch, change, named):
    """A store that is begun on a processor and ended on an accelerator would mix float32 and bfloat16."""
    values = shard_values(people, backbone, tmp_path / "store")
    stand_in = lambda apply, batches, total, **_: np.full((total, 2), len(list(batches)), np.float32)  # noqa: E731
    monkeypatch.setattr(extract.features, "extract", stand_in)
    extract.run(config_of(**values), tmp_path)
    (tmp_path / "store/features-00001.npy").unlink()
    with pytest.raises(UserError, match=f"holds features of other work .*{named}"):
        extract.run(config_of(**values | change), tmp_path)
    extract.run(config_of(**values), tmp_path)


@pytest.mark.parametrize("target", ["features.npz", "store"])
def test_a_second_run_on_the_target_is_refused_and_the_first_is_unharmed(
    people, backbone, tmp_path, monkeypatch, target
):
    config = config_of(**shard_values(people, backbone, tmp_path / target))

    def stand_in(apply, batches, total, **_):
        return np.full((total, 2), len(list(batches)), np.float32)

    monkeypatch.setattr(extract.features, "extract", stand_in)
    refusals = try_during(monkeypatch, extract.features, "extract", lambda: extract.run(config, tmp_path))
    extract.run(config, tmp_path)
    assert f"{target} is being written by task extract" in refusals[0]
    if target == "store":
        assert len(feature_shards.Stored(tmp_path / target)) == 11
    else:
        assert np.load(tmp_path / target)["features"].shape == (10, 2)


write_shard = feature_shards.write_shard
