"""Does grouping by identity help on real pictures? Untrained, DINO (N_id = 1) and CION (N_id = 2) on the same budget.

Trains on the training folders of data sets in Market-1501 layout together, and measures retrieval on the query and
gallery of the first. Everything but the number of images per identity is the same: data, steps, batch, seeds.

    python -m benchmarks.real_data --data VIPER PKU --workdir DIR [--seeds 0 1 2] [-- --config.key=value ...]
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from cion_jax.core.files import write_json
from cion_jax.data.importers import market

VARIANTS = {"DINO (N_id = 1)": "((0, 1),)", "CION (N_id = 2)": "((0, 2),)"}


def main() -> None:
    """Runs every variant with every seed through the command line and prints a table."""
    options = parse()
    workdir = Path(options.workdir).resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    table = training_table([Path(folder).resolve() for folder in options.data], workdir / "train.csv")
    results: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        for name, curriculum in VARIANTS.items():
            scores = run(options, table, workdir / f"{curriculum[5]}-seed{seed}", curriculum, seed)
            for features, figures in scores.items():
                label = name if features.endswith(", trained") else features
                results.setdefault(label, []).append(figures)
    print(report(results, options))
    write_json(workdir / "real_data.json", results)


def parse() -> argparse.Namespace:
    """The command line; what stands behind `--` goes to cion_jax.main."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", nargs="+", required=True, help="folders in Market-1501 layout; the first is evaluated"
    )
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--config", default="configs/demo.py")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("overrides", nargs="*", help="settings for cion_jax.main")
    return parser.parse_args()


def training_table(folders: list[Path], target: Path) -> Path:
    """One table of all training images; identities of different folders stay different people."""
    with target.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "identity", "camera"])
        for number, folder in enumerate(folders):
            for row in market.rows(folder):
                if getattr(row, "split", None) == "train":
                    table.writerow([row.file, f"{number}-{row.identity}", f"{number}-{row.camera}"])
    return target


def run(
    options: argparse.Namespace, table: Path, workdir: Path, curriculum: str, seed: int
) -> dict[str, dict]:
    """Scores of one run by name of the features; a finished run is read, not repeated."""
    summary = workdir / "summary.json"
    if not summary.exists():
        command = [
            sys.executable,
            "-m",
            "cion_jax.main",
            f"--config={options.config}",
            f"--workdir={workdir}",
        ]
        command += [f"--config.data.train={table}", f"--config.data.eval={Path(options.data[0]).resolve()}"]
        command += [f"--config.train.curriculum={curriculum}", f"--config.seed={seed}", *options.overrides]
        subprocess.run(command, check=True)
    return json.loads(summary.read_text())["scores"]


def report(results: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    """A Markdown table, mean and spread over the seeds."""
    lines = [
        f"{len(options.seeds)} seed(s), {' '.join(options.overrides)}",
        "",
        "| features | mAP | rank-1 |",
        "|---|---|---|",
    ]
    for name, runs in results.items():
        cells = []
        for key in ("mAP", "rank1"):
            values = 100 * np.array([figures[key] for figures in runs])
            cells.append(
                f"{values.mean():.1f} ± {values.std():.1f}" if values.std() else f"{values.mean():.1f}"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
