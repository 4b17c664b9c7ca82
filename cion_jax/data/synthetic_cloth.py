"""What synthetic people wear, as paint: patterns wrapped round trunk and limbs."""

import math
from collections.abc import Callable

import numpy as np

from cion_jax.data.synthetic_people import LEATHER, Colour
from cion_jax.data.synthetic_skeleton import Skeleton

_PRINTED = ("stripes", "pinstripes", "checks", "dots")


def times(colour: Colour, factor: float) -> Colour:
    """A colour made darker (below 1) or lighter."""
    return tuple(min(1.0, channel * factor) for channel in colour)


class Cloth:
    """The paints of one dressed skeleton; each maps (along [h, w], across [h, w]) to colours [h, w, 3]."""

    def __init__(self, skeleton: Skeleton):
        self.body, self.person, self.scale = skeleton, skeleton.person, skeleton.scale
        palette = self.person.palette
        self.top, self.bottom, self.accent = (
            np.array(c, np.float32) for c in (palette.top, palette.bottom, palette.accent)
        )

    @property
    def bag(self) -> Colour:
        """Colour of the bag."""
        return (*LEATHER, self.person.palette.accent)[self.person.bag_colour]

    @property
    def headwear(self) -> Colour:
        """Colour of hat or headscarf."""
        kind = self.person.bag_colour
        return self.person.palette.accent if kind % 2 else LEATHER[(kind + 1) % len(LEATHER)]

    def wrap(self, pattern: Callable, top: float, length: float, half: float):
        """Paint of a trunk (its rows start at `top`) from a pattern over (left, front, down, half width)."""
        cos, sin = self.body.cos, self.body.sin

        def paint(along, across):
            near = np.sqrt(1 - across * across)
            left = across * cos - near * sin
            front = across * sin + near * cos
            return pattern(left * half, front, top + along * length, half)

        return paint

    def shirt(self, left, front, down, half) -> np.ndarray:
        """Pattern of the top on the trunk, with folds and the straps of bags."""
        angle = np.arctan2(left / half, front) * half * 1.1
        mix = np.broadcast_to(self._torso_mix(left, front, down, angle), down.shape)
        cloth = self._mixed(self.top, mix)
        folds = 1 + 0.035 * np.sin(60 * down + 3 * np.sin(30 * angle + 2 * self.body.pose.phase))
        cloth = cloth * folds[..., None]
        straps = self._straps(left, front, down)
        if straps is not None:
            cloth = cloth + straps[..., None] * (np.array(times(self.bag, 0.9), np.float32) - cloth)
        return cloth

    def skirt(self, left, front, down, half) -> np.ndarray:
        """Pattern of the lower trunk: pelvis of trousers, or the skirt with its pleats."""
        tint = np.broadcast_to(self.bottom, (*down.shape, 3))
        angle = np.arctan2(left / half, front)
        if self.person.bottom_pattern == "checks":
            tint = self._mixed(self.bottom, 0.6 * self._repeat("checks", angle * half, down))
        if "skirt" in self.person.bottom:
            tint = tint * (1 + 0.1 * np.sin(14 * angle))[..., None]
        return tint

    def sleeve(self, lower: int):
        """Paint of a sleeve's part (0: above the elbow, 1: below it)."""
        pattern = self.person.pattern

        def paint(along, across):
            down = 0.207 + 0.155 * (along + lower)
            if pattern == "block":
                return self._mixed(self.top, self._soft(0.30 - down))
            if pattern in _PRINTED:
                return self._mixed(self.top, self._repeat(pattern, across * 0.045, down))
            return np.broadcast_to(self.accent if pattern == "raglan" else self.top, (*along.shape, 3))

        return paint

    def trouser(self, side: int, lower: int):
        """Paint of a trouser leg's part (0: thigh, 1: shin)."""
        pattern, cos, sin = self.person.bottom_pattern, self.body.cos, self.body.sin

        def paint(along, across):
            if pattern == "checks":
                mix = 0.6 * self._repeat("checks", across * 0.05, 0.5 + 0.23 * (along + lower))
                return self._mixed(self.bottom, mix)
            if pattern == "side stripe":
                outward = (across * cos - np.sqrt(1 - across * across) * sin) * side
                return self._mixed(self.bottom, np.clip((outward - 0.8) * 0.05 * self.scale + 0.5, 0, 1))
            if pattern == "faded":
                worn = np.exp(-(((along + lower - 0.75) / 0.5) ** 2)) * (1 - across * across)
                return self.bottom + (0.35 * worn)[..., None] * (0.9 - self.bottom)
            return np.broadcast_to(self.bottom, (*along.shape, 3))

        return paint

    def _mixed(self, base: np.ndarray, mix: np.ndarray) -> np.ndarray:
        """`base` with a share `mix` [h, w] of the accent."""
        return base + mix[..., None] * (self.accent - base)

    def _soft(self, inside: np.ndarray) -> np.ndarray:
        """Turns a signed distance (body heights, positive inside) into a share 0..1 with a smooth edge."""
        return np.clip(inside * (self.scale * 0.8) + 0.5, 0, 1)

    def _torso_mix(self, left, front, down, angle) -> np.ndarray:
        """Share of the accent colour on the torso, 0..1."""
        pattern = self.person.pattern
        if pattern == "block":
            return self._soft(0.30 - down)
        if pattern == "band":
            return self._soft(0.03 - np.abs(down - 0.30))
        if pattern == "raglan":
            return self._soft(0.185 - down)
        if pattern == "logo":
            return np.where(front > 0, self._soft(0.042 - np.hypot(left, down - 0.285)), 0)
        if pattern == "open":
            strip = 0.028 + 0.03 * np.clip((down - 0.17) / 0.3, 0, 1) - np.abs(left)
            return np.where(front > 0, self._soft(strip), 0)
        return self._repeat(pattern, angle, down)

    def _straps(self, left, front, down) -> np.ndarray | None:
        """Where straps run over the torso, 0..1; `left` and `down` in body heights."""
        kind, _, hand = self.person.bag.partition(" ")
        outward = left if hand == "left" else -left
        if kind == "backpack":
            seen = (front > 0) & (down < 0.36)
            return self._soft(0.014 - np.where(seen, np.abs(np.abs(left) - self.body.shoulder * 0.62), 1.0))
        if kind == "messenger":
            return self._soft(0.012 - np.abs(outward - (-0.06 + (down - 0.17) * 0.52)) * 0.88)
        if kind == "shoulder":
            return self._soft(0.009 - np.where(down < 0.36, np.abs(outward - self.body.shoulder * 0.7), 1.0))
        return None

    def _repeat(self, kind: str, across, along) -> np.ndarray:
        """Share of the accent in a repeating pattern, 0..1; lengths in body heights."""
        period = self.person.period
        soft = max(0.6, period * self.scale / 4)
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
