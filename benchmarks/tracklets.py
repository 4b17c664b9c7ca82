"""How good are detections and tracklets? Against the ground truth of one video, beside a plain greedy IoU tracker.

    python -m benchmarks.tracklets --video VIDEO --gt gt.txt [--same-person TABLE.csv] [--detector FILE] [--segment 50]
    python -m benchmarks.tracklets --speed --video VIDEO --detector FILE [--before CHECKOUT]    # see tracklet_speed.py

The ground truth is a MOTChallenge file; --same-person (gt_id,person) joins ids that are one person. A box is
somebody's if it overlaps a true box by half (IoU), each box and person once a frame; boxes on rows of confidence 0
count neither way. "switched": tracklets that show more than one person; "of_nobody": crops that show none. --noisy
takes tracklets that others made (.npz with frame, video, tracklet and box) into the table. Detections are made once, at
the lowest confidence asked for; a row of trackers is shown for each --scores CONFIDENCE,START,HIGH,MIN_IOU.
"""

import argparse
import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks import report, tracklet_speed
from cion_jax.video import boxes as geometry
from cion_jax.video import detectors, listing, motchallenge, packages, reading
from cion_jax.video.detectors import Detections, DetectorSettings, with_confidence
from cion_jax.video.tracking import Tracker, TrackerSettings

OVERLAP = 0.5
IGNORED, NOBODY = -2, -1


class Truth(NamedTuple):
    """Who is where: rows of frame, person and box, and boxes that are to be ignored."""

    rows: motchallenge.Rows
    ignored: motchallenge.Rows


class GreedyIou:
    """The baseline: every box goes on with the track whose last box it overlaps most, best pairs first."""

    def __init__(self, min_iou: float = 0.3, patience: int = 10):
        self._min_iou, self._patience = min_iou, patience
        self._last: dict[int, tuple[int, np.ndarray]] = {}
        self._frame = self._count = 0

    def update(self, found: Detections) -> np.ndarray:
        self._frame += 1
        self._last = {k: v for k, v in self._last.items() if self._frame - v[0] <= self._patience}
        identities = np.full(len(found.boxes), NOBODY)
        names = list(self._last)
        if names and len(found.boxes):
            overlap = geometry.iou(np.array([self._last[name][1] for name in names]), found.boxes)
            for flat in np.argsort(-overlap, axis=None, kind="stable"):
                track, row = np.unravel_index(flat, overlap.shape)
                if overlap[track, row] < self._min_iou:
                    break
                if identities[row] < 0 and names[track] not in identities:
                    identities[row] = names[track]
        for row in np.flatnonzero(identities < 0):
            identities[row], self._count = self._count, self._count + 1
        self._last |= {int(k): (self._frame, box) for k, box in zip(identities, found.boxes, strict=True)}
        return identities


class Scores(NamedTuple):
    """Thresholds to be compared; see `TrackerSettings` and `DetectorSettings`."""

    confidence: float
    start: float
    high: float
    min_iou: float


def main(arguments: list[str] | None = None) -> None:
    """Prints frames per second, or figures of detections and tracklets."""
    options = parse(arguments)
    report.limit_cores(options.cores)
    if options.speed:
        rows = tracklet_speed.measure(
            options.video, options.detector, options.frames or 400, options.rounds, options.before
        )
        report.show_table("Detection to JPEG files; median of the rounds (lowest-highest)", rows)
        report.write({"machine": report.machine(), "speed": rows}, options.json)
    else:
        measure_quality(options)


