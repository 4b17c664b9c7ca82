"""Where synthetic people are seen: the places, the things in the way, and what a camera makes of it."""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cion_jax.data.synthetic_drawing import Canvas, ball, box, tube
from cion_jax.data.synthetic_people import generator

PANORAMA = (
    256,
    1536,
)  # height and width of a camera's background; a picture shows a window of about 256 x 128
_GROUND = 0.60  # where the wall meets the ground, as a share of the height


@dataclasses.dataclass(frozen=True)
class Camera:
    """What is the same in all pictures of one camera.

    Attributes:
      place: which of `PLACES` it looks at.
      yaw: the direction (radians, as `Pose.yaw`) in which people pass; half of them go the other way.
      pitch: how far it looks down (radians).
      gains: colour cast, factors of red, green and blue.
      gamma: exponent of the tone curve.
      saturation: 1 leaves the colours alone, 0 makes them grey.
      blur: standard deviation in shares of the picture's height.
      resolution: share of the picture's height that the sensor resolves.
      noise: standard deviation in grey levels of 0..1.
      haze: share of flat grey mixed in.
      light: unit vector towards the light, as `Canvas.light`.
    """

    place: int
    yaw: float
    pitch: float
    gains: tuple[float, float, float]
    gamma: float
    saturation: float
    blur: float
    resolution: float
    noise: float
    haze: float
    light: tuple[float, float, float]


@functools.lru_cache(maxsize=256)
def camera(seed: int, index: int, cameras: int, colour_shift: float, degradation: float) -> Camera:
    """Camera `index` of a data set; its properties are spread over the cameras, so that no two are alike."""
    shared = generator(seed, 2)  # one shuffle of the levels for all cameras
    order = [shared.permutation(cameras) for _ in range(5)]
    level = [(ranks[index] + 0.5) / cameras for ranks in order]
    place = int(shared.permutation(len(PLACES))[index % len(PLACES)])
    rng = generator(seed, 3, index)
    hue = 2 * math.pi * level[0]
    tint = colour_shift * rng.uniform(0.03, 0.07)
    gains = tuple(1 + tint * math.cos(hue - 2 * math.pi * i / 3) for i in range(3))
    side = rng.choice((-1, 1))
    light = np.array([side * rng.uniform(0.3, 0.7), -rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.9)])
    return Camera(
        place=place,
        yaw=math.pi * level[1] + rng.uniform(-0.2, 0.2),
        pitch=rng.uniform(0.05, 0.35),
        gains=gains,
        gamma=math.exp(colour_shift * (level[2] - 0.5) * 0.5),
        saturation=1 - colour_shift * 0.35 * level[3],
        blur=degradation * rng.uniform(0.001, 0.004),
        resolution=1 - degradation * 0.5 * level[4],
        noise=degradation * rng.uniform(0.008, 0.025),
        haze=colour_shift * rng.uniform(0.0, 0.06),
        light=tuple((light / np.linalg.norm(light)).tolist()),
    )


