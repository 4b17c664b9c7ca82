"""What is finished: one entry a video in the target folder, so that an interrupted run goes on where it was.

A video is made in a folder of its own under TARGET/.partial-*, by any process. The process that holds the target's lock
moves it to its place (`finish`). TARGET/videos/NAME.json is written last, when crops, table and tracks are in place;
what lies there without it is replaced.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cion_jax.core.errors import UserError
from cion_jax.core.files import write_json
from cion_jax.video import jobs, tables
from cion_jax.video.crops import Columns
from cion_jax.video.file_names import file_name
from cion_jax.video.fingerprints import Fingerprint

SETTINGS_FILE = "settings.json"
_VIDEOS, _CROPS, _TRACKS = "videos", "crops", "tracks"
_PARTIAL = ".partial-"
_TEMPORARY = re.compile(
    r"\..+\.(json|parquet|csv|txt)\.[a-z0-9_]{8}", re.DOTALL
)  # as core/files.py names them


class Ledger:
    """The folder that tracklets come into.

    Args:
      target: a folder that does not exist yet, is empty, or was made by this class with the same settings.
      settings: everything that the crops of all videos must agree on, ready for JSON.
      since: value of settings that earlier versions did not have; settings that are gone are ignored.
      is_dry: nothing is written.

    Raises:
      UserError: the folder holds something else, or tracklets of other settings; names what differs.
    """

    def __init__(
        self,
        target: Path,
        settings: Mapping[str, Any],
        *,
        since: Mapping[str, Any] | None = None,
        is_dry: bool = False,
    ):
        self._target = target
        settings = json.loads(json.dumps(settings))
        file = target / SETTINGS_FILE
        if not file.exists():
            # A run that was killed before its first file leaves only hidden ones.
            if target.exists() and (not target.is_dir() or any(f.name[0] != "." for f in target.iterdir())):
                raise UserError(f"{target} holds something else: name a new folder by --config.target")
            if not is_dry:
                write_json(file, settings)
            return
        made = {**(since or {}), **read_json(file)}
        if other := sorted(key for key in settings if settings[key] != made.get(key)):
            listed = ", ".join(f"{key} {made.get(key)!r} (now {settings[key]!r})" for key in other)
            raise UserError(
                f"{target} was begun with other settings: {listed}. Go on with those or in a new folder"
            )

    def entry(self, name: str, fingerprint: Fingerprint) -> dict[str, Any] | None:
        """What was noted of this very video; None if it is not finished or another file had its name."""
        entry = self.noted(name)
        if entry is None:
            return None
        if fingerprint.is_same(entry["fingerprint"]):
            return entry
        newer = entry.get("newer")
        if newer and fingerprint.is_same(newer["fingerprint"]):
            return {**entry, "problem": newer["problem"]}
        return None

    def noted(self, name: str) -> dict[str, Any] | None:
        """What was noted of a video of this name, whatever the file is now; None if nothing was."""
        file = self._entry_file(name)
        return read_json(file) if file.is_file() else None

    def refresh(self, name: str, fingerprint: Fingerprint) -> None:
        """Notes the present time of a video that was copied or touched, so that its content is not read again."""
        entry = self.noted(name)
        if fingerprint.is_same(entry["fingerprint"]) and entry["fingerprint"] != fingerprint.note():
            self._note(name, {**entry, "fingerprint": fingerprint.note()})

    def new_folder(self) -> Path:
        """An empty hidden folder in the target for work that is not finished."""
        self._target.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._target))

    def clean(self) -> None:
        """Removes what killed runs left unfinished. To be called by the process that holds the target's lock.

        A process of theirs that is about to end may still write into its folder, which then stays until the next call.
        """
        for folder in self._target.glob(f"{_PARTIAL}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for found in (self._target.glob(".*"), (self._target / _VIDEOS).rglob(".*")):
            for file in found:
                if _TEMPORARY.fullmatch(file.name) and file.is_file():
                    file.unlink(missing_ok=True)

    def finish(self, name: str, note: Mapping[str, Any], made: Path, facts: Mapping[str, Any]) -> None:
        """Moves a video to its place, and then notes that it is finished; crops of an earlier file are replaced.

        Args:
          name: of the video.
          note: its fingerprint.
          made: folder with crops (if there are any), table and tracks, as `jobs` names them; it is emptied.
          facts: for the entry.
        """
        self._remove(name)
        for source, place in (
            (made / jobs.CROPS, self.crops_folder(name)),
            (made / jobs.TABLE, self._table_file(name)),
            (made / jobs.TRACKS, self.tracks_file(name)),
        ):
            if source.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                source.rename(place)
        self._note(name, {"fingerprint": note, "skipped": "", **facts})

    def skip(self, name: str, note: Mapping[str, Any], reason: str, facts: Mapping[str, Any]) -> None:
        """Notes why a video is left out. Crops of an earlier file of that name stay, with the reason beside them."""
        before = self.noted(name)
        if before and not before["skipped"]:
            problem = f"{reason}; the crops are those of an earlier file of this name"
            self._note(name, {**before, "newer": {"fingerprint": note, "problem": problem}})
            return
        self._remove(name)
        self._note(name, {"fingerprint": note, "skipped": reason, **facts})

    def rows(self, name: str) -> Columns:
        """The crops of a finished video."""
        return tables.read_rows(self._table_file(name))

    def crops_path(self, name: str) -> str:
        """Where the crops of a video lie, relative to the target."""
        return f"{_CROPS}/{file_name(name)}"

    def crops_folder(self, name: str) -> Path:
        """Where the crops of a video lie."""
        return self._target / self.crops_path(name)

    def tracks_file(self, name: str) -> Path:
        """The tracks of a video in MOTChallenge format."""
        return self._target / _TRACKS / f"{file_name(name)}.txt"

    def _remove(self, name: str) -> None:
        """Removes what there is of a video, its entry first."""
        for file in (self._entry_file(name), self._table_file(name), self.tracks_file(name)):
            file.unlink(missing_ok=True)
        folder = self.crops_folder(name)
        if folder.exists():
            shutil.rmtree(folder)

    def _note(self, name: str, entry: Mapping[str, Any]) -> None:
        write_json(self._entry_file(name), entry)

    def _entry_file(self, name: str) -> Path:
        return self._target / _VIDEOS / f"{file_name(name)}.json"

    def _table_file(self, name: str) -> Path:
        return self._target / _VIDEOS / f"{file_name(name)}.parquet"


def read_json(file: Path) -> dict[str, Any]:
    """A JSON file of ours.

    Raises:
      UserError: it is damaged.
    """
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}): remove it, then run the same command again") from error
