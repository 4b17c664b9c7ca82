"""The skeleton of a synthetic person in a pose, and where its joints lie in the picture.

Three dimensions: x to the person's left, y down, z forward; the body height is 1 and the feet stand at y = 1.
The skeleton is turned by `yaw` and projected without perspective.
"""

import dataclasses
import math

from cion_jax.data.synthetic_drawing import Point
from cion_jax.data.synthetic_people import Person

Joint = tuple[float, float, float]
_BUILD = {"slim": 0.84, "average": 1.0, "heavy": 1.25}
_SHOULDER = {"broad": 1.12, "even": 1.0, "narrow": 0.88}
_HIP = {"broad": 0.93, "even": 1.0, "narrow": 1.1}


@dataclasses.dataclass(frozen=True)
class Pose:
    """How a person stands and is seen in one picture (angles in radians).

    Attributes:
      yaw: where the person faces: 0 to the camera, pi / 2 to the right of the picture, pi away from it.
      head: turn of the head against the body.
      stride: amplitude of the legs' swing; 0 stands still.
      phase: where in the walking cycle.
      bend: flexion of the elbows.
      arms: "swing", "phone" (the right hand before the chest) or "pockets".
      pitch: the camera looks down by this angle.
    """

    yaw: float
    head: float = 0.0
    stride: float = 0.4
    phase: float = 0.0
    bend: float = 0.3
    arms: str = "swing"
    pitch: float = 0.15


class Skeleton:
    """One person's measures (in body heights) in one pose.

    Attributes:
      cos, sin: of the yaw.
      rise: how much lower on the screen a point lies for being nearer to the viewer.
      girth, shoulder, hip_half, waist_half, hip_y: thickness of limbs, half widths, height of the hip joints.
      legs: for the left (1) and right (-1) side: hip, knee, ankle, toe.
    """

    def __init__(self, person: Person, pose: Pose, origin: Point, scale: float):
        """`origin` is the point under the feet and `scale` the body height, in pixels."""
        self.person, self.pose, self.origin, self.scale = person, pose, origin, scale
        self.cos, self.sin = math.cos(pose.yaw), math.sin(pose.yaw)
        self.rise = math.tan(pose.pitch)
        build = _BUILD[person.build]
        self.girth = math.sqrt(build)
        self.shoulder = 0.104 * _SHOULDER[person.frame] * build**0.4
        self.hip_half = 0.086 * _HIP[person.frame] * build**0.7
        self.waist_half = 0.5 * (self.shoulder + self.hip_half) * 0.86 * build**0.5
        self.hip_y = 0.98 - person.leg_share
        self.lift = 0.0
        self.legs = {side: self._leg(side) for side in (1, -1)}
        # The body sinks in a long stride: the lower foot stays on the ground.
        self.lift = 0.965 - max(leg[2][1] for leg in self.legs.values())

    def depth(self, joint: Joint) -> float:
        """How far a joint is in front of the body's axis, towards the viewer."""
        return joint[2] * self.cos - joint[0] * self.sin

    def screen(self, joint: Joint) -> Point:
        """Pixels of a joint."""
        x = joint[0] * self.cos + joint[2] * self.sin
        y = joint[1] + self.lift - 1 + self.rise * 0.6 * self.depth(joint)
        return self.origin[0] + x * self.scale, self.origin[1] + y * self.scale

    def _leg(self, side: int) -> tuple[Joint, Joint, Joint, Joint]:
        """Hip, knee, ankle and toe."""
        pose = self.pose
        phase = pose.phase + (math.pi if side < 0 else 0.0)
        stride = pose.stride * (0.7 if "skirt" in self.person.bottom else 1.0)
        swing = stride * math.sin(phase)
        flex = 0.06 + 1.1 * stride * max(0.0, math.cos(phase))
        half = (0.965 - self.hip_y) / 2
        hip = (side * self.hip_half * 0.52, self.hip_y, 0.0)
        knee = (hip[0], hip[1] + half * math.cos(swing), half * math.sin(swing))
        ankle = (
            hip[0] - side * 0.006,
            knee[1] + half * math.cos(swing - flex),
            knee[2] + half * math.sin(swing - flex),
        )
        tip = max(0.0, flex - swing - 0.1) * 0.06  # the toe of a trailing foot points down
        return hip, knee, ankle, (ankle[0] + side * 0.016, ankle[1] + 0.018 + tip, ankle[2] + 0.075)

    def arm(self, side: int) -> tuple[Joint, Joint, Joint]:
        """Shoulder, elbow and wrist."""
        pose, bag = self.pose, self.person.bag
        swing = -0.8 * pose.stride * math.sin(pose.phase + (math.pi if side < 0 else 0.0))
        bend, inward = pose.bend, 0.0
        if bag == ("tote left" if side > 0 else "tote right"):
            swing, bend = 0.1 * swing, 0.1
        elif pose.arms == "phone" and side < 0:
            swing, bend, inward = 0.15, 1.75, 0.05
        elif pose.arms == "pockets":
            swing, bend, inward = -0.25, 0.65, 0.0
        spread = 0.035 * self.girth
        shoulder = (side * (self.shoulder - 0.012), 0.207, 0.0)
        elbow = (
            shoulder[0] + side * spread,
            shoulder[1] + 0.155 * math.cos(swing),
            0.155 * math.sin(swing),
        )
        wrist = (
            elbow[0] - side * inward,
            elbow[1] + 0.14 * math.cos(swing + bend),
            elbow[2] + 0.14 * math.sin(swing + bend),
        )
        return shoulder, elbow, wrist

    def reach(self, height: float) -> float:
        """Half the width of the picture that the legs take at a height: no leg pierces a skirt or coat."""
        widest = 0.0
        for hip, knee, ankle, _ in self.legs.values():
            start, end = (hip, knee) if height < knee[1] else (knee, ankle)
            share = (height - start[1]) / max(end[1] - start[1], 1e-3)
            x, z = (start[i] + share * (end[i] - start[i]) for i in (0, 2))
            widest = max(widest, abs(x * self.cos + z * self.sin))
        return widest + 0.045 * self.girth
