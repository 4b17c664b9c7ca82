"""Only regular files are read as images."""

import io
import os

import pytest
from PIL import Image

from cion_jax.data import pictures, prepare, records
from cion_jax.data.image_file import read_image_file


def test_regular_files_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert read_image_file(tmp_path / "a") == read_image_file(str(tmp_path / "link")) == b"abc"
    with pytest.raises(FileNotFoundError):
        read_image_file(tmp_path / "b")


@pytest.mark.parametrize("name", ["pipe", "zero", "folder"])
def test_a_table_that_names_something_else_does_not_hang(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "good.jpg").write_bytes(jpeg())
    (tmp_path / "t.csv").write_text(f"path,identity\n{name}.jpg,1\ngood.jpg,1\n")
    [bad] = pictures.open_pictures(tmp_path / "t.csv").read([0], (64, 64))
    assert bad.pixels is None and f"{name}.jpg is no regular file" in bad.reason
    prepare.prepare(tmp_path / "t.csv", tmp_path / "out", workers=1)
    assert records.splits(tmp_path / "out") == {"train": 1}
    assert "is no regular file" in (tmp_path / "out/skipped.csv").read_text()


def jpeg():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 16)).save(buffer, "JPEG")
    return buffer.getvalue()
