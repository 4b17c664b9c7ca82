"""Known identities by path, and tracklets that pass for them."""

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.tasks import truth


@pytest.mark.parametrize(
    ("identities", "tracklets", "videos", "expected"),
    [
        ([5, 5, 6, 7], [1, 1, 2, 1], [0, 0, 0, 1], True),
        ([5, 5, 6, 5], [1, 1, 2, 1], [0, 0, 0, 1], False),  # one person, two tracklets
        ([5, 4, 6, 7], [1, 1, 2, 1], [0, 0, 0, 1], False),  # two people in one tracklet
        ([5, 5, 6, -1], [1, 1, 2, 2], [0, 0, 0, 0], True),  # -1 is nobody
        ([5, 5, 5], [1, 1, 1], [0, 0, 0], False),  # a single tracklet
        ([-1, -1], [1, 2], [0, 0], False),
        ([], [], [], False),
    ],
)
def test_identities_that_are_the_tracklets(identities, tracklets, videos, expected):
    columns = (np.array(column, np.int64) for column in (identities, tracklets, videos))
    assert truth.are_tracklets(*columns) == expected


def table(folder, text, encoding="utf-8"):
    (folder / "t.csv").write_text(text, encoding=encoding)
    return str(folder / "t.csv")


def test_identities_by_path(tmp_path):
    text = "identity,path,more\n4,a,x\n2,d,x\n4,a,y\n"
    assert truth.read_table(table(tmp_path, text)) == {"a": 4, "d": 2}


def test_a_byte_order_mark_is_read_over(tmp_path):
    assert truth.read_table(table(tmp_path, "path,identity\na,1\n", "utf-8-sig")) == {"a": 1}


def test_rows_that_contradict_one_another_are_named(tmp_path):
    file = table(tmp_path, "path,identity\na,1\nb,2\na,3\na,4\nb,2\nc,-1\nc,0\n")
    with pytest.raises(
        UserError, match=r"t\.csv contradicts itself on 2 images: a is 1 and 3, c is -1 and 0\. Leave"
    ):
        truth.read_table(file)


@pytest.mark.parametrize("text", ["path,who\na,1\n", "path,identity\na,anna\n", "path,identity\na\n"])
def test_another_table_is_told(tmp_path, text):
    with pytest.raises(UserError, match=r"t\.csv must be a \.csv with columns path and identity"):
        truth.read_table(table(tmp_path, text))
