"""The task `tracklets` gives one result: with any number of processes, and after any kill."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cion_jax.core.errors import UserError
from cion_jax.core.target_lock import lock_target
from cion_jax.tasks import tracklets
from configs import tracklets as settings
from tests.video import drawing, networks

pytest.importorskip("cv2", reason="the extra `video` is not installed")
pytest.importorskip("trackers", reason="the extra `video` is not installed")
FRAMES = 10


def write_videos(folder, count):
    for number in range(count):
        drawing.write_video(folder / f"v{number}.avi", FRAMES + number)
    return folder


def write_tracks(folder, count, people=(0, 1)):
    """The true tracks of these videos."""
    folder.mkdir(parents=True)
    for number in range(count):
        text = ""
        for frame in range(1, FRAMES + number + 1):
            for person in people:
                left, top, right, bottom = drawing.box(person, frame)
                text += f"{frame},{person + 1},{left + 1},{top + 1},{right - left},{bottom - top},1\n"
        (folder / f"v{number}.txt").write_text(text)
    return folder


def config_of(source, target, **values):
    config = settings.get_config()
    config.source, config.target = str(source), str(target)
    config.min_height, config.threads, config.workers = 40, 1, 1
    config.update_from_flattened_dict(values)
    return config.lock()


def tree(target):
    """All files of a target with their content."""
    return {
        file.relative_to(target).as_posix(): file.read_bytes() for file in target.rglob("*") if file.is_file()
    }


def test_one_process_and_two_make_the_same_files(tmp_path):
    """With a network, so that batches and requests under way are part of it."""
    pytest.importorskip("openvino", reason="the extra `video` is not installed")
    videos = write_videos(tmp_path / "videos", 3)
    (videos / "bad.mp4").write_bytes(b"no video")
    net = {"detector.file": networks.bright_box(tmp_path / "net.xml"), "tracker.start": 0.2}
    values = {**net, "tracker.high": 0.2, "min_height": 8, "crop_step": 2}
    made = {}
    for name, more in {
        "one": {"workers": 1, "threads": 1, "detector.batch": 1},
        "two": {"workers": 2, "threads": 2},
    }.items():
        tracklets.run(config_of(videos, tmp_path / name, **values, **more), tmp_path)
        made[name] = tree(tmp_path / name)
    assert made["one"] == made["two"]
    assert sum(name.endswith(".jpg") for name in made["one"]) == 16, "every second of 9, 10 and 11 crops"


def test_a_second_run_on_one_target_is_refused(tmp_path):
    videos, tracks = write_videos(tmp_path / "videos", 1), write_tracks(tmp_path / "tracks", 1)
    config = config_of(videos, tmp_path / "t", tracks=str(tracks))
    with (
        lock_target(tmp_path / "t", "tracklets"),
        pytest.raises(UserError, match=r"is being written by task"),
    ):
        tracklets.run(config, tmp_path)
    assert not (tmp_path / "t").exists()
    tracklets.run(config, tmp_path)


def test_a_run_that_is_killed_with_its_processes_at_work_is_completed(tmp_path):
    """Really killed, with -9, at some moment between its start and its end."""
    videos, tracks = write_videos(tmp_path / "videos", 4), write_tracks(tmp_path / "tracks", 4)
    tracklets.run(config_of(videos, tmp_path / "whole", tracks=str(tracks)), tmp_path)
    target, expected = tmp_path / "t", tree(tmp_path / "whole")
    config = config_of(videos, target, tracks=str(tracks), workers=2)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.tasks.test_tracklets_parallel import config_of, tracklets\n"
        "if __name__ == '__main__':\n"
        "    config = config_of(*sys.argv[1:3], tracks=sys.argv[3], workers=2)\n"
        "    tracklets.run(config, Path(sys.argv[2]).parent)\n"
    )
    command = [sys.executable, script, videos, target, tracks]
    run = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(target.glob(".partial-*/*")) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.Random().uniform(0, 0.15))
    run.send_signal(signal.SIGKILL)
    run.wait()
    tracklets.run(config, tmp_path)
    assert tree(target) == {
        name: content.replace(b"/whole", b"/t") if name == "tracklets.json" else content
        for name, content in expected.items()
    }


# Runs the task again and again in forked processes, each killed before the next change of a file; after every kill the
# task is run once more, and must give the files of an undisturbed run.
KILLER = """
import os, signal, sys
from pathlib import Path
from tests.tasks.test_tracklets_parallel import config_of, tracklets, tree
folder = Path(sys.argv[1])
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}

def run(target, die_at=0, source="videos"):
    child = os.fork()
    if not child:
        sys.stderr = open(os.devnull, "w")
        count = 0
        def hook(event, arguments):
            nonlocal count
            changes = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3)
            if changes and str(target) in str(arguments[0]):
                count += 1
                if count == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        if die_at:
            sys.addaudithook(hook)
        tracklets.run(config_of(folder / source, target, tracks=str(folder / "tracks"), min_length=2), folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for source in ("videos", "changed"):
    # Once from nothing, and once over finished videos of which one has changed.
    def prepare(target):
        if source == "changed":
            assert run(target) == 0
    prepare(folder / "whole")
    assert run(folder / "whole", source=source) == 0
    expected, point, code = tree(folder / "whole"), 0, None
    while code != 0:
        point += 1
        target = folder / f"{source}{point:05}"
        prepare(target)
        code = run(target, point, source)
        assert code in (0, -9), (source, point, code)
        assert run(target, source=source) == 0, (source, point)
        found = tree(target)
        for name in expected.keys() | found.keys():
            content = expected.get(name, b"").replace(b"/whole", f"/{target.name}".encode())
            assert found.get(name) == content, (source, point, name)
    print(source, point)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_before_any_change_of_a_file_is_completed(tmp_path):
    write_tracks(tmp_path / "tracks", 2, people=(0,))
    for number in range(2):
        drawing.write_video(tmp_path / f"videos/v{number}.avi", 3)
        drawing.write_video(tmp_path / f"changed/v{number}.avi", 3 + number)
    os.utime(tmp_path / "changed/v0.avi", (1, 1))  # the same video at another time
    script = tmp_path / "killer.py"
    script.write_text(KILLER)
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-1500:]
    points = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(points) == 2 and min(points) > 20, (
        "the hook saw nothing: does the task change files in another way?"
    )
