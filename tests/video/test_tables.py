"""Tables of crops, and their numbers over all videos."""

import csv

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from cion_jax.video import tables
from cion_jax.video.crops import COLUMNS


def rows(*keys):
    """Columns of crops, for (path, segment, tracklet, frame) of each."""
    path, *numbers = zip(*keys, strict=True) if keys else ((), (), (), ())
    whole = {name: np.array(column, int) for name, column in zip(COLUMNS, numbers, strict=False)}
    box = {
        name: np.full(len(keys), value)
        for name, value in zip(COLUMNS[3:], (1.5, 2, 30, 60, 0.75), strict=True)
    }
    return {"path": list(path), **whole, **box}


ROWS = rows(("a", 0, 2, 5), ("b", 0, 2, 6), ("c", 1, 4, 9))


def test_rows_come_back(tmp_path):
    tables.write_rows(tmp_path / "v.parquet", ROWS)
    found = tables.read_rows(tmp_path / "v.parquet")
    assert found["path"] == ["a", "b", "c"]
    assert found["tracklet"].tolist() == [2, 2, 4] and found["score"].tolist() == [0.75] * 3
    tables.write_rows(tmp_path / "none.parquet", rows())
    assert tables.read_rows(tmp_path / "none.parquet")["path"] == []


def parts(tmp_path):
    tables.write_rows(tmp_path / "v.parquet", ROWS)
    local, numbers = tables.read_rows(tmp_path / "v.parquet"), tables.Numbers()
    yield numbers.add("crops/x.avi", 0, local)
    tables.write_rows(tmp_path / "v.parquet", rows())
    yield numbers.add("crops/y.avi", 1, tables.read_rows(tmp_path / "v.parquet"))
    yield numbers.add("crops/z.avi", 2, local)
    assert numbers.counts == (6, 4, 4)


@pytest.mark.parametrize("kind", tables.KINDS)
def test_every_tracklet_of_every_video_has_a_number_of_its_own(tmp_path, kind):
    file = tmp_path / f"all.{kind}"
    tables.write(file, parts(tmp_path))
    table = pyarrow.parquet.read_table(file) if kind == "parquet" else pyarrow.csv.read_csv(file)
    assert table.column_names == tables.SCHEMA.names
    assert table["path"].to_pylist() == [f"crops/{v}.avi/{name}" for v in "xz" for name in "abc"]
    assert table["identity"].to_pylist() == table["tracklet"].to_pylist() == [0, 0, 1, 2, 2, 3]
    assert table["video"].to_pylist() == [0, 0, 1, 2, 2, 3], "a segment is a video"
    assert table["camera"].to_pylist() == [0, 0, 0, 2, 2, 2]
    assert table["frame"].to_pylist() == [5, 6, 9] * 2
    assert table["x_left"].to_pylist() == [1.5] * 6


def test_boxes_may_be_unknown(tmp_path):
    local = {"path": ["a"], "segment": [0], "tracklet": [7], "frame": [3]}
    tables.write(tmp_path / "t.parquet", [tables.Numbers().add("", 0, local)])
    found = pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert found[0]["path"] == "a" and found[0]["x_score"] is None and found[0]["identity"] == 0


def test_a_failing_part_leaves_no_table(tmp_path):
    def broken():
        yield tables.Numbers().add("", 0, {"path": ["a"], "segment": [0], "tracklet": [0], "frame": [1]})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tables.write(tmp_path / "t.parquet", broken())
    assert list(tmp_path.iterdir()) == []


def test_small_tables_take_any_name(tmp_path):
    name = b"a\xff,b.avi".decode(errors="surrogateescape")
    tables.write_csv(tmp_path / "s.csv", ("path", "reason"), [(name, "why")])
    with (tmp_path / "s.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], ["a\\udcff,b.avi", "why"]]
