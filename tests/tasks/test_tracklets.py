"""The task `tracklets`, as the command line calls it, on little videos drawn here."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import pictures, records
from cion_jax.data.prepare import prepare
from cion_jax.tasks import tracklets
from cion_jax.video import boxes as geometry
from cion_jax.video import jobs, reading
from configs import tracklets as settings
from tests.video import drawing

pytest.importorskip("cv2", reason="the extra `video` is not installed")
pytest.importorskip("trackers", reason="the extra `video` is not installed")
FRAMES = 12


def config_of(**values):
    config = settings.get_config().lock()
    config.min_height, config.threads, config.workers = 40, 1, 1
    config.update(values)
    return config


@pytest.fixture
def detector(monkeypatch):
    """In place of a real one: it finds the blocks by their colour, and counts its calls."""
    found = drawing.ColourDetector()
    monkeypatch.setattr(jobs.detectors, "open_detector", lambda settings: found)
    return found


@pytest.fixture
def videos(tmp_path):
    """Two videos, and a file that is none."""
    for name in ("street/v10.avi", "street/v2.avi"):
        drawing.write_video(tmp_path / "videos" / name, FRAMES)
    (tmp_path / "videos/street/v3.mp4").write_bytes(b"no video")
    return tmp_path / "videos"


def columns(target):
    table = pyarrow.parquet.read_table(target / "tracklets.parquet")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def lines(file):
    with file.open(newline="") as opened:
        return list(csv.reader(opened))


def test_crops_are_of_the_right_people(videos, detector, tmp_path, capsys):
    tracklets.run(config_of(source=str(videos)), tmp_path / "work")
    target = tmp_path / "work/tracklets"
    found = columns(target)
    # The tracker needs two boxes to believe in a person: the first is lost.
    assert len(found["path"]) == 2 * 2 * (FRAMES - 1)
    assert sorted(set(found["identity"])) == [0, 1, 2, 3] and (found["identity"] == found["tracklet"]).all()
    assert sorted(set(found["video"])) == [0, 1] and (found["video"] == found["camera"]).all()
    assert found["path"][0] == "crops/street/v2.avi/000000/0000002.jpg", "v2 comes before v10"
    for identity in range(4):
        mine = found["identity"] == identity
        assert found["frame"][mine].tolist() == list(range(2, FRAMES + 1))
        box = np.stack([found[f"x_{name}"][mine] for name in ("left", "top", "width", "height")], axis=1)
        box[:, 2:] += box[:, :2]
        overlaps = [
            [geometry.iou(b[None], drawing.box(person, frame)[None])[0, 0] for person in (0, 1)]
            for b, frame in zip(box, found["frame"][mine], strict=True)
        ]
        assert np.min(np.max(overlaps, axis=1)) > 0.8
        assert len(set(np.argmax(overlaps, axis=1))) == 1, "the tracklet shows two people"
    assert lines(target / "skipped.csv") == [
        ["path", "reason"],
        ["street/v3.mp4", "it is no video that OpenCV can open"],
    ]
    per_video = lines(target / "videos.csv")
    assert [line[:6] for line in per_video[1:]] == [
        ["0", "street/v2.avi", "0", "1", "2", "22"],
        ["1", "street/v10.avi", "1", "1", "2", "22"],
    ]
    about = json.loads((target / "tracklets.json").read_text())
    assert about["counts"] == {
        "crops": 44,
        "tracklets": 4,
        "videos": 2,
        "sources": 3,
        "skipped": 1,
        "frames": 24,
        "boxes": 48,
    }
    assert about["settings"]["detector"]["kind"] == "hog" and about["packages"]["trackers"]
    assert "44 crops, 4 tracklets in 2 videos" in capsys.readouterr().err


def test_the_table_can_be_prepared_and_extracted_from(videos, detector, tmp_path):
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t"), table="csv"), tmp_path)
    assert len(pictures.open_pictures(tmp_path / "t")) == 44
    prepare(tmp_path / "t", tmp_path / "records")
    rows = records.open_split(tmp_path / "records", "train")
    assert len(rows) == 44 and sorted(set(rows.columns["video"])) == [0, 1]
    assert sorted(set(rows.columns["tracklet"])) == [0, 1, 2, 3]
    assert rows.columns["frame"].max() == FRAMES and rows[0].height in (42, 43)


def test_finished_videos_are_not_redone(videos, detector, tmp_path, monkeypatch):
    """The second video is interrupted; the next run begins it anew and leaves the first alone."""
    config, target = config_of(source=str(videos), target=str(tmp_path / "t")), tmp_path / "t"
    ask = drawing.ColourDetector.__call__

    def interrupted(self, pixels):
        if self.calls == FRAMES + 7:
            raise KeyboardInterrupt
        return ask(self, pixels)

    monkeypatch.setattr(drawing.ColourDetector, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracklets.run(config, tmp_path)
    assert not (target / "tracklets.parquet").exists()
    assert not (target / "crops/street/v10.avi").exists(), "nothing half made is among the crops"
    stray = target / ".partial-killed/0/crops/000000/0000099.jpg"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    monkeypatch.setattr(drawing.ColourDetector, "__call__", ask)
    detector.calls = 0
    tracklets.run(config, tmp_path)
    assert detector.calls == FRAMES, "only the interrupted video is done again"
    first = columns(target)
    assert len(first["path"]) == 44 and not list(target.glob(".*"))
    # And a run that was never interrupted gives the same.
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "u")), tmp_path)
    again = columns(tmp_path / "u")
    for name, column in first.items():
        np.testing.assert_array_equal(column, again[name], err_msg=name)
    detector.calls = 0
    tracklets.run(config, tmp_path)
    assert detector.calls == 0, "all is finished"


def test_a_changed_and_a_new_video_are_done(videos, detector, tmp_path):
    config = config_of(source=str(videos), target=str(tmp_path / "t"))
    tracklets.run(config, tmp_path)
    detector.calls = 0
    drawing.write_video(videos / "street/v3.mp4", FRAMES).rename(videos / "street/v3.avi")
    drawing.write_video(videos / "street/v2.avi", FRAMES + 2)
    tracklets.run(config, tmp_path)
    assert detector.calls == FRAMES + FRAMES + 2
    assert [line[1] for line in lines(tmp_path / "t/videos.csv")[1:]] == [
        "street/v2.avi",
        "street/v3.avi",
        "street/v10.avi",
    ]
    with pytest.raises(UserError, match=r"other settings: margin 0\.0 \(now 0\.1\)"):
        tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t"), margin=0.1), tmp_path)


def test_segments_are_videos_and_steps_keep_the_frame_numbers(videos, detector, tmp_path):
    source = str(videos / "street/v2.avi")
    tracklets.run(config_of(source=source, target=str(tmp_path / "t"), segment=6, min_length=2), tmp_path)
    found = columns(tmp_path / "t")
    assert sorted(set(found["video"])) == [0, 1] and set(found["camera"]) == {0}
    assert len(set(found["identity"])) == 4, "nobody is followed from one segment into the next"
    assert found["path"][0] == "crops/v2.avi/0000/000000/0000002.jpg"
    assert sorted(set(found["frame"])) == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    detector.calls = 0
    tracklets.run(config_of(source=source, target=str(tmp_path / "u"), frame_step=3, min_length=2), tmp_path)
    assert detector.calls == 4 and sorted(set(columns(tmp_path / "u")["frame"])) == [4, 7, 10]


@pytest.mark.parametrize("what", ["skip", "keep"])
def test_a_video_that_ends_early_is_listed(videos, detector, tmp_path, monkeypatch, what):
    def cut_short(video, step, **_):
        for number in range(1, 8):
            yield tracklets.reading.Frame(number, drawing.image(number))
        if video.name == "street/v10.avi":
            raise tracklets.reading.VideoError("it ends after 7 of 12 frames")

    monkeypatch.setattr(tracklets.reading, "frames", cut_short)
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t"), on_early_end=what), tmp_path)
    reasons = dict(lines(tmp_path / "t/skipped.csv"))
    assert reasons["street/v10.avi"].startswith("it ends after 7 of 12 frames")
    assert len(columns(tmp_path / "t")["path"]) == (12 if what == "skip" else 24)
    assert (tmp_path / "t/crops/street/v10.avi").exists() == (what == "keep")


def test_tracks_of_others_need_no_detector(videos, detector, tmp_path):
    """The tracks that one run wrote, given to the next with another margin."""
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t")), tmp_path)
    detector.calls = 0
    config = config_of(
        source=str(videos), target=str(tmp_path / "u"), tracks=str(tmp_path / "t/tracks"), margin=0.1
    )
    tracklets.run(config, tmp_path)
    assert detector.calls == 0
    first, again = columns(tmp_path / "t"), columns(tmp_path / "u")
    for name in ("path", "identity", "video", "frame"):
        np.testing.assert_array_equal(first[name], again[name])
    np.testing.assert_allclose(again["x_width"], 1.2 * first["x_width"], atol=0.02)
    (tmp_path / "t/tracks/street/v2.avi.txt").unlink()
    with (tmp_path / "t/tracks/street/v10.avi.txt").open("a") as file:
        file.write("99,1,1,1,10,20,1\n")
    shutil.rmtree(tmp_path / "u")
    tracklets.run(config, tmp_path)
    reasons = dict(lines(tmp_path / "u/skipped.csv"))
    assert "no tracks" in reasons["street/v2.avi"]
    assert "goes on to frame 99, but the video ends at 12" in reasons["street/v10.avi"], "of another video?"
    assert len(columns(tmp_path / "u")["path"]) == 22, "what fits is kept"


def test_a_motchallenge_sequence(detector, tmp_path):
    """Frames as images; tracks, or detections that are tracked here."""
    drawing.write_frames(tmp_path / "MOT/S1/img1", FRAMES)
    for kind in ("gt", "det"):
        text = ""
        for frame in range(1, FRAMES + 1):
            for person in (0, 1):
                left, top, right, bottom = drawing.box(person, frame)
                number = 40 + person if kind == "gt" else -1
                text += f"{frame},{number},{left + 1},{top + 1},{right - left},{bottom - top},1,-1,-1,-1\n"
        file = tmp_path / kind / "S1" / kind / f"{kind}.txt"
        file.parent.mkdir(parents=True)
        file.write_text(text)
        config = config_of(
            source=str(tmp_path / "MOT"), target=str(tmp_path / f"t_{kind}"), tracks=str(tmp_path / kind)
        )
        tracklets.run(config, tmp_path)
    given, tracked = columns(tmp_path / "t_gt"), columns(tmp_path / "t_det")
    assert len(given["path"]) == 2 * FRAMES and len(tracked["path"]) == 2 * (FRAMES - 1)
    assert len(set(given["identity"])) == len(set(tracked["identity"])) == 2
    assert given["path"][0] == "crops/S1/000000/0000001.jpg" and given["x_left"][0] == 10
    assert detector.calls == 0


def test_crops_of_luperson_nl_become_a_table_where_they_are(tmp_path):
    source = tmp_path / "nl"
    names = [
        "c/a/v2/000001_0000005_00",
        "c/a/v2/000001_0000003_01",
        "c/a/v10/000001_0000001_00",
        "c/a/v2/cover",
    ]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawing.write_frames(tmp_path / "f", 1) / "000001.png", source / f"{name}.png")
    config = config_of(source=str(source), target=str(tmp_path / "t"), layout="crops")
    tracklets.run(config, tmp_path)
    tracklets.run(config, tmp_path)  # a table is soon made again
    found = columns(tmp_path / "t")
    assert found["path"].tolist() == [str(source.resolve() / f"{names[n]}.png") for n in (1, 0, 2)]
    assert found["identity"].tolist() == [0, 0, 1] and found["video"].tolist() == [0, 0, 1]
    assert found["frame"].tolist() == [3, 5, 1]
    assert lines(tmp_path / "t/skipped.csv")[1][0] == "c/a/v2/cover.png"
    assert len(pictures.open_pictures(tmp_path / "t")) == 3


def test_nobody_found(videos, detector, tmp_path):
    with pytest.raises(UserError, match=r"no tracklets came out of .*1 left out, cut short or in doubt"):
        tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t"), min_length=99), tmp_path)
    with pytest.raises(UserError, match=r"min_length may help"):
        config = config_of(source=str(videos / "street/v2.avi"), target=str(tmp_path / "u"), min_length=99)
        tracklets.run(config, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "--config.source"),
        ({"source": "absent"}, "absent does not exist"),
        ({"tracks": "absent.txt"}, "tracks=absent.txt does not exist"),
        ({"tracks": __file__}, "one file for 3 videos"),
        ({"tracker.name": "deep"}, "bytetrack, sort"),
        ({"table": "xlsx"}, "parquet, csv"),
        ({"on_early_end": "cry"}, "skip, keep"),
        ({"frame_step": 0}, "frame_step=0 must be 1 or more"),
        ({"crop_step": 0}, "crop_step=0 must be 1 or more"),
        ({"workers": -1}, "workers=-1 must be 0 or more"),
        ({"dry_run": True, "layout": "crops"}, "dry_run estimates what cutting videos takes"),
        ({"quality": 101}, "quality=101 must be 1 to 100"),
        ({"detector.confidence": 1.5}, "0 to 1"),
        ({"detector.file": "absent.onnx"}, "must be an existing"),
        ({"detector.input_size": (640, 0)}, "from 32 on"),
    ],
)
def test_settings_that_cannot_be_used_are_told(videos, tmp_path, values, message):
    config = config_of(source=str(videos))
    for key, value in values.items():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        tracklets.run(config, tmp_path)


def test_a_target_that_is_something_else_is_left_alone(videos, tmp_path):
    for target, message in ((videos, "lies in the source"), (tmp_path, "holds something else")):
        with pytest.raises(UserError, match=message):
            tracklets.run(config_of(source=str(videos), target=str(target)), tmp_path)
    assert (videos / "street/v2.avi").is_file() and not (tmp_path / "settings.json").exists()


def test_no_name_and_no_kind_of_file_ends_the_run(videos, detector, tmp_path):
    """Strange names are worked on; what is no file is listed."""
    strange = [
        "１２٣.avi",
        "5² test.avi",
        "日" * 83 + ".avi",
        "x" * 251 + ".avi",
        'a\nb,"c.avi',
        "concat:a.avi",
    ]
    for name in strange:
        shutil.copy(videos / "street/v2.avi", videos / name)
    (videos / "link.mp4").symlink_to(videos / "absent.mp4")
    os.mkfifo(videos / "pipe.mp4")
    (videos / "folder.mp4").mkdir()
    bad = ["link.mp4", "pipe.mp4", "folder.mp4", "street/v3.mp4"]
    try:
        shutil.copy(videos / "street/v2.avi", videos / "v\udcff.avi")
        bad.append("v\\udcff.avi")
    except OSError:
        pass  # this file system takes only UTF-8
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t")), tmp_path)
    assert {line[1] for line in lines(tmp_path / "t/videos.csv")[1:]} == {
        *strange,
        "street/v2.avi",
        "street/v10.avi",
    }
    reasons = dict(lines(tmp_path / "t/skipped.csv")[1:])
    assert set(reasons) == set(bad) and all(reasons.values())
    paths = columns(tmp_path / "t")["path"]
    assert len(paths) == 22 * 8 and all((tmp_path / "t" / path).is_file() for path in paths)
    detector.calls = 0
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t")), tmp_path)
    assert detector.calls == 0, "all names are known again"
    # The tracks of all names are found again, too.
    config = config_of(source=str(videos), target=str(tmp_path / "u"), tracks=str(tmp_path / "t/tracks"))
    tracklets.run(config, tmp_path)
    assert columns(tmp_path / "u")["path"].tolist() == paths.tolist()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_goes_wrong_with_one_video_is_its_reason(
    videos, detector, tmp_path, monkeypatch, error, reason
):
    frames = reading.frames

    def read(video, step, **more):
        for frame in frames(video, step, **more):
            if video.name == "street/v2.avi" and frame.number == 5:
                raise error
            yield frame

    config = config_of(source=str(videos), target=str(tmp_path / "t"))
    monkeypatch.setattr(reading, "frames", read)
    tracklets.run(config, tmp_path)
    assert dict(lines(tmp_path / "t/skipped.csv"))["street/v2.avi"].startswith(reason)
    assert len(columns(tmp_path / "t")["path"]) == 22
    monkeypatch.setattr(reading, "frames", frames)
    tracklets.run(config, tmp_path)
    assert len(columns(tmp_path / "t")["path"]) == 44, "another try may go better"


def test_a_full_disk_ends_the_run(videos, detector, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device", "crop")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(OSError, match="No space left"):
        tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t")), tmp_path)


def test_quality_and_early_ends_do_not_force_all_videos_anew(videos, detector, tmp_path, monkeypatch, capsys):
    """v10 ends early: changing on_early_end cuts it alone, and changing it back cuts nothing."""
    frames = reading.frames

    def cut_short(video, step, **more):
        for frame in frames(video, step, **more):
            if video.name == "street/v10.avi" and frame.number == 8:
                raise reading.VideoError("it ends after 7 of 12 frames")
            yield frame

    monkeypatch.setattr(reading, "frames", cut_short)
    target, found = tmp_path / "t", []
    for values in (
        {},
        {"on_early_end": "keep", "quality": 50},
        {"on_early_end": "skip"},
        {"on_early_end": "keep"},
    ):
        detector.calls = 0
        tracklets.run(config_of(source=str(videos), target=str(target), **values), tmp_path)
        found.append((detector.calls, len(columns(target)["path"])))
    assert found == [(FRAMES + 7, 22), (7, 34), (0, 22), (0, 34)]
    per_video = {line[1]: line[-1] for line in lines(target / "videos.csv")[1:]}
    assert per_video == {"street/v2.avi": "95", "street/v10.avi": "50"}
    assert (
        "finished before keep their JPEG quality, which is not 50 (videos.csv): 1" in capsys.readouterr().err
    )
    crops = {path.name: path for path in (target / "crops/street/v10.avi/000000").iterdir()}
    assert len(crops) == 6, "they stay on the disk while they are left out of the table"


def test_undecodable_frames_are_tolerated_and_said(videos, detector, tmp_path):
    content = bytearray((videos / "street/v2.avi").read_bytes())
    places = [m.start() for m in re.finditer(rb"00dc(?=..\0\0\xff\xd8)", bytes(content), re.DOTALL)]
    for start in places[5:7]:
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        content[start + 8 : start + 8 + length] = bytes(length)
    (videos / "street/v2.avi").write_bytes(content)
    target, found = tmp_path / "t", []
    for most in (1, 10, 0):
        detector.calls = 0
        config = config_of(source=str(videos / "street"), target=str(target), max_bad_frames=most)
        tracklets.run(config, tmp_path)
        reason = dict(lines(target / "skipped.csv")).get("v2.avi", "")
        found.append((detector.calls, reason))
    assert found[0] == (5 + FRAMES, "it ends after 5 of 12 frames (codec MJPG)")
    assert found[1] == (FRAMES - 2, "2 frames cannot be decoded (the first is 6); the others are kept")
    assert found[2] == (0, found[1][1]), "what is finished stays"
    # Frames keep their numbers.
    assert sorted(set(columns(target)["frame"])) == list(range(2, FRAMES + 1))
    assert {line[1]: line[-2] for line in lines(target / "videos.csv")[1:]} == {"v2.avi": "2", "v10.avi": "0"}


def test_a_moved_source_is_known_again_and_a_changed_one_is_announced(videos, detector, tmp_path, capsys):
    target = str(tmp_path / "t")
    tracklets.run(config_of(source=str(videos), target=target), tmp_path)
    moved = tmp_path / "elsewhere"
    shutil.copytree(videos, moved, copy_function=shutil.copyfile)
    for file in moved.rglob("*.*"):
        os.utime(file, (1, 1))
    detector.calls = 0
    tracklets.run(config_of(source=str(moved), target=target), tmp_path)
    assert detector.calls == 0 and "other files now" not in capsys.readouterr().err
    drawing.write_video(moved / "street/v2.avi", FRAMES + 2)
    (moved / "street/v10.avi").write_bytes(b"no video")
    tracklets.run(config_of(source=str(moved), target=target), tmp_path)
    told = capsys.readouterr().err
    assert "2 finished videos are other files now" in told and "street/v2.avi, street/v10.avi" in told
    assert detector.calls == FRAMES + 2
    reasons = dict(lines(tmp_path / "t/skipped.csv"))
    assert "the crops are those of an earlier file" in reasons["street/v10.avi"]
    assert len(columns(tmp_path / "t")["path"]) == 26 + 22, "finished crops are not thrown away"
    (moved / "street/v10.avi").unlink()
    (moved / "street/v10.avi").symlink_to("absent.avi")
    tracklets.run(config_of(source=str(moved), target=target), tmp_path)
    reasons = dict(lines(tmp_path / "t/skipped.csv"))
    assert reasons["street/v10.avi"].startswith(
        "a link to a file that does not exist; the crops that were made"
    )
    assert len(columns(tmp_path / "t")["path"]) == 26 + 22


def test_a_target_of_an_earlier_version_goes_on(videos, detector, tmp_path):
    """Lists as fingerprints, settings without crop_step but with quality."""
    target, config = tmp_path / "t", config_of(source=str(videos), target=str(tmp_path / "t"))
    tracklets.run(config, tmp_path)
    made = json.loads((target / "settings.json").read_text())
    del made["crop_step"]
    (target / "settings.json").write_text(json.dumps(made | {"quality": 95, "on_early_end": "skip"}))
    for file in (target / "videos").rglob("*.json"):
        entry = json.loads(file.read_text())
        entry["fingerprint"] = [entry["fingerprint"][key] for key in ("size", "time", "tracks")]
        for key in ("early", "bad_frames", "bad_allowed", "quality"):
            entry.pop(key, None)
        file.write_text(json.dumps(entry))
    detector.calls = 0
    tracklets.run(config, tmp_path)
    assert detector.calls == 0 and len(columns(target)["path"]) == 44


def test_every_kth_crop_of_tracks_at_full_rate(videos, detector, tmp_path):
    tracklets.run(config_of(source=str(videos), target=str(tmp_path / "t"), crop_step=4), tmp_path)
    found = columns(tmp_path / "t")
    assert sorted(set(found["frame"])) == [2, 6, 10] and len(found["path"]) == 12
    assert detector.calls == 2 * FRAMES and len(set(found["identity"])) == 4


def test_a_dry_run_estimates_and_writes_nothing(videos, detector, tmp_path, capsys):
    config = config_of(source=str(videos), target=str(tmp_path / "t"), dry_run=True)
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    tracklets.run(config, tmp_path / "work")
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before
    told = capsys.readouterr().err
    assert "3 videos, 3 to be cut; nothing is written" in told
    assert "cannot be cut: street/v3.mp4: it is no video" in told
    assert "sample: 24 frames of 2 videos" in told and "1.83 crops a frame" in told
    assert re.search(r"all: about 24 frames, .*, 44 crops, 0\.1 MB on disk; [0-9,.]+ GB are free", told)
    with config.unlocked():
        config.dry_run = False
    tracklets.run(config, tmp_path)
    config.dry_run = True
    tracklets.run(config, tmp_path)
    assert "3 videos, 0 to be cut" in capsys.readouterr().err


def test_the_run_begins_before_many_videos_are_opened(tmp_path, detector, monkeypatch):
    for number in range(30):
        drawing.write_video(tmp_path / f"videos/v{number}.avi", 6)
    opened, seen = [], []
    info = reading.info
    monkeypatch.setattr(reading, "info", lambda video: opened.append(video.name) or info(video))
    ask = drawing.ColourDetector.__call__

    def noting(self, pixels):
        seen.append(len(set(opened)))
        return ask(self, pixels)

    monkeypatch.setattr(drawing.ColourDetector, "__call__", noting)
    config = config_of(source=str(tmp_path / "videos"), target=str(tmp_path / "t"), min_length=2)
    tracklets.run(config, tmp_path)
    assert seen[0] <= 2, "not all headers are read before the first video is cut"
