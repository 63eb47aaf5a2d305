"""The workbook writer: every table of the report as a sheet of typed cells, and the complete results.

Text is always written as text, so that no cell of the study becomes a formula or a link. Numbers keep all
their digits; only their display is short.
"""

from __future__ import annotations

import datetime as dt
import io
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import xlsxwriter

from pdbiomarker.report.blocks import cell_of
from pdbiomarker.report.content import (
    Cell,
    Document,
    Figure,
    Format,
    Section,
    Table,
    Text,
    numbered,
    sheet_names,
)
from pdbiomarker.report.meanings import MEANINGS
from pdbiomarker.report.privacy import clean, shareable
from pdbiomarker.report.trace import Traced, complete_names, trace_rows, used_by

__all__ = ["MOST_ROWS", "render_workbook"]

#: Complete tables longer than this stay in the results folder; the contents say so.
MOST_ROWS: Final = 100_000
_LONGEST_TEXT: Final = 32_767
_CUT: Final = " ... (cut: the rest is in the results folder)"
_WIDEST: Final = 60
_MEASURED_ROWS: Final = 200
#: A workbook carries no clock: the same result gives the same bytes.
_CREATED: Final = dt.datetime(2000, 1, 1)


class _Book:
    """A workbook in the making, with its few formats."""

    def __init__(self, title: str) -> None:
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
        add = self.book.add_format
        self.title = add({"bold": True, "font_size": 14, "font_color": "#0b6477"})
        self.head = add(
            {"bold": True, "bg_color": "#eaf0f2", "bottom": 1, "text_wrap": True, "valign": "top"}
        )
        self.text = add({"valign": "top"})
        self.wrapped = add({"text_wrap": True, "valign": "top"})
        self.number = add({"num_format": "#,##0.####", "valign": "top"})
        self.small = add({"num_format": "0.00E+00", "valign": "top"})
        self.p = add({"num_format": "0.0000", "valign": "top"})
        self.bold = add({"bold": True, "valign": "top"})

    def sheet(self, name: str) -> Any:
        return self.book.add_worksheet(name)

    def finish(self) -> bytes:
        self.book.close()
        return self.buffer.getvalue()

    def write(self, sheet: Any, row: int, column: int, value: Cell, *, kind: Format = "text") -> None:
        """Write one cell by its type; what is missing stays empty."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value, self.text)
        elif isinstance(value, str):
            sheet.write_string(
                row, column, _fitting(value), self.wrapped if len(value) > _WIDEST else self.text
            )
        elif math.isinf(value):
            sheet.write_string(row, column, "inf" if value > 0 else "-inf", self.text)
        else:
            sheet.write_number(row, column, value, self._numeric(float(value), kind))

    def _numeric(self, value: float, kind: Format) -> Any:
        if value != 0 and not 1e-4 <= abs(value) < 1e9:
            return self.small
        return self.p if kind == "p" else self.number


def render_workbook(document: Document, results: Mapping[str, pd.DataFrame] | None = None) -> bytes:
    """Write a document and the complete results as one workbook (.xlsx).

    Parameters
    ----------
    document : Document
    results : mapping of name to DataFrame, optional
        Complete tables, such as ``pd_change``; each becomes a sheet of that name, without columns that are
        private. One of more than `MOST_ROWS` rows is only named.

    Returns
    -------
    bytes
        Sheets ``Summary``, ``Contents``, ``Trace`` (the cell behind every number of the front page),
        ``T1 ...`` (numbered as in the report), ``Text``, ``Columns``, then the results. The same bytes for
        the same content.
    """
    frames = dict(results or {})
    book = _Book(document.title)
    _summary(book, document)
    contents, trace = book.sheet("Contents"), book.sheet("Trace")
    names, numbers = sheet_names(document), numbered(document)
    complete, used = complete_names(frames, names), used_by(document)
    where = {**names, **complete}
    rows: list[_Line] = [_Line("Trace", "Front page", "The cell behind every number of the front page.")]
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                _table(book, names[block.key], f"{numbers[block.key]}. {block.caption}", block)
                told = f"{numbers[block.key]}. {block.caption}"
                rows.append(_Line(names[block.key], section.title, told, used.get(block.key, ())))
            elif isinstance(block, Figure):
                held = [where[s] for s in block.sources if s in where]
                told = f"{numbers[block.key]}, drawn in the other formats. {block.caption}"
                rows.append(_Line(held[0] if held else "", section.title, told, (), held))
    _texts(book, document.sections)
    rows.append(_Line("Text", "All sections", "What the report says in words, paragraph by paragraph."))
    _columns(book, frames)
    rows.append(_Line("Columns", "Complete results", "What the columns of the complete results mean."))
    for name, frame in frames.items():
        rows.append(_complete(book, complete[name], frame, used.get(name, ())))
    _trace(book, trace, trace_rows(document, frames), set(complete.values()))
    _contents(book, contents, rows)
    return book.finish()


class _Line(NamedTuple):
    """One line of the contents: a sheet, where the report has it, what it holds, what rests on it."""

    sheet: str
    section: str
    holds: str
    used: Sequence[str] = ()
    sources: Sequence[str] = ()


def _summary(book: _Book, document: Document) -> None:
    sheet = book.sheet("Summary")
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, 1, 18)
    sheet.set_column(2, 8, 24)
    book.write(sheet, 0, 0, document.title)
    sheet.write_string(0, 0, _fitting(document.title), book.title)
    row = 2
    for fact in document.facts:
        sheet.write_string(row, 0, fact.name, book.bold)
        book.write(sheet, row, 1, fact.value)
        row += 1
    for notice in document.notices:
        row += 1
        sheet.write_string(row, 0, _fitting(notice.text), book.bold)
        for line in notice.details:
            row += 1
            book.write(sheet, row, 0, line)
    row += 2
    if not document.findings:
        book.write(sheet, row, 0, document.no_findings)
        return
    heads = (
        "feature",
        "comparison",
        "verdict",
        "effect",
        "95 % CI",
        "n",
        "counts",
        "evidence",
        "decided",
        "reasons to doubt it",
    )
    for column, head in enumerate(heads):
        sheet.write_string(row, column, head, book.head)
    for finding in document.findings:
        row += 1
        cells = (
            *(finding.label, finding.comparison, finding.verdict, finding.headline, finding.interval),
            *(
                finding.n_pairs,
                finding.counted,
                finding.p,
                "; ".join(f"{f.name}: {f.value}" for f in finding.decided),
                "; ".join(finding.doubts),
            ),
        )
        for column, cell in enumerate(cells):
            book.write(sheet, row, column, cell)


def _contents(book: _Book, sheet: Any, rows: Sequence[_Line]) -> None:
    heads = (("sheet", 34), ("section", 34), ("what it holds", 100), ("used by", 40), ("numbers in", 50))
    for column, (head, width) in enumerate(heads):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, head, book.head)
    sheet.freeze_panes(1, 1)
    for row, line in enumerate(rows, start=1):
        if line.sheet:
            # Our own sheet names only: a link inside this file.
            sheet.write_url(row, 0, f"internal:'{line.sheet}'!A1", string=line.sheet)
        for column, text in enumerate(
            (line.section, line.holds, ", ".join(line.used), ", ".join(line.sources)), start=1
        ):
            book.write(sheet, row, column, text or None)
    sheet.autofilter(0, 0, len(rows), len(heads) - 1)


def _trace(book: _Book, sheet: Any, rows: Sequence[Traced], known: Collection[str]) -> None:
    """Write the cell behind each number of the front page, with a link to it."""
    heads = (("feature", 36), ("number", 34), ("as the front page has it", 60), ("sheet", 24), ("row", 8),
             ("column", 18), ("exact value", 18))  # fmt: skip
    for column, (head, width) in enumerate(heads):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, head, book.head)
    sheet.freeze_panes(1, 1)
    for place, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            book.write(sheet, place, column, value)
        if row.sheet in known:
            sheet.write_url(place, 3, f"internal:'{row.sheet}'!A{row.row}", string=row.sheet)
    if rows:
        sheet.autofilter(0, 0, len(rows), len(heads) - 1)


def _columns(book: _Book, frames: Mapping[str, pd.DataFrame]) -> None:
    """Write what the columns of the complete results mean, with units."""
    sheet = book.sheet("Columns")
    for column, (head, width) in enumerate((("column", 28), ("unit", 28), ("meaning", 100), ("in", 60))):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, head, book.head)
    sheet.freeze_panes(1, 1)
    row = 0
    for name, (unit, meaning) in MEANINGS.items():
        held = [key for key, frame in frames.items() if name in frame.columns]
        if held:
            row += 1
            for column, value in enumerate((name, unit, meaning, ", ".join(held))):
                book.write(sheet, row, column, value)


def _table(book: _Book, name: str, caption: str, table: Table) -> None:
    sheet = book.sheet(name)
    sheet.write_string(0, 0, _fitting(caption), book.bold)
    for column, head in enumerate(table.columns):
        sheet.write_string(2, column, head.label, book.head)
        texts = [head.label, *(head.write(row[column]) for row in table.rows[:_MEASURED_ROWS])]
        sheet.set_column(column, column, _width(texts))
    for row, values in enumerate(table.rows, start=3):
        for column, (value, head) in enumerate(zip(values, table.columns, strict=True)):
            book.write(sheet, row, column, value, kind=head.format)
    sheet.freeze_panes(3, 1)
    if table.rows:
        sheet.autofilter(2, 0, 2 + len(table.rows), len(table.columns) - 1)


def _texts(book: _Book, sections: Sequence[Section]) -> None:
    sheet = book.sheet("Text")
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 1, 120)
    for column, head in enumerate(("section", "paragraph")):
        sheet.write_string(0, column, head, book.head)
    sheet.freeze_panes(1, 0)
    row = 0
    for section in sections:
        for block in section.blocks:
            for paragraph in block.paragraphs if isinstance(block, Text) else ():
                row += 1
                book.write(sheet, row, 0, section.title)
                book.write(sheet, row, 1, paragraph)


def _complete(book: _Book, name: str, frame: pd.DataFrame, used: Sequence[str]) -> _Line:
    """Write a complete table; return its line of the contents."""
    flat = frame.reset_index() if frame.index.name else frame
    kept = shareable(flat)
    left = [str(c) for c in flat.columns if c not in kept.columns]
    told = f"Complete table, {len(kept):,} rows." + (f" Without {', '.join(left)}." if left else "")
    if len(kept) > MOST_ROWS:
        told = f"{name}: {len(kept):,} rows, too long for a sheet; see the results folder."
        return _Line("", "Complete results", told, used)
    sheet = book.sheet(name)
    for column, label in enumerate(kept.columns):
        values = [_cell(v) for v in kept[label].tolist()]
        sheet.write_string(0, column, str(label), book.head)
        sheet.set_column(column, column, _width([str(label), *(str(v) for v in values[:_MEASURED_ROWS])]))
        for row, value in enumerate(values, start=1):
            book.write(sheet, row, column, clean(value) if isinstance(value, str) else value)
    sheet.freeze_panes(1, 1)
    if len(kept):
        sheet.autofilter(0, 0, len(kept), len(kept.columns) - 1)
    return _Line(name, "Complete results", told, used)


def _cell(value: object) -> Cell:
    """Turn a value of a frame into what a cell can hold."""
    if isinstance(value, list | tuple | np.ndarray):
        return "; ".join(map(str, value))
    return None if value is pd.NaT else cell_of(value)


def _fitting(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - len(_CUT)] + _CUT


def _width(texts: Sequence[str]) -> float:
    longest = max((len(line) for text in texts for line in text.splitlines() or [""]), default=8)
    return float(min(_WIDEST, max(8, longest + 2)))
