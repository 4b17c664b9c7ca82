"""The commit that files name: of this checkout, of no other repository, and never an error."""

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from cion_jax.core import commit

PROJECT = '[project]\nname = "cion-jax"\nversion = "9.8.7"\n'
IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def committed(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder like a clone of this project; not a repository yet."""
    root = tmp_path / "clone"
    (root / "cion_jax").mkdir(parents=True)
    (root / "cion_jax" / "code.py").write_text("a = 1\n")
    (root / "pyproject.toml").write_text(PROJECT)
    return root


@pytest.fixture
def not_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)


@needs_git
def test_a_clean_checkout_is_named_by_its_commit(checkout):
    expected = committed(checkout)
    assert commit.commit_of(checkout) == expected
    (checkout / "runs").mkdir()
    (checkout / "runs" / "metrics.jsonl").write_text("{}")
    assert commit.commit_of(checkout) == expected, "what a run writes does not modify the sources"


@needs_git
@pytest.mark.parametrize("staged", [False, True])
def test_a_modified_tree_is_marked(checkout, staged):
    expected = committed(checkout)
    (checkout / "cion_jax" / "code.py").write_text("a = 2\n")
    if staged:
        git(checkout, "add", "-A")
    assert commit.commit_of(checkout) == f"{expected}-dirty"


@needs_git
def test_a_module_that_git_does_not_know_marks_the_tree(checkout):
    expected = committed(checkout)
    (checkout / "cion_jax" / "added.py").write_text("a = 2\n")
    assert commit.commit_of(checkout) == f"{expected}-dirty"


@needs_git
def test_a_package_inside_another_repository_does_not_take_its_commit(tmp_path, not_installed):
    other = tmp_path / "other"
    installed = other / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    wrong = committed(other)
    found = commit.commit_of(installed)
    assert wrong not in found
    assert found == "unknown"


@needs_git
def test_a_copy_of_the_package_in_the_root_of_another_project_does_not_take_its_commit(checkout):
    (checkout / "pyproject.toml").write_text(PROJECT.replace("cion-jax", "somebody-else"))
    assert committed(checkout) not in commit.commit_of(checkout)


@needs_git
def test_variables_of_git_do_not_lead_elsewhere(checkout, tmp_path, monkeypatch):
    """Inside a git hook these variables point to the repository of the hook."""
    other = tmp_path / "other"
    other.mkdir()
    committed(other)
    expected = committed(checkout)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(checkout))
    assert commit.commit_of(checkout) == expected


def test_a_folder_without_a_repository_gives_the_version_written_beside_it(checkout, not_installed):
    assert commit.commit_of(checkout) == "cion-jax 9.8.7"


def test_an_installed_package_gives_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: f"1.2 of {name}")
    assert commit.commit_of(tmp_path) == "cion-jax 1.2 of cion-jax"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("git"),
        PermissionError("git"),
        subprocess.TimeoutExpired("git", 10),
        subprocess.CalledProcessError(128, "git", stderr=b"detected dubious ownership"),
    ],
)
def test_no_failure_of_git_or_of_the_installation_is_an_error(tmp_path, monkeypatch, not_installed, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert commit.commit_of(tmp_path) == "unknown"


def test_a_damaged_installation_is_no_error(tmp_path, monkeypatch):
    def fail(name):
        raise KeyError("Version")

    monkeypatch.setattr(metadata, "version", fail)
    assert commit.commit_of(tmp_path) == "unknown"


def test_a_broken_project_file_is_no_error(checkout, not_installed):
    (checkout / "pyproject.toml").write_bytes(b"\xff = [")
    assert commit.commit_of(checkout) == "unknown"


def test_the_answer_is_found_once(monkeypatch):
    """A run names the sources it began with, though the checkout may change before it ends."""
    answers = iter(["first", "second"])
    monkeypatch.setattr(commit, "commit_of", lambda root: next(answers))
    commit.source_commit.cache_clear()
    try:
        assert [commit.source_commit(), commit.source_commit()] == ["first", "first"]
    finally:
        commit.source_commit.cache_clear()
