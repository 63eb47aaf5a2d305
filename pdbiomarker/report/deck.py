"""The slide writer: 16:9, one message per slide, tables as native tables that can be edited.

What does not fit on a slide is not made smaller until nobody can read it: a long table shows its first rows
and names its sheet of the workbook.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import math
import re
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, Final

from matplotlib.pyplot import close
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.util import Emu, Inches, Pt

from pdbiomarker.plot.style import render_png
from pdbiomarker.report.content import (
    Column,
    Document,
    Figure,
    KeyFinding,
    Notice,
    Picture,
    Section,
    Table,
    Text,
    ThumbnailRow,
    Thumbnails,
    Tone,
    numbered,
    sheet_names,
)

__all__ = ["render_deck"]

_WIDTH: Final = 13.333
_HEIGHT: Final = 7.5
_MARGIN: Final = 0.5
_TOP: Final = 1.25
_BOTTOM: Final = 6.95
_INNER: Final = _WIDTH - 2 * _MARGIN
_BLANK: Final = 6
#: A table goes on over so many slides at most, one that the report keeps closed stands on one; the workbook
#: has the rest.
_MOST_PAGES: Final = 2
_CHARACTERS: Final = 1_300
_LONGEST_MESSAGE: Final = 150
#: Hashes and versions: nobody reads them from a wall.
_FOR_THE_WORKBOOK: Final = frozenset({"provenance"})
_FIXED_TIME: Final = (1980, 1, 1, 0, 0, 0)

_INK: Final = RGBColor(0x17, 0x25, 0x2D)
_MUTED: Final = RGBColor(0x56, 0x65, 0x6D)
_ACCENT: Final = RGBColor(0x0B, 0x64, 0x77)
_WHITE: Final = RGBColor(0xFF, 0xFF, 0xFF)
_HEAD: Final = RGBColor(0xEA, 0xF0, 0xF2)
_STRIPE: Final = RGBColor(0xF7, 0xFA, 0xFA)
_TONES: Final[dict[Tone, RGBColor]] = {
    "good": RGBColor(0x14, 0x68, 0x4F),
    "caution": RGBColor(0x8A, 0x4B, 0x08),
    "neutral": RGBColor(0x4C, 0x5A, 0x62),
    "missing": RGBColor(0x4C, 0x5A, 0x62),
    "simulated": RGBColor(0x7A, 0x20, 0x48),
}


def render_deck(document: Document) -> bytes:
    """Write a document as slides (.pptx).

    Parameters
    ----------
    document : Document

    Returns
    -------
    bytes
        A title slide, one slide for each finding, then the sections: one figure or one table to a slide. The
        same bytes for the same content.
    """
    deck = _Deck(document)
    deck.front()
    for finding in document.findings:
        deck.finding(finding)
    for section in document.sections:
        deck.section(section)
    return deck.finish()


class _Deck:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.numbers = numbered(document)
        self.sheets = sheet_names(document)
        self.show = Presentation()
        self.show.slide_width, self.show.slide_height = Inches(_WIDTH), Inches(_HEIGHT)
        about = self.show.core_properties
        about.title, about.author, about.last_modified_by = document.title, "pdbiomarker", "pdbiomarker"
        about.created = about.modified = dt.datetime(2000, 1, 1)  # no clock in the file
        about.revision = 1

    # --- slides ----------------------------------------------------------------------------------------

    def front(self) -> None:
        slide = self._slide("")
        bar = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, 0, 0, Inches(0.22), Inches(_HEIGHT))
        _fill(bar, _ACCENT)
        box = _box(slide, 0.8, 1.2, _WIDTH - 1.6, 1.6)
        _line(box, self.document.title, size=34, bold=True, colour=_ACCENT)
        facts = "   ·   ".join(f"{fact.name}: {fact.value}" for fact in self.document.facts)
        _line(_box(slide, 0.8, 2.75, _WIDTH - 1.6, 0.8), facts, size=16, colour=_MUTED)
        top = 3.6
        for notice in self.document.notices:
            top = self._notice(slide, notice, top)
        if not self.document.findings:
            _line(_box(slide, 0.8, top + 0.1, _WIDTH - 1.6, 0.8), self.document.no_findings, size=18)

    def _notice(self, slide: Any, notice: Notice, top: float) -> float:
        shown = notice.details[:4]
        more = len(notice.details) - len(shown)
        lines = [*shown, *([f"and {more} more, in the report"] if more else [])]
        height = 0.5 + sum(0.28 * _lines(line, 130) for line in lines)
        if top + height > _HEIGHT - 0.2:
            return top
        box = _box(slide, 0.8, top, _WIDTH - 1.6, height)
        _line(box, notice.text, size=16, bold=True, colour=_TONES[notice.tone])
        for line in lines:
            _line(box, f"• {line}", size=13, first=False)
        return top + height + 0.1

    def finding(self, finding: KeyFinding) -> None:
        slide = self._slide(f"{finding.label}: {finding.headline}, {finding.comparison}")
        pill = slide.shapes.add_shape(
            MSO_SHAPE.ROUNDED_RECTANGLE, Inches(_MARGIN), Inches(1.35), Inches(2.9), Inches(0.5)
        )
        _fill(pill, _TONES[finding.tone])
        _line(pill.text_frame, finding.verdict, size=18, bold=True, colour=_WHITE, align=PP_ALIGN.CENTER)
        places = (0.5, 4.1, 7.6, 10.1)
        measures = (
            ("effect", finding.headline),
            ("95 % CI", finding.interval),
            (finding.counted, finding.n_pairs),
            ("evidence", finding.p),
        )
        for position, (left, (name, value)) in enumerate(zip(places, measures, strict=True)):
            box = _box(slide, left, 2.05, 3.2, 1.2)
            _line(box, name, size=14, colour=_MUTED)
            _line(
                box,
                value,
                size=36 if position == 0 else 24,
                bold=True,
                colour=_INK if position else _ACCENT,
                first=False,
            )
        box = _box(slide, _MARGIN, 3.25, _INNER, 1.9)
        _line(box, finding.sentence, size=18, after=6)
        for fact in finding.decided:
            _line(box, f"{fact.name}: {fact.value}", size=14, first=False, after=3)
        box = _box(slide, _MARGIN, 5.3, _INNER, 1.7)
        for position, doubt in enumerate(finding.doubts[:4]):
            told = f"Strongest reason to doubt it: {doubt}" if position == 0 else f"• {doubt}"
            _line(box, told, size=16 if position == 0 else 14, bold=position == 0, first=position == 0)
        if len(finding.doubts) > 4:
            _line(
                box, f"and {len(finding.doubts) - 4} more, in the report", size=14, colour=_MUTED, first=False
            )

    def section(self, section: Section) -> None:
        if section.key in _FOR_THE_WORKBOOK:
            return
        for block in section.blocks:
            if isinstance(block, Figure):
                self._figure(section, block)
            elif isinstance(block, Table):
                self._table(section, block)
            elif isinstance(block, Thumbnails):
                for person in block.rows:
                    self._person(section, block, person)
            else:
                self._text(section, block)

    def _figure(self, section: Section, figure: Figure) -> None:
        message, rest = _message(figure.caption)
        slide = self._slide(message, section.title)
        drawing = figure.draw()
        data = render_png(drawing, dpi=180)
        width, height = drawing.get_size_inches()
        close(drawing)
        caption = 0.22 * _lines(rest, 175) + 0.25
        scale = min(_INNER / width, (_BOTTOM - _TOP - caption) / height)
        left = (_WIDTH - width * scale) / 2
        shape = slide.shapes.add_picture(
            io.BytesIO(data), Inches(left), Inches(_TOP), Inches(width * scale), Inches(height * scale)
        )
        _describe(shape, figure.alt)
        self._caption(slide, figure.key, rest, _TOP + height * scale + 0.05)

    def _caption(self, slide: Any, key: str, caption: str, top: float) -> None:
        told = f"{self.numbers[key]}. {caption}".strip()
        _line(_box(slide, _MARGIN, top, _INNER, 0.6), told, size=12, colour=_MUTED)

    def _text(self, section: Section, text: Text) -> None:
        if text.style == "code":
            return  # listings of versions and hashes: the workbook has them
        for page in _pages_of_text(text.paragraphs):
            slide = self._slide(section.title)
            box = _box(slide, _MARGIN, _TOP, _INNER, _BOTTOM - _TOP)
            for position, paragraph in enumerate(page):
                _line(box, paragraph, size=16, first=position == 0, after=8)

    def _person(self, section: Section, block: Thumbnails, person: ThumbnailRow) -> None:
        """Both visits of a participant: the overview above, a field below, at one scale."""
        for start in range(0, len(person.images), 2):
            slide = self._slide(person.participant, section.title)
            shown = person.images[start : start + 2]
            for position, (title, overview, view) in enumerate(shown):
                left = _MARGIN + position * (_INNER / 2 + 0.05)
                _line(_box(slide, left, _TOP, _INNER / 2, 0.35), title, size=14, colour=_MUTED)
                half = (_INNER / 2 - 0.2) / 2
                for column, picture in enumerate((overview, view)):
                    self._picture(
                        slide, picture, left + column * (half + 0.1), half, f"{person.participant}, {title}"
                    )
            self._caption(slide, block.key, block.caption, 6.35)

    def _picture(self, slide: Any, picture: Picture | None, left: float, width: float, said: str) -> None:
        top = _TOP + 0.4
        if picture is None:
            _line(_box(slide, left, top, width, 0.4), "no image", size=12, colour=_MUTED)
            return
        shape = slide.shapes.add_picture(
            io.BytesIO(picture.data), Inches(left), Inches(top), Inches(width * picture.share)
        )
        limit = Inches(6.3 - top)
        if shape.height > limit:
            shape.width, shape.height = Emu(int(shape.width * limit / shape.height)), limit
        _describe(shape, said)

    # --- tables ----------------------------------------------------------------------------------------

    def _table(self, section: Section, table: Table) -> None:
        layout = _Layout.of(table)
        message, rest = _message(table.caption)
        above = 0.22 * _lines(rest, 175) + 0.2
        pages = layout.pages(above)
        shown = pages[: 1 if table.collapsed else _MOST_PAGES]
        for position, rows in enumerate(shown):
            more = f" ({position + 1} of {len(shown)})" if len(shown) > 1 else ""
            slide = self._slide(message + more, section.title)
            self._caption(slide, table.key, rest, _TOP - 0.1)
            self._grid(slide, layout, rows, _TOP - 0.1 + above)
        left_out = self._left_out(table, layout, sum(len(rows) for rows in pages[len(shown) :]))
        if left_out:
            box = _box(slide, _MARGIN, _BOTTOM, _INNER, 0.35)
            _line(box, left_out, size=11, colour=_MUTED)

    def _left_out(self, table: Table, layout: _Layout, hidden: int) -> str:
        told = []
        if hidden:
            told.append(f"{hidden} more rows")
        if layout.hidden:
            told.append("the columns " + ", ".join(c.label or "(no heading)" for c in layout.hidden))
        return f"In the workbook, sheet {self.sheets[table.key]!r}: {' and '.join(told)}." if told else ""

    def _grid(self, slide: Any, layout: _Layout, rows: Sequence[int], top: float) -> None:
        heights = [layout.head_height, *(layout.heights[r] for r in rows)]
        shape = slide.shapes.add_table(
            len(rows) + 1,
            len(layout.columns),
            Inches(_MARGIN),
            Inches(top),
            Inches(sum(layout.widths)),
            Inches(sum(heights)),
        )
        grid = shape.table
        for column, width in enumerate(layout.widths):
            grid.columns[column].width = Inches(width)
        for row, height in enumerate(heights):
            grid.rows[row].height = Inches(height)
        for column, head in enumerate(layout.columns):
            _cell(grid.cell(0, column), head.label, head, size=layout.size, bold=True, fill=_HEAD)
        for row, source in enumerate(rows, start=1):
            fill = _STRIPE if row % 2 else _WHITE
            for column, head in enumerate(layout.columns):
                _cell(grid.cell(row, column), layout.texts[source][column], head, size=layout.size, fill=fill)

    # --- parts -----------------------------------------------------------------------------------------

    def _slide(self, title: str, kicker: str = "") -> Any:
        slide = self.show.slides.add_slide(self.show.slide_layouts[_BLANK])
        if kicker:
            _line(_box(slide, _MARGIN, 0.12, _INNER - 4.5, 0.3), kicker, size=12, colour=_MUTED)
        if title:
            size = 26 if len(title) <= 70 else 20
            box = _box(slide, _MARGIN, 0.35, _INNER, 0.8)
            box.vertical_anchor = MSO_ANCHOR.MIDDLE
            _line(box, _short(title, 170), size=size, bold=True, colour=_ACCENT)
            foot = _box(slide, _MARGIN, 7.12, _INNER, 0.3)
            cutoff = next((f.value for f in self.document.facts if f.name == "Data cut-off"), "not stated")
            told = f"{_short(self.document.title, 110)}   ·   data cut-off {cutoff}"
            told += f"   ·   {len(self.show.slides)}"
            _line(foot, told, size=10, colour=_MUTED)
            for notice in self.document.notices:
                if notice.tone == "simulated":
                    mark = _box(slide, _WIDTH - 4.4, 0.08, 3.9, 0.3)
                    _line(
                        mark,
                        "SIMULATED DATA",
                        size=12,
                        bold=True,
                        colour=_TONES["simulated"],
                        align=PP_ALIGN.RIGHT,
                    )
        return slide

    def finish(self) -> bytes:
        buffer = io.BytesIO()
        self.show.save(buffer)
        return _without_clock(buffer.getvalue())


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How a table stands on a slide: inches, and the size of its type in points."""

    columns: tuple[Column, ...]
    hidden: tuple[Column, ...]
    texts: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    size: int

    @classmethod
    def of(cls, table: Table) -> _Layout:
        """Take as many columns as can be read: minor ones go first, then those at the right."""
        order = [i for i, c in enumerate(table.columns) if not c.minor]
        texts = [[c.write(v) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]
        size = 12
        while True:
            least, wanted = _column_widths(
                [table.columns[i] for i in order], [[t[i] for i in order] for t in texts], size
            )
            if sum(least) <= _INNER:
                break
            if size > 9:
                size -= 1
            else:
                order.pop()
        spare = _INNER - sum(least)
        need = sum(max(0.0, w - x) for w, x in zip(wanted, least, strict=True))
        share = min(1.0, spare / need) if need else 0.0
        widths = tuple(x + share * max(0.0, w - x) for w, x in zip(wanted, least, strict=True))
        return cls(
            tuple(table.columns[i] for i in order),
            tuple(c for i, c in enumerate(table.columns) if i not in order),
            tuple(tuple(t[i] for i in order) for t in texts),
            widths,
            size,
        )

    @property
    def heights(self) -> list[float]:
        return [self._height(row) for row in self.texts]

    @property
    def head_height(self) -> float:
        return self._height([c.label for c in self.columns])

    def _height(self, row: Iterable[str]) -> float:
        per_inch = 1 / _em(self.size)
        lines = max(
            _lines(t, max(4, int((w - 0.16) * per_inch))) for t, w in zip(row, self.widths, strict=True)
        )
        return lines * self.size * 1.25 / 72 + 0.1

    def pages(self, above: float) -> list[list[int]]:
        """Rows by slide, under a caption that takes `above` inches."""
        room = _BOTTOM - _TOP + 0.1 - above - self.head_height
        pages: list[list[int]] = [[]]
        used = 0.0
        for row, height in enumerate(self.heights):
            if pages[-1] and used + height > room:
                pages.append([])
                used = 0.0
            pages[-1].append(row)
            used += height
        return pages


def _em(size: int) -> float:
    """Average width of a character in inches."""
    return size * 0.6 / 72


def _column_widths(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], size: int
) -> tuple[list[float], list[float]]:
    """Width of each column with its longest word unbroken, and with its longest text on one line."""
    least, wanted = [], []
    for position, column in enumerate(columns):
        every = [column.label, *(row[position] for row in texts)]
        word = max((len(w) for t in every for w in t.split()), default=1)
        text = max((len(t) for t in every), default=1)
        least.append(min(word, 22) * _em(size) + 0.18)
        wanted.append(min(text, 70) * _em(size) + 0.18)
    return least, wanted


