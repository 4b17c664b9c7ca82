"""Natural order of names: numbers inside a name sort by their value."""

import re

Key = list[tuple[int, int, str, str]]


def natural(text: str) -> Key:
    """A sort key in which runs of the digits 0 to 9 count as numbers; other characters, digits of other scripts
    included, sort by their code.

    Two names have one key only if they are equal. No number is made of the digits, so their count has no limit.
    """
    return [_part_key(part) for part in re.findall(r"[0-9]+|[^0-9]+", text)]


def _part_key(part: str) -> tuple[int, int, str, str]:
    if part[0] not in "0123456789":
        return (1, 0, part, "")
    digits = part.lstrip("0")
    return (0, len(digits), digits, part)
