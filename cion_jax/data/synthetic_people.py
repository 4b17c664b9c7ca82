"""Who the synthetic people are: clothing, build, hair and bags, such that colour does not tell them apart.

Identities come in look-alike groups. A group shares the colours of top, bottom and accent and mostly those of
skin, hair, shoes and bags; its members differ in what is made of them: pattern, sleeves, trousers or skirt,
hair, bag, hat, build.
"""

import dataclasses
import functools

import numpy as np

Colour = tuple[float, float, float]

# Street clothing: dull and dark colours are frequent, as outdoors. Each entry is (red, green, blue, weight).
CLOTH: dict[str, tuple[float, float, float, float]] = {
    "black": (0.11, 0.11, 0.13, 4.0),
    "charcoal": (0.25, 0.26, 0.28, 3.0),
    "grey": (0.52, 0.53, 0.54, 3.0),
    "white": (0.90, 0.89, 0.87, 2.5),
    "navy": (0.13, 0.18, 0.34, 3.0),
    "denim": (0.29, 0.40, 0.56, 3.0),
    "sky": (0.53, 0.71, 0.86, 1.0),
    "teal": (0.10, 0.46, 0.48, 1.0),
    "green": (0.17, 0.44, 0.25, 1.0),
    "olive": (0.38, 0.38, 0.22, 1.5),
    "beige": (0.78, 0.69, 0.54, 2.0),
    "brown": (0.40, 0.27, 0.18, 1.5),
    "mustard": (0.84, 0.64, 0.17, 1.0),
    "orange": (0.88, 0.43, 0.16, 0.7),
    "red": (0.76, 0.16, 0.16, 1.2),
    "burgundy": (0.43, 0.11, 0.18, 1.0),
    "pink": (0.89, 0.59, 0.66, 0.8),
    "purple": (0.42, 0.28, 0.55, 0.8),
}
LEATHER: tuple[Colour, ...] = ((0.12, 0.12, 0.13), (0.38, 0.24, 0.14), (0.35, 0.36, 0.38), (0.18, 0.24, 0.36))
SHOES: tuple[Colour, ...] = ((0.10, 0.10, 0.11), (0.88, 0.88, 0.87), (0.36, 0.23, 0.14), (0.45, 0.46, 0.48))
SKIN: tuple[Colour, ...] = (
    (0.96, 0.81, 0.71),
    (0.91, 0.72, 0.58),
    (0.82, 0.61, 0.46),
    (0.70, 0.49, 0.35),
    (0.55, 0.37, 0.26),
    (0.40, 0.26, 0.19),
    (0.29, 0.19, 0.14),
)
HAIR: tuple[Colour, ...] = (
    (0.08, 0.07, 0.07),
    (0.19, 0.12, 0.08),
    (0.36, 0.22, 0.13),
    (0.76, 0.60, 0.34),
    (0.55, 0.25, 0.12),
    (0.66, 0.66, 0.67),
)

# What members of a group differ in, with how often each value occurs.
CHOICES: dict[str, dict[str, float]] = {
    "pattern": {
        "plain": 2.0,
        "stripes": 1.5,
        "pinstripes": 1.2,
        "checks": 1.5,
        "dots": 0.8,
        "block": 1.0,
        "band": 1.0,
        "logo": 1.2,
        "raglan": 1.0,
        "open": 1.5,
    },
    "sleeves": {"long": 3.0, "short": 2.5, "none": 0.7},
    "length": {"hip": 3.0, "cropped": 0.8, "coat": 1.2},
    "bottom": {"trousers": 3.0, "wide trousers": 1.0, "shorts": 1.3, "skirt": 1.2, "long skirt": 0.8},
    "bottom_pattern": {"plain": 4.0, "side stripe": 1.0, "checks": 0.8, "faded": 0.8},
    "hair": {
        "bald": 0.7,
        "short": 2.5,
        "afro": 1.0,
        "bob": 1.3,
        "long": 1.6,
        "ponytail": 1.2,
        "bun": 0.9,
        "headscarf": 0.7,
    },
    "hat": {"none": 5.0, "cap": 1.2, "beanie": 0.9, "sun hat": 0.5},
    "glasses": {"none": 3.0, "glasses": 0.8, "sunglasses": 0.6},
    "bag": {
        "none": 2.0,
        "backpack": 2.0,
        "messenger left": 0.7,
        "messenger right": 0.7,
        "tote left": 0.7,
        "tote right": 0.7,
        "shoulder left": 0.6,
        "shoulder right": 0.6,
    },
    "build": {"slim": 1.0, "average": 1.6, "heavy": 0.9},
    "frame": {"broad": 1.0, "even": 1.0, "narrow": 1.0},
}
# Differences that a low-resolution picture shows; members of a group differ in at least DISTINCT of them.
TELLING = ("pattern", "sleeves", "length", "bottom", "hair", "hat", "bag", "build")
DISTINCT = 4
_ALIKE = 0.8
_ATTEMPTS = 1000


