"""Importing into records: counts, bad images, interruption, full disks."""

import csv
import dataclasses
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.data import importers, prepare, records
from cion_jax.data.decode import decode_jpeg


def picture(path, seed=0, size=(64, 32), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def market(tmp_path):
    root = tmp_path / "market"
    for number in range(12):
        picture(root / f"bounding_box_train/{number // 3:04}_c{number % 3 + 1}s1_{number:06}_00.jpg", number)
    for number in range(2):
        picture(root / f"query/{20 + number:04}_c1s1_000000_00.jpg", number)
        picture(root / f"bounding_box_test/{20 + number:04}_c2s1_000000_00.jpg", number)
    picture(root / "bounding_box_test/-1_c2s1_000000_00.jpg")
    return root


def left_in(folder):
    """Names in a folder, without lock files."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def skipped(target):
    with (target / "skipped.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def test_images_arrive_byte_for_byte_with_their_numbers(market, tmp_path):
    summary = prepare.prepare(market, tmp_path / "out")
    assert summary["images"] == {"train": 12, "query": 2, "gallery": 3}
    assert summary["identities"] == {"train": 4, "query": 2, "gallery": 3}
    assert summary["skipped"] == 0 and skipped(tmp_path / "out") == {}
    assert json.loads((tmp_path / "out/prepared.json").read_text()) == summary
    for record in records.open_split(tmp_path / "out", "train"):
        original = market / record.path
        assert record.image == original.read_bytes()
        assert int(original.name[:4]) == record.identity
        assert (record.height, record.width) == (64, 32)


def test_the_same_source_gives_the_same_records_whatever_the_threads(market, tmp_path):
    prepare.prepare(market, tmp_path / "one", workers=1)
    prepare.prepare(market, tmp_path / "many", workers=7)
    one, many = (list(records.open_split(tmp_path / name, "train")) for name in ("one", "many"))
    assert one == many


def test_large_and_foreign_images_are_fitted(tmp_path):
    picture(tmp_path / "in/ann/large.jpg", size=(800, 200))
    picture(tmp_path / "in/ann/plain.png")
    prepare.prepare(tmp_path / "in", tmp_path / "out", max_size=(100, 50))
    found = {r.path: (r.height, r.width) for r in records.open_split(tmp_path / "out", "train")}
    assert found == {"ann/large.jpg": (100, 25), "ann/plain.png": (64, 32)}
    record = records.open_split(tmp_path / "out", "train")[0]
    assert decode_jpeg(record.image).shape == (record.height, record.width, 3)
    assert (tmp_path / "out/identities.csv").read_text().split() == ["number,name", "0,ann"]


def spoil(market):
    folder = market / "bounding_box_train"
    whole = (folder / "0000_c1s1_000000_00.jpg").read_bytes()
    (folder / "0009_c1s1_000001_00.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "0009_c1s1_000002_00.jpg").write_bytes(b"")
    (folder / "0009_c1s1_000003_00.jpg").write_text("<html>404</html>")
    (folder / "0009_c1s1_000004_00.jpg").symlink_to(folder / "gone.jpg")
    (folder / "holiday.jpg").write_bytes(whole)
    (folder / "Thumbs.db").write_bytes(b"x")


def test_bad_images_are_listed_and_the_rest_is_kept(market, tmp_path):
    spoil(market)
    summary = prepare.prepare(market, tmp_path / "out")
    assert summary["images"]["train"] == 12
    reasons = {path.rsplit("/", 1)[1]: reason for path, reason in skipped(tmp_path / "out").items()}
    assert summary["skipped"] == len(reasons) == 6
    assert "damaged" in reasons["0009_c1s1_000001_00.jpg"] or "cut" in reasons["0009_c1s1_000001_00.jpg"]
    assert reasons["0009_c1s1_000002_00.jpg"] == "the file is empty"
    assert "not a readable image" in reasons["0009_c1s1_000003_00.jpg"]
    assert reasons["0009_c1s1_000004_00.jpg"] == "the file is missing"
    assert "does not follow" in reasons["holiday.jpg"]
    assert "not an image" in reasons["Thumbs.db"]


def test_on_bad_image_error_names_the_image_and_leaves_nothing(market, tmp_path):
    spoil(market)
    with pytest.raises(UserError, match=r"0009_c1s1_000001_00\.jpg"):
        prepare.prepare(market, tmp_path / "out", on_bad_image="error")
    assert left_in(tmp_path) == ["market"]


def test_a_missing_file_of_an_annotation_is_listed(tmp_path):
    picture(tmp_path / "in/sec0/a.jpg")
    annotation = [{"id": 3, "file_path": "sec0/a.jpg"}, {"id": 4, "file_path": "sec0/b.jpg"}]
    (tmp_path / "in/annos.json").write_text(json.dumps(annotation))
    prepare.prepare(tmp_path / "in", tmp_path / "out")
    assert skipped(tmp_path / "out") == {"sec0/b.jpg": "the file is missing"}
    assert [r.identity for r in records.open_split(tmp_path / "out", "train")] == [3]


def test_a_source_without_one_good_image_is_an_error_with_an_example(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    annotation = [{"id": 3, "file_path": f"{i}.jpg"} for i in range(30)]
    (tmp_path / "in/annos.json").write_text(json.dumps(annotation))
    with pytest.raises(
        UserError, match=r"no image found .* all 30 files .* first 0\.jpg \(the file is missing\)"
    ):
        prepare.prepare(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(prepare, "_HOPELESS", 10)
    with pytest.raises(UserError, match="none of the first 10 images"):
        prepare.prepare(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_number_out_of_range_names_the_image(tmp_path):
    picture(tmp_path / "in/a.jpg")
    (tmp_path / "in/people.csv").write_text("path,identity,camera\na.jpg,1,-4\n")
    with pytest.raises(UserError, match=r"a\.jpg: camera is -4"):
        prepare.prepare(tmp_path / "in", tmp_path / "out")


def test_an_interrupted_import_leaves_nothing_that_reads_as_whole(market, tmp_path, monkeypatch):
    def rows(path, numbering):
        for place, row in enumerate(original(path, numbering)):
            if place == 9:
                raise KeyboardInterrupt
            yield row

    original = importers.market.rows
    monkeypatch.setattr(importers.market, "rows", rows)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(market, tmp_path / "out")
    assert left_in(tmp_path) == ["market"]


@pytest.mark.parametrize("method", ["add", "finish"])
def test_a_full_disk_names_the_folder_and_leaves_nothing(market, tmp_path, monkeypatch, method):
    def full(*_):
        raise RuntimeError("write() failed: No space left on device; writing x")

    monkeypatch.setattr(prepare.RecordWriter, method, full)
    with pytest.raises(UserError, match=f"disk is full: {tmp_path}/out"):
        prepare.prepare(market, tmp_path / "out")
    assert left_in(tmp_path) == ["market"]


def test_a_taken_target_is_left_alone_and_an_empty_one_used(market, tmp_path):
    (tmp_path / "out").mkdir()
    prepare.prepare(market, tmp_path / "out")
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    with pytest.raises(UserError, match="exists already"):
        prepare.prepare(market, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


@pytest.mark.parametrize("options", [{"on_bad_image": "ignore"}, {"max_size": (0, 10)}, {"importer": "zip"}])
def test_wrong_options_are_named(market, tmp_path, options):
    with pytest.raises(UserError, match=next(iter(options))):
        prepare.prepare(market, tmp_path / "out", **options)


def test_rows_are_not_read_far_ahead_of_the_writer(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 16)).save(buffer, "JPEG")
    taken = 0

    def rows():
        nonlocal taken
        for number in range(5000):
            taken += 1
            yield importers.ImageRow("train", buffer.getvalue(), 0, 0, 0, 0, number, "x.jpg")

    pairs = prepare._fitted(rows(), prepare._Intake("error", (384, 192), 1 << 20, workers=2))
    next(pairs)
    pairs.close()
    assert taken < 500, f"{taken} images stood in memory before the first was written"


@dataclasses.dataclass(frozen=True)
class Spec:
    people: int = 6


def test_synthetic_people_become_records(tmp_path, monkeypatch):
    (tmp_path / "few_people.py").write_text(
        "import numpy as np\n"
        "def count(spec, split):\n    return spec.people if split == 'train' else 0\n"
        "def table(spec, split):\n"
        "    n = np.arange(spec.people)\n"
        "    return dict(identity=n, tracklet=n, video=n, camera=n, frame=n)\n"
        "def render(spec, split, index):\n    return np.full((16, 8, 3), index * 20, np.uint8)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        summary = prepare.prepare_synthetic(Spec(), tmp_path / "out", generator="few_people")
    finally:
        sys.modules.pop("few_people", None)
    assert summary["images"] == {"train": 6} and summary["spec"] == {"people": 6}
    train = records.open_split(tmp_path / "out", "train")
    np.testing.assert_allclose(decode_jpeg(train[3].image), 60, atol=2)


def rows_of(market):
    """Rows as a caller makes them: a file, its name, its bytes, and one that is no picture."""
    files = sorted((market / "bounding_box_train").iterdir())[:3]
    (market / "torn.jpg").write_bytes(b"torn")
    sources = [files[0], str(files[1]), files[2].read_bytes(), market / "torn.jpg", market / "absent.jpg"]
    return files, [
        importers.ImageRow("train", file, 7 + k, k, 1, 2, 3, f"{k}.jpg") for k, file in enumerate(sources)
    ]


def test_given_rows_become_records(market, tmp_path):
    files, rows = rows_of(market)
    about = {"source": "somewhere", "importer": "given", "labels": "x"}
    summary = prepare.prepare_rows(iter(rows), tmp_path / "out", label="given", total=5, about=about)
    assert summary["images"] == {"train": 3} and summary["identities"] == {"train": 3}
    assert about.items() <= summary.items()
    assert json.loads((tmp_path / "out/prepared.json").read_text()) == summary
    stored = list(records.open_split(tmp_path / "out", "train"))
    assert [record.image for record in stored] == [file.read_bytes() for file in files]
    assert [(r.identity, r.tracklet, r.video, r.camera, r.frame, r.path) for r in stored] == [
        (7 + k, k, 1, 2, 3, f"{k}.jpg") for k in range(3)
    ]
    assert set(skipped(tmp_path / "out")) == {"3.jpg", "4.jpg"}


def test_given_rows_that_cannot_be_stored_are_told_and_leave_nothing(market, tmp_path):
    _, rows = rows_of(market)
    about = {"source": "somewhere", "importer": "given"}
    with pytest.raises(UserError, match=r"3\.jpg: not a readable image"):
        prepare.prepare_rows(rows, tmp_path / "a", label="", total=5, about=about, on_bad_image="error")
    with pytest.raises(UserError, match="no image found in somewhere"):
        prepare.prepare_rows(rows[3:], tmp_path / "a", label="", total=2, about=about)
    wrong = dataclasses.replace(rows[0], frame=-2)
    with pytest.raises(UserError, match=r"0\.jpg: frame is -2"):
        prepare.prepare_rows([wrong], tmp_path / "a", label="", total=1, about=about)
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").touch()
    with pytest.raises(UserError, match="exists already"):
        prepare.prepare_rows(rows, tmp_path / "a", label="", total=5, about=about)


ABOUT = {"source": "somewhere", "importer": "given", "labels": "x"}


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Rows for some ten small shards, two of them no pictures; `asked` has the numbers that rows were asked from."""
    monkeypatch.setattr(prepare, "SHARD_BYTES", 15_000)
    rows, asked = [], []
    for number in range(50):
        file = tmp_path / f"in/{number}.jpg"
        picture(file, number, quality=95)
        if number in (3, 31):
            file.write_bytes(b"torn")
        rows.append(importers.ImageRow("train", file, number // 5, number, 1, 2, number, f"{number}.jpg"))

    take = prepare._Tally.take

    def write(target, dies_at=None, about=ABOUT):
        def dying(self, row, result):
            if row.frame == dies_at:
                raise KeyboardInterrupt
            take(self, row, result)

        def rows_from(first):
            asked.append(first)
            return iter(rows[first:])

        monkeypatch.setattr(prepare._Tally, "take", dying)
        return prepare.resume_rows(rows_from, target, label="given", total=len(rows), about=about)

    write.asked = asked
    return write


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def partials(tmp_path):
    return [path.name for path in tmp_path.iterdir() if ".partial-" in path.name]


def test_records_go_on_behind_the_last_whole_shard(many, tmp_path):
    straight = many(tmp_path / "straight")
    for dies_at in (2, 20, 21, 45):
        with pytest.raises(KeyboardInterrupt):
            many(tmp_path / "out", dies_at)
    assert many(tmp_path / "out") == straight
    _, *first, last = many.asked
    assert first[:2] == [0, 0] and 0 < first[2] <= 20 and first[2] <= first[3] < last <= 45
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    assert set(skipped(tmp_path / "out")) == {"3.jpg", "31.jpg"}
    assert not partials(tmp_path)


def test_a_run_that_is_killed_at_its_very_end_goes_on(many, tmp_path, monkeypatch):
    """The shards have their final names by then."""
    many(tmp_path / "straight")

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare, "_write_names", die)
        many(tmp_path / "out")
    (left,) = partials(tmp_path)
    assert list((tmp_path / left).glob("*-of-*"))
    (tmp_path / left / "index-train.parquet").write_bytes(b"of the killed run")
    many(tmp_path / "out")
    assert many.asked[-1] > 40
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_unfinished_records_of_other_work_are_removed(many, market, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        many(tmp_path / "out", 30)
    (left,) = partials(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        many(tmp_path / "out", 30, ABOUT | {"labels": "y"})
    (other,) = partials(tmp_path)
    assert other != left and many.asked == [0, 0]
    (tmp_path / ".out.partial-ab12").mkdir()
    (tmp_path / ".outer.partial-ab12").mkdir()
    prepare.prepare(market, tmp_path / "out")
    assert partials(tmp_path) == [".outer.partial-ab12"], "of this target only"


def test_a_finished_shard_that_was_damaged_is_named(many, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        many(tmp_path / "out", 30)
    (left,) = partials(tmp_path)
    shard = next((tmp_path / left).glob("*train*00001*"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=r"train-00001\.unfinished is damaged .* delete its folder"):
        many(tmp_path / "out")


def test_a_run_that_fails_before_a_shard_is_finished_leaves_nothing(many, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        many(tmp_path / "out", 1)
    assert not partials(tmp_path)
