"""Galleries as HTML: rows of pictures with their words."""

from html import escape

from cion_jax.evaluation.label_report.description import Gallery, Group, Strip, Tile
from cion_jax.evaluation.label_report.thumbnails import Thumbnails


def gallery_html(gallery: Gallery, thumbnails: Thumbnails) -> str:
    """What to look for, and the strips; empty without strips."""
    if not gallery.strips:
        return ""
    return f'<p class="faint">{escape(gallery.explanation)}</p>' + "".join(
        _strip(strip, thumbnails) for strip in gallery.strips
    )


def _strip(strip: Strip, thumbnails: Thumbnails) -> str:
    cross = '<span class="cross">✕ wrong</span>' if strip.wrong else ""
    groups = "".join(_group(group, thumbnails) for group in strip.groups if group.tiles)
    return (
        f'<div class="strip"><header><h3>{escape(strip.title)}</h3><span class="note">{escape(strip.note)}</span>'
        f'{cross}</header><div class="groups">{groups}</div></div>'
    )


def _group(group: Group, thumbnails: Thumbnails) -> str:
    tiles = "".join(_tile(tile, thumbnails) for tile in group.tiles)
    return f'<div class="group"><span>{escape(group.label)}</span><div class="tiles">{tiles}</div></div>'


def _tile(tile: Tile, thumbnails: Thumbnails) -> str:
    found = thumbnails(tile.row)
    kind = "tile" + (" wrong" if tile.wrong else "") + ("" if found else " none")
    name = escape((tile.name or f"image {tile.row}") + (", wrong" if tile.wrong else ""), quote=True)
    inside = f'<img src="{found[0]}" width="{found[1]}" alt="{name}" loading="lazy">' if found else ""
    caption = f"<small>{escape(tile.caption)}</small>" if tile.caption else ""
    return f'<span class="{kind}" title="{name}">{inside}{caption}</span>'
