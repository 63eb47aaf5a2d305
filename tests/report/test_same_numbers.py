"""Page, slides, workbook and PDF of a trial, a whole run and a published cohort, compared cell by cell.

Each file is read back from its bytes; the texts of the page are compared with the values of the workbook, the
cells of the slides and the words of the PDF. Figures, which hold no cell, are drawn as one small picture.
The whole run measured slides; what it left in its folder is read back, and stands beside them.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lxml.html
import numpy as np
import openpyxl
import pandas as pd
import pytest
from pptx import Presentation
from pypdf import PdfReader

import pdbiomarker as pb
from pdbiomarker.decide import Review
from pdbiomarker.report import build, complete_results, pdf
from pdbiomarker.report.blocks import drawn
from pdbiomarker.report.content import Column, Document, Figure, Table, Thumbnails, sheet_names
from pdbiomarker.report.deck import render_deck
from pdbiomarker.report.html import render_html
from pdbiomarker.report.workbook import render_workbook
from pdbiomarker.run import RunOutcome
from pdbiomarker.run.decisions import read_review
from pdbiomarker.run.results import read_result
from pdbiomarker.simulate.clinical import draw_clinical
from pdbiomarker.simulate.design import TrialDesign
from pdbiomarker.simulate.trial import draw_trial
from pdbiomarker.tables import write_table

Grid = list[list[str]]


class Least(NamedTuple):
    """How much of a case is compared at least: what it has now, less a twentieth."""

    cells: int  #: of the page, those of the installed software left out
    on_slides: int  #: cells of the slides
    rows: int  #: of the page's tables in the PDF, those of the installed software left out


LEAST = {
    "of_trial": Least(2_370, 200, 299),
    "of_run": Least(2_210, 199, 311),
    "of_riaz": Least(2_820, 85, 414),
}
#: Blocks that only a study with a clinic has.
OF_A_CLINIC = {
    "swimmer",
    "km-pfs",
    "km-os",
    "concentration-igm-7354",
    "efficacy-rates",
    "efficacy-times",
    "pk-parameters",
}


@dataclasses.dataclass
class Files:
    """What the writers left, read back."""

    document: Document
    html: str
    tables: dict[str, Grid]
    rules: list[Grid]
    deck: Any
    book: Any


def _cells(table: Any) -> Grid:
    rows = table.xpath(".//tr")
    return [["".join(c.itertext()) for c in row.xpath("./th|./td")] for row in rows]


def _without_figures(document: Document) -> Document:
    small = drawn(2.0, 1.0, lambda ax: ax.set_title("A figure"))
    sections = tuple(
        dataclasses.replace(
            section,
            blocks=tuple(
                dataclasses.replace(b, draw=small, projected=None) if isinstance(b, Figure) else b
                for b in section.blocks
            ),
        )
        for section in document.sections
    )
    return dataclasses.replace(document, sections=sections)


def _files(result: pb.PDResult, review: Review) -> Files:
    document = _without_figures(build(result.study, result, review))
    html = render_html(document)
    page = lxml.html.document_fromstring(html.encode("utf-8"), parser=lxml.html.HTMLParser(encoding="utf-8"))
    tables = {str(t.get("id"))[2:]: _cells(t) for t in page.xpath("//table[contains(@class, 'data')]")}
    rules = [_cells(t) for t in page.xpath("//table[@class='rules']")]
    deck = Presentation(io.BytesIO(render_deck(document)))
    book = openpyxl.load_workbook(io.BytesIO(render_workbook(document, complete_results(result, review))))
    return Files(document, html, tables, rules, deck, book)


@pytest.fixture(scope="module")
def of_trial(trial: pb.PDResult, trial_review: Review) -> Files:
    return _files(trial, trial_review)


@pytest.fixture(scope="module")
def of_riaz(riaz: pb.PDResult, riaz_review: Review) -> Files:
    return _files(riaz, riaz_review)


@pytest.fixture(scope="module")
def of_run(sound_run: RunOutcome, sound_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """From the folder of a run with slides, as ``pdbiomarker report`` reads it, and a simulated clinic.

    The clinical tables are made of the study with sheets for its four participants: the run itself has none.
    """
    review = read_review(sound_run.out)
    assert review is not None
    study = tmp_path_factory.mktemp("clinic") / "study"
    shutil.copytree(sound_study, study)
    for_trial, for_clinic = np.random.SeedSequence(3).spawn(2)
    people = draw_trial(TrialDesign(), 4, for_trial).participants
    own = pd.read_csv(study / "participants.csv", dtype=str)
    people = people.assign(participant_id=own["participant_id"].to_numpy())
    write_table(own.assign(first_dose_datetime=people["first_dose_datetime"]), study / "participants.csv")
    (study / "clinical").mkdir()
    for name, sheet in draw_clinical(people, for_clinic).sheets.items():
        write_table(sheet, study / "clinical" / f"{name}.csv")
    clinic = pb.clinical_tables(pb.read_study(study))
    return _files(pb.with_clinical(read_result(sound_run.out), clinic), review)


ALL = pytest.mark.parametrize("name", ["of_trial", "of_run", pytest.param("of_riaz", marks=pytest.mark.data)])


def _tables(document: Document) -> Iterator[Table]:
    for section in document.sections:
        yield from (block for block in section.blocks if isinstance(block, Table))


def _written(column: Column, value: Any) -> set[str]:
    """What the report may write of a value of a spreadsheet, which knows no empty text and no 20.0."""
    if value is None and not column.numeric:
        return {""}
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {column.write(value), *([column.write(float(value))] if whole else [])}


@ALL
def test_every_cell_of_the_page_is_the_value_of_the_workbook(
    name: str, request: pytest.FixtureRequest
) -> None:
    files: Files = request.getfixturevalue(name)
    names = sheet_names(files.document)
    columns = {t.key: t.columns for t in _tables(files.document)}
    assert set(files.tables) == set(columns)
    compared = 0
    for key, (head, *rows) in files.tables.items():
        sheet = files.book[names[key]]
        assert [c.value or "" for c in sheet[3]][: len(head)] == head
        assert sheet.max_row == 3 + len(rows)
        for place, row in enumerate(rows, start=4):
            values = [c.value for c in sheet[place]][: len(head)]
            for column, value, text in zip(columns[key], values, row, strict=True):
                assert text in _written(column, value), (key, place, column.label)
            compared += len(row) if key != "versions" else 0
    assert compared > LEAST[name].cells


@pytest.mark.parametrize("name", ["of_trial", "of_run"])
def test_a_case_with_a_clinic_has_its_figures_and_tables(name: str, request: pytest.FixtureRequest) -> None:
    files: Files = request.getfixturevalue(name)
    keys = {getattr(b, "key", "") for section in files.document.sections for b in section.blocks}
    assert keys >= OF_A_CLINIC
    assert {"clinical_swimmer", "clinical_km_pfs", "clinical_exposure"} <= set(files.book.sheetnames)


@ALL
def test_every_cell_of_the_slides_is_that_of_the_page(name: str, request: pytest.FixtureRequest) -> None:
    files: Files = request.getfixturevalue(name)
    keys = {sheet: key for key, sheet in sheet_names(files.document).items()}
    compared, rules = 0, iter(files.rules)
    for slide in files.deck.slides:
        grids = [s.table for s in slide.shapes if s.has_table]
        for grid in grids:
            head, *rows = [[cell.text for cell in row.cells] for row in grid.rows]
            found = re.search(
                r"Complete: review\.xlsx, sheet '([^']+)'", slide.notes_slide.notes_text_frame.text
            )
            if found is not None:  # a table of the report: the page's first rows, columns by their headings
                whole = files.tables[keys[found[1]]]
                places = [whole[0].index(label) for label in head]
                assert rows == [[row[p] for p in places] for row in whole[1 : len(rows) + 1]], found[1]
                compared += sum(map(len, rows))
            elif head[0] == "verdict":  # the rules of a finding
                told = [[row[0], row[3], row[4]] for row in next(rules)[1 : len(rows) + 1]]
                assert [[row[0], row[3], row[4]] for row in rows] == told
                compared += 3 * len(rows)
    assert compared > LEAST[name].on_slides


@ALL
def test_the_front_page_reads_the_same_everywhere(name: str, request: pytest.FixtureRequest) -> None:
    files: Files = request.getfixturevalue(name)
    page = " ".join(lxml.html.document_fromstring(files.html).text_content().split())
    summary = " ".join(str(c.value) for row in files.book["Summary"] for c in row if c.value is not None)
    slides = [
        "\n".join([*(s.text_frame.text for s in slide.shapes if s.has_text_frame),
                   slide.notes_slide.notes_text_frame.text])
        for slide in files.deck.slides
    ]  # fmt: skip
    assert files.document.findings
    for place, finding in enumerate(files.document.findings, start=1):
        assert finding.rules
        for text in (finding.verdict, finding.headline, finding.interval, finding.p, finding.doubts[0]):
            assert text in slides[place]
            assert text in summary
            assert " ".join(text.split()) in page
        assert finding.sentence in slides[place]
        for fact in finding.decided:
            assert f"{fact.name}: {fact.value}" in summary
            if fact.name != "decision":  # there it is a table
                assert f"{fact.name}: {fact.value}" in slides[place]
                assert " ".join(fact.value.split()) in page


def _squeezed(text: str) -> str:
    """Letters and figures alone: neither where a line ends nor how a ligature is kept matters."""
    return re.sub(r"[\s\u00ad\u200b]+", "", unicodedata.normalize("NFKC", text))


@pytest.mark.browser
@ALL
def test_every_row_of_the_page_stands_in_the_pdf(name: str, request: pytest.FixtureRequest) -> None:
    if pdf.browser() is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")
    files: Files = request.getfixturevalue(name)
    read = PdfReader(io.BytesIO(pdf.render_pdf(files.html)))
    text = _squeezed("".join(page.extract_text() for page in read.pages))
    rows = [(key, "".join(row)) for key, grid in files.tables.items() for row in grid[1:]]
    assert sum(key != "versions" for key, _ in rows) > LEAST[name].rows
    assert [(key, row) for key, row in rows if _squeezed(row) not in text] == []


def test_sheets_of_complete_results_are_the_files_of_the_folder(of_run: Files, sound_run: RunOutcome) -> None:
    compared, slides = 0, 0
    for path in sorted((sound_run.out / "results").glob("*.csv")):
        if path.stem not in of_run.book.sheetnames:
            continue
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        sheet = of_run.book[path.stem]
        heads = [c.value for c in sheet[1]]
        assert set(heads) <= set(frame.columns), path.stem
        assert sheet.max_row == 1 + len(frame), path.stem
        for row, told in zip(
            sheet.iter_rows(min_row=2, values_only=True), frame.to_dict("records"), strict=True
        ):
            for head, value in zip(heads, row, strict=True):
                assert _same(value, told[head]), (path.stem, head, value, told[head])
                compared += 1
        slides += len(frame) if path.stem == "qc_slides" else 0
    assert compared > 29_000
    assert slides == 4


def _same(value: object, text: str) -> bool:
    """Whether a cell holds what a file says; each writes numbers and what is missing in its own way."""
    if value is None:
        return text in {"", "nan"}
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int | float):
        return float(value) == pytest.approx(float(text), rel=1e-14, nan_ok=False)
    return " ".join(str(value).split()) == " ".join(text.split()) or "[date]" in str(value)


def test_slides_are_told_alike_on_the_page_and_in_the_deck(of_run: Files) -> None:
    """Visit, slide and score stand over each picture: 4 slides of 2 participants."""
    album = next(b for s in of_run.document.sections for b in s.blocks if isinstance(b, Thumbnails))
    page = " ".join(lxml.html.document_fromstring(of_run.html).text_content().split())
    told = [title for row in album.rows for title, *_ in row.images if "no slide" not in title]
    assert len(told) == 4
    shown = {s.text_frame.text for slide in of_run.deck.slides for s in slide.shapes if s.has_text_frame}
    pictured = [title for row in album.rows if row.message for title, *_ in row.images]
    assert pictured
    assert set(pictured) <= shown
    assert all(" ".join(title.split()) in page for title in told)
