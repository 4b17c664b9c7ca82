"""From data paths to prepared folders."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.data import cache, records


@pytest.fixture
def people(tmp_path):
    for number in range(6):
        file = tmp_path / f"people/{number // 2}/{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 8, 3), number * 10, np.uint8)).save(file)
    return tmp_path / "people"


def test_an_importable_folder_is_prepared_once(people, tmp_path, capsys):
    first = cache.resolve(str(people), tmp_path / "cache")
    assert records.splits(first) == {"train": 6}
    assert first.parent == tmp_path / "cache/data" and first.name.startswith("people-")
    assert "Preparing" in capsys.readouterr().err
    assert cache.resolve(people, tmp_path / "cache") == first
    assert "Preparing" not in capsys.readouterr().err


def test_a_changed_folder_or_setting_is_prepared_anew(people, tmp_path):
    folders = {cache.resolve(people, tmp_path / "cache")}
    folders.add(cache.resolve(people, tmp_path / "cache", max_size=(8, 8)))
    folders.add(cache.resolve(people, tmp_path / "cache", on_bad_image="error"))
    (people / "2/5.jpg").unlink()
    folders.add(cache.resolve(people, tmp_path / "cache"))
    assert len(folders) == 4


def test_a_prepared_folder_is_returned_as_it_is(people, tmp_path):
    prepared = cache.resolve(people, tmp_path / "cache")
    assert cache.resolve(prepared, tmp_path / "other") == prepared
    assert not (tmp_path / "other").exists()


def test_an_annotation_stands_for_its_images(people, tmp_path):
    """Millions of images are not listed at every start when a table says which they are."""
    (people / "all.csv").write_text("path,identity\n0/0.jpg,7\n")
    first = cache.resolve(people / "all.csv", tmp_path / "cache")
    (people / "0/unrelated.jpg").write_bytes(b"")
    assert cache.resolve(people / "all.csv", tmp_path / "cache") == first
    (people / "all.csv").write_text("path,identity\n0/0.jpg,7\n0/1.jpg,7\n")
    assert cache.resolve(people / "all.csv", tmp_path / "cache") != first


def test_leftovers_of_killed_processes_are_removed(people, tmp_path):
    target = cache.resolve(people, tmp_path / "cache")
    leftover = target.parent / f".{target.name}.partial-killed"
    leftover.mkdir()
    (leftover / "train-00000.unfinished").write_bytes(b"x")
    for file in target.iterdir():
        file.unlink()
    target.rmdir()
    assert cache.resolve(people, tmp_path / "cache") == target
    assert not leftover.exists()


def test_processes_at_once_prepare_once(people, tmp_path):
    program = (
        "import sys; from pathlib import Path; from cion_jax.data import cache, records\n"
        f"folder = cache.resolve({str(people)!r}, Path({str(tmp_path / 'cache')!r}))\n"
        "print(folder, len(records.open_split(folder, 'train')))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    results = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], results
    assert len({out for out, _ in results}) == 1
    assert sum("Preparing" in err and "once" in err for _, err in results) == 1
    assert len([path for path in (tmp_path / "cache/data").iterdir() if path.is_dir()]) == 1


def test_without_locks_the_winners_copy_is_used(people, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "fcntl", None)
    real = cache.prepare

    def overtaken(source, target, **options):
        real(source, target, **options)  # the other process
        return real(source, target, **options)  # ours finds the target taken

    monkeypatch.setattr(cache, "prepare", overtaken)
    assert records.splits(cache.resolve(people, tmp_path / "cache")) == {"train": 6}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere", "does not exist"), ("empty", "empty folder"), ("odd", "layouts are understood")],
)
def test_what_cannot_be_imported_is_explained(tmp_path, name, reason):
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/film.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=f"{name}.*{reason}"):
        cache.resolve(tmp_path / name, tmp_path / "cache")


def test_an_incomplete_copy_of_a_prepared_folder_is_named(people, tmp_path):
    prepared = cache.resolve(people, tmp_path / "cache")
    (prepared / "dataset_info.json").unlink()
    with pytest.raises(UserError, match="incomplete copy"):
        cache.resolve(prepared, tmp_path / "cache")


def test_the_synthetic_default_is_prepared_once_per_specification(tmp_path, monkeypatch):
    from cion_jax.data import synthetic

    made = []

    def prepare_synthetic(spec, target):
        made.append(spec)
        target.mkdir(parents=True)

    monkeypatch.setattr(cache, "prepare_synthetic", prepare_synthetic)
    default = cache.resolve("synthetic", tmp_path)
    assert cache.resolve(synthetic.SyntheticSpec(), tmp_path) == default
    assert cache.resolve(synthetic.SyntheticSpec(seed=1), tmp_path) != default
    assert [spec.seed for spec in made] == [0, 1]
    assert default.name.startswith("synthetic-")


def test_the_cache_follows_the_users_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_cache_dir() == tmp_path / "cion_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_cache_dir() == Path.home() / ".cache/cion_jax"
