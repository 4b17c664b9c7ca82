"""Which videos are to be cut."""

import pytest

from cion_jax.core.errors import UserError
from cion_jax.tasks import tracklet_sources
from configs import tracklets as settings
from tests.video import drawing

EARLY = {"skipped": "it ends after 3 of 9 frames", "early": True, "bad_allowed": 10}


def config_of(**values):
    config = settings.get_config()
    config.update_from_flattened_dict(values)
    return config


def find(tmp_path, **values):
    return tracklet_sources.find_sources(config_of(**values), tmp_path / "videos", "videos")


@pytest.mark.parametrize(
    ("entry", "values", "expected"),
    [
        (None, {}, True),
        ({"skipped": ""}, {"on_early_end": "keep", "max_bad_frames": 99}, False),
        ({"skipped": "no video", "early": False}, {"on_early_end": "keep", "max_bad_frames": 99}, False),
        (EARLY, {}, False),
        (EARLY, {"on_early_end": "keep"}, True),
        (EARLY, {"max_bad_frames": 11}, True),
        ({"skipped": "of an earlier version"}, {"on_early_end": "keep"}, True),
    ],
)
def test_only_what_may_end_otherwise_now_is_cut_again(entry, values, expected):
    source = tracklet_sources.Source("v.avi", None, None, None, "")
    assert tracklet_sources.needs_cutting(source, entry, config_of(**values)) == expected


def test_unreadable_entries_stand_in_their_place_of_the_order(tmp_path):
    for name in ("v1.avi", "v10.avi"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"x")
    (tmp_path / "videos/v2.avi").symlink_to("absent")
    found = find(tmp_path)
    assert [source.name for source in found] == ["v1.avi", "v2.avi", "v10.avi"]
    assert [bool(source.reason) for source in found] == [False, True, False]
    assert not tracklet_sources.needs_cutting(found[1], None, config_of())


def test_a_video_that_vanishes_while_it_is_listed_has_its_reason(tmp_path, monkeypatch):
    pytest.importorskip("cv2", reason="the extra `video` is not installed")
    drawing.write_video(tmp_path / "videos/v.avi", 2)

    def refuse(*_):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(tracklet_sources, "Fingerprint", refuse)
    assert [source.reason for source in find(tmp_path)] == ["Stale file handle"]


def test_tracks_belong_to_videos_by_name(tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("a.avi", "b.avi"):
        (tmp_path / "videos" / name).write_bytes(b"x")
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks/a.txt").write_text("1,1,1,1,9,9,1\n")
    first, second = find(tmp_path, tracks=str(tmp_path / "tracks"))
    assert first.tracks == tmp_path / "tracks/a.txt" and first.reason == ""
    assert "no tracks for it" in second.reason
    with pytest.raises(UserError, match="one file for 2 videos"):
        find(tmp_path, tracks=str(tmp_path / "tracks/a.txt"))
