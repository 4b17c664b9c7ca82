"""The sidecar index: what is written is read, and nothing wrong is."""

import io

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import record_index
from cion_jax.data.record_schema import COLUMNS, Record


def records(count):
    return [Record(b"", 256, 128, i // 4, i // 2, i % 3, i % 5, i, "") for i in range(count)]


def written(path, count):
    with record_index.IndexWriter(path) as index:
        for record in records(count):
            index.add(record)
    return path


@pytest.mark.parametrize("count", [0, 1, 10])
def test_columns_come_back_with_their_dtypes(tmp_path, count, monkeypatch):
    monkeypatch.setattr(record_index, "_ROWS_AT_ONCE", 4)
    columns = record_index.read_index(written(tmp_path / "index.parquet", count), count)
    assert set(columns) == set(COLUMNS)
    for name, dtype in COLUMNS.items():
        assert columns[name].dtype == dtype
        np.testing.assert_array_equal(columns[name], [getattr(record, name) for record in records(count)])


def test_columns_cannot_be_changed_by_accident(tmp_path):
    columns = record_index.read_index(written(tmp_path / "index.parquet", 5), 5)
    with pytest.raises(ValueError, match="read-only"):
        columns["identity"][0] = 3


def test_an_index_of_other_records_is_refused(tmp_path):
    file = written(tmp_path / "index.parquet", 5)
    with pytest.raises(UserError, match=r"index\.parquet lists 5 records .* 6"):
        record_index.read_index(file, 6)


def test_a_cut_index_is_refused(tmp_path):
    file = written(tmp_path / "index.parquet", 5)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"index\.parquet cannot be read"):
        record_index.read_index(file, 5)


def test_a_built_index_equals_a_written_one_and_stays(tmp_path):
    file = tmp_path / "index-train.parquet"
    built = record_index.build_index(file, records(9))
    kept = record_index.read_index(file, 9)
    for name in COLUMNS:
        np.testing.assert_array_equal(built[name], kept[name])


def test_an_index_is_built_where_it_cannot_be_kept(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(record_index, "write_atomically", refuse)
    assert len(record_index.build_index(tmp_path / "index.parquet", records(3))["identity"]) == 3


def test_the_fingerprint_sees_every_column_the_split_and_nothing_else():
    def columns(count=6):
        buffer = io.BytesIO()
        with record_index.IndexWriter(buffer) as index:
            for record in records(count):
                index.add(record)
        return record_index.read_index(io.BytesIO(buffer.getvalue()), count)

    base = record_index.fingerprint("train", columns())
    assert record_index.fingerprint("train", columns()) == base
    assert record_index.fingerprint("query", columns()) != base
    assert record_index.fingerprint("train", columns(5)) != base
    for name in COLUMNS:
        changed = {key: values.copy() for key, values in columns().items()}
        changed[name][3] += 1
        assert record_index.fingerprint("train", changed) != base, f"{name} does not reach the fingerprint"
