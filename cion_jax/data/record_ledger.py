"""How far a data set in the making is: after a kill the work goes on behind its last whole shard."""

import dataclasses
import json
from pathlib import Path

from cion_jax.core.files import write_json

LEDGER_FILE = "ledger.json"


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What is finished in the folder.

    Attributes:
      rows: rows of the source that are dealt with: stored in the shards below, or listed as skipped.
      shards: records of every finished shard, by split.
      left_out: rows that were skipped.
      first_failure: path and reason of the first of them, "" without any.
      skipped_bytes: size of the list of skipped files after these rows.
    """

    rows: int = 0
    shards: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    left_out: int = 0
    first_failure: str = ""
    skipped_bytes: int = 0


def read_ledger(folder: Path) -> Ledger:
    """The ledger of a folder; an empty one where no shard was finished."""
    try:
        return Ledger(**json.loads((folder / LEDGER_FILE).read_text()))
    except FileNotFoundError:
        return Ledger()


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Writes the ledger, whole or not at all."""
    write_json(folder / LEDGER_FILE, dataclasses.asdict(ledger))
