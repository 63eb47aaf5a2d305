"""The HTML writer: one file that needs no network, in which every text from the study stays text.

Figures that show participants are inline SVG, checked element by element
(:mod:`pdbiomarker.report.inline`), so that a reader can follow a participant through them; other figures and
images are data URIs in ``img`` elements, where nothing in them can run. The only script and the only style
sheet are our own, allowed by their hashes; the content-security policy forbids everything else, inline style
and evaluation of text among it, so the page could not reach a network if it wanted to. Data for the script
stand in blocks of JSON, which no browser runs. Without the script the page is complete; with it, it can be
searched, sorted and followed.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pdbiomarker.plot.marks import mark_of
from pdbiomarker.plot.style import render_svg
from pdbiomarker.report.content import (
    Block,
    Cell,
    Column,
    Document,
    Figure,
    Picture,
    Section,
    Table,
    Thumbnails,
    numbered,
    sheet_names,
)
from pdbiomarker.report.inline import Inliner
from pdbiomarker.report.lookup import axes_of, packed, text_of

__all__ = ["MOST_ROWS", "render_html"]

#: Rows of one table in the page; the workbook has all. A browser lays out some ten thousand cells at once.
MOST_ROWS: Final = 1_000

_TEMPLATE: Final = "review.html.jinja"
_SCRIPT: Final = "review.js"
_STYLE: Final = "review.css"
#: Headings of columns that name a participant, or what belongs to one.
_KINDS: Final[Mapping[str, str]] = {
    "participant": "participant",
    "filed under": "participant",
    "unit": "participant",
    "biopsy": "biopsy",
    "slide": "slide",
    "library": "library",
}
#: Headings of columns that may hold the id of any of these.
_ANY: Final = frozenset({"item"})


def render_html(document: Document) -> str:
    """Write a document as one HTML page: the same text for the same document.

    Parameters
    ----------
    document : Document

    Returns
    -------
    str
        A complete page; text is escaped, figures are embedded.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = _Page(document)
    environment.filters["picture"] = page.picture
    environment.filters["owners"] = page.owners
    environment.filters["person"] = page.person
    environment.filters["width"] = page.width
    environment.filters["jpeg"] = _jpeg
    environment.filters["sort_value"] = _sort_value
    environment.filters["rows_of"] = _layout
    environment.filters["shown"] = _shown
    environment.filters["counted"] = page.counted
    environment.filters["lookup"] = lambda every: Markup(text_of(packed(every)))  # noqa: S704  (escaped JSON)
    script, css = _resource(_SCRIPT), _resource(_STYLE) + page.widths()
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(css)}'; img-src data:; "
        f"script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.from_string(_resource(_TEMPLATE))
    return template.render(
        document=document,
        policy=policy,
        script=Markup(script),  # noqa: S704  (our own file, not input)
        css=Markup(css),  # noqa: S704
        numbers=numbered(document),
        people=Markup(text_of(page.people())),  # noqa: S704
        letters=page.letters,
    )


