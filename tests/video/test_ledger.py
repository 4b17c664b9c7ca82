"""What is finished stays, what is not is made anew."""

import os

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically
from cion_jax.video import jobs, motchallenge, tables
from cion_jax.video.crops import COLUMNS
from cion_jax.video.fingerprints import Fingerprint
from cion_jax.video.ledger import Ledger
from cion_jax.video.listing import Video
from cion_jax.video.motchallenge import Rows

SETTINGS = {"step": 1, "detector": {"size": (0, 0)}}
ROWS = {"path": ["000000/0000001.jpg"], **{name: np.ones(1, int) for name in COLUMNS}}
TRACKS = Rows(np.array([1]), np.array([1]), np.array([[0.0, 0, 20, 40]]), np.array([0.5]))
NAME = "a/v.avi"


def print_of(tmp_path, content=b"video"):
    """The fingerprint of a file with this content."""
    file = tmp_path / f"{content.decode()}.avi"
    file.write_bytes(content)
    return Fingerprint(Video(NAME, file))


def finish(ledger, print_, name=NAME, content=b"x"):
    made = ledger.new_folder() / "0"
    crop = made / jobs.CROPS / "000000/0000001.jpg"
    crop.parent.mkdir(parents=True)
    crop.write_bytes(content)
    tables.write_rows(made / jobs.TABLE, ROWS)
    write_atomically(made / jobs.TRACKS, motchallenge.text(TRACKS))
    ledger.finish(name, print_.note(), made, {"frames": 9, "problem": ""})
    return crop


def test_a_finished_video_is_known_in_the_next_run(tmp_path):
    ledger, print_ = Ledger(tmp_path / "t", SETTINGS), print_of(tmp_path)
    assert ledger.entry(NAME, print_) is None
    finish(ledger, print_)
    again = Ledger(tmp_path / "t", SETTINGS)
    entry = again.entry(NAME, print_)
    assert (entry["frames"], entry["skipped"]) == (9, "")
    assert again.rows(NAME)["path"] == ROWS["path"]
    assert again.tracks_file(NAME).read_text() == "1,1,1.00,1.00,20.00,40.00,0.5000,-1,-1,-1\n"
    assert (again.crops_folder(NAME) / "000000/0000001.jpg").read_bytes() == b"x"
    assert again.entry(NAME, print_of(tmp_path, b"another")) is None, "the video has changed"


def test_crops_of_an_earlier_file_stay_until_the_new_ones_are_complete(tmp_path):
    ledger, first, second = Ledger(tmp_path / "t", SETTINGS), print_of(tmp_path), print_of(tmp_path, b"new")
    finish(ledger, first)
    crop = ledger.crops_folder(NAME) / "000000/0000001.jpg"
    ledger.new_folder()
    assert crop.read_bytes() == b"x"
    finish(ledger, second, content=b"y")
    assert crop.read_bytes() == b"y" and ledger.entry(NAME, first) is None and ledger.entry(NAME, second)


def test_what_killed_runs_left_goes(tmp_path):
    ledger = Ledger(tmp_path / "t", SETTINGS)
    finish(ledger, print_of(tmp_path))
    (ledger.new_folder() / "0/crops").mkdir(parents=True)
    left = [tmp_path / "t/videos/a/.v.avi.json.abcd1234", tmp_path / "t/.tracklets.parquet.abcd_234"]
    for file in left:
        file.write_bytes(b"x")
    (tmp_path / "t/.mine").write_bytes(b"x")
    ledger.clean()
    hidden = [path.name for path in (tmp_path / "t").rglob(".*")]
    assert hidden == [".mine"] and ledger.rows(NAME)


def test_a_skipped_video_keeps_its_reason_only(tmp_path):
    ledger, print_ = Ledger(tmp_path / "t", SETTINGS), print_of(tmp_path)
    ledger.skip(NAME, print_.note(), "it is no video", {"early": False})
    assert ledger.entry(NAME, print_)["skipped"] == "it is no video"
    assert not ledger.crops_folder(NAME).exists()


def test_finished_crops_outlive_a_newer_file_that_cannot_be_read(tmp_path):
    ledger, first, second = Ledger(tmp_path / "t", SETTINGS), print_of(tmp_path), print_of(tmp_path, b"bad")
    finish(ledger, first)
    ledger.skip(NAME, second.note(), "it is no video", {"early": False})
    assert (ledger.crops_folder(NAME) / "000000/0000001.jpg").read_bytes() == b"x"
    assert ledger.entry(NAME, first)["problem"] == ""
    entry = ledger.entry(NAME, second)
    assert not entry["skipped"] and entry["problem"].startswith("it is no video; the crops are those of an")


def test_a_copied_video_is_noted_with_its_new_time(tmp_path):
    ledger, print_ = Ledger(tmp_path / "t", SETTINGS), print_of(tmp_path)
    finish(ledger, print_)
    os.utime(tmp_path / "video.avi", (1, 1))
    copied = Fingerprint(Video(NAME, tmp_path / "video.avi"))
    ledger.refresh(NAME, copied)
    assert ledger.noted(NAME)["fingerprint"]["time"] == 10**9 and ledger.entry(NAME, copied)["frames"] == 9


@pytest.mark.parametrize(
    "name", ["日" * 83 + ".mp4", "x" * 251 + ".mp4", "/".join(["d" * 250] * 7 + ["v.mp4"])]
)
def test_names_of_any_length_can_be_noted(tmp_path, name):
    ledger, print_ = Ledger(tmp_path / "t", SETTINGS), print_of(tmp_path)
    finish(ledger, print_, name)
    assert ledger.rows(name)["path"] == ROWS["path"] and ledger.entry(name, print_)
    assert (tmp_path / "t" / ledger.crops_path(name) / "000000/0000001.jpg").is_file()


def test_a_dry_ledger_writes_nothing(tmp_path):
    Ledger(tmp_path / "t", SETTINGS, is_dry=True)
    assert not (tmp_path / "t").exists()


def test_settings_of_earlier_versions_are_understood(tmp_path):
    Ledger(tmp_path / "t", {"quality": 95, **SETTINGS})
    Ledger(tmp_path / "t", {"crop_step": 1, **SETTINGS}, since={"crop_step": 1})
    with pytest.raises(UserError, match=r"crop_step 1 \(now 2\)"):
        Ledger(tmp_path / "t", {"crop_step": 2, **SETTINGS}, since={"crop_step": 1})


def test_other_settings_and_other_folders_are_refused(tmp_path):
    Ledger(tmp_path / "t", SETTINGS)
    with pytest.raises(UserError, match=r"begun with other settings: step 1 \(now 2\)"):
        Ledger(tmp_path / "t", SETTINGS | {"step": 2})
    (tmp_path / "u").mkdir()
    Ledger(tmp_path / "u", SETTINGS)
    (tmp_path / "w").mkdir()
    (tmp_path / "w/mine.txt").write_text("x")
    with pytest.raises(UserError, match="holds something else"):
        Ledger(tmp_path / "w", SETTINGS)
    (tmp_path / "t/settings.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Ledger(tmp_path / "t", SETTINGS)
