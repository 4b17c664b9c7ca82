"""CSV and Parquet tables."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data.importers import Numbering, table


def csv_file(folder, *lines):
    file = folder / "people.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def parquet_file(folder, **columns):
    file = folder / "people.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def numbers(file, numbering=None):
    rows = table.rows(file, numbering)
    return [(r.split, r.path, r.identity, r.tracklet, r.video, r.camera, r.frame) for r in rows]


FULL = [
    ("train", "a.jpg", 5, 6, 7, 8, 9),
    ("gallery", "b/c.jpg", -1, 2, 3, 4, 5),
    ("query", "d.png", 0, 0, 0, 0, 0),
]
NAMES = ("split", "path", "identity", "tracklet", "video", "camera", "frame")


def test_csv_and_parquet_with_all_columns(tmp_path):
    lines = [",".join(map(str, row)) for row in FULL]
    assert numbers(csv_file(tmp_path, ",".join(NAMES), *lines)) == FULL
    columns = dict(zip(NAMES, zip(*FULL, strict=True), strict=True))
    file = parquet_file(tmp_path, **{name: list(values) for name, values in columns.items()})
    assert numbers(file) == FULL
    assert table.count(file) == table.count(tmp_path / "people.csv") == 3


def test_columns_that_are_absent_get_numbers(tmp_path):
    file = csv_file(
        tmp_path, "camera,identity,path", "1,4,a.jpg", "1,4,b.jpg", "2,4,c.jpg", "1,9,d.jpg", "1,4,e.jpg"
    )
    assert numbers(file) == [
        ("train", "a.jpg", 4, 0, -1, 1, -1),
        ("train", "b.jpg", 4, 0, -1, 1, -1),
        ("train", "c.jpg", 4, 1, -1, 2, -1),
        ("train", "d.jpg", 9, 2, -1, 1, -1),
        ("train", "e.jpg", 4, 0, -1, 1, -1),
    ]


def test_names_are_numbered_by_first_appearance(tmp_path):
    file = csv_file(tmp_path, "path,identity,video", "1.jpg,zoe,v", "2.jpg,12,u", "3.jpg,zoe,u")
    numbering = Numbering()
    assert [(r[2], r[4]) for r in numbers(file, numbering)] == [(0, 0), (1, 1), (0, 1)]
    assert numbering.names == {"identity": {"zoe": 0, "12": 1}, "video": {"v": 0, "u": 1}}


def test_parquet_strings_are_names_even_if_they_look_like_numbers(tmp_path):
    file = parquet_file(
        tmp_path, path=["a.jpg", "b.jpg"], identity=pa.array(["007", "7"]).dictionary_encode()
    )
    numbering = Numbering()
    assert [r[2] for r in numbers(file, numbering)] == [0, 1]
    assert numbering.names["identity"] == {"007": 0, "7": 1}


def test_images_are_looked_for_beside_the_table(tmp_path):
    relative, absolute = table.rows(csv_file(tmp_path, "path,identity", "x/a.jpg,1", "/data/b.jpg,2"))
    assert (relative.file, absolute.file) == (f"{tmp_path}/x/a.jpg", "/data/b.jpg")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            ["path,identity", "a.jpg,1", "b.jpg,x7"],
            "row 2, column 'identity': 'x7' is not a whole number; the rows before",
        ),
        (["path,identity", "a.jpg,1", "b.jpg,1.5"], "row 2, column 'identity': '1.5'"),
        (["path,identity", "a.jpg,1", "b.jpg,"], "row 2, column 'identity': the cell is empty"),
        (["path,identity", ",1"], "row 1, column 'path': the cell is empty"),
        (["path,identity,frame", "a.jpg,1,first"], "row 1, column 'frame': 'first' is not a whole number"),
        (
            ["path,identity,split", "a.jpg,1,test"],
            "row 1, column 'split': 'test' is not one of train, query, gallery",
        ),
        (["path,identity,age", "a.jpg,1,30"], "unknown columns: age"),
        (["path,id", "a.jpg,1"], "lacks the column identity; it has path, id"),
        (["path,identity,identity", "a.jpg,1,1"], "two columns of the same name"),
        (["path,identity"], "no rows"),
        (["path,identity", "a.jpg,1", "b.jpg"], "Expected 2 columns, got 1"),
    ],
)
def test_wrong_tables_are_explained(tmp_path, lines, reason):
    with pytest.raises(UserError, match=reason) as caught:
        numbers(csv_file(tmp_path, *lines))
    assert "people.csv" in str(caught.value)


def test_columns_of_the_users_own_are_ignored(tmp_path):
    assert numbers(csv_file(tmp_path, "x_age,path,identity", "30,a.jpg,1"))[0][1:3] == ("a.jpg", 1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1, None], "row 2, column 'identity': the cell is empty"),
        ([1.0, 2.0], "row 1, .*1.0 is not a whole number"),
    ],
)
def test_wrong_parquet_types_are_named(tmp_path, values, reason):
    with pytest.raises(UserError, match=reason):
        numbers(parquet_file(tmp_path, path=["a.jpg", "b.jpg"], identity=values))


def test_files_that_are_no_tables_are_named(tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 something else")
    with pytest.raises(UserError, match=r"broken\.parquet is not a readable Parquet file"):
        numbers(broken)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00path")
    with pytest.raises(UserError, match=r"binary\.csv"):
        numbers(binary)


def test_a_folder_with_one_fitting_table_will_do(tmp_path):
    csv_file(tmp_path, "path,identity", "a.jpg,1")
    (tmp_path / "other.csv").write_text("name,number\nx,1\n")
    assert table.detect(tmp_path) and len(numbers(tmp_path)) == 1
    parquet_file(tmp_path, path=["a.jpg"], identity=[1])
    assert table.detect(tmp_path), "the pictures beside them are not to be taken without what the tables say"
    with pytest.raises(
        UserError, match=r"several .people\.csv, people\.parquet.*Name the file itself as the so"
    ):
        numbers(tmp_path)


@pytest.mark.parametrize("name", ["tracklet", "video", "frame"])
def test_of_several_tables_the_one_that_tells_tracklets_is_meant(tmp_path, name):
    csv_file(tmp_path, "path,identity", "a.jpg,7")
    (tmp_path / "more.csv").write_text("path,identity,camera\na.jpg,8,1\n")
    file = parquet_file(tmp_path, path=["a.jpg"], identity=[1], **{name: [5]})
    assert table.table_file(tmp_path) == file and numbers(tmp_path)[0][2] == 1
    (tmp_path / "z.csv").write_text("path,identity,tracklet\na.jpg,8,1\n")
    with pytest.raises(UserError, match=r"several .more\.csv, people\.csv, people\.parquet, z\.csv"):
        numbers(tmp_path)


def test_windows_line_ends_quotes_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes('\ufeffpath,identity\r\n"a, b.jpg",3\r\n'.encode())
    assert numbers(file)[0][1:3] == ("a, b.jpg", 3)
