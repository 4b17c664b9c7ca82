import io

import pytest

from cion_jax.core.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (61, "1:01"), (3599.6, "1:00:00"), (3723, "1:02:03")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_log_gets_a_line_per_interval_and_one_at_the_end():
    stream = io.StringIO()
    with Progress("work", 4, log_seconds=1e9, stream=stream) as progress:
        for _ in range(4):
            progress.advance()
    [line] = stream.getvalue().splitlines()
    assert line.startswith("work: 4/4 images, ")
    assert line.endswith("0:00 left")


def test_every_advance_prints_where_the_interval_is_nothing():
    stream = io.StringIO()
    with Progress("work", None, log_seconds=0, stream=stream) as progress:
        progress.advance(2)
    assert stream.getvalue().startswith("work: 2/? images")


def test_the_rate_counts_from_where_a_resumed_run_began_and_in_images():
    stream = io.StringIO()
    with Progress(
        "train", 10, unit="steps", initial=8, weight=32, weight_unit="images", log_seconds=1e9, stream=stream
    ) as progress:
        progress._start -= 4.0  # two steps in four seconds
        progress.advance(2, "loss 1.5")
    assert stream.getvalue() == "train: 10/10 steps, 0.5/s, 0:00 left, loss 1.5, 16.0 images/s\n"


def test_nothing_done_says_nothing():
    stream = io.StringIO()
    with Progress("work", 4, initial=4, stream=stream):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_gets_one_bar():
    stream = Terminal()
    with Progress("train", 2, unit="steps", weight=8, weight_unit="images", stream=stream) as progress:
        progress.advance(2, "loss 0.1")
    assert "train" in stream.getvalue()
    assert "loss 0.1" in stream.getvalue()
    assert "images/s" in stream.getvalue()
