"""Labels, annotations and records say what became of every image."""

import json

import numpy as np
import pyarrow.parquet
import pytest
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.data import pictures, records
from cion_jax.data.importers import cion_al
from cion_jax.data.prepare import prepare
from cion_jax.denoise import Result
from cion_jax.tasks import denoise_input, denoise_outputs
from tests.tasks.denoise_data import people, save, shards, with_about

# Eight images of three tracklets: 1 left the first for the second, 5 was thrown out, 2 was given elsewhere at the end,
# 7 went with its whole identity.
LEVELS = {
    "tracklets": np.array([0, 0, 0, 1, 1, 1, 2, 2]),
    "level 1": np.array([0, -1, 0, 1, 1, -1, 2, 2]),
    "level 2": np.array([0, 1, 0, 1, 1, -1, 2, 2]),
    "level 3": np.array([0, 1, 0, 1, 1, -1, 1, 1]),
    "finished": np.array([0, 1, 1, 1, 1, -1, 1, 1]),
}
FEATURES = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [0, 2], [1, 0], [0, 1], [0, 1]], np.float32)


def result_of(labels=None, **levels):
    levels = LEVELS | levels
    labels = levels["finished"] if labels is None else np.asarray(labels)
    return Result(labels, levels, np.zeros((0, 2), np.int64), [])


