"""The order of names as people have it."""

import re


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that takes runs of digits as numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(0, int(part), part) if part[0].isdigit() else (1, 0, part) for part in parts]
