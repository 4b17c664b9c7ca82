"""One video from beginning to end, with people told by a stub."""

import numpy as np

from cion_jax.video.cutting import cut_video
from cion_jax.video.following import Followed
from cion_jax.video.reading import Frame, VideoError


class Stub:
    """One person, one box of nobody; notes when it was started."""

    def __init__(self):
        self.starts, self.frames = [], []

    def ahead(self, frames):
        yield from frames

    def start(self):
        self.starts.append(len(self.frames))

    def __call__(self, frame):
        self.frames.append(frame.number)
        boxes = np.array([[0, 0, frame.number, 5], [1, 1, 2, 2]], float)
        return Followed(boxes, np.array([0.5, 0.25]), np.array([3, -1]))


class Sink:
    def __init__(self):
        self.added = []

    def add(self, frame, segment, identity, box, score):
        self.added.append((frame.number, segment, identity, box.tolist(), score))


def frames(numbers, problem=""):
    for number in numbers:
        yield Frame(number, np.zeros((2, 2, 3), np.uint8))
    if problem:
        raise VideoError(problem)


def test_a_video_is_one_piece():
    stub, sink, steps = Stub(), Sink(), []
    cut = cut_video(frames([1, 3, 5]), stub, sink, advance=lambda: steps.append(1))
    assert (cut.frames, cut.last, cut.segments, cut.boxes, cut.problem) == (3, 5, 1, 6, "")
    assert stub.starts == [0] and len(steps) == 3
    assert sink.added == [(n, 0, 3, [0, 0, n, 5], 0.5) for n in (1, 3, 5)]
    assert cut.tracks.frame.tolist() == [1, 3, 5] and cut.tracks.identity.tolist() == [1, 1, 1]
    assert cut.tracks.boxes[2].tolist() == [0, 0, 5, 5] and cut.tracks.scores.tolist() == [0.5] * 3


def test_segments_begin_anew():
    stub, sink = Stub(), Sink()
    cut = cut_video(frames(range(1, 8)), stub, sink, segment=3)
    assert stub.starts == [0, 3, 6] and cut.segments == 3
    assert [segment for _, segment, *_ in sink.added] == [0, 0, 0, 1, 1, 1, 2]
    assert cut.tracks.identity.tolist() == [1, 1, 1, 2, 2, 2, 3], "another piece, another track"


def test_what_came_before_a_problem_is_there_with_the_reason():
    cut = cut_video(frames([1, 2], "it ends"), Stub(), Sink())
    assert (cut.frames, cut.problem) == (2, "it ends") and len(cut.tracks.frame) == 2


def test_no_frame_at_all():
    cut = cut_video(frames([], "no"), Stub(), Sink())
    assert (cut.frames, cut.segments, cut.problem) == (0, 0, "no") and cut.tracks.boxes.shape == (0, 4)