def _resource(name: str) -> str:
    return (resources.files("pdbiomarker.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


class _Page:
    """What the template asks of a document: drawings, whose a row is, widths."""

    def __init__(self, document: Document) -> None:
        self._people = document.people
        self._sheets = sheet_names(document)
        self._numbers = {one.participant: i for i, one in enumerate(document.people)}
        self._inliner = Inliner({mark_of(name): i for name, i in self._numbers.items()})
        self._owners: dict[str, dict[str, int]] = {"participant": self._numbers}
        for one in document.people:
            for kind, items in one.items.items():
                of = self._owners.setdefault(kind, {})
                of.update(dict.fromkeys(items, self._numbers[one.participant]))
        blocks = [block for section in document.sections for block in section.blocks]
        self._searched = {b.every.figure for b in blocks if isinstance(b, Table) and b.every is not None}
        # Before the pictures are asked for, which are made beside the figures.
        self._drawn = {b.key: self._draw(b) for b in blocks if isinstance(b, Figure)}
        pictures = [
            picture
            for block in blocks
            if isinstance(block, Thumbnails)
            for row in block.rows
            for _, *both in row.images
            for picture in both
            if picture is not None
        ]
        shares = sorted({f"{100 * picture.share:.2f}" for picture in pictures})
        self._widths = {share: f"w{i}" for i, share in enumerate(shares)}

    def picture(self, figure: Figure) -> dict[str, Any]:
        """A figure: inline where it shows participants, else as a data URI; its size in CSS pixels."""
        return self._drawn[figure.key]

    def _draw(self, figure: Figure) -> dict[str, Any]:
        drawing = figure.draw()
        width, height = drawing.get_size_inches()
        svg = render_svg(drawing)
        inline = self._inliner.write(svg)
        data = b"" if inline is not None else self._inliner.smaller(svg)
        return {
            "inline": None if inline is None else Markup(inline),  # noqa: S704  (checked and escaped)
            "src": f"data:image/svg+xml;base64,{base64.b64encode(data).decode('ascii')}",
            "box": f"0 0 {72 * width:g} {72 * height:g}",
            "width": round(width * 96),
            "height": round(height * 96),
            "axes": text_of(axes_of(drawing)) if figure.key in self._searched else None,
        }

    def letters(self) -> Markup:
        """Outlines of the letters of the inline figures."""
        return Markup(self._inliner.letters())  # noqa: S704

    def people(self) -> list[list[Any]]:
        """Participants for the script: the id, names and values of the facts, whether evaluable."""
        return [
            [one.participant, [[f.name, f.value] for f in one.facts], one.evaluable] for one in self._people
        ]

    def person(self, participant: str) -> int | None:
        """The number of a participant."""
        return self._numbers.get(participant)

    def owners(self, table: Table) -> list[int | None]:
        """Whose each row of a table is, where it is a participant's."""
        owners: list[int | None] = [None] * len(table.rows)
        for at, column in enumerate(table.columns):
            heading = column.label.lower().removesuffix(" id")
            kinds = list(self._owners) if heading in _ANY else [_KINDS.get(heading, "")]
            for i, row in enumerate(table.rows):
                if owners[i] is None and isinstance(row[at], str):
                    found = {self._owners.get(kind, {}).get(str(row[at])) for kind in kinds} - {None}
                    owners[i] = found.pop() if len(found) == 1 else None
        return owners

    def counted(self, table: Table) -> str:
        """How many rows a table has; where not all are in the page, which are, and where the others are."""
        n = len(table.rows)
        if n > MOST_ROWS:
            which = "those with the smallest p" if _p_column(table) is not None else "the first ones"
            where = f"sheet '{self._sheets[table.key]}' of the workbook (review.xlsx)"
            return f"{MOST_ROWS:,} of {n:,} rows, {which}; {where} has all"
        if table.total:
            return f"{n:,} of {table.total:,} rows"
        return f"{n:,} row" if n == 1 else f"{n:,} rows"

    def width(self, picture: Picture) -> str:
        """The class that gives an image its share of the width."""
        return self._widths[f"{100 * picture.share:.2f}"]

    def widths(self) -> str:
        """Rules for the widths of images."""
        return "".join(f".{name} {{ width: {share}%; }}\n" for share, name in self._widths.items())


def _layout(section: Section) -> list[tuple[Block, ...]]:
    """Group the blocks of a section into rows: two narrow figures that follow each other share one."""
    rows: list[tuple[Block, ...]] = []
    waiting: list[Block] = []
    for block in section.blocks:
        if isinstance(block, Figure) and not block.wide:
            waiting.append(block)
            if len(waiting) == 2:
                rows.append(tuple(waiting))
                waiting = []
            continue
        if waiting:
            rows.append(tuple(waiting))
            waiting = []
        rows.append((block,))
    return [*rows, tuple(waiting)] if waiting else rows


def _p_column(table: Table) -> int | None:
    """The place of the first column of p-values."""
    return next((i for i, column in enumerate(table.columns) if column.format == "p"), None)


def _shown(table: Table) -> Table:
    """The rows of a table that stand in the page, in their order: those with the smallest p, or the first."""
    if len(table.rows) <= MOST_ROWS:
        return table
    at = _p_column(table)
    if at is None:
        return dataclasses.replace(table, rows=table.rows[:MOST_ROWS])

    def place(i: int) -> tuple[bool, float]:
        p = table.rows[i][at]
        # Rows without a p come last.
        return (False, float(p)) if isinstance(p, int | float) and p == p else (True, 0.0)  # noqa: PLR0124

    kept = sorted(sorted(range(len(table.rows)), key=place)[:MOST_ROWS])
    return dataclasses.replace(table, rows=tuple(table.rows[i] for i in kept))


def _jpeg(picture: Picture) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture.data).decode('ascii')}"


def _sort_value(value: Cell, column: Column) -> str:
    """The exact value of a numeric cell, for sorting and for those who check."""
    if not column.numeric or value is None or isinstance(value, str):
        return ""
    return repr(value)
