"""Writing record files, and what a full disk or a missing permission looks like."""

import errno

import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import records
from cion_jax.data.record_schema import Record
from cion_jax.data.record_writer import RecordWriter, full_disk_named


def record(number, **fields):
    values = {
        "image": b"%05d" % number * 200,
        "height": 2,
        "width": 3,
        "identity": number // 3,
        "tracklet": number,
    }
    return Record(**(values | {"video": 0, "camera": 1, "frame": number, "path": f"{number}.jpg"} | fields))


def test_shards_are_cut_by_size_and_named_by_their_number(tmp_path):
    writer = RecordWriter(tmp_path, shard_bytes=5000)
    for number in range(20):
        writer.add("train", record(number))
    writer.add("query", record(99))
    sizes = writer.finish()
    names = sorted(file.name for file in tmp_path.glob("*train*array_record*"))
    assert len(names) > 1
    assert names == [f"cion-train.array_record-{i:05}-of-{len(names):05}" for i in range(len(names))]
    assert sizes == {file.name: file.stat().st_size for file in tmp_path.glob("*.array_record*")}
    assert not list(tmp_path.glob("*.unfinished"))
    assert [r.frame for r in records.open_split(tmp_path, "train")] == list(range(20))
    assert records.splits(tmp_path) == {"train": 20, "query": 1}


def test_a_folder_that_was_not_finished_does_not_read(tmp_path):
    writer = RecordWriter(tmp_path)
    writer.add("train", record(0))
    writer.abandon()
    with pytest.raises(UserError, match="not a prepared data set"):
        records.open_split(tmp_path, "train")


def test_wrong_records_are_refused_and_leave_the_rest_in_order(tmp_path):
    writer = RecordWriter(tmp_path)
    with pytest.raises(ValueError, match="identity is -1"):
        writer.add("train", record(0, identity=-1))
    with pytest.raises(ValueError, match="'test'"):
        writer.add("test", record(0))
    writer.add("train", record(1))
    writer.finish()
    assert [r.frame for r in records.open_split(tmp_path, "train")] == [1]


def test_unknown_videos_and_frames_are_kept(tmp_path):
    writer = RecordWriter(tmp_path)
    writer.add("train", record(1, video=-1, frame=-1))
    writer.finish()
    train = records.open_split(tmp_path, "train")
    assert (train[0].video, train[0].frame) == (-1, -1)
    assert (train.columns["video"].tolist(), train.columns["frame"].tolist()) == ([-1], [-1])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        # The words of array_record 0.8 on a full disk.
        RuntimeError("write() failed: No space left on device; writing x; at byte 2097152"),
    ],
)
def test_a_full_disk_is_named(tmp_path, error):
    with pytest.raises(UserError, match=f"disk is full: {tmp_path}"), full_disk_named(tmp_path):
        raise error


def test_a_folder_without_permission_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), full_disk_named(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_other_errors_pass(tmp_path):
    with pytest.raises(RuntimeError, match="something else"), full_disk_named(tmp_path):
        raise RuntimeError("something else")