def expose(picture: np.ndarray, eye: Camera, gains, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of a scene (float32 [h, w, 3], 0..1): uint8; `gains` is the light's RGB."""
    height, width = picture.shape[:2]
    # No matrix product: its sums may depend on the number of threads.
    grey = 0.30 * picture[..., 0] + 0.59 * picture[..., 1] + 0.11 * picture[..., 2]
    picture = grey[..., None] + np.float32(eye.saturation) * (picture - grey[..., None])
    picture = picture * (np.array(eye.gains, np.float32) * np.array(gains, np.float32))
    picture = np.clip(picture, 0, 1) ** np.float32(eye.gamma)
    picture = picture * np.float32(1 - eye.haze) + np.float32(0.6 * eye.haze)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    if eye.resolution < 0.97:
        low = (max(8, round(width * eye.resolution)), max(16, round(height * eye.resolution)))
        image = image.resize(low, Image.Resampling.BOX).resize((width, height), Image.Resampling.BICUBIC)
    if eye.blur:
        image = image.filter(ImageFilter.GaussianBlur(eye.blur * height))
    noise = rng.standard_normal((height, width, 3), dtype=np.float32) * np.float32(255 * eye.noise)
    return np.clip(np.asarray(image, np.float32) + noise + np.float32(0.5), 0, 255).astype(np.uint8)


def background(
    seed: int, eye: Camera, index: int, offset: float, window: tuple[float, float, float], size
) -> np.ndarray:
    """A window of a camera's place, float32 [h, w, 3] of 0..1.

    Args:
      offset: where along the place, 0..1.
      window: shift right and down and zoom of the box, in shares of the picture's height.
      size: (height, width) wanted.
    """
    panorama = _panorama(seed, index, eye.place)
    height, width = size
    right, down, zoom = window
    tall = PANORAMA[0] / zoom
    wide = tall * width / height
    left = offset * (PANORAMA[1] - 2 * wide) + 0.5 * wide + right * tall
    left = min(max(left, 0.0), PANORAMA[1] - wide)
    # The panorama is continued upwards and downwards, so that a shifted box stays inside.
    top = panorama.height / 2 - tall / 2 + down * tall
    frame = (left, max(top, 0.0), left + wide, min(top + tall, panorama.height))
    image = panorama.resize((width, height), Image.Resampling.BILINEAR, box=frame, reducing_gap=2.0)
    return np.asarray(image, np.float32) * np.float32(1 / 255)


# Places ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _panorama(seed: int, index: int, place: int) -> Image.Image:
    """A camera's whole background, 1.5 times as high as `PANORAMA` says (a quarter of it above and below)."""
    rng = generator(seed, 4, index)
    height, width = PANORAMA[0] * 3 // 2, PANORAMA[1]
    wall = int(height / 2 + (_GROUND - 0.5 + rng.uniform(-0.06, 0.06)) * PANORAMA[0])
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    PLACES[place](draw, rng, width, height, wall)
    image = image.filter(ImageFilter.GaussianBlur(1.6))
    # Light falls unevenly: a coarse random field, smoothly enlarged.
    field = Image.fromarray(rng.uniform(0.82, 1.12, (4, 14)).astype(np.float32)).resize(
        (width, height), Image.BICUBIC
    )
    grain = rng.normal(0, 3.5, (height, width, 1))
    lit = np.asarray(image, np.float32) * np.asarray(field)[..., None] + grain
    return Image.fromarray(np.clip(_muted(lit), 0, 255).astype(np.uint8))


def _muted(picture: np.ndarray) -> np.ndarray:
    """One district for all cameras: same mean, dull colours; else a place would give away its camera."""
    grey = picture.mean(axis=-1, keepdims=True)
    dull = grey + 0.4 * (picture - grey)
    return 140 + 0.7 * (dull - dull.mean(axis=(0, 1)))


def _tone(rng, colour, spread=10) -> tuple[int, int, int]:
    """A colour slightly off the given one."""
    shift = rng.normal(0, spread)
    return tuple(int(np.clip(c + shift + rng.normal(0, spread / 3), 0, 255)) for c in colour)


def _bands(draw, box_, top_colour, bottom_colour) -> None:
    """A vertical gradient."""
    left, top, right, bottom = box_
    for y in range(top, bottom, 4):
        share = (y - top) / max(1, bottom - top)
        mix = tuple(int(a + share * (b - a)) for a, b in zip(top_colour, bottom_colour, strict=True))
        draw.rectangle((left, y, right, min(y + 4, bottom)), fill=mix)


def _paving(draw, rng, width, height, wall, colour, *, tile: float) -> None:
    """Ground in perspective: rows that widen downwards and joints that run towards the viewer."""
    _bands(draw, (0, wall, width, height), _tone(rng, [c * 0.85 for c in colour]), _tone(rng, colour))
    joint = tuple(int(c * 0.78) for c in colour)
    y, step = float(wall), 3.0
    while tile and y < height:
        draw.line((0, y, width, y), fill=joint, width=1)
        y, step = y + step, step * 1.45
    if tile:
        for x in np.arange(-width, 2 * width, tile):
            draw.line((width / 2 + (x - width / 2) * 0.55, wall, x, height), fill=joint, width=1)


def _brick_street(draw, rng, width, height, wall) -> None:
    brick = _tone(rng, (148, 88, 68))
    draw.rectangle((0, 0, width, wall), fill=brick)
    for row, y in enumerate(range(0, wall, 9)):
        draw.line((0, y, width, y), fill=tuple(int(c * 0.8) for c in brick))
        for x in range((row % 2) * 11, width, 22):
            draw.rectangle((x, y, x + 20, y + 7), fill=_tone(rng, brick, 7))
    for x in range(int(rng.integers(20, 60)), width, 150):
        draw.rectangle((x, 60, x + 62, wall - 70), fill=(205, 200, 190))
        draw.rectangle((x + 5, 65, x + 57, wall - 76), fill=_tone(rng, (70, 86, 100)))
        draw.line((x + 31, 65, x + 31, wall - 76), fill=(205, 200, 190), width=3)
    _paving(draw, rng, width, height, wall, (150, 148, 144), tile=70)
    draw.rectangle((0, wall - 4, width, wall + 5), fill=(120, 118, 115))


def _park(draw, rng, width, height, wall) -> None:
    _bands(draw, (0, 0, width, wall), (186, 206, 222), (214, 222, 214))
    for _ in range(150):
        x, y, r = rng.uniform(0, width), rng.uniform(20, wall - 10), rng.uniform(18, 46)
        draw.ellipse((x - r, y - r, x + r, y + r * 0.8), fill=_tone(rng, (74, 112, 58), 16))
    for x in rng.uniform(0, width, 16):
        draw.rectangle((x, wall - 130, x + rng.uniform(7, 16), wall + 4), fill=_tone(rng, (92, 70, 52)))
    draw.rectangle((0, wall - 8, width, height), fill=(112, 140, 76))
    path = _tone(rng, (196, 180, 150))
    draw.polygon([(0, wall + 40), (width, wall + 26), (width, height), (0, height)], fill=path)
    for _ in range(900):
        x, y = rng.uniform(0, width), rng.uniform(wall + 36, height)
        draw.line((x, y, x + 5, y), fill=_tone(rng, path, 9))


def _glass_front(draw, rng, width, height, wall) -> None:
    draw.rectangle((0, 0, width, wall), fill=(88, 104, 116))
    for x in range(0, width, 64):
        for y in range(0, wall, 84):
            _bands(
                draw,
                (x + 3, y + 3, x + 61, y + 81),
                _tone(rng, (150, 178, 194), 16),
                _tone(rng, (96, 120, 136), 14),
            )
    for x in range(int(rng.integers(0, 200)), width, 384):
        draw.rectangle((x, wall - 120, x + 84, wall), fill=(52, 60, 68))
    _paving(draw, rng, width, height, wall, (188, 186, 180), tile=110)


def _corridor(draw, rng, width, height, wall) -> None:
    _bands(draw, (0, 0, width, wall), (232, 228, 214), (214, 208, 192))
    stripe = _tone(rng, (78, 132, 142), 20)
    draw.rectangle((0, wall - 84, width, wall - 62), fill=stripe)
    for x in range(int(rng.integers(30, 120)), width, 300):
        draw.rectangle((x, wall - 176, x + 84, wall), fill=_tone(rng, (150, 112, 78)))
        draw.ellipse((x + 68, wall - 88, x + 76, wall - 80), fill=(210, 200, 160))
        draw.rectangle((x + 150, wall - 170, x + 214, wall - 104), fill=_tone(rng, (226, 196, 96), 30))
    draw.rectangle((0, wall - 9, width, wall), fill=(120, 110, 98))
    _paving(draw, rng, width, height, wall, (176, 172, 168), tile=84)


def _shops(draw, rng, width, height, wall) -> None:
    x = 0
    while x < width:
        wide = int(rng.integers(120, 220))
        front = _tone(
            rng, rng.choice([(168, 60, 54), (52, 92, 128), (218, 196, 148), (70, 110, 84), (96, 82, 110)])
        )
        draw.rectangle((x, 0, x + wide, wall), fill=front)
        draw.rectangle((x + 10, 112, x + wide - 10, wall - 16), fill=_tone(rng, (60, 66, 72)))
        for _ in range(9):
            left, top = x + rng.uniform(14, wide - 36), rng.uniform(wall - 92, wall - 44)
            draw.rectangle((left, top, left + 16, top + 26), fill=_tone(rng, (190, 170, 140), 45))
        draw.polygon(
            [(x, 78), (x + wide, 78), (x + wide + 6, 112), (x - 6, 112)], fill=_tone(rng, (228, 224, 216))
        )
        for k in range(0, wide, 24):
            draw.polygon([(x + k, 78), (x + k + 12, 78), (x + k + 12, 112), (x + k, 112)], fill=front)
        x += wide
    _paving(draw, rng, width, height, wall, (142, 136, 132), tile=60)


def _underpass(draw, rng, width, height, wall) -> None:
    _bands(draw, (0, 0, width, wall), (112, 114, 112), (140, 140, 134))
    for x in range(0, width, 190):
        draw.line((x, 0, x, wall), fill=(96, 98, 96), width=3)
        for y in (90, 170):
            draw.ellipse((x + 40, y, x + 46, y + 6), fill=(90, 92, 90))
    for _ in range(12):
        x, y = rng.uniform(0, width), rng.uniform(wall - 120, wall - 40)
        colour = _tone(rng, rng.choice([(176, 86, 92), (88, 122, 170), (214, 190, 90), (112, 160, 120)]), 20)
        points = [(x + rng.uniform(0, 110), y + rng.uniform(0, 60)) for _ in range(7)]
        draw.line(points, fill=colour, width=7, joint="curve")
    _paving(draw, rng, width, height, wall, (122, 120, 118), tile=0)
    draw.polygon(
        [(0, wall + 22), (width, wall + 22), (width, wall + 28), (0, wall + 28)], fill=(206, 182, 84)
    )


PLACES = (_brick_street, _park, _glass_front, _corridor, _shops, _underpass)


# Things in the way -------------------------------------------------------------------------------------


def occlude(canvas: Canvas, rng: np.random.Generator) -> None:
    """Puts a thing between the person and the camera: it hides about a tenth to a third of the picture."""
    height, width = canvas.image.shape[:2]
    OCCLUDERS[rng.integers(len(OCCLUDERS))](canvas, rng, float(height), float(width))


def _pick(rng, *colours):
    """One of the colours, a little off."""
    return tuple(
        np.clip(np.array(colours[rng.integers(len(colours))]) + rng.normal(0, 0.03, 3), 0.02, 1).tolist()
    )


def _car(canvas, rng, height, width) -> None:
    paint = _pick(
        rng, (0.7, 0.72, 0.75), (0.55, 0.1, 0.12), (0.12, 0.2, 0.4), (0.15, 0.15, 0.17), (0.85, 0.85, 0.82)
    )
    side = rng.choice((-1, 1))
    x, y, unit = width / 2 + side * rng.uniform(0.1, 0.6) * width, rng.uniform(0.88, 0.97) * height, height
    box(canvas, (x, y - 0.16 * unit), (0.26 * unit, 0.11 * unit), 0.08 * unit, paint)
    box(canvas, (x, y - 0.15 * unit), (0.225 * unit, 0.055 * unit), 0.03 * unit, (0.2, 0.25, 0.3))
    box(canvas, (x, y), (0.45 * unit, 0.095 * unit), 0.06 * unit, paint)
    for wheel in (-0.27, 0.27):
        centre = (x + wheel * unit, y + 0.085 * unit)
        ball(canvas, centre, (0.075 * unit, 0.075 * unit), (0.09, 0.09, 0.1))
        ball(canvas, centre, (0.036 * unit, 0.036 * unit), (0.6, 0.6, 0.62))


def _pole(canvas, rng, height, width) -> None:
    x, thick = rng.uniform(0.25, 0.75) * width, rng.uniform(0.012, 0.03) * height
    paint = _pick(rng, (0.35, 0.36, 0.37), (0.62, 0.63, 0.62), (0.2, 0.3, 0.24))
    tube(canvas, (x, -0.1 * height), (x, 1.1 * height), (thick * 0.85, thick), paint)
    if rng.random() < 0.5:
        plate = _pick(rng, (0.1, 0.3, 0.6), (0.75, 0.15, 0.12), (0.9, 0.88, 0.8))
        centre = (x, rng.uniform(0.55, 0.7) * height)
        box(canvas, centre, (0.07 * height, 0.05 * height), 0.01 * height, plate)


def _bench(canvas, rng, height, width) -> None:
    x, y = width / 2 + rng.uniform(-0.35, 0.35) * width, rng.uniform(0.74, 0.84) * height
    wood = _pick(rng, (0.52, 0.35, 0.2), (0.36, 0.26, 0.18), (0.4, 0.45, 0.4))
    half = 0.27 * height
    for leg in (-0.8, 0.8):
        tube(
            canvas,
            (x + leg * half, y),
            (x + leg * half, y + 0.2 * height),
            (0.012 * height,) * 2,
            (0.2, 0.2, 0.21),
        )
    for row in (0.0, 0.042, 0.1):
        box(canvas, (x, y + row * height), (half, 0.017 * height), 0.008 * height, wood)


def _hedge(canvas, rng, height, width) -> None:
    top = rng.uniform(0.68, 0.8) * height
    for _ in range(26):
        x, y = rng.uniform(-0.05, 1.05) * width, top + abs(rng.normal(0, 0.12)) * height
        radius = rng.uniform(0.04, 0.075) * height
        ball(
            canvas, (x, y), (radius, radius * 0.8), _pick(rng, (0.2, 0.36, 0.16), (0.26, 0.42, 0.2)), seam=0.2
        )


def _bollards(canvas, rng, height, width) -> None:
    paint = _pick(rng, (0.45, 0.45, 0.44), (0.75, 0.6, 0.15), (0.2, 0.2, 0.22))
    start, top = rng.uniform(0.0, 0.3) * width, rng.uniform(0.62, 0.75) * height
    for k in range(3):
        x = start + k * 0.4 * width
        tube(canvas, (x, top), (x, 1.05 * height), (0.028 * height, 0.032 * height), paint)


def _cart(canvas, rng, height, width) -> None:
    paint = _pick(rng, (0.8, 0.45, 0.15), (0.2, 0.4, 0.55), (0.6, 0.15, 0.2), (0.35, 0.36, 0.36))
    x, y = width / 2 + rng.choice((-1, 1)) * rng.uniform(0.2, 0.45) * width, rng.uniform(0.78, 0.86) * height
    box(canvas, (x, y), (0.15 * height, 0.12 * height), 0.02 * height, paint)
    for wheel in (-0.09, 0.09):
        ball(canvas, (x + wheel * height, y + 0.14 * height), (0.03 * height,) * 2, (0.1, 0.1, 0.1))


OCCLUDERS = (_car, _pole, _bench, _hedge, _bollards, _cart)
