"""Cache keys follow the listing of the source."""

import os

import pytest

from cion_jax.data import source_key as module
from cion_jax.data.source_key import settings_key, slug, source_key


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "b/deep/er/3.jpg"):
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"12345")
    return tmp_path / "set"


def overwrite(folder):
    file = folder / "a/1.jpg"
    file.write_bytes(b"54321")
    os.utime(file, ns=(10**18, 10**18))


CHANGES = {
    "a new file": lambda folder: (folder / "a/4.jpg").write_bytes(b""),
    "a missing file": lambda folder: (folder / "a/2.jpg").unlink(),
    "a longer file": lambda folder: (folder / "b/deep/er/3.jpg").write_bytes(b"123456"),
    "another name": lambda folder: (folder / "a/2.jpg").rename(folder / "a/7.jpg"),
    "another folder": lambda folder: (folder / "c").mkdir(),
    "another time": overwrite,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_listing_changes_the_key(folder, change):
    before = source_key(folder, {})
    assert source_key(folder, {}) == before
    CHANGES[change](folder)
    assert source_key(folder, {}) != before


def test_settings_and_place_are_part_of_the_key(folder, tmp_path):
    keys = {source_key(folder, {}), source_key(folder, {"x": 1}), source_key(folder, {"x": 2})}
    folder.rename(tmp_path / "moved")
    keys.add(source_key(tmp_path / "moved", {}))
    assert len(keys) == 4


def test_single_files_have_keys(folder):
    before = source_key(folder / "a/1.jpg", {})
    overwrite(folder)
    assert source_key(folder / "a/1.jpg", {}) != before


def test_beyond_the_limit_names_still_count(folder, monkeypatch):
    monkeypatch.setattr(module, "_MOST_FILE_STATS", 1)
    before = source_key(folder, {})
    (folder / "a/2.jpg").rename(folder / "a/9.jpg")
    assert source_key(folder, {}) != before


def test_keys_are_harmless_folder_names(tmp_path):
    assert slug("Market 1501/ü") == "Market_1501_"
    assert slug("..") == "data" and slug(".hidden") == "hidden"
    assert source_key(tmp_path, {}).startswith(slug(tmp_path.name) + "-")


def test_settings_alone_make_a_key():
    assert (
        settings_key("s", {"a": 1, "b": 2})
        == settings_key("s", {"b": 2, "a": 1})
        != settings_key("s", {"a": 1})
    )
