"""What is finished: one entry a video in the target folder, so that an interrupted run goes on where it was.

TARGET/videos/NAME.json is written last, when crops, table and tracks of the video are complete; what lies there without
it is removed and made anew.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_atomically, write_json
from cion_jax.video import motchallenge, tables
from cion_jax.video.crops import Columns

SETTINGS_FILE = "settings.json"
_VIDEOS, _CROPS, _TRACKS = "videos", "crops", "tracks"


class Ledger:
    """The folder that tracklets come into.

    Args:
      target: a folder that does not exist yet, is empty, or was made by this class with the same settings.
      settings: everything that the crops depend on, ready for JSON.

    Raises:
      UserError: the folder holds something else, or tracklets of other settings; names what differs.
    """

    def __init__(self, target: Path, settings: Mapping[str, Any]):
        self._target = target
        settings = json.loads(json.dumps(settings))
        file = target / SETTINGS_FILE
        if not file.exists():
            if target.exists() and (not target.is_dir() or any(target.iterdir())):
                raise UserError(f"{target} holds something else: name a new folder by --config.target")
            write_json(file, settings)
            return
        made = read_json(file)
        if other := sorted(
            key for key in settings.keys() | made.keys() if settings.get(key) != made.get(key)
        ):
            told = ", ".join(f"{key} {made.get(key)!r} (now {settings.get(key)!r})" for key in other)
            raise UserError(
                f"{target} was begun with other settings: {told}. Go on with those or in a new folder"
            )

    def entry(self, name: str, fingerprint: Sequence[Any]) -> dict[str, Any] | None:
        """What was written of a video, None if it is not finished or has changed since."""
        file = self._entry_file(name)
        if not file.is_file():
            return None
        entry = read_json(file)
        return entry if entry["fingerprint"] == list(fingerprint) else None

    def begin(self, name: str) -> Path:
        """Removes what an earlier try left of a video; the folder for its crops."""
        self._entry_file(name).unlink(missing_ok=True)
        for file in (self._table_file(name), self.tracks_file(name)):
            file.unlink(missing_ok=True)
        folder = self.crops_folder(name)
        if folder.exists():
            shutil.rmtree(folder)
        return folder

    def finish(
        self,
        name: str,
        fingerprint: Sequence[Any],
        rows: Columns,
        tracks: motchallenge.Rows,
        **facts: Any,
    ) -> None:
        """Writes the table and tracks of a video, and then that it is finished."""
        tables.write_rows(self._table_file(name), rows)
        write_atomically(self.tracks_file(name), motchallenge.text(tracks))
        self._note(name, fingerprint, {"skipped": "", **facts})

    def skip(self, name: str, fingerprint: Sequence[Any], reason: str) -> None:
        """Leaves a video out, and keeps nothing of it."""
        self.begin(name)
        self._note(name, fingerprint, {"skipped": reason})

    def rows(self, name: str) -> Columns:
        """The crops of a finished video."""
        return tables.read_rows(self._table_file(name))

    def crops_folder(self, name: str) -> Path:
        """Where the crops of a video lie."""
        return self._target / _CROPS / name

    def tracks_file(self, name: str) -> Path:
        """The tracks of a video in MOTChallenge format."""
        return self._target / _TRACKS / f"{name}.txt"

    def _note(self, name: str, fingerprint: Sequence[Any], facts: dict[str, Any]) -> None:
        write_json(self._entry_file(name), {"fingerprint": list(fingerprint), **facts})

    def _entry_file(self, name: str) -> Path:
        return self._target / _VIDEOS / f"{name}.json"

    def _table_file(self, name: str) -> Path:
        return self._target / _VIDEOS / f"{name}.parquet"


def read_json(file: Path) -> dict[str, Any]:
    """A JSON file of ours.

    Raises:
      UserError: it is damaged.
    """
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}): remove it, then run the same command again") from error