@dataclasses.dataclass(frozen=True)
class Palette:
    """Colours of a look-alike group.

    `names` (keys of `CLOTH`) and shades of top, bottom and accent are worn by the whole group; `usual` holds
    the indices of the skin, hair, shoe and bag colour that a member has with probability `_ALIKE`.
    """

    names: tuple[str, str, str]
    top: Colour
    bottom: Colour
    accent: Colour
    usual: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Person:
    """One identity: everything about a person that stays the same in every picture."""

    palette: Palette
    pattern: str
    sleeves: str
    length: str
    bottom: str
    bottom_pattern: str
    hair: str
    hat: str
    glasses: str
    bag: str
    build: str
    frame: str
    beard: bool
    scarf: bool
    skin: int  # index in SKIN
    hair_colour: int  # index in HAIR
    shoe_colour: int  # index in SHOES
    bag_colour: int  # index in LEATHER; len(LEATHER) is the accent
    period: float  # of stripes, checks and dots, in body heights
    leg_share: float  # legs' share of the body height
    head_size: float  # factor

    def signature(self) -> tuple:
        """The attributes that can be named; no two identities of a data set have the same."""
        return (*self.palette.names, *self.choices(), self.beard, self.scarf, *self.colours())

    def choices(self) -> tuple[str, ...]:
        """The values of `CHOICES`, in its order."""
        return tuple(getattr(self, key) for key in CHOICES)

    def colours(self) -> tuple[int, ...]:
        """Indices of skin, hair, shoe and bag colour."""
        return self.skin, self.hair_colour, self.shoe_colour, self.bag_colour


def generator(*key: int) -> np.random.Generator:
    """A random generator that depends on the integers of `key` (each >= 0) alone, on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def draw_palette(rng: np.random.Generator) -> Palette:
    """Colours of a group; top, bottom and accent are far enough apart for patterns to be seen."""
    names = tuple(CLOTH)
    weights = np.array([CLOTH[name][3] for name in names])
    while True:
        chosen = tuple(names[i] for i in rng.choice(len(names), size=3, p=weights / weights.sum()))
        top, bottom, accent = (np.array(CLOTH[name][:3]) for name in chosen)
        if np.linalg.norm(top - accent) > 0.4 and np.linalg.norm(top - bottom) > 0.2:
            break
    shades = [tuple(np.clip(c + rng.normal(0, 0.02, 3), 0.03, 0.95).tolist()) for c in (top, bottom, accent)]
    return Palette(chosen, *shades, _draw_colours(rng))


def _draw_colours(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Indices of skin, hair, shoe and bag colour."""
    hair = rng.choice(len(HAIR), p=[0.3, 0.25, 0.18, 0.12, 0.05, 0.1])
    return (
        int(rng.integers(len(SKIN))),
        int(hair),
        int(rng.integers(len(SHOES))),
        int(rng.integers(len(LEATHER) + 1)),
    )


def draw_person(rng: np.random.Generator, palette: Palette) -> Person:
    """One person in the colours of `palette`; shapes and patterns are drawn independently of the group."""
    chosen = {}
    for key, options in CHOICES.items():
        weights = np.array(list(options.values()))
        chosen[key] = list(options)[rng.choice(len(weights), p=weights / weights.sum())]
    own = _draw_colours(rng)
    skin, hair, shoe, bag = np.where(rng.random(4) < _ALIKE, palette.usual, own).tolist()
    bare_face = chosen["hair"] in ("bald", "short", "afro")
    return Person(
        palette=palette,
        **_sensible(chosen),
        beard=bool(bare_face and rng.random() < 0.3),
        scarf=bool(rng.random() < 0.1),
        skin=skin,
        hair_colour=hair,
        shoe_colour=shoe,
        bag_colour=bag,
        period=float(rng.uniform(0.055, 0.085)),
        leg_share=float(rng.uniform(0.46, 0.51)),
        head_size=float(rng.uniform(0.95, 1.1)),
    )


def _sensible(chosen: dict[str, str]) -> dict[str, str]:
    """Mends combinations that nobody wears or nobody could see."""
    if chosen["length"] == "coat" or chosen["pattern"] in ("open", "raglan"):
        chosen["sleeves"] = "long"
    if chosen["hair"] in ("headscarf", "afro", "bun") and chosen["hat"] != "none":
        chosen["hat"] = "none"
    if "skirt" in chosen["bottom"] and chosen["bottom_pattern"] in ("side stripe", "faded"):
        chosen["bottom_pattern"] = "plain"
    return chosen


def differences(one: Person, other: Person) -> int:
    """In how many of the `TELLING` attributes two persons differ."""
    return sum(getattr(one, key) != getattr(other, key) for key in TELLING)


@functools.lru_cache(maxsize=8)
def cast(seed: int, world: int, identities: int, group_size: int) -> tuple[Person, ...]:
    """The identities of one world (0: training, 1: evaluation), look-alike groups contiguous.

    Identity i belongs to group i // group_size. Members of a group share the palette object and differ
    pairwise in at least `DISTINCT` of the `TELLING` attributes; no two identities of a world have the same
    `signature`.
    """
    people: list[Person] = []
    seen: set[tuple] = set()
    for group in range(-(-identities // group_size)):
        rng = generator(seed, 1, world, group)
        palette = draw_palette(rng)
        members: list[Person] = []
        for _ in range(min(group_size, identities - len(people))):
            members.append(_draw_distinct(rng, palette, members, seen))
            seen.add(members[-1].signature())
        people.extend(members)
    return tuple(people)


def _draw_distinct(rng, palette: Palette, members: list[Person], seen: set[tuple]) -> Person:
    """A person who differs visibly from `members` and in name from everybody in `seen`."""
    for attempt in range(_ATTEMPTS):
        # Very large groups cannot all keep the full distance: ask for less as the attempts go by.
        wanted = DISTINCT - attempt * DISTINCT // _ATTEMPTS
        person = draw_person(rng, palette)
        if person.signature() not in seen and all(differences(person, other) >= wanted for other in members):
            return person
    raise ValueError(f"no distinct person left for a group of {len(members) + 1}: make `lookalikes` smaller")
