"""Who is where, from a file or a detector."""

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import following
from cion_jax.video.listing import Video
from cion_jax.video.reading import Frame
from tests.video import drawing

EMPTY = np.zeros((4, 4, 3), np.uint8)


def people_of(follow, *frames):
    """What is found in these frames."""
    return [follow(frame) for frame in follow.ahead(iter(frames))]


class CountingTracker:
    """Gives every box a number of its own, from 0."""

    def __init__(self):
        self.seen = 0

    def update(self, found):
        self.seen += len(found.boxes)
        return np.arange(self.seen - len(found.boxes), self.seen)


def write(folder, text):
    file = folder / "t.txt"
    file.write_text(text)
    return file


def test_tracks_are_told_as_they_are(tmp_path):
    follow = following.given(write(tmp_path, "1,5,1,1,10,20,0.1\n3,6,2,2,10,20,1\n"), 0.5, CountingTracker)
    follow.start()
    first, second, third = people_of(follow, *(Frame(n, EMPTY) for n in (1, 2, 3)))
    assert first.identities.tolist() == [5] and first.boxes.tolist() == [[0, 0, 10, 20]]
    assert first.scores.tolist() == [0.1], "a track is a track, whatever its score"
    assert len(second.boxes) == 0 and third.identities.tolist() == [6]


def test_detections_of_a_file_are_tracked_anew_in_every_segment(tmp_path):
    text = "1,-1,1,1,10,20,0.9\n1,-1,30,1,10,20,0.2\n2,-1,1,1,10,20,30\n"
    follow = following.given(write(tmp_path, text), 0.5, CountingTracker)
    follow.start()
    first, second = people_of(follow, Frame(1, EMPTY), Frame(2, EMPTY))
    assert first.identities.tolist() == [0], "the second box is too doubtful"
    assert second.identities.tolist() == [1] and second.scores.tolist() == [1.0]
    follow.start()
    assert people_of(follow, Frame(2, EMPTY))[0].identities.tolist() == [0]


def test_a_mixture_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"t\.txt has rows without an id \(the first in frame 4\)"):
        following.given(write(tmp_path, "1,1,1,1,5,5,1\n4,-1,1,1,5,5,1\n"), 0.5, CountingTracker)


def test_a_detector_is_asked_for_every_frame():
    detector = drawing.ColourDetector()
    follow = following.detected(detector, CountingTracker)
    follow.start()
    (people,) = people_of(follow, Frame(1, drawing.image(1)))
    np.testing.assert_array_equal(people.boxes, [drawing.box(0, 1), drawing.box(1, 1)])
    assert people.identities.tolist() == [0, 1] and detector.calls == 1


@pytest.mark.parametrize("name", ["a/b.avi.txt", "a/b.txt", "a/b/gt/gt.txt", "a/b/det/det.txt"])
def test_the_file_of_a_video_is_found_by_its_name(tmp_path, name):
    video = Video("a/b.avi", tmp_path / "videos/a/b.avi")
    tracks = tmp_path / "tracks"
    tracks.mkdir()
    assert following.file_of(tracks, video) is None
    (tracks / name).parent.mkdir(parents=True, exist_ok=True)
    (tracks / name).write_text("1,1,1,1,1,1")
    assert following.file_of(tracks, video) == tracks / name
    assert following.file_of(tracks / name, video) == tracks / name


def test_the_file_of_a_folder_of_frames(tmp_path):
    video = Video("MOT.16-02", drawing.write_frames(tmp_path / "MOT.16-02/img1", 1))
    (tmp_path / "MOT.16-02/gt").mkdir()
    file = write(tmp_path / "MOT.16-02/gt", "1,1,1,1,1,1").rename(tmp_path / "MOT.16-02/gt/gt.txt")
    assert following.file_of(tmp_path, video) == file, "a dot in its name is no suffix"
