import math
from dataclasses import replace

import numpy as np
import pytest

from cion_jax.data.synthetic_drawing import Canvas
from cion_jax.data.synthetic_figure import Figure
from cion_jax.data.synthetic_people import CHOICES, cast
from cion_jax.data.synthetic_skeleton import Pose, Skeleton

PERSON = cast(0, 0, 1, 1)[0]


def _draw(person, pose):
    canvas = Canvas(np.full((96, 48, 3), 0.6, np.float32))
    Figure(canvas, person, pose, (24, 90), 84).draw()
    return canvas.image


@pytest.mark.parametrize("key", CHOICES)
def test_every_value_of_every_attribute_shows(key):
    plain = replace(
        PERSON,
        pattern="plain",
        sleeves="long",
        bottom="trousers",
        hair="short",
        hat="none",
        bag="none",
        scarf=False,
    )
    views = [Pose(yaw) for yaw in (0.0, math.pi / 2, math.pi)]
    drawn = {
        value: np.stack([_draw(replace(plain, **{key: value}), view) for view in views])
        for value in CHOICES[key]
    }
    values = list(drawn)
    for k, value in enumerate(values):
        assert np.isfinite(drawn[value]).all()
        for other in values[:k]:
            gap = np.abs(drawn[value] - drawn[other]).max()
            assert gap > 0.05, f"{key}: {value} looks like {other}"


def test_a_backpack_is_seen_from_behind_and_a_logo_from_the_front():
    bare = replace(PERSON, pattern="plain", bag="none", hair="short", scarf=False)
    for changed, front_shows in (
        (replace(bare, pattern="logo"), True),
        (replace(bare, bag="backpack"), False),
    ):
        front, back = (
            np.abs(_draw(changed, Pose(yaw)) - _draw(bare, Pose(yaw))).sum() for yaw in (0.0, math.pi)
        )
        assert (front > 2 * back) if front_shows else (back > 2 * front)


@pytest.mark.parametrize("phase", np.linspace(0, 2 * math.pi, 7))
def test_feet_stay_on_the_ground_and_limbs_keep_their_length(phase):
    body = Skeleton(PERSON, Pose(0.3, stride=0.5, phase=phase, pitch=0.0), (0.0, 100.0), 100.0)
    lowest = max(body.screen(leg[2])[1] for leg in body.legs.values())
    assert lowest == pytest.approx(96.5, abs=0.01)
    for hip, knee, ankle, _ in body.legs.values():
        assert math.dist(hip, knee) == pytest.approx(math.dist(knee, (hip[0], *ankle[1:])), abs=1e-6)
