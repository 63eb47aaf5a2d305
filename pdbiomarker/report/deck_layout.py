"""What stands on a slide, in inches: tables that can be read, boxes, lines, cells; a file without a clock."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import textwrap
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from matplotlib.figure import Figure
from pptx.dml.color import RGBColor
from pptx.enum.text import PP_ALIGN
from pptx.util import Inches, Pt

from pdbiomarker.report.content import Column, Table

__all__ = [
    "HEIGHT",
    "INNER",
    "MARGIN",
    "MOST_ROWS",
    "WIDTH",
    "Layout",
    "bold_width",
    "box",
    "describe",
    "fill_shape",
    "line",
    "lines_of",
    "short",
    "text_height",
    "titled_once",
    "without_clock",
    "write_cell",
]

WIDTH: Final = 13.333
HEIGHT: Final = 7.5
MARGIN: Final = 0.5
INNER: Final = WIDTH - 2 * MARGIN
_FIXED_TIME: Final = (1980, 1, 1, 0, 0, 0)
_BOLD: Final = 1.25
_INK: Final = RGBColor(0x17, 0x25, 0x2D)
#: Sizes of type in points: what a room can read, and the least that is still read.
_LARGEST: Final = 18
_LEAST: Final = 10
#: In larger type than this, texts of so many characters stand on one line.
_SMALL: Final = 11
_WHOLE: Final = 17
#: And no cell has more lines than this.
_TALL: Final = 4
#: Characters that a line of a name has at least, where the name has twice as many.
_NAME: Final = 20
#: Rows of a table that a slide shows; one with a few more is shown whole.
MOST_ROWS: Final = 12


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a table stands on a slide: inches, and the size of its type in points.

    Attributes
    ----------
    rows : int
        Rows that stand on the slide, the first ones.
    hidden : tuple of Column
        Columns that do not stand there.
    """

    columns: tuple[Column, ...]
    hidden: tuple[Column, ...]
    texts: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    size: int
    rows: int

    @classmethod
    def of(cls, table: Table, room: float, *, most: int = MOST_ROWS) -> Layout:
        """Choose the largest type in which the first rows fit into `room` inches of height.

        Minor columns are left out; where the rest is too wide in the smallest type, those at the right are
        too.
        """
        texts = [[c.write(v) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]
        texts = texts[: len(texts) if len(texts) <= most + 2 else most]
        order = [i for i, c in enumerate(table.columns) if not c.minor] or [0]
        size = _LARGEST
        while True:
            found = cls._at(table, texts, order, size)
            tall = found is not None and size > _SMALL and found._most_lines() > _TALL
            if found is not None and found._fitting(room) == len(texts) and not tall:
                break
            if size > _LEAST:
                size -= 1
            elif found is None:
                order = order[:-1]
            else:
                break
        return dataclasses.replace(found, rows=found._fitting(room))

    @classmethod
    def _at(
        cls, table: Table, texts: Sequence[Sequence[str]], order: Sequence[int], size: int
    ) -> Layout | None:
        """Lay the columns out in one size of type; None where they are too wide."""
        shown = [tuple(t[i] for i in order) for t in texts]
        columns = tuple(table.columns[i] for i in order)
        least, wanted = _column_widths(columns, shown, size)
        if sum(least) > INNER and len(order) > 1:
            return None
        spare = max(0.0, INNER - sum(least))
        need = sum(max(0.0, w - x) for w, x in zip(wanted, least, strict=True))
        share = min(1.0, spare / need) if need else 0.0
        widths = tuple(min(INNER, x + share * max(0.0, w - x)) for w, x in zip(wanted, least, strict=True))
        hidden = tuple(c for i, c in enumerate(table.columns) if i not in order)
        return cls(columns, hidden, tuple(shown), widths, size, len(shown))

    @property
    def heights(self) -> list[float]:
        """Height of each row."""
        return [self._height(row) for row in self.texts]

    @property
    def head_height(self) -> float:
        """Height of the heading."""
        return self._height([c.label for c in self.columns])

    def _height(self, row: Iterable[str]) -> float:
        return self._lines(row) * self.size * 1.22 / 72 + 0.1

    def _lines(self, row: Iterable[str]) -> int:
        """Lines of the tallest cell of a row."""
        per_inch = 1 / _em(self.size)
        return max(
            lines_of(t, max(4, int((w - 2 * _pad(self.size)) * per_inch)))
            for t, w in zip(row, self.widths, strict=True)
        )

    def _most_lines(self) -> int:
        return max(map(self._lines, self.texts), default=1)

    def _fitting(self, room: float) -> int:
        """Rows that fit under the heading: at least one."""
        used, count = self.head_height, 0
        for height in self.heights:
            used += height
            if used > room and count:
                break
            count += 1
        return count


def _pad(size: int) -> float:
    """Room at each side of a cell: a number flush right stands apart from a text that follows it."""
    return 0.02 + 0.0075 * size


def _em(size: int) -> float:
    """Average width of a character in inches."""
    return size * 0.57 / 72


def _column_widths(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], size: int
) -> tuple[list[float], list[float]]:
    """Width of each column with its longest word or short text whole, and its longest text on one line."""
    least, wanted = [], []
    for position, column in enumerate(columns):
        every = [column.label, *(row[position] for row in texts)]
        # Headings are bold, and so wider.
        head = max((len(w) for w in column.label.split()), default=1) * _BOLD
        word = max(head, max((len(w) for t in every for w in t.split()), default=1))
        text = max((len(t) for t in every), default=1)
        if column.format == "name":  # in two lines or so, not a word in each
            word = max(word, min(_NAME, text // 2))
        if size > _SMALL:  # an interval or a name of two words is not cut while the type is large
            word = max(word, max((len(t) for t in every[1:] if len(t) <= _WHOLE), default=1))
        least.append(min(word, 24) * _em(size) + 2 * _pad(size) + 0.04)
        wanted.append(min(max(text, head) + 1, 70) * _em(size) + 2 * _pad(size) + 0.04)
    return least, wanted


def bold_width(*texts: tuple[str, int]) -> float:
    """Inches that a box needs for lines in bold type: each a text and its size in points."""
    return max(len(text) * _em(size) * _BOLD for text, size in texts) + 0.25


def text_height(text: str, size: int, *, bold: bool = False) -> float:
    """Inches that a paragraph takes over the whole width of a slide, with the room after it."""
    per_line = int((INNER - 0.2) / (_em(size) * (_BOLD if bold else 1.0)))
    return lines_of(text, per_line) * size * 1.2 / 72 + 0.05


def lines_of(text: str, width: int) -> int:
    """Lines that a text takes at so many characters a line, broken between words."""
    width = max(width, 1)
    return max(1, sum(max(1, len(textwrap.wrap(part, width))) for part in text.splitlines()))


def short(text: str, limit: int) -> str:
    """Cut a text to `limit` characters, at a word where there is one."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut) + "…"


def box(slide: Any, left: float, top: float, width: float, height: float) -> Any:
    """Add a box of text at a place in inches; give its text frame."""
    frame = slide.shapes.add_textbox(Inches(left), Inches(top), Inches(width), Inches(height)).text_frame
    frame.word_wrap = True
    return frame


def line(
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
    """Write a paragraph in one face; the text stays text."""
    paragraph = frame.paragraphs[0] if first else frame.add_paragraph()
    paragraph.alignment = align
    paragraph.space_after = Pt(after)
    if not text:  # as tall as the end of the paragraph says; else as the template's 18 points
        paragraph._p.get_or_add_endParaRPr().set("sz", str(size * 100))
        return
    run = paragraph.add_run()
    run.text = text
    run.font.size, run.font.bold, run.font.color.rgb = Pt(size), bold, colour


def write_cell(
    cell: Any, text: str, column: Column, *, size: int, fill: RGBColor, bold: bool = False
) -> None:
    """Write one cell of a native table."""
    cell.fill.solid()
    cell.fill.fore_color.rgb = fill
    cell.margin_left = cell.margin_right = Inches(_pad(size))
    cell.margin_top = cell.margin_bottom = Inches(0.03)
    align = PP_ALIGN.RIGHT if column.numeric else PP_ALIGN.LEFT
    line(cell.text_frame, text, size=size, bold=bold, align=align)


def fill_shape(shape: Any, colour: RGBColor) -> None:
    """Fill a shape with one colour, without an outline."""
    shape.fill.solid()
    shape.fill.fore_color.rgb = colour
    shape.line.fill.background()


@contextlib.contextmanager
def titled_once(drawing: Figure, message: str) -> Iterator[None]:
    """Leave out of the titles in a drawing what the title of its slide says; afterwards they are whole again.

    Of ``CD8: change by dose`` below ``CD8 and dose: ...`` there remains ``Change by dose``.
    """
    # The artist itself: set_title would place it anew, and there is no public way to it.
    titles = [(getattr(ax, "_left_title"), ax.get_title(loc="left")) for ax in drawing.axes]  # noqa: B009
    try:
        for artist, title in titles:
            subject, _, rest = title.partition(": ")
            if title and title in message:
                rest = ""
            elif not rest or subject not in message:
                continue
            artist.set_text(f"{rest[:1].upper()}{rest[1:]}")
        yield
    finally:
        for artist, title in titles:
            artist.set_text(title)


def describe(picture: Any, text: str) -> None:
    """Give a picture the text that a screen reader reads."""
    picture._element.nvPicPr.cNvPr.set("descr", text)  # no public way


def without_clock(data: bytes) -> bytes:
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
