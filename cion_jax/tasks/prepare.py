"""Task `prepare`: a folder or an annotation file -> records, with a summary."""

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.data import importers, records
from cion_jax.data.prepare import SKIPPED_FILE, prepare


def run(config: ConfigDict, workdir: Path) -> None:
    """Imports config.source as a data set of records and prints what became of it.

    The records come into config.target, or into `workdir`/records without one. An interrupted import leaves nothing
    behind; bad images are left out and listed in skipped.csv, or end the import (config.on_bad_image).

    Raises:
      UserError: no source, or whatever else `data.prepare.prepare` cannot take; see the message.
    """
    if jax.distributed.is_initialized():
        raise UserError("the task prepare runs in one process: leave out --distributed")
    source = Path(config.source).expanduser()
    _check(config, source)
    target = Path(config.target).expanduser() if config.target else workdir / "records"
    found = prepare(
        source,
        target,
        importer=config.importer,
        on_bad_image=config.on_bad_image,
        max_size=tuple(config.max_size),
        workers=config.workers or None,
    )
    print(summary(found, target), end="")


def summary(found: dict[str, Any], target: Path) -> str:
    """The counts of an import, as `data.prepare.prepare` returns them, in a few lines for people."""
    lines = [f"{found['source']} (layout {found['importer']}) is prepared in {target}", ""]
    lines.append(f"{'split':<10}{'images':>12}{'identities':>12}")
    for split, images in found["images"].items():
        lines.append(f"{split:<10}{images:>12,}{found['identities'][split]:>12,}")
    if found["skipped"]:
        lines += [
            "",
            f"{found['skipped']:,} files left out; {target / SKIPPED_FILE} lists them with the reason",
        ]
    lines += ["", f"To train on it: --config.data.train={target}"]
    return "\n".join(lines) + "\n"


def _check(config: ConfigDict, source: Path) -> None:
    if not config.source:
        raise UserError(f"no source given: add --config.source=FOLDER. {importers.layouts()}")
    if records.is_prepared(source):
        raise UserError(f"{source} is prepared already: train on it with --config.data.train={source}")
    if config.workers < 0:
        raise UserError(f"workers={config.workers} must be 0 (one thread per core) or more")
