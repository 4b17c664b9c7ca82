"""Frames per second of the task `tracklets`: one worker process against two, and against an earlier version.

    python -m benchmarks.tracklets --speed --video VIDEO --detector FILE [--frames 400] [--before CHECKOUT] [--rounds 3]

The first frames of the video are cut into four videos. The versions take turns, each in a fresh process with a fresh
target. The time is that of the whole run without the import of Python packages. On a shared machine only ratios of one
table mean something. An earlier version: git clone . CHECKOUT && git -C CHECKOUT checkout 3374132
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from cion_jax.video import listing, packages, reading

PIECES = 4
# Runs in the folder of a version, which may lack some settings. All versions get the same scores.
RUN = """
import json, resource, sys, time
from pathlib import Path
from cion_jax.tasks import tracklets
from configs import tracklets as settings
def used():
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)
if __name__ == "__main__":
    source, target, values = sys.argv[1:]
    config = settings.get_config()
    config.source, config.target = source, target
    config.detector.confidence = config.tracker.start = config.tracker.high = 0.5
    known = {key: value for key, value in json.loads(values).items() if key.split(".")[0] in config}
    config.update_from_flattened_dict(known)
    start, before = time.perf_counter(), used()
    tracklets.run(config, Path(target).parent)
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": used() - before}))
"""


def measure(
    video: Path,
    detector: str,
    frames: int,
    rounds: int,
    before: Path | None,
    workers: tuple[int, ...] = (1, 2),
) -> list[dict[str, Any]]:
    """A row for every version: frames per second by the clock and by processor time, and the ratio to the first row."""
    versions: dict[str, tuple[Path, dict[str, Any]]] = {}
    if before:
        versions["before"] = (before, {})
    versions |= {f"{n} workers" if n > 1 else "1 worker": (Path.cwd(), {"workers": n}) for n in workers}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in versions}
    with tempfile.TemporaryDirectory() as folder:
        count = cut_into_pieces(video, Path(folder, "videos"), frames)
        for number in range(rounds):
            for name, (home, values) in versions.items():
                target = Path(folder, f"{name}-{number}")
                taken[name].append(run_once(home, Path(folder, "videos"), target, detector, values))
    first = statistics.median(item["seconds"] for item in next(iter(taken.values())))
    return [
        {
            "version": name,
            "crops": items[0]["crops"],
            "frames/s": report.spread([count / item["seconds"] for item in items]),
            "frames/CPU s": report.spread([count / item["cpu"] for item in items]),
            "times the first": first / statistics.median(item["seconds"] for item in items),
        }
        for name, items in taken.items()
    ]


def cut_into_pieces(video: Path, folder: Path, frames: int) -> int:
    """Writes the first frames of a video as `PIECES` Motion-JPEG videos; their number."""
    cv2 = packages.require("cv2")
    folder.mkdir()
    source, count, writer = listing.find_videos(video, "videos").videos[0], 0, None
    for frame in reading.frames(source):
        if count == frames:
            break
        if count % -(-frames // PIECES) == 0:
            height, width = frame.image.shape[:2]
            name = str(folder / f"piece{count:06}.avi")
            writer = cv2.VideoWriter(name, cv2.VideoWriter_fourcc(*"MJPG"), 10, (width, height))
        writer.write(frame.image[:, :, ::-1])
        count += 1
    writer.release()
    return count


def run_once(
    home: Path, source: Path, target: Path, detector: str, values: dict[str, Any]
) -> dict[str, float]:
    """Seconds by the clock and of processor time that one run took, and the number of its crops."""
    values = json.dumps({"detector.file": detector, **values})
    command = [sys.executable, "-c", RUN, str(source), str(target), values]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the run in {home} failed:\n{done.stderr[-2000:]}")
    crops = json.loads((target / "tracklets.json").read_text())["counts"]["crops"]
    return json.loads(done.stdout.splitlines()[-1]) | {"crops": crops}
