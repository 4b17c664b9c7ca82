import json

import pytest

from cion_jax.core.files import atomic_directory, atomic_file, write_atomically, write_json


def test_a_folder_appears_when_the_block_ends_well(tmp_path):
    target = tmp_path / "deep" / "data"
    with atomic_directory(target) as partial:
        (partial / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"
    assert [p.name for p in target.parent.iterdir()] == ["data"]


def test_a_failed_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "data") as partial:
        (partial / "file").write_text("x")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_never_replaced(tmp_path):
    with pytest.raises(FileExistsError), atomic_directory(tmp_path):
        pass


@pytest.mark.parametrize("content", ["text ü", b"\x00\xff"])
def test_a_file_is_replaced_as_a_whole(tmp_path, content):
    target = tmp_path / "new" / "file"
    write_atomically(target, "old and much longer than what comes after it")
    write_atomically(target, content)
    assert target.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [p.name for p in target.parent.iterdir()] == ["file"]


def test_the_umask_decides_who_may_read(tmp_path):
    write_atomically(tmp_path / "file", "")
    (tmp_path / "plain").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "file.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "file.json", {"a": object()})
    assert json.loads((tmp_path / "file.json").read_text()) == {"a": 1}


def test_a_file_takes_its_place_when_the_block_ends_well_and_not_otherwise(tmp_path):
    target = tmp_path / "deep" / "data.bin"
    with atomic_file(target) as partial:
        partial.write_bytes(b"new")
        assert not target.exists()
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as partial:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"new"
    assert [p.name for p in target.parent.iterdir()] == ["data.bin"]
