"""Videos frame by frame, from files or folders of images, and what is wrong with those that cannot be read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cion_jax.video import motchallenge
from cion_jax.video.codec_names import find_codecs, four_characters
from cion_jax.video.listing import Video, frame_files, why_unreadable
from cion_jax.video.packages import require

# Headers give a number of frames that is often made of a length and a guessed rate (twice the true one for some .ts); a
# video was cut short where it lacks more than this by its frames and by its clock.
_LACKING = 0.02
_LACKING_FRAMES = 2
# Of one video. Fixed, since what FFmpeg makes of a damaged video may depend on it, and results must not depend on the
# number of cores or workers. Detection and JPEG files use the other cores.
_DECODER_THREADS = 2


class VideoError(Exception):
    """A video that cannot be opened, or ends before its end; says why."""


class UnreachableError(VideoError):
    """A video whose file cannot be read now, which may be different at another time."""


class Frame(NamedTuple):
    """A frame: its number in the video, from 1, and its pixels, uint8 [height, width, 3] RGB."""

    number: int
    image: np.ndarray


class Info(NamedTuple):
    """What a video says of itself: number of frames and frames a second, None where it does not."""

    frames: int | None
    rate: float | None


def info(video: Video) -> Info:
    """Reads the header.

    Raises:
      VideoError: the video cannot be opened.
    """
    if video.path.is_dir():
        rate = _number(motchallenge.sequence_info(video.path.parent).get("framerate", ""))
        return Info(len(frame_files(video.path)), rate)
    cv2 = require("cv2")
    capture = _opened(video.path)
    try:
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()
    return Info(int(count) if 0 < count < 1e12 else None, rate if 0 < rate < 1e4 else None)


def frames(
    video: Video, step: int = 1, *, tolerated: int = 0, bad: list[int] | None = None
) -> Iterator[Frame]:
    """Yields frames 1, 1 + step, 1 + 2 step, ... without those that cannot be decoded.

    Args:
      video: a file or a folder of frames.
      step: distance of the frames.
      tolerated: how many frames before the last one may be undecodable.
      bad: takes the numbers of the undecodable frames.

    Raises:
      VideoError: at the start if the video cannot be opened; behind the last readable frame if more should follow, or
        if more frames than are tolerated cannot be decoded.
    """
    bad = [] if bad is None else bad
    if video.path.is_dir():
        yield from _images(video.path, step, tolerated, bad)
        return
    about = info(video)
    cv2 = require("cv2")
    capture, number, seconds = _opened(video.path), 0, 0.0
    codec = four_characters(capture.get(cv2.CAP_PROP_FOURCC))
    try:
        while (lost := _frames_lost(capture, tolerated - len(bad))) is not None:
            bad.extend(range(number + 1, number + lost + 1))
            number += lost + 1
            seconds = max(seconds, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if (number - 1) % step:
                continue
            is_good, image = capture.retrieve()
            if is_good:
                yield Frame(number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                continue
            bad.append(number)
            if len(bad) > tolerated:
                raise VideoError(_with_codec(f"frame {number:,} cannot be decoded", codec))
    except cv2.error as error:
        raise VideoError(_with_codec(f"frame {number + 1:,} cannot be decoded: {error}", codec)) from error
    finally:
        capture.release()
    if not number:
        raise VideoError(_with_codec("no frame can be decoded", codec))
    if _is_short(about, number, seconds):
        undecoded = f", {len(bad):,} of them undecodable" if bad else ""
        reason = f"it ends after {number:,} of {about.frames:,} frames{undecoded}"
        raise VideoError(_with_codec(reason, codec))


def _frames_lost(capture, tolerated: int) -> int | None:
    """Goes on to the next frame: how many undecodable ones lay before it, None if none follows within the tolerated.

    A failed `grab` is either one undecodable frame or the end of the video, which the next ones show.
    """
    for lost in range(tolerated + 1):
        if capture.grab():
            return lost
    return None


def _with_codec(reason: str, codec: str) -> str:
    return f"{reason} (codec {codec})" if codec else reason


def _is_short(about: Info, frames: int, seconds: float) -> bool:
    """Whether a video breaks off, whose last frame is number `frames`, shown at `seconds` (0: unknown)."""
    if not about.frames or about.frames - frames <= max(_LACKING * about.frames, _LACKING_FRAMES):
        return False
    if not about.rate or not seconds:
        return True
    length, tolerated = about.frames / about.rate, _LACKING_FRAMES / about.rate
    return length - (seconds + 1 / about.rate) > max(_LACKING * length, tolerated)


def _images(folder: Path, step: int, tolerated: int, bad: list[int]) -> Iterator[Frame]:
    cv2 = require("cv2")
    found = frame_files(folder)
    if not found:
        raise VideoError("the folder holds no images")
    for number, file in found:
        if (number - 1) % step:
            continue
        image, problem = None, f"frame {number:,} ({file.name}) is no readable image"
        try:
            if reason := why_unreadable(file):
                raise OSError(reason)
            data = np.frombuffer(file.read_bytes(), np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        except (OSError, cv2.error) as error:
            problem = f"frame {number:,} ({file.name}) cannot be read: {error}"
        if image is not None:
            yield Frame(number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            continue
        bad.append(number)
        if len(bad) > tolerated:
            raise VideoError(problem)


def _opened(path: Path):
    cv2 = require("cv2")
    if reason := why_unreadable(path):
        raise UnreachableError(reason)
    try:
        if not path.stat().st_size:
            raise VideoError("the file is empty")
        with path.open("rb"):
            pass
        # The backend is named: others take the digits in a name for the pattern of an image sequence. The path is
        # absolute: FFmpeg takes "concat:a.mp4" for a command.
        threads = [cv2.CAP_PROP_N_THREADS, _DECODER_THREADS]
        capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, threads)  # noqa: PTH100 (links stay)
        if not capture.isOpened():
            capture.release()
            raise VideoError(_with_codec("it is no video that OpenCV can open", ", ".join(find_codecs(path))))
    except OSError as error:
        raise UnreachableError(error.strerror or str(error)) from error
    # Versions of OpenCV differ in their default.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _number(text: str) -> float | None:
    try:
        return float(text) if float(text) > 0 else None
    except ValueError:
        return None