def _lines(text: str, width: int) -> int:
    return max(1, sum(max(1, math.ceil(len(part) / width)) for part in text.splitlines() or [""]))


def _pages_of_text(paragraphs: Sequence[str]) -> list[list[str]]:
    pages: list[list[str]] = [[]]
    used = 0
    for paragraph in paragraphs:
        size = len(paragraph) + 80
        if pages[-1] and used + size > _CHARACTERS:
            pages.append([])
            used = 0
        pages[-1].append(paragraph)
        used += size
    return [page for page in pages if page]


def _message(caption: str) -> tuple[str, str]:
    """Part a caption into its first sentence, the message of a slide, and the rest."""
    end = re.search(r"\.(?= |$)|;", caption)
    if end is None or end.start() > _LONGEST_MESSAGE:
        return _short(caption, _LONGEST_MESSAGE), caption
    return caption[: end.start()], caption[end.end() :].strip()


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _box(slide: Any, left: float, top: float, width: float, height: float) -> Any:
    frame = slide.shapes.add_textbox(Inches(left), Inches(top), Inches(width), Inches(height)).text_frame
    frame.word_wrap = True
    return frame


def _line(
    frame: Any,
    text: str,
    *,
    size: int,
    bold: bool = False,
    colour: RGBColor = _INK,
    first: bool = True,
    align: PP_ALIGN = PP_ALIGN.LEFT,
    after: int = 0,
) -> None:
    paragraph = frame.paragraphs[0] if first else frame.add_paragraph()
    paragraph.alignment = align
    paragraph.space_after = Pt(after)
    run = paragraph.add_run()
    run.text = text
    run.font.size, run.font.bold, run.font.color.rgb = Pt(size), bold, colour


def _cell(cell: Any, text: str, column: Column, *, size: int, fill: RGBColor, bold: bool = False) -> None:
    cell.fill.solid()
    cell.fill.fore_color.rgb = fill
    cell.margin_left = cell.margin_right = Inches(0.07)
    cell.margin_top = cell.margin_bottom = Inches(0.03)
    align = PP_ALIGN.RIGHT if column.numeric else PP_ALIGN.LEFT
    _line(cell.text_frame, text, size=size, bold=bold, align=align)


def _fill(shape: Any, colour: RGBColor) -> None:
    shape.fill.solid()
    shape.fill.fore_color.rgb = colour
    shape.line.fill.background()


def _describe(picture: Any, text: str) -> None:
    """Give a picture the text that a screen reader reads."""
    picture._element.nvPicPr.cNvPr.set("descr", text)  # no public way


def _without_clock(data: bytes) -> bytes:
    """Pack the same parts with a fixed time: the bytes then depend on the content only."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            part = zipfile.ZipInfo(name, _FIXED_TIME)
            part.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(part, source.read(name))
    return packed.getvalue()
