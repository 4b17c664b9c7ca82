"""A synthetic person in a pose, seen from any side.

The figure is a small three-dimensional skeleton (x: the person's left, y: down, z: forward; the body height is 1, the
feet stand at y = 1) that is turned by `yaw` and projected; garments are shapes laid over it from back to front.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from cion_jax.data.synthetic_drawing import Canvas, Point, ball, box, shadow, trunk, tube
from cion_jax.data.synthetic_people import HAIR, LEATHER, SHOES, SKIN, Person

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


class Figure:
    """Draws one person in one pose; `origin` is the point under the feet and `scale` the body height, in pixels."""

    def __init__(self, canvas: Canvas, person: Person, pose: Pose, origin: Point, scale: float):
        self.canvas, self.person, self.pose, self.origin, self.scale = canvas, person, pose, origin, scale
        self.cos, self.sin = math.cos(pose.yaw), math.sin(pose.yaw)
        self.rise = math.tan(pose.pitch)
        build = _BUILD[person.build]
        self.girth = math.sqrt(build)
        self.shoulder = 0.104 * _SHOULDER[person.frame] * build**0.4
        self.hip_half = 0.086 * _HIP[person.frame] * build**0.7
        self.waist_half = 0.5 * (self.shoulder + self.hip_half) * 0.86 * build**0.5
        self.hip_y = 0.98 - person.leg_share
        self._lift = 0.0
        self.legs = {side: self._leg(side) for side in (1, -1)}
        # The body sinks in a long stride: the lower foot stays on the ground.
        self._lift = 0.965 - max(leg[2][1] for leg in self.legs.values())

    # Geometry ---------------------------------------------------------------------------------------------------

    def depth(self, joint: Joint) -> float:
        """How far a joint is in front of the body's axis, towards the viewer."""
        return joint[2] * self.cos - joint[0] * self.sin

    def screen(self, joint: Joint) -> Point:
        """Pixels of a joint."""
        x = joint[0] * self.cos + joint[2] * self.sin
        y = joint[1] + self._lift - 1 + self.rise * 0.6 * self.depth(joint)
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

    def _arm(self, side: int) -> tuple[Joint, Joint, Joint]:
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

    # Drawing ----------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draws shadow, figure and belongings from back to front."""
        self._ground_shadow()
        back = self.cos < 0.2  # the person's back is turned to the viewer
        # Rear arm and what hangs behind; then legs and trunk; then what is in front.
        arms = sorted((1, -1), key=lambda side: self.depth((side, 0.0, 0.0)))
        rear = [side for side in arms if self.depth((side * self.shoulder, 0.0, 0.0)) < -0.05]
        if not back:
            self._hair_behind()
            self._backpack()
        for side in rear:
            self._draw_arm(side)
            self._side_bag(side)
        for side in sorted((1, -1), key=lambda s: self.depth(self.legs[s][1])):
            self._draw_leg(side)
        self._draw_lower_trunk()
        self._neck()
        self._draw_torso()
        if back:
            self._backpack()
        for side in arms:
            if side not in rear:
                self._side_bag(side)
                self._draw_arm(side)
        if back:
            self._draw_head()
            self._hair_behind()
        else:
            self._draw_head()

    def _limb(self, start: Joint, end: Joint, widths: Point, paint, **extra) -> None:
        radii = (widths[0] * self.scale, widths[1] * self.scale)
        tube(self.canvas, self.screen(start), self.screen(end), radii, paint, **extra)

    def _ground_shadow(self) -> None:
        x = self.origin[0] + 0.03 * self.scale * (1 if self.canvas.light[0] < 0 else -1)
        shadow(
            self.canvas,
            (x, self.origin[1] - 0.012 * self.scale),
            (0.24 * self.scale, 0.045 * self.scale),
            0.55,
        )

    def _draw_leg(self, side: int) -> None:
        person = self.person
        hip, knee, ankle, toe = self.legs[side]
        skin, cloth = SKIN[person.skin], self._bottom_cloth(side)
        thigh, calf, bone = 0.056 * self.girth, 0.038 * self.girth, 0.025
        shoe = SHOES[person.shoe_colour]
        heel = (ankle[0], ankle[1] + 0.012, ankle[2] - 0.012)
        self._limb(heel, toe, (0.027, 0.022), shoe)
        if person.bottom == "trousers":
            self._limb(knee, ankle, (calf + 0.003, bone + 0.008), cloth(1))
            self._limb(hip, knee, (thigh, calf + 0.004), cloth(0), seam=0.0)
        elif person.bottom == "wide trousers":
            self._limb(knee, (ankle[0], ankle[1] + 0.008, ankle[2]), (calf + 0.012, bone + 0.029), cloth(1))
            self._limb(hip, knee, (thigh, calf + 0.012), cloth(0), seam=0.0)
        else:
            self._limb(knee, ankle, (calf, bone), skin)
            self._limb(hip, knee, (thigh * 0.95, calf), skin, seam=0.0)
            if person.bottom == "shorts":
                stop = tuple(h + 0.78 * (k - h) for h, k in zip(hip, knee, strict=True))
                self._limb(hip, stop, (thigh + 0.004, calf + 0.016), cloth(0))

    def _draw_lower_trunk(self) -> None:
        """Pelvis of trousers and shorts, or the skirt."""
        hip, waist = self.hip_half, self.waist_half
        lowest = {"skirt": 0.70, "long skirt": 0.88}.get(self.person.bottom)
        paint = self._wrap(self._bottom_pattern(), 0.42, 0.3, hip)
        if lowest is None:
            rows, halves = (0.42, self.hip_y, self.hip_y + 0.035), (waist, hip, hip * 0.97)
            self._trunk(rows, halves, 0.8, paint, hem=0.0, seam=0.0)
            return
        rows = (0.42, 0.49, lowest)
        halves = (waist, hip * 1.02, hip * (1.15 + 0.8 * (lowest - 0.45)))
        self._trunk(rows, halves, 0.85, paint, hem=0.3, least=self._reach(lowest))

    def _draw_torso(self) -> None:
        person, shoulder = self.person, self.shoulder
        waist, hip = self.waist_half, self.hip_half
        rows = [0.160, 0.172, 0.188, 0.210, 0.30, 0.40, 0.47]
        halves = [0.036, 0.066, shoulder * 0.88, shoulder, shoulder * 0.95, waist, hip * 1.03]
        if person.length == "cropped":
            rows[-1], halves[-1] = 0.435, (waist + hip) / 2
        elif person.length == "coat":
            rows += [0.52, 0.70]
            halves += [hip * 1.1, hip * 1.3]
        else:
            rows.append(0.515)
            halves.append(hip * 1.06)
        paint = self._wrap(self._top_pattern(), rows[0], rows[-1] - rows[0], shoulder)
        flat = 0.62 if person.build != "heavy" else 0.76
        self._trunk(rows, halves, flat, paint, hem=0.25, least=self._reach(0.70) if person.length == "coat" else 0.0)
        if person.scarf:
            self._limb((0.03, 0.163, 0.01), (-0.03, 0.163, 0.01), (0.027, 0.027), person.palette.accent)
            self._limb((0.02, 0.17, 0.065), (0.026, 0.29, 0.07), (0.018, 0.02), self._if_front(person.palette.accent))

    def _reach(self, height: float) -> float:
        """Half the width of the picture that the legs take at a height: no leg pierces a skirt or coat."""
        widest = 0.0
        for hip, knee, ankle, _ in self.legs.values():
            start, end = (hip, knee) if height < knee[1] else (knee, ankle)
            share = (height - start[1]) / max(end[1] - start[1], 1e-3)
            x, z = (start[i] + share * (end[i] - start[i]) for i in (0, 2))
            widest = max(widest, abs(x * self.cos + z * self.sin))
        return widest + 0.045 * self.girth

    def _trunk(
        self, rows, halves, flat: float, paint, *, hem: float, seam: float = 0.35, least: float = 0.0
    ) -> None:
        """A trunk whose depth is `flat` of its width, turned to the viewer; its hem is at least `least` half wide."""
        wide = np.hypot(np.array(halves) * self.cos, np.array(halves) * flat * self.sin)
        wide[-1] = max(wide[-1], least)
        y = (np.array(rows) + self._lift - 1) * self.scale + self.origin[1]
        lean = 0.02 * self.pose.stride * self.sin * self.scale
        top, span = y[0], max(y[-1] - y[0], 1e-3)
        trunk(
            self.canvas,
            lambda row: self.origin[0] + lean * (1 - (row - top) / span),
            (y, wide * self.scale),
            paint,
            hem=hem * self.rise * float(wide[-1]) * self.scale,
            seam=seam,
        )

    def _draw_arm(self, side: int) -> None:
        person = self.person
        shoulder, elbow, wrist = self._arm(side)
        skin = SKIN[person.skin]
        upper, fore, bone = 0.031 * self.girth, 0.026 * self.girth, 0.019
        hand = tuple(w + 0.16 * (w - e) for w, e in zip(wrist, elbow, strict=True))
        if self.pose.arms != "pockets" or person.bag == ("tote left" if side > 0 else "tote right"):
            self._limb(wrist, hand, (0.02, 0.018), skin)
        sleeve = self._sleeve_paint()
        if person.sleeves == "long":
            self._limb(elbow, wrist, (fore + 0.006, bone + 0.008), sleeve(1))
            self._limb(shoulder, elbow, (upper + 0.004, fore + 0.006), sleeve(0), seam=0.2)
            return
        self._limb(elbow, wrist, (fore, bone), skin)
        self._limb(shoulder, elbow, (upper, fore), skin, seam=0.2)
        if person.sleeves == "short":
            stop = tuple(s + 0.6 * (e - s) for s, e in zip(shoulder, elbow, strict=True))
            self._limb(shoulder, stop, (upper + 0.005, fore + 0.011), sleeve(0))

    # Head -------------------------------------------------------------------------------------------------------

    def _head_centre(self) -> Joint:
        return (0.0, 0.078, 0.012)

    def _neck(self) -> None:
        self._limb((0, 0.12, 0.0), (0, 0.175, 0.0), (0.03, 0.034), _times(SKIN[self.person.skin], 0.9))

    def _facing(self) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Maps a screen normal (right, down) to the head's frame: its left, up, forward."""
        yaw = self.pose.yaw + self.pose.head
        cos, sin = math.cos(yaw), math.sin(yaw)

        def turn(right, down):
            near = np.sqrt(np.maximum(1 - right * right - down * down, 0))
            return right * cos - near * sin, -down, right * sin + near * cos

        return turn

    def _draw_head(self) -> None:
        person, scale = self.person, self.scale
        size = person.head_size
        radii = (0.057 * size * (1 + 0.1 * abs(self.sin)) * scale, 0.075 * size * scale)
        x, y = self.screen(self._head_centre())
        turn = self._facing()
        sharp = radii[0] / 1.2
        seam = 0.35
        if person.hair == "afro":
            seam = 0.0
            afro = (x - self.sin * 0.012 * scale, y - 0.022 * scale)
            ball(self.canvas, afro, (radii[0] * 1.5, radii[1] * 1.12), HAIR[person.hair_colour])
        ball(self.canvas, (x, y), radii, lambda right, down: self._face(*turn(right, down), sharp), seam=seam)
        self._hat((x, y), radii, turn)

    def _face(self, left, up, front, sharp: float) -> np.ndarray:
        """Colour of the head at a direction in its own frame."""
        person = self.person
        skin, hair = np.array(SKIN[person.skin], np.float32), np.array(HAIR[person.hair_colour], np.float32)
        colour = np.broadcast_to(skin, (*np.shape(up), 3)).astype(np.float32)

        def lay(inside, tint, strength=1.0):
            nonlocal colour
            weight = (np.clip(inside * sharp + 0.5, 0, 1) * strength)[..., None]
            colour = colour + weight * (np.asarray(tint, np.float32) - colour)

        eye = np.maximum(left * 0.34 + front * 0.93, -left * 0.34 + front * 0.93) * 0.99 + up * 0.1
        lay(eye - 0.982, (0.12, 0.09, 0.08), 0.8)
        lay(0.16 - np.hypot(left, (up + 0.5) * 2.2) - (front < 0), (0.62, 0.3, 0.28), 0.55)
        if person.beard:
            lay(np.minimum(-0.22 - up, front - 0.05), hair, 0.85)
        if person.glasses != "none":
            band = np.minimum(0.17 - np.abs(up - 0.12), front + 0.1)
            lay(band, (0.07, 0.07, 0.08), 0.95 if person.glasses == "sunglasses" else 0.45)
        if person.hair == "headscarf":
            lay(0.78 - front + 0.15 * np.maximum(up, 0), self._scarf_colour())
        elif person.hair != "bald":
            full = person.hair in ("bob", "long", "ponytail", "bun")
            cut = 0.3 if full else 0.22
            lay(0.8 * up - (0.75 if full else 0.62) * front - cut + (0.45 if full else 0.28), hair)
        return colour

    def _scarf_colour(self):
        person = self.person
        return person.palette.accent if person.bag_colour % 2 else LEATHER[person.bag_colour % len(LEATHER)]

    def _hat(self, centre: Point, radii: Point, turn) -> None:
        person = self.person
        if person.hat == "none":
            return
        tint = person.palette.accent if person.bag_colour % 2 else LEATHER[(person.bag_colour + 1) % len(LEATHER)]
        (x, y), (rx, ry) = centre, radii
        forward = math.sin(self.pose.yaw + self.pose.head), math.cos(self.pose.yaw + self.pose.head)
        crown = (y - ry * 0.58, ry * (0.62 if person.hat == "beanie" else 0.5))
        if person.hat == "sun hat":
            ball(self.canvas, (x, y - ry * 0.42), (rx * 2.0, ry * 0.26), tint)
        ball(self.canvas, (x, crown[0]), (rx * 1.12, crown[1]), tint)
        if person.hat == "cap":
            start = (x + rx * 0.5 * forward[0], y - ry * 0.42)
            end = (x + rx * 1.5 * forward[0], y - ry * (0.42 - 0.14 * max(0.0, forward[1])))
            if forward[1] > -0.5:
                tube(self.canvas, start, end, (rx * (0.35 + 0.55 * max(0, forward[1])), rx * 0.22), _times(tint, 0.8))
        elif person.hat == "beanie":
            box(self.canvas, (x, y - ry * 0.36), (rx * 1.1, ry * 0.14), rx * 0.2, _times(tint, 0.8))
            ball(self.canvas, (x, y - ry * 1.25), (rx * 0.32, rx * 0.32), _times(tint, 1.15))

    def _hair_behind(self) -> None:
        """Hair that leaves the head: drawn before the head from the front, after it from behind."""
        person = self.person
        tint, size = HAIR[person.hair_colour], 0.05 * person.head_size
        if person.hair == "headscarf":
            self._limb((0, 0.11, -0.01), (0, 0.165, -0.01), (0.056, 0.075), self._scarf_colour())
        elif person.hair == "bob":
            self._limb((0, 0.075, -0.012), (0, 0.125, -0.012), (size * 1.1, size * 1.22), tint, seam=0.2)
        elif person.hair == "long":
            self._limb((0, 0.075, -0.018), (0, 0.245, -0.04), (size * 1.15, size * 0.85), tint, seam=0.2)
        elif person.hair == "ponytail":
            sway = 0.012 * math.sin(self.pose.phase)
            self._limb((0, 0.055, -0.062), (sway, 0.21, -0.085), (0.026, 0.012), tint)
        elif person.hair == "bun":
            x, y = self.screen((0, 0.018, -0.045))
            ball(self.canvas, (x, y), (0.034 * self.scale, 0.032 * self.scale), tint)

    # Bags -------------------------------------------------------------------------------------------------------

    def _bag_tint(self):
        tints = (*LEATHER, self.person.palette.accent)
        return tints[self.person.bag_colour]

    def _backpack(self) -> None:
        if self.person.bag != "backpack":
            return
        tint = self._bag_tint()
        x, y = self.screen((0.0, 0.315, -0.085))
        width = math.hypot(0.088 * self.cos, 0.055 * self.sin)
        scale = self.scale
        box(self.canvas, (x, y), (width * scale, 0.115 * scale), 0.045 * scale, tint)
        if self.cos < 0.2:
            pocket = (x - 0.01 * self.sin * scale, y + 0.05 * scale)
            box(self.canvas, pocket, (width * 0.72 * scale, 0.045 * scale), 0.02 * scale, _times(tint, 0.82))

    def _side_bag(self, side: int) -> None:
        kind, _, hand = self.person.bag.partition(" ")
        if not hand or (hand == "left") != (side > 0):
            return
        tint, scale = self._bag_tint(), self.scale
        turned = abs(self.sin)
        if kind == "tote":
            _, elbow, wrist = self._arm(side)
            x, y = self.screen((wrist[0], wrist[1] + 0.02, wrist[2]))
            half = 0.035 + 0.04 * turned
            for shift in (-0.5, 0.5):
                tube(
                    self.canvas,
                    (x, y),
                    (x + shift * half * scale, y + 0.07 * scale),
                    (0.006 * scale, 0.006 * scale),
                    tint,
                    seam=0.0,
                )
            box(self.canvas, (x, y + 0.115 * scale), (half * scale, 0.06 * scale), 0.012 * scale, tint)
            return
        drop = 0.50 if kind == "messenger" else 0.40
        x, y = self.screen((side * (self.hip_half + 0.022), drop, 0.0))
        half = 0.034 + 0.045 * turned
        box(self.canvas, (x, y), (half * scale, 0.058 * scale), 0.02 * scale, tint)
        flap = (x, y - 0.022 * scale)
        box(self.canvas, flap, (half * scale, 0.034 * scale), 0.018 * scale, _times(tint, 1.15), seam=0.15)

    def _straps(self, left, front, down) -> np.ndarray | None:
        """Where straps run over the torso, [h, w] 0..1; `left` and `down` in body heights."""
        kind, _, hand = self.person.bag.partition(" ")
        soft = self.scale * 0.8
        if kind == "backpack":
            line = np.where((front > 0) & (down < 0.36), np.abs(np.abs(left) - self.shoulder * 0.62), 1.0)
            return np.clip((0.014 - line) * soft + 0.5, 0, 1)
        if kind == "messenger":
            side = 1 if hand == "left" else -1
            line = np.abs(left * side - (-0.06 + (down - 0.17) * 0.52)) * 0.88
            return np.clip((0.012 - line) * soft + 0.5, 0, 1)
        if kind == "shoulder":
            side = 1 if hand == "left" else -1
            line = np.where(down < 0.36, np.abs(left * side - self.shoulder * 0.7), 1.0)
            return np.clip((0.009 - line) * soft + 0.5, 0, 1)
        return None

    # Cloth ------------------------------------------------------------------------------------------------------

    def _wrap(self, pattern, top: float, length: float, half: float):
        """Turns a pattern over (azimuth, left, front, down) into paint for a trunk."""

        def paint(along, across):
            near = np.sqrt(1 - across * across)
            left = across * self.cos - near * self.sin
            front = across * self.sin + near * self.cos
            return pattern(left * half, front, top + along * length, half)

        return paint

    def _top_pattern(self):
        person = self.person
        base, accent = (np.array(c, np.float32) for c in (person.palette.top, person.palette.accent))
        strap_tint = np.array(_times(self._bag_tint(), 0.9), np.float32)

        def colour(left, front, down, half):
            angle = np.arctan2(left / half, front) * half * 1.1
            mix = np.broadcast_to(self._torso_mix(left, front, down, angle), down.shape)
            cloth = base + mix[..., None] * (accent - base)
            folds = 1 + 0.035 * np.sin(60 * down + 3 * np.sin(30 * angle + 2 * self.pose.phase))
            cloth = cloth * folds[..., None]
            straps = self._straps(left, front, down)
            if straps is not None:
                cloth = cloth + straps[..., None] * (strap_tint - cloth)
            return cloth

        return colour

    def _torso_mix(self, left, front, down, angle) -> np.ndarray:
        """Share of the accent colour on the torso, 0..1."""
        person, soft = self.person, self.scale * 0.8
        if person.pattern == "block":
            return np.clip((0.30 - down) * soft + 0.5, 0, 1)
        if person.pattern == "band":
            return np.clip((0.03 - np.abs(down - 0.30)) * soft + 0.5, 0, 1)
        if person.pattern == "logo":
            spot = 0.042 - np.hypot(left, down - 0.285)
            return np.where(front > 0, np.clip(spot * soft + 0.5, 0, 1), 0)
        if person.pattern == "open":
            strip = 0.028 + 0.03 * np.clip((down - 0.17) / 0.3, 0, 1) - np.abs(left)
            return np.where(front > 0, np.clip(strip * soft + 0.5, 0, 1), 0)
        if person.pattern == "raglan":
            return np.clip((0.185 - down) * soft + 0.5, 0, 1)
        return _repeat(person.pattern, angle, down, person.period, self.scale)

    def _sleeve_paint(self):
        """Paint of a sleeve's part (0: above the elbow, 1: below it)."""
        person = self.person
        base, accent = (np.array(c, np.float32) for c in (person.palette.top, person.palette.accent))
        whole = {"raglan": accent, "block": None}.get(person.pattern, base)

        def part(lower: int):
            def paint(along, across):
                down = 0.207 + 0.155 * (along + lower)
                if person.pattern == "block":
                    mix = np.clip((0.30 - down) * self.scale * 0.8 + 0.5, 0, 1)
                elif person.pattern in ("stripes", "pinstripes", "checks", "dots"):
                    mix = _repeat(person.pattern, across * 0.045, down, person.period, self.scale)
                else:
                    return np.broadcast_to(whole, (*along.shape, 3))
                return base + mix[..., None] * (accent - base)

            return paint

        return part

    def _bottom_pattern(self):
        person = self.person
        base, accent = (np.array(c, np.float32) for c in (person.palette.bottom, person.palette.accent))

        def colour(left, front, down, half):
            tint = np.broadcast_to(base, (*down.shape, 3))
            if person.bottom_pattern == "checks":
                angle = np.arctan2(left / half, front) * half
                mix = 0.6 * _repeat("checks", angle, down, person.period, self.scale)
                tint = base + mix[..., None] * (accent - base)
            if "skirt" in person.bottom:  # pleats
                tint = tint * (1 + 0.1 * np.sin(14 * np.arctan2(left / half, front)))[..., None]
            return tint

        return colour

    def _bottom_cloth(self, side: int):
        """Paint of a trouser leg's part (0: thigh, 1: shin)."""
        person = self.person
        base, accent = (np.array(c, np.float32) for c in (person.palette.bottom, person.palette.accent))

        def part(lower: int):
            def paint(along, across):
                tint = np.broadcast_to(base, (*along.shape, 3))
                if person.bottom_pattern == "checks":
                    mix = 0.6 * _repeat("checks", across * 0.05, 0.5 + 0.23 * (along + lower), person.period, self.scale)
                    tint = base + mix[..., None] * (accent - base)
                elif person.bottom_pattern == "side stripe":
                    outward = (across * self.cos - np.sqrt(1 - across * across) * self.sin) * side
                    mix = np.clip((outward - 0.8) * 0.05 * self.scale + 0.5, 0, 1)
                    tint = base + mix[..., None] * (accent - base)
                elif person.bottom_pattern == "faded":
                    worn = np.exp(-(((along + lower - 0.75) / 0.5) ** 2)) * (1 - across * across)
                    tint = base + (0.35 * worn)[..., None] * (0.9 - base)
                return tint

            return paint

        return part

    def _if_front(self, tint):
        """The colour itself from the front; from behind, that of the top, so that nothing shows."""
        return tint if self.cos > 0.1 else self.person.palette.top


def _repeat(kind: str, across, along, period: float, scale: float) -> np.ndarray:
    """Share of the accent in a repeating pattern, 0..1; lengths in body heights, `scale` in pixels."""
    soft = max(0.6, period * scale / 4)
    wave = 2 * math.pi / period
    if kind == "stripes":
        return np.clip(0.5 + soft * np.sin(wave * along), 0, 1) + 0 * across
    if kind == "pinstripes":
        return np.clip(0.4 + soft * np.sin(wave * across), 0, 1) + 0 * along
    if kind == "checks":
        rows = np.clip(0.5 + soft * np.sin(wave * along), 0, 1)
        columns = np.clip(0.5 + soft * np.sin(wave * across), 0, 1)
        return 0.5 * (rows + columns)
    if kind == "dots":
        return np.clip(0.1 + soft * (np.sin(wave * along) * np.sin(wave * across) - 0.1), 0, 1)
    return np.zeros_like(along + across)


def _times(colour, factor: float) -> tuple[float, float, float]:
    return tuple(min(1.0, channel * factor) for channel in colour)
