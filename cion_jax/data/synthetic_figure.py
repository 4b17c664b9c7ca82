"""Draws synthetic people: garments and bags laid over a skeleton from back to front."""

import math

import numpy as np

from cion_jax.data.synthetic_cloth import Cloth, times
from cion_jax.data.synthetic_drawing import Canvas, Point, box, shadow, trunk, tube
from cion_jax.data.synthetic_head import Head
from cion_jax.data.synthetic_people import SHOES, SKIN, Person
from cion_jax.data.synthetic_skeleton import Joint, Pose, Skeleton


class Figure:
    """Draws one person in one pose; `origin` (under the feet) and `scale` (the body height) are in pixels."""

    def __init__(self, canvas: Canvas, person: Person, pose: Pose, origin: Point, scale: float):
        self.canvas, self.person, self.scale = canvas, person, scale
        self.body = Skeleton(person, pose, origin, scale)
        self.cloth = Cloth(self.body)
        self.head = Head(canvas, self.body, self.cloth)

    def draw(self) -> None:
        """Draws shadow, figure and belongings from back to front."""
        self._ground_shadow()
        back = self.body.cos < 0.2  # the person's back is turned to the viewer
        # Rear arm and what hangs behind; then legs and trunk; then what is in front.
        arms = sorted((1, -1), key=lambda side: self.body.depth((side, 0.0, 0.0)))
        rear = [side for side in arms if self.body.depth((side * self.body.shoulder, 0.0, 0.0)) < -0.05]
        if not back:
            self.head.draw_loose_hair()
            self._backpack()
        for side in rear:
            self._draw_arm(side)
            self._side_bag(side)
        for side in sorted((1, -1), key=lambda s: self.body.depth(self.body.legs[s][1])):
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
        self.head.draw()
        if back:
            self.head.draw_loose_hair()

    def _limb(self, start: Joint, end: Joint, widths: Point, paint, **extra) -> None:
        radii = (widths[0] * self.scale, widths[1] * self.scale)
        tube(self.canvas, self.body.screen(start), self.body.screen(end), radii, paint, **extra)

    def _ground_shadow(self) -> None:
        x = self.body.origin[0] + 0.03 * self.scale * (1 if self.canvas.light[0] < 0 else -1)
        y = self.body.origin[1] - 0.012 * self.scale
        shadow(self.canvas, (x, y), (0.24 * self.scale, 0.045 * self.scale), 0.55)

    def _draw_leg(self, side: int) -> None:
        person = self.person
        hip, knee, ankle, toe = self.body.legs[side]
        skin = SKIN[person.skin]
        thigh, calf, bone = 0.056 * self.body.girth, 0.038 * self.body.girth, 0.025
        shoe = SHOES[person.shoe_colour]
        heel = (ankle[0], ankle[1] + 0.012, ankle[2] - 0.012)
        self._limb(heel, toe, (0.027, 0.022), shoe)
        if person.bottom == "trousers":
            self._limb(knee, ankle, (calf + 0.003, bone + 0.008), self.cloth.trouser(side, 1))
            self._limb(hip, knee, (thigh, calf + 0.004), self.cloth.trouser(side, 0), seam=0.0)
        elif person.bottom == "wide trousers":
            self._limb(
                knee,
                (ankle[0], ankle[1] + 0.008, ankle[2]),
                (calf + 0.012, bone + 0.029),
                self.cloth.trouser(side, 1),
            )
            self._limb(hip, knee, (thigh, calf + 0.012), self.cloth.trouser(side, 0), seam=0.0)
        else:
            self._limb(knee, ankle, (calf, bone), skin)
            self._limb(hip, knee, (thigh * 0.95, calf), skin, seam=0.0)
            if person.bottom == "shorts":
                stop = tuple(h + 0.78 * (k - h) for h, k in zip(hip, knee, strict=True))
                self._limb(hip, stop, (thigh + 0.004, calf + 0.016), self.cloth.trouser(side, 0))

    def _draw_lower_trunk(self) -> None:
        """Pelvis of trousers and shorts, or the skirt."""
        hip, waist = self.body.hip_half, self.body.waist_half
        lowest = {"skirt": 0.70, "long skirt": 0.88}.get(self.person.bottom)
        paint = self.cloth.wrap(self.cloth.skirt, 0.42, 0.3, hip)
        if lowest is None:
            rows, halves = (0.42, self.body.hip_y, self.body.hip_y + 0.035), (waist, hip, hip * 0.97)
            self._trunk(rows, halves, 0.8, paint, hem=0.0, seam=0.0)
            return
        rows = (0.42, 0.49, lowest)
        halves = (waist, hip * 1.02, hip * (1.15 + 0.8 * (lowest - 0.45)))
        self._trunk(rows, halves, 0.85, paint, hem=0.3, least=self.body.reach(lowest))

    def _draw_torso(self) -> None:
        person, shoulder = self.person, self.body.shoulder
        waist, hip = self.body.waist_half, self.body.hip_half
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
        paint = self.cloth.wrap(self.cloth.shirt, rows[0], rows[-1] - rows[0], shoulder)
        flat = 0.62 if person.build != "heavy" else 0.76
        least = self.body.reach(0.70) if person.length == "coat" else 0.0
        self._trunk(rows, halves, flat, paint, hem=0.25, least=least)
        if person.scarf:
            self._limb((0.03, 0.163, 0.01), (-0.03, 0.163, 0.01), (0.027, 0.027), person.palette.accent)
            if self.body.cos > 0.1:
                self._limb((0.02, 0.17, 0.065), (0.026, 0.29, 0.07), (0.018, 0.02), person.palette.accent)

    def _trunk(
        self, rows, halves, flat: float, paint, *, hem: float, seam: float = 0.35, least: float = 0.0
    ) -> None:
        """A trunk whose depth is `flat` of its width; half its hem is at least `least` on the screen."""
        wide = np.hypot(np.array(halves) * self.body.cos, np.array(halves) * flat * self.body.sin)
        wide[-1] = max(wide[-1], least)
        y = (np.array(rows) + self.body.lift - 1) * self.scale + self.body.origin[1]
        lean = 0.02 * self.body.pose.stride * self.body.sin * self.scale
        top, span = y[0], max(y[-1] - y[0], 1e-3)
        trunk(
            self.canvas,
            lambda row: self.body.origin[0] + lean * (1 - (row - top) / span),
            (y, wide * self.scale),
            paint,
            hem=hem * self.body.rise * float(wide[-1]) * self.scale,
            seam=seam,
        )

    def _draw_arm(self, side: int) -> None:
        person = self.person
        shoulder, elbow, wrist = self.body.arm(side)
        skin = SKIN[person.skin]
        upper, fore, bone = 0.031 * self.body.girth, 0.026 * self.body.girth, 0.019
        hand = tuple(w + 0.16 * (w - e) for w, e in zip(wrist, elbow, strict=True))
        if self.body.pose.arms != "pockets" or person.bag == ("tote left" if side > 0 else "tote right"):
            self._limb(wrist, hand, (0.02, 0.018), skin)
        sleeve = self.cloth.sleeve
        if person.sleeves == "long":
            self._limb(elbow, wrist, (fore + 0.006, bone + 0.008), sleeve(1))
            self._limb(shoulder, elbow, (upper + 0.004, fore + 0.006), sleeve(0), seam=0.2)
            return
        self._limb(elbow, wrist, (fore, bone), skin)
        self._limb(shoulder, elbow, (upper, fore), skin, seam=0.2)
        if person.sleeves == "short":
            stop = tuple(s + 0.6 * (e - s) for s, e in zip(shoulder, elbow, strict=True))
            self._limb(shoulder, stop, (upper + 0.005, fore + 0.011), sleeve(0))

    def _neck(self) -> None:
        self._limb((0, 0.12, 0.0), (0, 0.175, 0.0), (0.03, 0.034), times(SKIN[self.person.skin], 0.9))

    def _backpack(self) -> None:
        if self.person.bag != "backpack":
            return
        tint = self.cloth.bag
        x, y = self.body.screen((0.0, 0.315, -0.085))
        width = math.hypot(0.088 * self.body.cos, 0.055 * self.body.sin)
        scale = self.scale
        box(self.canvas, (x, y), (width * scale, 0.115 * scale), 0.045 * scale, tint)
        if self.body.cos < 0.2:
            pocket = (x - 0.01 * self.body.sin * scale, y + 0.05 * scale)
            box(self.canvas, pocket, (width * 0.72 * scale, 0.045 * scale), 0.02 * scale, times(tint, 0.82))

    def _side_bag(self, side: int) -> None:
        kind, _, hand = self.person.bag.partition(" ")
        if not hand or (hand == "left") != (side > 0):
            return
        tint, scale = self.cloth.bag, self.scale
        turned = abs(self.body.sin)
        if kind == "tote":
            wrist = self.body.arm(side)[-1]
            x, y = self.body.screen((wrist[0], wrist[1] + 0.02, wrist[2]))
            half = 0.035 + 0.04 * turned
            thin = (0.006 * scale, 0.006 * scale)
            for shift in (-0.5, 0.5):
                rim = (x + shift * half * scale, y + 0.07 * scale)
                tube(self.canvas, (x, y), rim, thin, tint, seam=0.0)
            box(self.canvas, (x, y + 0.115 * scale), (half * scale, 0.06 * scale), 0.012 * scale, tint)
            return
        drop = 0.50 if kind == "messenger" else 0.40
        x, y = self.body.screen((side * (self.body.hip_half + 0.022), drop, 0.0))
        half = 0.034 + 0.045 * turned
        box(self.canvas, (x, y), (half * scale, 0.058 * scale), 0.02 * scale, tint)
        flap = (x, y - 0.022 * scale)
        box(self.canvas, flap, (half * scale, 0.034 * scale), 0.018 * scale, times(tint, 1.15), seam=0.15)
