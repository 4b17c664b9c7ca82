"""Files of features: .npz for NumPy, .parquet for tables, both whole or absent."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from cion_jax.core.errors import UserError
from cion_jax.core.files import atomic_file, write_atomically

SUFFIXES = (".npz", ".parquet")


def check_target(target: Path) -> None:
    """Raises UserError unless the suffix says how to write."""
    if target.suffix not in SUFFIXES:
        raise UserError(f"target={target} must end in {' or '.join(SUFFIXES)}, or be a folder")
    if target.is_dir():
        raise UserError(f"target={target} is a folder")


def write(
    target: Path,
    features: np.ndarray,
    paths: Sequence[str],
    columns: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Writes one row an image.

    Args:
      target: .npz with the arrays "features" [n, d], "path", those of `columns`, and "about" (JSON text); or
        .parquet with the columns path, those of `columns`, and feature (a list of d numbers), and `about` in its
        metadata under "cion_jax".
      features: float32 or float16 [n, d].
      paths: n source paths; bytes that are no UTF-8 are written as \\xNN.
      columns: arrays [n].
      about: model, weights, normalisation and so on, ready for JSON.
    """
    paths = [path.encode(errors="backslashreplace").decode() for path in paths]
    text = json.dumps(dict(about))
    with atomic_file(target) as partial:
        if target.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez(file, features=features, path=np.array(paths), **columns, about=np.array(text))
            return
        lists = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
        arrays = {"path": pa.array(paths)} | {name: pa.array(column) for name, column in columns.items()}
        table = pa.table(arrays | {"feature": lists}).replace_schema_metadata({"cion_jax": text})
        pyarrow.parquet.write_table(table, partial)


def skipped_file(target: Path) -> Path:
    """Where the images without features are listed: features.skipped.csv beside features.npz."""
    return target.with_suffix(".skipped.csv")


def write_skipped(target: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Lists (path, reason) beside the target; without any, a list that an earlier run left is removed."""
    write_list(skipped_file(target), skipped)


def write_list(file: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Lists (path, reason) in a .csv; without any, one that an earlier run left is removed."""
    if not skipped:
        file.unlink(missing_ok=True)
        return
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["path", "reason"])
    table.writerows(skipped)
    write_atomically(file, text.getvalue().encode(errors="backslashreplace"))
