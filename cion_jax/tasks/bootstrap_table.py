"""The rounds of a bootstrap in figures: rounds.json, and rounds.md for people."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from cion_jax.core.files import write_atomically, write_json

_QUALITY = ("pair_precision", "pair_recall", "pair_f", "bcubed_f")


def extended(table: list[dict[str, Any]], folder: Path, done: dict[str, Any]) -> list[dict[str, Any]]:
    """The table with the row of a finished round; the first round brings that of the raw tracklets with it.

    Args:
      table: rows of the rounds before.
      folder: of the round.
      done: its parts with the seconds they took.
    """
    report = json.loads((folder / "denoised/report.json").read_text())
    before, after = report["levels"][0], report["levels"][-1]
    labels = pyarrow.parquet.read_table(folder / "denoised/labels.parquet")
    rows = list(table)
    if not rows:
        pair = np.stack([labels[name].to_numpy() for name in ("video", "tracklet")], axis=1)
        _, sizes = np.unique(pair, axis=0, return_counts=True)
        rows.append({"labels": "raw tracklets", **_figures(before, sizes)})
    identity = labels["identity"].to_numpy()
    settings = {name: float(report["settings"][name]) for name in ("sigma_cst", "sigma_drm")}
    rows.append(
        {
            "labels": f"after round {len(rows) - 1}",
            **_figures(after, np.bincount(identity[identity >= 0])),
            "noise_before": before["noise"],
            "noise": after["noise"],
            **settings,
            **_retrieval(folder / "pretrain/summary.json"),
            "seconds": {part: told["seconds"] for part, told in done.items()},
        }
    )
    return rows


def _figures(level: dict[str, Any], sizes: np.ndarray) -> dict[str, Any]:
    quality = level["quality"] or {}
    return {
        "identities": level["identities"],
        "images": level["images"],
        "median_size": float(np.median(sizes)) if len(sizes) else 0.0,
        "largest": int(sizes.max(initial=0)),
        **{name: quality[name] for name in _QUALITY if name in quality},
    }


def _retrieval(file: Path) -> dict[str, float]:
    """mAP of the round's backbone on held-out people, and of the untrained one where the round began with that."""
    scores = json.loads(file.read_text())["scores"] if file.exists() else {}
    found = {"mAP": next(iter(scores.values()))["mAP"]} if scores else {}
    untrained = [score["mAP"] for name, score in scores.items() if name.endswith(", untrained")]
    return found | ({"mAP_untrained": untrained[0]} if untrained else {})


def write(workdir: Path, table: list[dict[str, Any]]) -> str:
    """Writes rounds.json and rounds.md; returns the text of the latter."""
    write_json(workdir / "rounds.json", table)
    columns = {
        "labels": lambda row: row["labels"],
        "identities": lambda row: f"{row['identities']:,}",
        "images": lambda row: f"{row['images']:,}",
        "median size": lambda row: f"{row['median_size']:g}",
        "largest": lambda row: f"{row['largest']:,}",
        "noise": _noise,
    }
    if any("pair_f" in row for row in table):
        names = ("P", "R", "F", "BCubed F")
        columns |= {n: lambda row, key=key: f"{row[key]:.3f}" for n, key in zip(names, _QUALITY, strict=True)}
    if any("mAP" in row for row in table):
        columns["mAP"] = lambda row: f"{row['mAP']:.3f}" if "mAP" in row else ""
    columns["minutes"] = lambda row: f"{sum(row['seconds'].values()) / 60:.1f}" if "seconds" in row else ""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(cell(row) for cell in columns.values())} |" for row in table]
    text = "\n".join([*lines, "", *_notes(table)]) + "\n"
    write_atomically(workdir / "rounds.md", text)
    return text


def _noise(row: dict[str, Any]) -> str:
    if row.get("noise") is None or row.get("noise_before") is None:
        return ""
    return f"{row['noise_before']:.2f} → {row['noise']:.2f}"


def _notes(table: list[dict[str, Any]]) -> list[str]:
    notes = [
        "Noise is that of the raw tracklets and of the identities found, by the features and thresholds of the round "
        "itself: it can be compared within a row only."
    ]
    if any("pair_f" in row for row in table):
        notes.append(
            "P, R, F over pairs of images and BCubed F against the truth; a left-out image costs recall."
        )
    if untrained := [row["mAP_untrained"] for row in table if "mAP_untrained" in row]:
        notes.append(
            f"mAP is that of the backbone that the round trained, on held-out people (untrained: {untrained[0]:.3f})."
        )
    return notes