def images_of(tmp_path, features=FEATURES, paths=True, **about):
    rows = np.arange(len(features))
    columns = {"features": features, "tracklet": LEVELS["tracklets"], "video": rows // 6, "frame": rows}
    if paths:
        columns["path"] = np.array([f"{row}.jpg" for row in rows])
    return denoise_input.read(save(tmp_path / "f.npz", columns))


def draw(identities=0, images=0, seed=0):
    return ConfigDict({"identities": identities, "images": images, "seed": seed})


def test_actions():
    found = denoise_outputs.actions(result_of())
    assert found.tolist() == ["kept", "moved", "moved", "kept", "kept", "removed", "kept", "kept"]


def test_what_a_draw_leaves_out_is_not_called_removed():
    found = denoise_outputs.actions(result_of(np.where(LEVELS["finished"] == 0, -1, LEVELS["finished"] - 1)))
    assert found[0] == "not drawn" and found[5] == "removed" and "not drawn" not in found[1:]


def test_distances_are_to_the_identity_or_to_what_stayed_of_the_tracklet(tmp_path):
    found = denoise_outputs.distances(images_of(tmp_path), result_of())
    assert found.dtype == np.float32
    unit = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    mean = unit[[1, 2, 3, 4, 6, 7]].sum(axis=0)
    mean /= np.linalg.norm(mean)
    np.testing.assert_allclose(found[[1, 2, 3, 4, 6, 7]], 1 - unit[[1, 2, 3, 4, 6, 7]] @ mean, atol=1e-6)
    assert found[0] == pytest.approx(0) and found[5] == pytest.approx(1), "5 is orthogonal to 3 and 4"


def test_distances_of_nothing_kept_and_of_everything_kept(tmp_path):
    images, nobody = images_of(tmp_path), np.full(8, -1)
    found = denoise_outputs.distances(images, result_of(finished=nobody))
    assert found[3] == pytest.approx(0) and found[5] == pytest.approx(1) and np.isfinite(found).all()
    found = denoise_outputs.distances(images, result_of(finished=np.zeros(8, int)))
    assert np.isfinite(found).all()


def test_draws_take_whole_identities_and_depend_on_the_seed_only():
    labels = np.repeat(np.arange(20), np.arange(1, 21))
    result = Result(labels, {"finished": labels}, np.zeros((0, 2), np.int64), [])
    assert denoise_outputs.subsampled(result, draw()) is result
    found = denoise_outputs.subsampled(result, draw(identities=5))
    assert sorted(set(found.labels)) == [-1, 0, 1, 2, 3, 4] and found.levels["finished"] is labels
    assert found.levels["subsample"] is found.labels
    for name in range(5):
        assert len(set(labels[found.labels == name])) == 1
        assert (labels == labels[found.labels == name][0]).sum() == (found.labels == name).sum()
    assert (denoise_outputs.subsampled(result, draw(5)).labels == found.labels).all()
    assert (denoise_outputs.subsampled(result, draw(5, seed=1)).labels != found.labels).any()
    assert denoise_outputs.subsampled(result, draw(99)).labels.tolist() == labels.tolist()
    by_images = denoise_outputs.subsampled(result, draw(images=100)).labels
    assert 80 < (by_images >= 0).sum() <= 100
    both = denoise_outputs.subsampled(result, draw(identities=3, images=200)).labels
    assert both.max() == 2


def test_a_draw_that_nothing_fits_is_told():
    result = Result(np.zeros(5, int), {}, np.zeros((0, 2), np.int64), [])
    with pytest.raises(UserError, match=r"subsample\.images=3 is less"):
        denoise_outputs.subsampled(result, draw(images=3))
    nobody = Result(np.full(5, -1), {}, np.zeros((0, 2), np.int64), [])
    assert denoise_outputs.subsampled(nobody, draw(images=3)).labels.tolist() == [-1] * 5


def test_the_table_of_labels(tmp_path):
    said = []
    images = images_of(tmp_path)
    distance = np.arange(8, dtype=np.float32)
    denoise_outputs.write(tmp_path / "out", images, result_of(), distance, said.append)
    table = pyarrow.parquet.read_table(tmp_path / "out/labels.parquet")
    names = ["path", "video", "tracklet", "frame", "camera", "identity", "action", "distance"]
    assert table.column_names == names
    found = table.to_pydict()
    assert found["path"] == [f"{row}.jpg" for row in range(8)] and found["video"] == [0] * 6 + [1] * 2
    assert found["identity"] == LEVELS["finished"].tolist() and found["distance"] == list(range(8))
    assert found["action"][:2] == ["kept", "moved"] and found["action"][5] == "removed"
    assert "7 of 8 images in 2 identities" in said[0]


def test_annotations_are_those_of_cion_al(tmp_path):
    labels = np.array([2, 0, 2, 1, 0, -1, 1, 1])
    images = images_of(tmp_path)
    denoise_outputs.write(
        tmp_path / "out", images, result_of(labels, finished=labels), np.zeros(8, np.float32), print
    )
    file = tmp_path / "out/annos.json"
    found = json.loads(file.read_text())
    assert [set(item) for item in found] == [{"id", "file_path"}] * 7
    # Ids from 0 without gaps, and the last one is the largest, as the released code takes it.
    assert [item["id"] for item in found] == [0, 0, 1, 1, 1, 2, 2]
    assert [item["file_path"] for item in found] == [f"{row}.jpg" for row in (1, 4, 3, 6, 7, 0, 2)]
    rows = list(cion_al.rows(file))
    assert cion_al.count(file) == 7
    assert [(row.identity, row.path) for row in rows] == [(i["id"], i["file_path"]) for i in found]


def test_without_paths_or_images_there_are_labels_still(tmp_path):
    images = images_of(tmp_path, paths=False)
    nothing = result_of(np.full(8, -1), finished=np.full(8, -1))
    denoise_outputs.write(tmp_path / "a", images, result_of(), np.zeros(8, np.float32), print)
    denoise_outputs.write(tmp_path / "b", images_of(tmp_path), nothing, np.zeros(8, np.float32), print)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["labels.parquet"]
    assert json.loads((tmp_path / "b/annos.json").read_text()) == []


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Pictures with a table, and the same as prepared records."""
    folder = tmp_path_factory.mktemp("album")
    columns = people(folder / "crops")
    prepare(folder / "crops", folder / "records", workers=1)
    return folder, columns


def labelled(columns, drop=(2,)):
    """A result that gives every image its person, but for some."""
    labels = columns["person"].astype(np.int64).copy()
    labels[list(drop)] = -1
    levels = {"tracklets": columns["tracklet"], "level 1": labels, "level 3": labels, "finished": labels}
    return Result(labels, levels, np.zeros((0, 2), np.int64), [])


@pytest.mark.parametrize("kind", ["crops", "records"])
@pytest.mark.parametrize("features", ["npz", "shards", "skipping"])
def test_records_hold_the_images_under_their_new_identities(album, tmp_path, kind, features):
    folder, columns = album
    order = np.arange(len(columns["path"]))
    about = with_about(columns, folder / kind, "table" if kind == "crops" else "records")
    if features == "shards":
        source = shards(tmp_path / "f", columns, json.loads(str(about["about"])))
    else:
        # An image that could not be read has no row in an .npz, and those after it another number.
        order = np.delete(order, 5) if features == "skipping" else order
        about = about | {
            "about": np.array(json.dumps(json.loads(str(about["about"])) | {"images": len(order)}))
        }
        source = save(tmp_path / "f.npz", {k: v if k == "about" else v[order] for k, v in about.items()})
    images, said = denoise_input.read(source), []
    result = labelled({name: column[order][images.rows] for name, column in columns.items()})
    denoise_outputs.write_records(tmp_path / "records", images, result, said.append)
    stored = records.open_split(tmp_path / "records", "train")
    kept = np.flatnonzero(result.labels >= 0)
    assert len(stored) == len(kept) == len(images) - 1
    for record, row in zip(stored, kept, strict=True):
        original = folder / "crops" / images.paths[row]
        assert record.image == original.read_bytes(), "the picture belongs to another row"
        assert (record.path, record.identity) == (images.paths[row], result.labels[row])
        assert (record.tracklet, record.frame) == tuple(images.columns[n][row] for n in ("tracklet", "frame"))
        assert record.camera == 0, "an unknown camera is 0 in records"
    denoise_outputs.write_records(tmp_path / "records", images, result, said.append)
    assert "is there already" in said[-1]
    with pytest.raises(UserError, match="holds records with other labels: remove it"):
        denoise_outputs.write_records(tmp_path / "records", images, labelled(columns, drop=(3,)), said.append)


def test_frames_that_are_not_known_stay_so_in_records(album, tmp_path):
    folder, columns = album
    columns = columns | {"frame": np.full(len(columns["path"]), -1)}
    images = denoise_input.read(save(tmp_path / "f.npz", with_about(columns, folder / "crops")))
    denoise_outputs.write_records(tmp_path / "records", images, labelled(columns), print)
    assert set(records.open_split(tmp_path / "records", "train").columns["frame"]) == {-1}


def test_images_that_are_gone_are_told(album, tmp_path):
    folder, columns = album
    unknown = denoise_input.read(save(tmp_path / "a.npz", columns))
    with pytest.raises(UserError, match="do not say where they come from"):
        denoise_outputs.source_of(unknown)
    moved = denoise_input.read(save(tmp_path / "b.npz", with_about(columns, tmp_path / "moved")))
    with pytest.raises(UserError, match=r"were at .*moved and are gone"):
        denoise_outputs.source_of(moved)
    other = columns | {"path": np.array([f"other/{path}" for path in columns["path"]])}
    images = denoise_input.read(save(tmp_path / "c.npz", with_about(other, folder / "crops")))
    with pytest.raises(UserError, match=r"other/v0/t0/0\.jpg is not among the images of .*crops any more"):
        denoise_outputs.write_records(tmp_path / "records", images, labelled(columns), print)
    assert not (tmp_path / "records").exists()
    images = denoise_input.read(save(tmp_path / "d.npz", with_about(columns, folder / "crops")))
    with pytest.raises(UserError, match="no image is left"):
        denoise_outputs.write_records(tmp_path / "records", images, labelled(columns, range(24)), print)


def test_records_of_one_path_are_told_apart_or_told(album, tmp_path):
    folder, columns = album
    images = denoise_input.read(save(tmp_path / "a.npz", with_about(columns, folder / "records", "records")))
    source = denoise_outputs.source_of(images)
    source = pictures.Pictures(*source[:2], lambda: ["v.mp4"] * 24, *source[3:])
    same = with_about(columns | {"path": np.array(["v.mp4"] * 24)}, folder / "records", "records")
    images = denoise_input.read(save(tmp_path / "b.npz", same))
    assert denoise_outputs.places(images, source).tolist() == images.rows.tolist()
    fewer = {name: column if name == "about" else column[1:] for name, column in same.items()}
    fewer["about"] = np.array(str(fewer["about"]).replace("24", "23"))
    images = denoise_input.read(save(tmp_path / "c.npz", fewer))
    with pytest.raises(UserError, match="have one path: extract into a folder"):
        denoise_outputs.places(images, source)
