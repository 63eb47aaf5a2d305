"""The four formats of the report: the same numbers, text that stays text, the same bytes."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import openpyxl
import pandas as pd
import pytest
from pptx import Presentation
from pypdf import PdfReader

from pdbiomarker.errors import InputError, ResourceError
from pdbiomarker.report import build, formats_of, pdf, report
from pdbiomarker.report.content import Column, Document, Section, Table, numbered, sheet_names
from pdbiomarker.report.deck import render_deck
from pdbiomarker.report.html import render_html
from pdbiomarker.report.workbook import render_workbook


@pytest.fixture(scope="module")
def result(fake: ModuleType) -> Any:
    return fake.make_result(genes=40, ids=fake.HOSTILE)


@pytest.fixture(scope="module")
def document(result: Any) -> Document:
    return build(result.study, result)


@pytest.fixture(scope="module")
def book(document: Document, result: Any) -> Any:
    data = render_workbook(document, {"pd_change": result.table, "changes": result.changes})
    return openpyxl.load_workbook(io.BytesIO(data))


@pytest.fixture(scope="module")
def deck(document: Document) -> Any:
    return Presentation(io.BytesIO(render_deck(document)))


@pytest.fixture(scope="module")
def every_table(document: Document) -> Any:
    """Slides of every table of the report, whatever the agenda of the meeting leaves out."""
    sections = tuple(
        dataclasses.replace(
            s, blocks=tuple(dataclasses.replace(b, level="main") for b in s.blocks if isinstance(b, Table))
        )
        for s in document.sections
    )
    return Presentation(io.BytesIO(render_deck(dataclasses.replace(document, sections=sections))))


def _tables(document: Document) -> Iterator[Table]:
    for section in document.sections:
        yield from (block for block in section.blocks if isinstance(block, Table))


def _grids(deck: Any) -> list[list[list[str]]]:
    found = []
    for slide in deck.slides:
        for shape in slide.shapes:
            if shape.has_table:
                found.append([[cell.text for cell in row.cells] for row in shape.table.rows])
    return found


def _words(deck: Any) -> str:
    return "\n".join(s.text_frame.text for slide in deck.slides for s in slide.shapes if s.has_text_frame)


def test_every_cell_of_the_workbook_is_the_value_of_the_report(document: Document, book: Any) -> None:
    names = sheet_names(document)
    compared = 0
    for table in _tables(document):
        sheet = book[names[table.key]]
        assert [c.value for c in sheet[3]][: len(table.columns)] == [c.label or None for c in table.columns]
        for row, values in enumerate(table.rows, start=4):
            for column, value in enumerate(values, start=1):
                got = sheet.cell(row, column).value
                if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
                    assert got in (None, "")
                elif isinstance(value, float):
                    assert got == pytest.approx(value, rel=1e-15)  # a workbook stores 16 digits
                else:
                    assert got == value
                compared += 1
    assert compared > 500


def test_the_slides_say_what_the_report_says_cell_by_cell(document: Document, every_table: Any) -> None:
    written: dict[tuple[str, ...], list[list[str]]] = {}
    for table in _tables(document):
        heads = tuple(c.label for c in table.columns)
        rows = [[c.write(v) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]
        written.setdefault(heads, []).extend(rows)
    compared = 0
    for grid in _grids(every_table):
        if grid[0][0] == "section":
            continue  # what is on no slide: names of sheets, no numbers
        heads = next(h for h in written if set(grid[0]) <= set(h))
        places = [heads.index(label) for label in grid[0]]
        expected = [[row[p] for p in places] for h, rows in written.items() if h == heads for row in rows]
        for texts in grid[1:]:
            assert texts in expected
            compared += len(texts)
    assert compared > 200


def test_a_long_table_names_the_sheet_that_has_the_rest() -> None:
    rows = tuple((f"G{i}", float(i)) for i in range(200))
    heads = (Column("gene", "id"), Column("x", "number"))
    table = Table("genes", "Genes by p.", heads, rows, level="main")
    document = Document("Review", (), (), (), "nothing", (Section("genes", "Genes", (table,)),))
    deck = Presentation(io.BytesIO(render_deck(document)))
    assert [len(g) - 1 for g in _grids(deck)] == [12]
    assert "The first 12 of 200 rows; all in review.xlsx, sheet 'T1 genes'." in _words(deck)


def test_findings_read_the_same_in_workbook_slides_and_page(document: Document, book: Any, deck: Any) -> None:
    summary = [c.value for row in book["Summary"] for c in row if c.value is not None]
    page, words = render_html(document), _words(deck)
    assert document.findings
    for finding in document.findings:
        for text in (finding.verdict, finding.headline, finding.interval, finding.n_pairs, finding.p):
            assert text in summary
            assert text in words
            assert text.replace("<", "&lt;") in page


def test_complete_results_keep_every_digit(book: Any, result: Any) -> None:
    sheet = book["pd_change"]
    heads = [c.value for c in sheet[1]]
    for row, expected in enumerate(result.table.to_dict("records"), start=2):
        for name in ("estimate", "se", "df", "p", "ci_low"):
            got = sheet.cell(row, heads.index(name) + 1).value
            assert got is None if pd.isna(expected[name]) else got == pytest.approx(expected[name], rel=1e-15)


def test_sheets_print_on_landscape_pages_with_their_headings(book: Any, document: Document) -> None:
    for sheet in book:
        assert sheet.page_setup.orientation == "landscape"
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert int(sheet.page_setup.fitToHeight) == 0
        assert "Page &P of &N" in sheet.oddFooter.right.text
    for name in sheet_names(document).values():
        assert book[name].print_title_rows == "$3:$3"
        assert book[name].freeze_panes == "B4"
        for cell in book[name][3]:
            widest = max(map(len, str(cell.value or "").replace("/", " ").split()), default=0)
            assert book[name].column_dimensions[cell.column_letter].width > widest


def test_cells_show_the_digits_of_the_page(document: Document, book: Any) -> None:
    """A number format with as many decimals as the page writes; the value keeps all of its own."""
    shown = 0
    for table in _tables(document):
        sheet = book[sheet_names(document)[table.key]]
        for place, row in enumerate(table.rows, start=4):
            for column, (head, value) in enumerate(zip(table.columns, row, strict=True), start=1):
                text = head.write(value)
                if isinstance(value, bool | str) or value is None or text[:1] in "–∞<>" or "e" in text:
                    continue
                pattern = sheet.cell(place, column).number_format
                assert pattern.partition(".")[2].count("0") == len(text.partition(".")[2])
                shown += 1
    assert shown > 200


def test_hostile_texts_are_texts(book: Any, every_table: Any, fake: ModuleType) -> None:
    kinds = {c.data_type for sheet in book for row in sheet.iter_rows() for c in row}
    assert "f" not in kinds
    links = [c.hyperlink.location for sheet in book for row in sheet.iter_rows() for c in row if c.hyperlink]
    assert links
    assert all(re.fullmatch(r"'[^']+'!A\d+", str(link)) for link in links)
    texts = {c.value for sheet in book for row in sheet.iter_rows() for c in row if isinstance(c.value, str)}
    assert set(fake.HOSTILE) <= texts
    shown = {text for grid in _grids(every_table) for row in grid for text in row}
    assert {i for i in fake.HOSTILE if i.startswith(("=", "<"))} & {t.removesuffix("-1") for t in shown}


def test_trap_33_no_clock_and_no_path_in_any_format(document: Document, result: Any, tmp_path: Path) -> None:
    for make in (
        lambda: render_workbook(document, {"pd_change": result.table}),
        lambda: render_deck(document),
    ):
        first, second = make(), make()
        assert first == second
        with zipfile.ZipFile(io.BytesIO(first)) as parts:
            assert {p.date_time for p in parts.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            every = b"".join(parts.read(n) for n in parts.namelist())
        years = {m.group() for m in re.finditer(rb"20[0-9]{2}-[0-9]{2}-[0-9]{2}T", every)}
        assert years <= {b"2000-01-01T"}
        assert str(Path.home()).encode() not in every.replace(b"/rootfiles", b"")


def test_empty_parts_read_sensibly_in_every_format(fake: ModuleType) -> None:
    made = fake.make_result(genes=3)
    bare = fake.dataclasses.replace(
        made, table=made.table.iloc[:0], changes=made.changes.iloc[:0], qc={}, provenance={},
        accountability=made.accountability.iloc[:0], biopsies=made.biopsies.iloc[:0],
    )  # fmt: skip
    document = build(bare.study, bare)
    words = _words(Presentation(io.BytesIO(render_deck(document))))
    book = openpyxl.load_workbook(io.BytesIO(render_workbook(document, {"pd_change": bare.table})))
    texts = "\n".join(str(c.value) for sheet in book for row in sheet.iter_rows() for c in row)
    for told in ("names no primary family", "No biopsy was analysed", "Nothing was quarantined"):
        assert told in words
        assert told in texts


def test_numbers_of_tables_and_sheets_agree(document: Document) -> None:
    numbers, names = numbered(document), sheet_names(document)
    assert {key for key, number in numbers.items() if number.startswith("Table")} == set(names)
    assert len(set(names.values())) == len(names)
    assert all(len(name) <= 31 for name in names.values())


def test_unknown_formats_are_all_named(result: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        formats_of(["docx", "html", "odt"])
    assert [p.value for p in caught.value.problems] == ["docx", "odt"]
    with pytest.raises(InputError, match="E-RUN-008"):
        report(result.study, result, tmp_path / "review.doc")
    assert formats_of(["xlsx", "html", "xlsx"]) == ["html", "xlsx"]


def test_without_a_browser_the_pdf_is_refused_with_a_remedy(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "browser", lambda: None)
    with pytest.raises(ResourceError, match=r"E-RUN-007.*Install|E-RUN-007.*install Chromium"):
        pdf.render_pdf(render_html(document))


def test_a_browser_that_fails_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in that speaks as Chromium does: heads of its log, colours, folders, the same thing twice."""
    program = tmp_path / "browser"
    said = (
        "[1:1:1127/021614.123456:ERROR:dbus/bus.cc(408)] Failed to connect.",
        "[1:1:1127/021614.223456:ERROR:zygote_host_impl_linux.cc(90)] Running as root without --no-sandbox.",
        "\x1b[31mNo space left in /home/somebody/profile/cache\x1b[0m",
        "\x1b[31mNo space left in /home/somebody/profile/cache\x1b[0m",
    )
    lines = "".join(f"printf '%s\\n' '{one}' >&2\n" for one in said)
    program.write_text(f"#!/bin/sh\n{lines}exit 21\n", encoding="utf-8", newline="\n")
    program.chmod(0o755)
    monkeypatch.setattr(pdf, "browser", lambda: str(program))
    with pytest.raises(ResourceError, match="E-RUN-007") as caught:
        pdf.render_pdf("<html></html>")
    told = str(caught.value)
    assert (
        "did not print (exit 21); its last words: Failed to connect | Running as root without --no-sandbox | "
        "No space left in cache. Remedy:"
    ) in told
    assert "somebody" not in told
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8", newline="\n")
    with pytest.raises(ResourceError, match=r"\(exit 1\), and said nothing\. Remedy:"):
        pdf.render_pdf("<html></html>")


@pytest.mark.browser
def test_the_pdf_holds_every_finding_and_no_clock(document: Document) -> None:
    if pdf.browser() is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")
    page = render_html(document)
    data = pdf.render_pdf(page)
    assert data == pdf.render_pdf(page)
    read = PdfReader(io.BytesIO(data))
    text = " ".join(" ".join(p.extract_text() for p in read.pages).split())
    for finding in document.findings:
        assert finding.headline in text
        assert finding.interval in text
    assert str(read.metadata["/CreationDate"]).startswith("D:20000101") if read.metadata else False
    assert len(read.pages) >= 5
    # The heat map of 40 features, taller than a page as drawn, stands whole between heading and caption.
    (whole,) = [
        p.extract_text() for p in read.pages if "Every participant, every feature" in p.extract_text()
    ]
    assert "Figure 5." in whole
