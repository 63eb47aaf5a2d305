"""How sheets of the workbook look: formats of cells, widths of columns, and paper.

A number keeps all its digits in the cell and shows as many as the page does. Every sheet prints on landscape
A4 with its headings on each page; a sheet too wide for one page goes on to the next with its first column.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any, Final

import xlsxwriter

from pdbiomarker.plot.numbers import P_FLOOR, format_number, format_p
from pdbiomarker.report.content import Cell, Format

__all__ = ["Book", "Head", "fit", "fitting", "shown"]

_LONGEST_TEXT: Final = 32_767
_CUT: Final = " ... (cut: the rest is in the results folder)"
#: Widths are in characters of the default face. Longer text wraps.
_NARROWEST: Final = 8
_WIDEST: Final = 68
#: The button of a filter covers so much of a heading.
_BUTTON: Final = 3
#: About what a landscape page of A4 holds at half its size, the least that can be read.
_PAGE: Final = 270
_A4: Final = 9
#: Heights are in points; a row can be no taller than 409.
_LINE: Final = 15.0
_MOST_LINES: Final = 27
#: Words do not fill their lines.
_ROOM: Final = 1.12
#: So long is "Table 38. L1. ", after which the first sentence of a caption begins.
_NUMBERED: Final = 14
#: A workbook carries no clock: the same result gives the same bytes.
_CREATED: Final = dt.datetime(2000, 1, 1)
_INK: Final = "#0b6477"


@dataclasses.dataclass(frozen=True)
class Head:
    """A heading, the width of its column, and whether numbers stand below it."""

    label: str
    width: float
    numeric: bool = False

    @property
    def lines(self) -> int:
        """How many lines the heading takes in its width."""
        return len(textwrap.wrap(self.label, max(1, int(self.width) - _BUTTON))) or 1


def fit(columns: Sequence[tuple[str, Sequence[str], bool]]) -> list[Head]:
    """Fit columns to their texts: of each its label, the texts below it, and whether they are numbers.

    A heading may take three lines. Where all would not fit on a page, long texts wrap earlier.
    """
    heads: list[Head] = []
    for most in (_WIDEST, _WIDEST // 2):
        heads = []
        for label, texts, numeric in columns:
            words = max([*map(len, re.split(r"[ /]", label)), math.ceil(len(label) / 3) + 2])
            longest = max((len(line) for text in texts for line in text.splitlines()), default=0)
            width = max(_NARROWEST, words + _BUTTON + 1, min(most, longest + 3))
            heads.append(Head(label, float(width), numeric))
        if sum(head.width for head in heads) <= _PAGE:
            break
    return heads


class Book:
    """A workbook in the making, with its few formats.

    Parameters
    ----------
    title : str
        Stands at the foot of every printed page.
    mark : str
        What every printed page must say at its head, such as that the data are simulated.
    """

    def __init__(self, title: str, mark: str = "") -> None:
        self.buffer = io.BytesIO()
        self.book = xlsxwriter.Workbook(
            self.buffer,
            {
                "in_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "nan_inf_to_errors": False,
            },
        )
        self.book.set_properties({"title": title, "created": _CREATED, "comments": "Made by pdbiomarker"})
        # "&" is a command there; the blank keeps a leading digit out of the size of the face.
        short = title if len(title) <= 90 else f"{title[:89]}…"
        self._foot = f"&L&8 {short.replace('&', '&&')}&C&8 &A&R&8 Page &P of &N"
        self._top = f"&R&8 {mark}" if mark else ""
        add, top = self.book.add_format, {"valign": "top"}
        wrapped = {**top, "text_wrap": True}
        head = {**wrapped, "bold": True, "bg_color": "#eaf0f2", "bottom": 1}
        self.title = add({"bold": True, "font_size": 14, "font_color": _INK})
        self.caption = add({**wrapped, "bold": True, "font_size": 12, "font_color": _INK})
        self.note = add({**wrapped, "font_color": "#44525a"})
        self.head = add(head)
        self.right = add({**head, "align": "right", "indent": 1})
        self.text = add(top)
        self.wrapped = add(wrapped)
        self.large = add({**wrapped, "bold": True, "font_size": 12})
        self.link = add({**top, "font_color": "#0563c1", "underline": 1})
        self.bold = add({**top, "bold": True})
        self._numbers: dict[str, Any] = {}
        self._lines: dict[tuple[Any, int], int] = {}

    def sheet(self, name: str) -> Any:
        """Add a sheet that prints on landscape pages."""
        sheet = self.book.add_worksheet(name)
        sheet.set_landscape()
        sheet.set_paper(_A4)
        sheet.set_margins(left=0.4, right=0.4, top=0.6, bottom=0.6)
        sheet.set_header(self._top)
        sheet.set_footer(self._foot)
        sheet.fit_to_pages(1, 0)
        return sheet

    def finish(self) -> bytes:
        """Close the workbook; give its bytes.

        Rows of wrapped text get their heights here: not every program that opens a workbook measures them.
        """
        for (sheet, row), lines in self._lines.items():
            sheet.set_row(row, _LINE * min(lines, _MOST_LINES))
        self.book.close()
        return self.buffer.getvalue()

    def lay(self, sheet: Any, heads: Sequence[Head], *, at: int = 0, rows: int = 0) -> None:
        """Write headings that stay in sight and on every page, and a filter over the rows below them."""
        for column, head in enumerate(heads):
            sheet.set_column(column, column, head.width)
            sheet.write_string(at, column, head.label, self.right if head.numeric else self.head)
        self._lines[sheet, at] = max((head.lines for head in heads), default=1)
        sheet.freeze_panes(at + 1, 1)
        sheet.repeat_rows(at)
        wide = sum(head.width for head in heads)
        if wide > _PAGE:
            sheet.repeat_columns(0)
            sheet.fit_to_pages(math.ceil(wide / _PAGE), 0)
        if rows:
            sheet.autofilter(at, 0, at + rows, len(heads) - 1)

    def name(self, sheet: Any, caption: str, heads: Sequence[Head]) -> None:
        """Write a caption over a table: its first sentence as a title, what else it says below it."""
        end = caption.find(". ", _NUMBERED)
        title, rest = (caption, "") if end < 0 else (caption[: end + 1], caption[end + 2 :])
        columns, width = 0, 0.0
        while width < 2 * _WIDEST:
            width += heads[columns].width if columns < len(heads) else _NARROWEST
            columns += 1
        for row, text, look, size in (
            (0, title, self.caption, 1.25),
            (1, rest, self.note, 1.0),
        ):
            if text:
                sheet.merge_range(row, 0, row, columns - 1, "", look)
                sheet.write_string(row, 0, fitting(text), look)
                sheet.set_row(row, _LINE * size * math.ceil(_ROOM * size * len(text) / width))

    def write(
        self,
        sheet: Any,
        row: int,
        column: int,
        value: Cell,
        *,
        kind: Format | None = None,
        width: float = _WIDEST,
    ) -> None:
        """Write one cell by its type; what is missing stays empty.

        `kind` is how a column of the report writes its numbers; without it, one digit more is shown. Text
        wider than `width` wraps.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value, self.text)
        elif isinstance(value, str):
            self.put(sheet, row, column, value, width=width)
        elif math.isinf(value):
            sheet.write_string(row, column, "inf" if value > 0 else "-inf", self.text)
        else:
            sheet.write_number(row, column, value, self._number(picture(value, kind)))

    def put(
        self, sheet: Any, row: int, column: int, text: str, *, width: float = _WIDEST, look: Any = None
    ) -> None:
        """Write text as text, wrapped where it is wider than `width`."""
        lines = sum(
            1 if len(line) < width else math.ceil(_ROOM * len(line) / width) for line in text.splitlines()
        )
        sheet.write_string(row, column, fitting(text), look or (self.wrapped if lines > 1 else self.text))
        if lines > 1:
            self._lines[sheet, row] = max(lines, self._lines.get((sheet, row), 1))

    def _number(self, pattern: str) -> Any:
        if pattern not in self._numbers:
            look = {"num_format": pattern, "valign": "top", "align": "right", "indent": 1}
            self._numbers[pattern] = self.book.add_format(look)
        return self._numbers[pattern]


