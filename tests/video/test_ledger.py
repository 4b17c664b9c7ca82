"""What is finished stays, what is not is made anew."""

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.video.crops import COLUMNS
from cion_jax.video.ledger import Ledger
from cion_jax.video.motchallenge import Rows

SETTINGS = {"step": 1, "detector": {"size": (0, 0)}}
ROWS = {"path": ["000000/0000001.jpg"], **{name: np.ones(1, int) for name in COLUMNS}}
TRACKS = Rows(np.array([1]), np.array([1]), np.array([[0.0, 0, 20, 40]]), np.array([0.5]))


def finish(ledger, name="a/v.avi", fingerprint=(1, 2)):
    folder = ledger.begin(name)
    (folder / "000000").mkdir(parents=True)
    (folder / "000000/0000001.jpg").write_bytes(b"x")
    ledger.finish(name, fingerprint, ROWS, TRACKS, frames=9)


def test_a_finished_video_is_known_in_the_next_run(tmp_path):
    ledger = Ledger(tmp_path / "t", SETTINGS)
    assert ledger.entry("a/v.avi", [1, 2]) is None
    finish(ledger)
    again = Ledger(tmp_path / "t", SETTINGS)
    entry = again.entry("a/v.avi", [1, 2])
    assert (entry["frames"], entry["skipped"]) == (9, "")
    assert again.rows("a/v.avi")["path"] == ROWS["path"]
    assert again.tracks_file("a/v.avi").read_text() == "1,1,1.00,1.00,20.00,40.00,0.5000,-1,-1,-1\n"
    assert again.entry("a/v.avi", [1, 3]) is None, "the video has changed"


def test_what_an_interrupted_try_left_goes(tmp_path):
    ledger = Ledger(tmp_path / "t", SETTINGS)
    finish(ledger)
    ledger.begin("a/v.avi")
    assert not ledger.crops_folder("a/v.avi").exists() and ledger.entry("a/v.avi", [1, 2]) is None
    assert not [path for path in (tmp_path / "t").rglob("*v.avi*") if path.is_file()]


def test_a_skipped_video_keeps_its_reason_only(tmp_path):
    ledger = Ledger(tmp_path / "t", SETTINGS)
    finish(ledger)
    ledger.skip("a/v.avi", [1, 2], "it is no video")
    assert ledger.entry("a/v.avi", [1, 2])["skipped"] == "it is no video"
    assert not ledger.crops_folder("a/v.avi").exists()


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