def measure_quality(options: argparse.Namespace) -> None:
    """Runs the detector once and every tracker on what it found; prints two tables."""
    packages.limit_threads(options.cores)
    truth = read_truth(options.gt, options.same_person)
    settings = DetectorSettings(
        file=options.detector,
        confidence=min(scores.confidence for scores in options.scores),
        threads=options.cores or report.cores(),
    )
    video = listing.find_videos(options.video, "videos").videos[0]
    every, seconds = detect(video, settings, options.frames)
    rate = reading.info(video).rate
    detections, rows = [], []
    for scores in options.scores:
        found = {frame: above(item, scores.confidence) for frame, item in every.items()}
        people = {frame: persons(truth, frame, item.boxes) for frame, item in found.items()}
        detections.append(
            {
                "detector": Path(options.detector).name or "built in",
                "confidence": scores.confidence,
                **detection_figures(found, people, truth),
                "ms per frame": 1000 * seconds,
            }
        )
        for segment in dict.fromkeys((0, options.segment)):
            for name, new in trackers(rate, scores).items():
                tracked = track(found, new, segment)
                about = {
                    "tracker": name,
                    "scores": ",".join(f"{value:g}" for value in scores),
                    "segment": segment,
                }
                rows.append(about | tracklet_figures(tracked, people))
    report.show_table("Detection", detections)
    if options.noisy:
        about = {"tracker": "given", "scores": "-", "segment": options.segment}
        rows.append(about | given_figures(options.noisy, truth))
    report.show_table("Tracklets, those of a single crop included", rows)
    report.write({"machine": report.machine(), "detection": detections, "tracklets": rows}, options.json)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--gt", type=Path)
    parser.add_argument("--same-person", type=Path)
    parser.add_argument("--detector", default="", help="OpenVINO IR or ONNX; empty: the built-in one")
    parser.add_argument(
        "--scores",
        type=lambda text: Scores(*map(float, text.split(","))),
        action="append",
        help="CONFIDENCE,START,HIGH,MIN_IOU; may be given several times; by default what the task does",
    )
    parser.add_argument("--segment", type=int, default=50, help="frames after which trackers begin anew")
    parser.add_argument("--frames", type=int, default=0, help="only the first ones; 0: all")
    parser.add_argument("--noisy", type=Path)
    parser.add_argument("--cores", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--speed", action="store_true", help="measure frames per second instead")
    parser.add_argument("--before", type=Path, help="checkout of an earlier version, for --speed")
    parser.add_argument("--rounds", type=int, default=3, help="of --speed")
    options = parser.parse_args(arguments)
    if not options.speed and not options.gt:
        parser.error("--gt is needed without --speed")
    if not options.scores:
        confidence = with_confidence(DetectorSettings(file=options.detector)).confidence
        defaults = TrackerSettings()
        options.scores = [Scores(confidence, defaults.start, defaults.high, defaults.min_iou)]
    return options


def above(found: Detections, confidence: float) -> Detections:
    """The detections of at least this score."""
    keep = found.scores >= confidence
    return Detections(found.boxes[keep], found.scores[keep])


def trackers(rate: float | None, scores: Scores) -> dict[str, Callable[[], Any]]:
    """What is compared: ours with these thresholds, and the baseline."""
    settings = TrackerSettings(start=scores.start, high=scores.high, min_iou=scores.min_iou)
    return {
        "bytetrack": lambda: Tracker(settings, rate),
        "sort": lambda: Tracker(settings._replace(name="sort"), rate),
        "greedy IoU": GreedyIou,
    }


def read_truth(gt: Path, same_person: Path | None) -> Truth:
    """The ground truth, with ids of one person joined; rows of confidence 0 apart."""
    rows = motchallenge.read(gt)
    if same_person:
        with same_person.open(newline="") as file:
            people = {int(row["gt_id"]): int(row["person"]) for row in csv.DictReader(file)}
        rows = rows._replace(identity=np.array([people[number] for number in rows.identity.tolist()]))
    # `read` leaves them out, as it should: only the measure wants to know where they were.
    table = np.loadtxt(gt, delimiter=",", usecols=range(7), ndmin=2)
    table = table[table[:, 6] == 0]
    table = table[np.argsort(table[:, 0], kind="stable")]
    low = table[:, 2:4] - 1
    boxes = np.concatenate([low, low + table[:, 4:6]], axis=1)
    return Truth(rows, motchallenge.Rows(table[:, 0], table[:, 1], boxes, table[:, 6]))


def detect(
    video: listing.Video, settings: DetectorSettings, frames: int
) -> tuple[dict[int, Detections], float]:
    """Detections by frame, and the seconds that one frame took, with reading, which goes on at the same time."""
    detector = detectors.open_detector(settings)
    wanted = itertools.islice(reading.frames(video), frames or None)
    start = time.perf_counter()
    found = {frame.number: people for frame, people in detectors.detect_ahead(detector, wanted)}
    return found, (time.perf_counter() - start) / len(found)


def persons(truth: Truth, frame: int, boxes: np.ndarray) -> np.ndarray:
    """Who each box [k] shows: a person, NOBODY, or IGNORED."""
    rows, ignored = truth.rows.at(frame), truth.ignored.at(frame)
    shown = np.full(len(boxes), NOBODY)
    if len(boxes) and len(ignored.boxes):
        shown[geometry.iou(boxes, ignored.boxes).max(axis=1) >= OVERLAP] = IGNORED
    if len(boxes) and len(rows.boxes):
        overlap = geometry.iou(boxes, rows.boxes)
        mine, theirs = linear_sum_assignment(-np.where(overlap >= OVERLAP, 1 + overlap, 0))
        good = overlap[mine, theirs] >= OVERLAP
        shown[mine[good]] = rows.identity[theirs[good]]
    return shown


def detection_figures(
    found: dict[int, Detections], people: dict[int, np.ndarray], truth: Truth
) -> dict[str, float]:
    """Recall and precision over all frames looked at."""
    shown = np.concatenate(list(people.values()))
    true = sum(len(truth.rows.at(frame).frame) for frame in found)
    hits, false = int((shown >= 0).sum()), int((shown == NOBODY).sum())
    return {
        "frames": len(found),
        "boxes": len(shown),
        "recall": hits / max(true, 1),
        "precision": hits / max(hits + false, 1),
    }


def track(
    found: dict[int, Detections], new_tracker: Callable[[], Any], segment: int
) -> dict[int, list[tuple[int, int]]]:
    """For every frame the (piece, track) of each box; track -1 where it has none."""
    tracked, current, tracker = {}, None, None
    for frame, item in found.items():
        piece = (frame - 1) // segment if segment else 0
        if piece != current:
            tracker, current = new_tracker(), piece
        tracked[frame] = [(piece, int(identity)) for identity in tracker.update(item)]
    return tracked


def tracklet_figures(
    tracked: dict[int, list[tuple[int, int]]], people: dict[int, np.ndarray]
) -> dict[str, Any]:
    """What tracklets hold; those of a single crop included."""
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for frame, keys in tracked.items():
        for key, person in zip(keys, people[frame], strict=True):
            if key[1] >= 0:
                members[key].append(int(person))
    return figures_of(list(members.values()))


def figures_of(tracklets: list[list[int]]) -> dict[str, Any]:
    """Figures of tracklets, each the list of whom its crops show."""
    shown = [[person for person in tracklet if person >= 0] for tracklet in tracklets]
    counts = [np.unique(people, return_counts=True)[1] for people in shown if people]
    crops = sum(map(len, tracklets))
    pairs = sum(int((c * (c - 1) // 2).sum()) for c in counts)
    totals = np.bincount([person for people in shown for person in people])
    return {
        "crops": crops,
        "tracklets": len(tracklets),
        "of_nobody": sum(person == NOBODY for tracklet in tracklets for person in tracklet) / max(crops, 1),
        "purity": sum(int(c.max()) for c in counts) / max(sum(int(c.sum()) for c in counts), 1),
        "switched": sum(len(c) > 1 for c in counts) / max(len(tracklets), 1),
        "pair_precision": pairs / max(sum(len(p) * (len(p) - 1) // 2 for p in shown), 1),
        "pair_recall": pairs / max(int((totals * (totals - 1) // 2).sum()), 1),
    }


def given_figures(file: Path, truth: Truth) -> dict[str, Any]:
    """The same of tracklets in a file."""
    data = np.load(file)
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for frame in np.unique(data["frame"]):
        rows = np.flatnonzero(data["frame"] == frame)
        for row, person in zip(rows, persons(truth, frame, data["box"][rows]), strict=True):
            members[int(data["video"][row]), int(data["tracklet"][row])].append(int(person))
    return figures_of(list(members.values()))


if __name__ == "__main__":
    main()