def picture(value: float, kind: Format | None = None) -> str:
    """Give the number format with which a cell shows what the page writes of a number.

    Examples
    --------
    >>> picture(2.0951, "number"), picture(12, "number"), picture(-0.000123, "number"), picture(1234.5)
    ('#,##0.00', '#,##0', '#,##0.000000', '#,##0')
    >>> picture(3e-9, "p"), picture(0.3, "p"), picture(3e-9, "number")
    ('"< 0.0001"', '#,##0.00', '0.00E+00')
    """
    if kind == "p":
        shown_as = format_p(float(value))
        if value < P_FLOOR or shown_as.startswith(">"):
            return f'"{shown_as}"'
    elif kind == "df":
        shown_as = f"{value:,.1f}".removesuffix(".0")
    else:
        shown_as = format_number(value, 3 if kind else 4)
    if "e" in shown_as:
        return "0.00E+00" if kind else "0.000E+00"
    decimals = len(shown_as.partition(".")[2])
    return f"#,##0.{'0' * decimals}" if decimals else "#,##0"


def shown(value: Cell) -> str:
    """Write about what a cell of a complete table shows, to fit its column."""
    if value is None or isinstance(value, str | bool):
        return str(value or "")
    return format_number(value, 4)


def fitting(text: str) -> str:
    """Cut a text to what a cell can hold, and say so."""
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - len(_CUT)] + _CUT
