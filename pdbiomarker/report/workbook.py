"""The workbook writer: every table of the report as a sheet of typed cells, and the complete results.

Text is always written as text, so that no cell of the study becomes a formula or a link. Numbers keep all
their digits; only their display is short.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from pdbiomarker.report.blocks import cell_of
from pdbiomarker.report.content import (
    Cell,
    Document,
    Figure,
    Section,
    Table,
    Text,
    numbered,
    sheet_names,
)
from pdbiomarker.report.meanings import MEANINGS
from pdbiomarker.report.privacy import clean, shareable
from pdbiomarker.report.sheets import Book, Head, fit, fitting, shown
from pdbiomarker.report.trace import Traced, complete_names, trace_rows, used_by

__all__ = ["MOST_ROWS", "render_workbook"]

#: Complete tables longer than this stay in the results folder; the contents say so.
MOST_ROWS: Final = 100_000
#: Columns of the findings on the first sheet, with widths in characters.
_SUMMARY: Final = (
    *(("feature", 24), ("comparison", 18), ("verdict", 14), ("effect", 12), ("95 % CI", 14), ("n", 6)),
    *(("counts", 12), ("evidence", 16), ("decided", 50), ("reasons to doubt it", 50)),
)
#: Rows that the width of a column is taken from.
_MEASURED_ROWS: Final = 200


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
    simulated = any(notice.tone == "simulated" for notice in document.notices)
    book = Book(document.title, "SIMULATED DATA" if simulated else "")
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


def _summary(book: Book, document: Document) -> None:
    sheet = book.sheet("Summary")
    sheet.write_string(0, 0, fitting(document.title), book.title)
    row = 2
    for fact in document.facts:
        sheet.write_string(row, 0, fitting(fact.name), book.bold)
        sheet.write_string(row, 1, fitting(fact.value), book.text)
        row += 1
    for notice in document.notices:
        row += 1
        sheet.write_string(row, 0, fitting(notice.text), book.bold)
        for line in notice.details:
            row += 1
            sheet.write_string(row, 0, fitting(line), book.text)
    row += 2
    for column, (head, width) in enumerate(_SUMMARY):
        sheet.set_column(column, column, width)
        if document.findings:
            sheet.write_string(row, column, head, book.head)
    if not document.findings:
        sheet.write_string(row, 0, fitting(document.no_findings), book.text)
    for finding in document.findings:
        row += 1
        cells = (
            *(finding.label, finding.comparison, finding.verdict, finding.headline, finding.interval),
            *(finding.n_pairs, finding.counted, finding.p),
            *("\n".join(f"{f.name}: {f.value}" for f in finding.decided), "\n".join(finding.doubts)),
        )
        for column, (cell, (head, width)) in enumerate(zip(cells, _SUMMARY, strict=True)):
            book.put(sheet, row, column, cell, width=width, look=book.large if head == "effect" else None)


def _contents(book: Book, sheet: Any, rows: Sequence[_Line]) -> None:
    heads = (("sheet", 34), ("section", 34), ("what it holds", 90), ("used by", 34), ("numbers in", 34))
    book.lay(sheet, [Head(label, width) for label, width in heads], rows=len(rows))
    for row, line in enumerate(rows, start=1):
        if line.sheet:
            # Our own sheet names only: a link inside this file.
            sheet.write_url(row, 0, f"internal:'{line.sheet}'!A1", book.link, string=line.sheet)
        told = (line.section, line.holds, ", ".join(line.used), ", ".join(line.sources))
        for column, text in enumerate(told, start=1):
            book.write(sheet, row, column, text or None, width=heads[column][1])


def _trace(book: Book, sheet: Any, rows: Sequence[Traced], known: Collection[str]) -> None:
    """Write the cell behind each number of the front page, with a link to it."""
    heads = (("feature", 36), ("number", 34), ("as the front page has it", 60), ("sheet", 24), ("row", 8),
             ("column", 18), ("exact value", 18))  # fmt: skip
    book.lay(sheet, [Head(label, width) for label, width in heads], rows=len(rows))
    for place, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            book.write(sheet, place, column, value, width=heads[column][1])
        if row.sheet in known:
            sheet.write_url(place, 3, f"internal:'{row.sheet}'!A{row.row}", book.link, string=row.sheet)


def _columns(book: Book, frames: Mapping[str, pd.DataFrame]) -> None:
    """Write what the columns of the complete results mean, with units."""
    sheet = book.sheet("Columns")
    heads = (("column", 28), ("unit", 28), ("meaning", 90), ("in", 60))
    book.lay(sheet, [Head(label, width) for label, width in heads])
    row = 0
    for name, (unit, meaning) in MEANINGS.items():
        held = [key for key, frame in frames.items() if name in frame.columns]
        if held:
            row += 1
            for column, value in enumerate((name, unit, meaning, ", ".join(held))):
                book.write(sheet, row, column, value, width=heads[column][1])


def _table(book: Book, name: str, caption: str, table: Table) -> None:
    sheet = book.sheet(name)
    heads = fit(
        [
            (head.label, [head.write(row[column]) for row in table.rows[:_MEASURED_ROWS]], head.numeric)
            for column, head in enumerate(table.columns)
        ]
    )
    book.name(sheet, caption, heads)
    book.lay(sheet, heads, at=2, rows=len(table.rows))
    for row, values in enumerate(table.rows, start=3):
        for column, (value, head) in enumerate(zip(values, table.columns, strict=True)):
            book.write(sheet, row, column, value, kind=head.format, width=heads[column].width)


def _texts(book: Book, sections: Sequence[Section]) -> None:
    sheet = book.sheet("Text")
    book.lay(sheet, [Head("section", 34), Head("paragraph", 120)])
    row = 0
    for section in sections:
        for block in section.blocks:
            for paragraph in block.paragraphs if isinstance(block, Text) else ():
                row += 1
                book.write(sheet, row, 0, section.title, width=34)
                book.write(sheet, row, 1, paragraph, width=120)


def _complete(book: Book, name: str, frame: pd.DataFrame, used: Sequence[str]) -> _Line:
    """Write a complete table; return its line of the contents."""
    flat = frame.reset_index() if frame.index.name else frame
    kept = shareable(flat)
    left = [str(c) for c in flat.columns if c not in kept.columns]
    told = f"Complete table, {len(kept):,} rows." + (f" Without {', '.join(left)}." if left else "")
    if len(kept) > MOST_ROWS:
        told = f"{name}: {len(kept):,} rows, too long for a sheet; see the results folder."
        return _Line("", "Complete results", told, used)
    sheet = book.sheet(name)
    columns = [[_cell(v) for v in kept[label].tolist()] for label in kept.columns]
    heads = fit(
        [
            (str(label), [shown(v) for v in values[:_MEASURED_ROWS]], _numeric(values))
            for label, values in zip(kept.columns, columns, strict=True)
        ]
    )
    for column, (values, head) in enumerate(zip(columns, heads, strict=True)):
        for row, value in enumerate(values, start=1):
            text = clean(value) if isinstance(value, str) else value
            book.write(sheet, row, column, text, width=head.width)
    book.lay(sheet, heads, rows=len(kept))
    return _Line(name, "Complete results", told, used)


def _numeric(values: Sequence[Cell]) -> bool:
    return any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _cell(value: object) -> Cell:
    """Turn a value of a frame into what a cell can hold."""
    if isinstance(value, list | tuple | np.ndarray):
        return "; ".join(map(str, value))
    return None if value is pd.NaT else cell_of(value)
