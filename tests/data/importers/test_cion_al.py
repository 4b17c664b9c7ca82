"""CION-AL's JSON list, as a stream."""

import json
import tracemalloc

import pytest

from cion_jax.core.errors import UserError
from cion_jax.data.importers import cion_al


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


GOOD = [
    {"id": 0, "file_path": "sec0/0.jpg"},
    {"id": 0, "file_path": "sec0/1.jpg", "captions": ["a", "b"], "attributes": {"x": 1.5}},
    {"id": 3, "file_path": "./sec1/2.jpg"},
]


def test_fields_become_rows(tmp_path):
    file = write(tmp_path / "cional_annos.json", GOOD)
    rows = list(cion_al.rows(file))
    assert [(r.identity, r.tracklet, r.path) for r in rows] == [
        (0, 0, "sec0/0.jpg"),
        (0, 0, "sec0/1.jpg"),
        (3, 3, "sec1/2.jpg"),
    ]
    assert rows[1].file == f"{tmp_path}/sec0/1.jpg"
    assert {(r.split, r.video, r.camera, r.frame) for r in rows} == {("train", -1, 0, -1)}
    assert cion_al.count(file) == 3


def test_a_folder_with_one_annotation_file_will_do(tmp_path):
    write(tmp_path / "cinoal_annos.json", GOOD)
    write(tmp_path / "other.json", [])
    assert cion_al.detect(tmp_path)
    assert len(list(cion_al.rows(tmp_path))) == 3
    write(tmp_path / "more_annos_v2.json", GOOD)
    with pytest.raises(UserError, match=r"several .cinoal_annos\.json, more_annos_v2\.json"):
        list(cion_al.rows(tmp_path))


def test_a_folder_without_one_is_not_this_layout(tmp_path):
    assert not cion_al.detect(tmp_path)
    with pytest.raises(UserError, match="none"):
        cion_al.annotations(tmp_path)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"file_path": "a.jpg"}, "'id' is missing"),
        ({"id": 1}, "'file_path' is missing"),
        ({"id": "1", "file_path": "a.jpg"}, "'id' is '1'"),
        ({"id": 1.0, "file_path": "a.jpg"}, r"'id' is 1\.0"),
        ({"id": -1, "file_path": "a.jpg"}, "'id' is -1"),
        ({"id": True, "file_path": "a.jpg"}, "'id' is True"),
        ({"id": None, "file_path": "a.jpg"}, "'id' is None"),
        ({"id": 1, "file_path": ""}, "not a path"),
        ({"id": 1, "file_path": 7}, "not a path"),
        ([1, "a.jpg"], "expected an object"),
        ({"id": 1, "file_path": "../a.jpg"}, "leaves the folder"),
        ({"id": 1, "file_path": "a/../../b.jpg"}, "leaves the folder"),
        ({"id": 1, "file_path": "a\\..\\..\\b.jpg"}, "leaves the folder"),
        ({"id": 1, "file_path": "/etc/passwd"}, "leaves the folder"),
        ({"id": 1, "file_path": "C:\\a.jpg"}, "leaves the folder"),
    ],
)
def test_a_wrong_record_is_named_by_its_number(tmp_path, item, reason):
    file = write(tmp_path / "annos.json", [*GOOD, item, *GOOD])
    with pytest.raises(UserError, match=rf"annos\.json, record 4: .*{reason}"):
        list(cion_al.rows(file))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(GOOD)[:-20], "broken JSON after record 2"),
        ("", "broken JSON after record 0"),
        ("hello", "broken JSON"),
        ('[{"id": 9223372036854775808, "file_path": "a.jpg"}]', "integer overflow"),
        ("[]", "holds no records"),
        (json.dumps({"items": GOOD}), "holds no records"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, reason):
    with pytest.raises(UserError, match=rf"annos\.json.*{reason}"):
        list(cion_al.rows(write(tmp_path / "annos.json", text)))


@pytest.mark.slow
def test_many_records_stream_in_constant_memory(tmp_path):
    file = tmp_path / "annos.json"
    count = 200_000
    with file.open("w") as out:
        out.write("[")
        out.writelines(
            f'{", " if i else ""}{{"id": {i // 16}, "file_path": "sec{i % 130}/{i}.jpg"}}'
            for i in range(count)
        )
        out.write("]")
    assert file.stat().st_size > 8e6
    tracemalloc.start()
    try:
        rows = sum(1 for _ in cion_al.rows(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == cion_al.count(file) == count
    assert peak < 4e6, f"{peak / 1e6:.1f} MB for {count} rows: the list no longer streams"
