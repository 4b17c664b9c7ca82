"""Heads of synthetic people: face, hair and hats, seen from any side."""

import math

import numpy as np

from cion_jax.data.synthetic_cloth import Cloth, times
from cion_jax.data.synthetic_drawing import Canvas, Point, ball, box, tube
from cion_jax.data.synthetic_people import HAIR, SKIN
from cion_jax.data.synthetic_skeleton import Joint, Skeleton


class Head:
    """Draws the head of a skeleton, and the hair that leaves it."""

    def __init__(self, canvas: Canvas, skeleton: Skeleton, cloth: Cloth):
        self.canvas, self.body, self.cloth = canvas, skeleton, cloth
        self.person, self.scale = skeleton.person, skeleton.scale
        size = self.person.head_size
        self.centre = skeleton.screen((0.0, 0.078, 0.012))
        self.radii = (
            0.057 * size * (1 + 0.1 * abs(skeleton.sin)) * self.scale,
            0.075 * size * self.scale,
        )
        yaw = skeleton.pose.yaw + skeleton.pose.head
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)

    def draw(self) -> None:
        """Skull with face and short hair, then the hat."""
        (x, y), (rx, ry), hair = self.centre, self.radii, HAIR[self.person.hair_colour]
        seam = 0.35
        if self.person.hair == "afro":
            seam = 0.0
            afro = (x - self.body.sin * 0.012 * self.scale, y - 0.022 * self.scale)
            ball(self.canvas, afro, (rx * 1.5, ry * 1.12), hair)
        ball(self.canvas, self.centre, self.radii, self._face, seam=seam)
        if self.person.hat != "none":
            self._hat()

    def _face(self, right: np.ndarray, down: np.ndarray) -> np.ndarray:
        """Colour of the head where its surface has the screen normal (right, down): [h, w, 3]."""
        person, sharp = self.person, self.radii[0] / 1.2
        near = np.sqrt(np.maximum(1 - right * right - down * down, 0))
        left, up, front = right * self.cos - near * self.sin, -down, right * self.sin + near * self.cos
        skin, hair = np.array(SKIN[person.skin], np.float32), np.array(HAIR[person.hair_colour], np.float32)
        colour = np.broadcast_to(skin, (*np.shape(up), 3)).astype(np.float32)

        def lay(inside, tint, strength=1.0):
            nonlocal colour
            weight = (np.clip(inside * sharp + 0.5, 0, 1) * strength)[..., None]
            colour = colour + weight * (np.asarray(tint, np.float32) - colour)

        eye = 0.99 * (0.34 * np.abs(left) + 0.93 * front) + 0.1 * up
        lay(eye - 0.982, (0.12, 0.09, 0.08), 0.8)
        if person.beard:
            lay(np.minimum(-0.22 - up, front - 0.05), hair, 0.85)
        lay(0.16 - np.hypot(left, (up + 0.5) * 2.2) - (front < 0), (0.62, 0.3, 0.28), 0.55)
        if person.glasses != "none":
            band = np.minimum(0.17 - np.abs(up - 0.12), front + 0.1)
            lay(band, (0.07, 0.07, 0.08), 0.95 if person.glasses == "sunglasses" else 0.45)
        if person.hair == "headscarf":
            lay(0.78 - front + 0.15 * np.maximum(up, 0), self.cloth.headwear)
        elif person.hair in ("short", "afro"):
            lay(0.8 * up - 0.62 * front + 0.06, hair)
        elif person.hair != "bald":
            lay(0.8 * up - 0.75 * front + 0.15, hair)
        return colour

    def _hat(self) -> None:
        kind, tint = self.person.hat, self.cloth.headwear
        (x, y), (rx, ry) = self.centre, self.radii
        if kind == "sun hat":
            ball(self.canvas, (x, y - ry * 0.42), (rx * 2.0, ry * 0.26), tint)
        ball(self.canvas, (x, y - ry * 0.58), (rx * 1.12, ry * (0.62 if kind == "beanie" else 0.5)), tint)
        if kind == "cap" and self.cos > -0.5:
            towards = max(0.0, self.cos)  # a peak that points to the viewer is wide and low
            start = (x + rx * 0.5 * self.sin, y - ry * 0.42)
            end = (x + rx * 1.5 * self.sin, y - ry * (0.42 - 0.14 * towards))
            tube(self.canvas, start, end, (rx * (0.35 + 0.55 * towards), rx * 0.22), times(tint, 0.8))
        elif kind == "beanie":
            box(self.canvas, (x, y - ry * 0.36), (rx * 1.1, ry * 0.14), rx * 0.2, times(tint, 0.8))
            ball(self.canvas, (x, y - ry * 1.25), (rx * 0.32, rx * 0.32), times(tint, 1.15))

    def draw_loose_hair(self) -> None:
        """Hair that leaves the head: drawn before the trunk from the front, after the head from behind."""
        tint, size = HAIR[self.person.hair_colour], 0.05 * self.person.head_size
        kind = self.person.hair
        if kind == "headscarf":
            self._lock((0, 0.11, -0.01), (0, 0.165, -0.01), (0.056, 0.075), self.cloth.headwear, 0.35)
        elif kind == "bob":
            self._lock((0, 0.075, -0.012), (0, 0.125, -0.012), (size * 1.1, size * 1.22), tint)
        elif kind == "long":
            self._lock((0, 0.075, -0.018), (0, 0.245, -0.04), (size * 1.15, size * 0.85), tint)
        elif kind == "ponytail":
            sway = 0.012 * math.sin(self.body.pose.phase)
            self._lock((0, 0.055, -0.062), (sway, 0.21, -0.085), (0.026, 0.012), tint, 0.35)
        elif kind == "bun":
            spot = self.body.screen((0, 0.018, -0.045))
            ball(self.canvas, spot, (0.034 * self.scale, 0.032 * self.scale), tint)

    def _lock(self, start: Joint, end: Joint, widths: Point, tint, seam: float = 0.2) -> None:
        radii = (widths[0] * self.scale, widths[1] * self.scale)
        tube(self.canvas, self.body.screen(start), self.body.screen(end), radii, tint, seam=seam)
