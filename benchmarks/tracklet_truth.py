"""Who the crops of the task `tracklets` show, from a MOTChallenge ground truth of the video: path,identity as CSV.

    python -m benchmarks.tracklet_truth --tracklets DIR --gt gt.txt [--same-person same_person.csv] --output truth.csv

Boxes are matched one to one in every frame at an overlap of half or more; a crop without a match is of nobody (-1), as
is one that the ground truth asks to ignore. `--config.truth=truth.csv` makes the task `denoise` measure every level.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet

from benchmarks.tracklets import persons, read_truth


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracklets", type=Path, required=True)
    parser.add_argument("--gt", type=Path, required=True)
    parser.add_argument("--same-person", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    truth = read_truth(options.gt, options.same_person)
    table = pyarrow.parquet.read_table(options.tracklets / "tracklets.parquet").to_pydict()
    low = np.stack([table["x_left"], table["x_top"]], axis=1).astype(float)
    boxes = np.concatenate([low, low + np.stack([table["x_width"], table["x_height"]], axis=1)], axis=1)
    frame = np.array(table["frame"])
    identity = np.full(len(frame), -1)
    for number in np.unique(frame):
        rows = np.flatnonzero(frame == number)
        identity[rows] = np.maximum(persons(truth, int(number), boxes[rows]), -1)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity"])
        writer.writerows(zip(table["path"], identity.tolist(), strict=True))
    print(f"{options.output}: {(identity >= 0).sum():,} of {len(identity):,} crops show one of the people")


if __name__ == "__main__":
    main()
