"""The work on one video: what is kept, what is skipped, and for how long that holds."""

import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import jobs, reading, tables
from cion_jax.video.crops import CropSettings
from cion_jax.video.jobs import Cutter, Job, JobSettings
from cion_jax.video.listing import Video
from cion_jax.video.tracking import TrackerSettings
from tests.video import drawing

pytest.importorskip("cv2", reason="the extra `video` is not installed")
pytest.importorskip("trackers", reason="the extra `video` is not installed")
SETTINGS = JobSettings(
    detector=None,
    tracker=TrackerSettings(),
    crops=CropSettings(min_height=40),
    confidence=0.1,
    frame_step=1,
    segment=0,
    max_bad_frames=0,
    keeps_early=False,
    threads=1,
)


@pytest.fixture
def job(tmp_path):
    """A video of 8 frames with the tracks of one person."""
    text = "".join(f"{n},1,{drawing.box(0, n)[0] + 1},5,20,42,1\n" for n in range(1, 9))
    (tmp_path / "v.txt").write_text(text)
    return Job(
        Video("v.avi", drawing.write_video(tmp_path / "v.avi", 8)), tmp_path / "v.txt", tmp_path / "made"
    )


def test_a_job_leaves_crops_table_and_tracks(job):
    steps = []
    result = Cutter(SETTINGS)(job, lambda: steps.append(1))
    assert (result.skipped, result.facts["frames"], result.facts["crops"], len(steps)) == ("", 8, 8, 8)
    rows = tables.read_rows(job.folder / jobs.TABLE)
    files = sorted(path.relative_to(job.folder / jobs.CROPS).as_posix() for path in job.folder.rglob("*.jpg"))
    assert rows["path"] == files and len(files) == result.encoded == 8
    assert result.written == sum(path.stat().st_size for path in job.folder.rglob("*.jpg"))
    assert len((job.folder / jobs.TRACKS).read_text().splitlines()) == 8


def test_a_job_without_a_folder_writes_nothing(job, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    result = Cutter(SETTINGS)(job._replace(folder=None, limit=6), lambda: None)
    assert (result.facts["frames"], result.encoded, result.facts["problem"]) == (6, 6, "")
    assert sorted(tmp_path.rglob("*")) == before and result.written > 0


@pytest.mark.parametrize(
    ("error", "is_lasting", "is_early"),
    [
        (reading.VideoError("it ends after 4 of 8 frames"), True, True),
        (OSError(5, "Input/output error"), False, None),
        (UserError("seqinfo.ini is odd"), False, None),
        (ZeroDivisionError("odd"), False, None),
    ],
)
def test_reasons_hold_for_the_next_run_only_if_they_lie_in_the_video(
    job, monkeypatch, error, is_lasting, is_early
):
    frames = reading.frames

    def read(*arguments, **more):
        yield from (frame for frame in frames(*arguments, **more) if frame.number < 5)
        raise error

    monkeypatch.setattr(reading, "frames", read)
    result = Cutter(SETTINGS)(job, lambda: None)
    assert result.skipped and result.is_lasting == is_lasting and result.facts.get("early") == is_early
    if is_early:
        kept = Cutter(SETTINGS._replace(keeps_early=True))(job, lambda: None)
        assert kept.skipped == "" and kept.facts["problem"].endswith("what came before is kept")
        assert kept.facts["early"] and kept.facts["frames"] == 4


def test_a_video_that_cannot_be_reached_is_tried_again_in_the_next_run(job):
    job.video.path.unlink()
    result = Cutter(SETTINGS)(job, lambda: None)
    assert result.skipped == "No such file or directory" and not result.is_lasting
    job.video.path.write_bytes(b"no video")
    assert Cutter(SETTINGS)(job, lambda: None).is_lasting


def test_a_full_disk_is_no_reason_but_an_error(job, monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match="No space"):
        Cutter(SETTINGS)(job, lambda: None)


def test_a_damaged_tracks_file_is_the_reason_of_its_video(job):
    job.tracks.write_text("1,1,1\n")
    result = Cutter(SETTINGS)(job, lambda: None)
    assert "v.txt, line 1" in result.skipped and not result.is_lasting


def test_no_more_threads_are_left_behind(job):
    import threading

    before = threading.active_count()
    Cutter(SETTINGS)(job, lambda: None)
    assert threading.active_count() == before
