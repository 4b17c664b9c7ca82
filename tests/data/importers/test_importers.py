"""The choice of an importer."""

import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import importers


def make(root, *files):
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("path,identity\na.jpg,1\n")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("bounding_box_train/0001_c1s1_000001_00.jpg", "query/x.jpg"), "market"),
        (("m/bounding_box_train/0001_c1s1_000001_00.jpg",), "market"),
        (("sec0/1.jpg", "cional_annos.json"), "cion_al"),
        (("images/1.jpg", "people.csv"), "table"),
        (("ann/1.jpg", "bob/1.jpg"), "folders"),
    ],
)
def test_a_folder_is_recognised(tmp_path, files, expected):
    name, module = importers.choose(make(tmp_path, *files))
    assert name == expected and module is importers.IMPORTERS[expected]


def test_files_are_recognised(tmp_path):
    make(tmp_path, "a.json", "b.csv")
    assert importers.choose(tmp_path / "a.json")[0] == "cion_al"
    assert importers.choose(tmp_path / "b.csv")[0] == "table"


def test_a_named_importer_is_taken(tmp_path):
    make(tmp_path, "ann/1.jpg", "people.csv")
    assert importers.choose(tmp_path, "folders")[0] == "folders"


def test_an_unknown_layout_lists_what_is_understood(tmp_path):
    make(tmp_path, "video.mp4")
    with pytest.raises(UserError) as caught:
        importers.choose(tmp_path)
    for name in importers.IMPORTERS:
        assert f"{name}: " in str(caught.value)


def test_missing_and_empty_paths_and_wrong_names_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        importers.choose(tmp_path / "nowhere")
    with pytest.raises(UserError, match="empty folder"):
        importers.choose(tmp_path)
    with pytest.raises(UserError, match="'zip', not one of auto, market"):
        importers.choose(tmp_path, "zip")
