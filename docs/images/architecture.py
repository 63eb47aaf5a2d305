"""Draws architecture.svg, the road of the data and the floors: ``python docs/images/architecture.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_WIDTH: Final = 960
_HEIGHT: Final = 640
_INK: Final = "#1f2933"
_LINE: Final = "#7b8794"
#: Fill of sources, of what is carried, of rooms on the road, and of what is read by people.
_SOURCE, _NOUN, _ROOM, _OUT = "#eef2f5", "#fff4d6", "#dcebf7", "#e0f2e6"
_STYLE: Final = 'font-family="DejaVu Sans, Verdana, sans-serif"'

#: Floor, its rooms (of floor 0 the larger ones), and what they do.
FLOORS: Final = (
    ("9", ("cli",), "files in, files out"),
    ("8", ("run",), "the whole road for one study folder"),
    ("7", ("report",), "one content, four writers"),
    ("6", ("plot",), "functions that return axes"),
    ("5", ("decide", "link"), "verdicts, exposure and response"),
    ("4", ("noise",), "how much is noise"),
    ("3", ("change",), "families, contrasts, sets"),
    ("2", ("normalize", "pairing"), "the scale; the pairs"),
    ("1", ("ihc", "expression", "clinical", "simulate"), "readers, the clinic, the simulated trial"),
    ("0", ("study", "plan", "formula", "tables", "errors", "provenance"), "the nouns"),
)


def _box(x: float, y: float, width: float, text: str, fill: str, *, height: float = 30) -> str:
    lines = text.split("\n")
    top = y + height / 2 + 4.5 - 8 * (len(lines) - 1)
    words = "".join(
        f'<text x="{x + width / 2:g}" y="{top + 16 * k:g}" text-anchor="middle">{line}</text>'
        for k, line in enumerate(lines)
    )
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {size} rx="5" fill="{fill}" stroke="{_LINE}"/>{words}'


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" fill="none" stroke="{_INK}" marker-end="url(#to)"/>'


def _road() -> list[str]:
    parts = ['<text x="24" y="36" font-size="16" font-weight="bold">The road</text>']
    for k, text in enumerate(
        ("slides", "QuPath, HALO", "counts, nCounter,\nsingle cells", "tables of values")
    ):
        height = 44 if "\n" in text else 30
        y = (56, 98, 140, 196)[k]
        parts.append(_box(24, y, 140, text, _SOURCE, height=height))
        parts.append(_arrow(164, y + height / 2, 200, y + height / 2))
    parts += [
        _box(202, 56, 100, "ihc", _ROOM, height=72),
        _box(202, 140, 100, "expression", _ROOM, height=86),
    ]
    parts += [_arrow(302, 92, 336, 126), _arrow(302, 183, 336, 150)]
    parts.append(_box(338, 92, 150, "an assay:\nbiopsies x features,\nvar.kind", _NOUN, height=92))
    parts.append(_arrow(488, 138, 522, 138))
    parts.append(_box(524, 92, 104, "normalize\npairing", _ROOM, height=92))
    parts.append(_arrow(628, 138, 662, 138))
    parts.append(_box(664, 92, 100, "change", _ROOM, height=56))
    parts.append(_box(664, 160, 100, "mixed", _ROOM, height=34))
    parts.append(_arrow(714, 148, 714, 158))
    parts.append(_arrow(764, 120, 798, 120))
    parts.append(_box(800, 60, 136, "noise, decide, link", _ROOM, height=34))
    parts.append(_box(800, 103, 136, "plot, report", _ROOM, height=34))
    parts.append(_box(800, 146, 136, "report, tables,\nmanifest", _OUT, height=56))
    parts += [_arrow(868, 94, 868, 101), _arrow(868, 137, 868, 144)]
    return parts


def _floors_drawn() -> list[str]:
    parts = [
        '<text x="24" y="278" font-size="16" font-weight="bold">The floors: imports go downwards only</text>'
    ]
    for k, (number, rooms, said) in enumerate(FLOORS):
        y = 294 + 33 * k
        parts.append(f'<text x="34" y="{y + 20}" font-weight="bold">{number}</text>')
        x = 60.0
        for room in rooms:
            parts.append(_box(x, y, 96, room, _ROOM, height=28))
            x += 102
        parts.append(f'<text x="{x + 8:g}" y="{y + 19}" fill="#52606d">{said}</text>')
    parts.append(_box(820, 558, 96, "mixed", _ROOM, height=61))
    parts.append('<text x="868" y="548" text-anchor="middle" fill="#52606d">arrays only</text>')
    return parts


def drawing() -> str:
    """Give the picture as SVG."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" {_STYLE} font-size="13" fill="{_INK}">'
        "<title>The road of the data and the floors of the code</title>"
        f'<defs><marker id="to" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{_INK}"/></marker></defs>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    )
    return "\n".join([head, *_road(), *_floors_drawn(), "</svg>\n"])


if __name__ == "__main__":
    (Path(__file__).parent / "architecture.svg").write_text(drawing(), encoding="utf-8")
