"""One video from beginning to end: frames, people, crops."""

import contextlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from cion_jax.video.crops import CropFolder
from cion_jax.video.following import Follower
from cion_jax.video.growing import GrowingTable
from cion_jax.video.motchallenge import Rows
from cion_jax.video.reading import Frame, VideoError


class Cut(NamedTuple):
    """What became of a video.

    Attributes:
      frames: how many were looked at.
      last: number of the last of them, 0 without any.
      segments: into how many "videos" it was divided.
      boxes: people found, joined or not.
      tracks: all boxes that belong to a track, whatever became of them; numbered over the segments.
      problem: why it ended before its end; "" if it did not.
    """

    frames: int
    last: int
    segments: int
    boxes: int
    tracks: Rows
    problem: str


def cut_video(
    frames: Iterable[Frame],
    follow: Follower,
    crops: CropFolder,
    *,
    segment: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Cut:
    """Follows people through the frames and hands their boxes to `crops`.

    Args:
      frames: in order, as `reading.frames` yields them.
      follow: says who is where.
      crops: takes the crops.
      segment: nobody is followed beyond this many frames of the video; each such piece counts as a video of its own. 0:
        the whole video is one.
      advance: called after every frame.
    """
    numbers: dict[tuple[int, int], int] = {}
    tracks = GrowingTable(7)
    seen = last = boxes = pieces = 0
    current, problem = -1, ""
    try:
        with contextlib.closing(follow.ahead(frames)) as followed:
            for frame in followed:
                piece = (frame.number - 1) // segment if segment else 0
                if piece != current:
                    follow.start()
                    current, pieces = piece, pieces + 1
                people = follow(frame)
                seen, last, boxes = seen + 1, frame.number, boxes + len(people.boxes)
                for box, score, identity in zip(*people, strict=True):
                    if identity < 0:
                        continue
                    number = numbers.setdefault((piece, int(identity)), len(numbers) + 1)
                    tracks.append(frame.number, number, *box, score)
                    crops.add(frame, piece, int(identity), box, score)
                advance()
    except VideoError as error:
        problem = str(error)
    rows = tracks.rows()
    frame_numbers, identities = rows[:, :2].astype(np.int64).T
    return Cut(seen, last, pieces, boxes, Rows(frame_numbers, identities, rows[:, 2:6], rows[:, 6]), problem)
