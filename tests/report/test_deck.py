"""The slides of a meeting: messages with numbers, an appendix, what is left out; the trace of numbers."""

from __future__ import annotations

import dataclasses
import io
import itertools
import os
import re
import zipfile
from types import ModuleType, SimpleNamespace
from typing import Any

import openpyxl
import pandas as pd
import pytest
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.util import Emu
from pypdf import PdfReader

from pdbiomarker.plot.numbers import format_interval, format_number
from pdbiomarker.plot.style import figure
from pdbiomarker.report import build, complete_results, pdf
from pdbiomarker.report.checklist import TO_FILL, checklist_section
from pdbiomarker.report.content import (
    Column,
    Document,
    Fact,
    Figure,
    RuleLine,
    Table,
    Text,
    numbered,
    sheet_names,
)
from pdbiomarker.report.deck import render_deck
from pdbiomarker.report.deck_layout import Layout, lines_of, text_height, titled_once, write_cell
from pdbiomarker.report.html import render_html
from pdbiomarker.report.messages import effect_in_words
from pdbiomarker.report.methods import methods_text
from pdbiomarker.report.reconcile import both_true
from pdbiomarker.report.trace import trace_rows
from pdbiomarker.report.workbook import render_workbook
from pdbiomarker.study import Declared

#: Names that are commands, markup, paths, long, or written from the right.
EVIL = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "../../x",
    "quo\"te's & <b>",
    "🧬 emoji",
    "L" * 200,
    "\u202eنمونه‌۱",
    "@SUM(1+1)*cmd",
)


@pytest.fixture(scope="module")
def result(fake: ModuleType) -> Any:
    made = fake.make_result(genes=20, ids=EVIL)
    table = made.table.copy()
    mine = table["family"] == "primary"
    table["label"] = table["label"].astype(object).where(~mine, "<img src=x onerror=alert(1)> =1+1 density")
    return dataclasses.replace(made, table=table)


@pytest.fixture(scope="module")
def document(result: Any) -> Document:
    return build(result.study, result)


@pytest.fixture(scope="module")
def deck(document: Document) -> Any:
    return Presentation(io.BytesIO(render_deck(document)))


@pytest.fixture(scope="module")
def book(document: Document, result: Any) -> bytes:
    return render_workbook(document, complete_results(result))


def _title(slide: Any) -> str:
    return slide.shapes.title.text_frame.text if slide.shapes.title is not None else ""


def _words(slide: Any) -> str:
    return "\n".join(s.text_frame.text for s in slide.shapes if s.has_text_frame)


def _row(result: Any) -> pd.Series:
    table = result.table
    return table[(table["family"] == "primary") & (table["set"] == "strict")].iloc[0]


def test_titles_hold_the_numbers_of_the_result(result: Any, deck: Any) -> None:
    row, titles = _row(result), [_title(s) for s in deck.slides]
    size = f"× {format_number(row['effect'])}"
    interval = format_interval(row["effect_low"], row["effect_high"])
    (answer,) = [s for s in deck.slides if "The answer" in _words(s)]
    assert size in _title(answer)
    paired = [t for t in titles if f"{size} (95 % CI {interval})" in t]
    assert paired
    assert paired[0].startswith(str(row["label"]))
    assert paired[0].endswith(f"in {int(row['n_pairs'])} pairs")
    genes = result.table[(result.table["kind"] == "count") & (result.table["set"] == "strict")]
    tested = genes[genes["q"].notna()]
    up = int(((tested["q"] < 0.05) & (tested["estimate"] > 0)).sum())
    assert any(t.startswith(f"{up} of {len(tested)} tested genes rise") for t in titles)


def test_no_direction_is_claimed_without_a_test_that_shows_it(result: Any) -> None:
    row = _row(result).copy()
    row["label"] = "CD8"
    row["q"], row["effect"] = 0.2, 1.4
    assert effect_in_words(row).startswith("No change of CD8 is shown: × 1.40")
    row["q"] = 0.01
    assert effect_in_words(row).startswith("CD8 rose, × 1.40")
    row["effect"] = 0.5
    assert effect_in_words(row).startswith("CD8 fell, × 0.500")
    row["status"], row["note"] = "too_few", "1 pair"
    assert effect_in_words(row) == "CD8 cannot be judged: 1 pair"


def test_the_deck_is_short_and_its_appendix_stands_apart(document: Document, deck: Any) -> None:
    slides = list(deck.slides)
    assert len(slides) <= 30
    divider = [i for i, s in enumerate(slides) if "\nAppendix\nQuestion" in _words(s)]
    assert len(divider) == 1
    kickers = [_words(s) for s in slides]
    assert all("Appendix" not in k for k in kickers[: divider[0]])
    assert all("Appendix" in k for k in kickers[divider[0] :])
    assert all("Appendix" not in _title(s) for s in slides)
    footers = [s.text_frame.text for i, slide in enumerate(slides, 1) for s in slide.shapes
               if s.has_text_frame and s.text_frame.text.endswith(f"·   {i}")]  # fmt: skip
    assert len(footers) == len(slides)
    assert all("data cut-off 2025-06-30" in f and "SIM-101" in f for f in footers)
    assert all(slide.has_notes_slide and slide.notes_slide.notes_text_frame.text for slide in slides)


def test_every_block_is_on_a_slide_or_named_as_left_out(document: Document, deck: Any) -> None:
    numbers, sheets = numbered(document), sheet_names(document)
    grids = [
        [c.text for r in s.table.rows for c in r.cells]
        for slide in deck.slides
        for s in slide.shapes
        if s.has_table
    ]
    told = " ".join(" ".join(g) for g in grids if g[0] == "section")
    notes = " ".join(s.notes_slide.notes_text_frame.text for s in deck.slides)
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                assert sheets[block.key] in told or f"{numbers[block.key]}." in notes
            elif isinstance(block, Figure):
                number = numbers[block.key].removeprefix("Figure ")
                assert re.search(rf"\b{number}\b", told) or f"{numbers[block.key]}." in notes


def test_pictures_have_words(deck: Any) -> None:
    pictures = [s for slide in deck.slides for s in slide.shapes if s.shape_type == 13]
    assert pictures
    assert all(p._element.nvPicPr.cNvPr.get("descr") for p in pictures)


def test_the_trace_leads_to_the_cell_of_every_number(document: Document, result: Any, book: bytes) -> None:
    frames = complete_results(result)
    rows = trace_rows(document, frames)
    read = openpyxl.load_workbook(io.BytesIO(book))
    assert {r.what for r in rows} >= {"effect", "95 % CI, low", "95 % CI, high", "evaluable pairs", "p"}
    for row in rows:
        sheet = read[row.sheet]
        heads = [c.value for c in sheet[1]]
        assert sheet.cell(row.row, heads.index(row.column) + 1).value == pytest.approx(row.value, rel=1e-15)
    (effect,) = [r for r in rows if r.what == "effect"]
    assert effect.shown == f"× {format_number(float(effect.value))}"  # type: ignore[arg-type]
    own = _row(result)
    assert effect.value == own["effect"]
    trace = list(read["Trace"].iter_rows(min_row=2, values_only=True))
    assert len(trace) == len(rows)


def test_the_contents_name_every_sheet_and_what_rests_on_it(book: bytes) -> None:
    read = openpyxl.load_workbook(io.BytesIO(book))
    lines = list(read["Contents"].iter_rows(min_row=2, values_only=True))
    assert {line[0] for line in lines if line[0]} == set(read.sheetnames) - {"Summary", "Contents"}
    used = {line[0]: line[3] for line in lines if line[3]}
    assert "front page" in str(used["pd_change"])
    assert all(sheet.freeze_panes for sheet in read if sheet.title != "Summary")


@pytest.mark.parametrize("format_", ["pptx", "xlsx"])
def test_hostile_names_are_text_in_the_files(format_: str, document: Document, book: bytes) -> None:
    data = render_deck(document) if format_ == "pptx" else book
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        texts = {n: parts.read(n).decode("utf-8") for n in parts.namelist() if n.endswith((".xml", ".rels"))}
    every = "\n".join(texts.values())
    assert "<script" not in every
    assert "<img" not in every
    assert "<f>" not in every  # no formula
    assert not [
        t for n, t in texts.items() if n.endswith(".rels") and re.search(r"cmd|\.\./\.\./\.\./x|calc", t)
    ]
    assert "&lt;img src=x onerror" in every
    if format_ == "xlsx":
        for name in EVIL:
            escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            assert escaped in every
    assert not [n for n in texts if ".." in n]


def test_hostile_names_are_text_on_the_page(document: Document) -> None:
    page = render_html(document)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_style_of_pages_escapes_what_it_is_given() -> None:
    styled = pdf._for_paper("<head></head>", 'x"; } </style><script>alert(1)</script>', "M")
    assert "<script" not in styled
    assert styled.count("</style>") == 1
    assert '"M"' in styled


@pytest.mark.browser
def test_the_pdf_numbers_its_pages_and_has_bookmarks(document: Document) -> None:
    if pdf.browser() is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")
    read = PdfReader(io.BytesIO(pdf.render_pdf(render_html(document), running="SIM-101 · cut")))
    pages = [" ".join(p.extract_text().split()) for p in read.pages]
    assert all(f"Page {i} of {len(pages)}" in text for i, text in enumerate(pages, start=1))
    assert all("SIM-101 · cut" in text for text in pages)
    text = " ".join(pages)
    for finding in document.findings:
        for shown in (finding.headline, finding.interval, finding.p):
            assert shown in text
    titles = [o.title for o in _flat(read.outline)]
    assert all(any(s.title in t for t in titles) for s in document.sections)
    assert "/JavaScript" not in str(read.trailer["/Root"])


def _flat(outline: list[Any]) -> list[Any]:
    return [o for x in outline for o in (_flat(x) if isinstance(x, list) else [x])]


def test_listings_hold_every_participant_biopsy_and_missing_pair(document: Document, result: Any) -> None:
    tables = {b.key: b for s in document.sections for b in s.blocks if isinstance(b, Table)}
    people = {row[0] for row in tables["listing-participants"].rows}
    assert people == set(result.study.participants.index)
    assert len(tables["listing-biopsies"].rows) == len(result.study.biopsies)
    missing = result.pairs[~result.pairs["evaluable"].astype(bool)]["participant_id"]
    listed = tables["listing-exclusions"]
    assert {row[0] for row in listed.rows} == set(missing)
    why = [c.label for c in listed.columns].index("why")
    assert all(row[why] for row in listed.rows)
    assert all(t.collapsed for key, t in tables.items() if key.startswith("listing-"))
    text = str([t.rows for key, t in tables.items() if key.startswith("listing-")])
    assert not re.search(r"20\d\d-\d\d-\d\d", text)
    dose = [c.label for c in tables["listing-participants"].columns].index("dose (mg)")
    assert {row[dose] for row in tables["listing-participants"].rows} == {"10", "30", "100"}


def test_methods_name_only_what_was_used(result: Any) -> None:
    text = " ".join(methods_text(result))
    assert "Kenward MG, Roger JH" in text
    for unused in ("RECIST", "sigma", "Decision rules", "Pharmacokinetics", "antibodies", "Jonckheere"):
        assert unused not in text
    linked = " ".join(methods_text(result, links={"response"}))
    assert "Jonckheere AR" in linked


def test_items_without_an_answer_are_for_a_person(result: Any) -> None:
    slides = pd.DataFrame(
        {"clone": ["SP57", "SP57", "SP57"], "scanner": ["A", "B", "B"], "lot": ["", "", ""]},
        index=pd.Index(["S1", "S2", "S3"], name="slide_id"),
    )
    spec = SimpleNamespace(**vars(result.study.spec), declared=Declared())
    study = SimpleNamespace(**{**vars(result.study), "slides": slides, "spec": spec, "lock": None})
    section = checklist_section(dataclasses.replace(result, study=study))
    assert section is not None
    assert "our own" in section.title
    (table,) = [b for b in section.blocks if isinstance(b, Table)]
    told = {str(row[1]): (row[2], row[3]) for row in table.rows}
    assert told["clone and supplier"] == ("SP57 (3)", "the files")
    assert told["scanner and magnification"] == ("A (1), B (2)", "the files")
    assert told["lot"] == (TO_FILL, "a person")
    assert told["review by a pathologist, and what was changed"] == (TO_FILL, "a person")
    assert "it is not that checklist" in table.caption
    assert checklist_section(result) is None  # no slide, no panel: nothing to report of stained tissue


@pytest.mark.parametrize("what", ["no RNA", "no IHC", "one pair", "nothing evaluable", "no family"])
def test_empty_parts_build_in_slides_and_workbook(what: str, fake: ModuleType) -> None:
    made = fake.make_result(genes=5, n=6)
    if what == "one pair":
        made = fake.make_result(genes=5, n=4, lost={0: "on", 1: "on", 2: "baseline"})
    elif what == "nothing evaluable":
        made = fake.make_result(genes=5, n=4, lost=dict.fromkeys(range(4), "on"))
    elif what in {"no RNA", "no IHC"}:
        start = "rna" if what == "no RNA" else "ihc"
        keep = ~made.table["assay"].str.startswith(start)
        made = dataclasses.replace(
            made, table=made.table[keep], changes=made.changes[~made.changes["assay"].str.startswith(start)]
        )
    else:
        made = dataclasses.replace(made, table=made.table.assign(family="panel"))
    document = build(made.study, made)
    slides = list(Presentation(io.BytesIO(render_deck(document))).slides)
    assert len(slides) >= 3
    empty = [i for i, s in enumerate(slides) if not _title(s) and len(_words(s)) < 40]
    assert not empty
    assert all(len([x for x in s.shapes if x.has_text_frame and x.text_frame.text]) >= 2 for s in slides)
    read = openpyxl.load_workbook(io.BytesIO(render_workbook(document, complete_results(made))))
    assert {"Summary", "Contents", "Trace", "Text"} <= set(read.sheetnames)
    if what in {"no IHC", "no family"}:
        assert "names no primary family" in "\n".join(_words(s) for s in slides)
    texts = [p for s in document.sections for b in s.blocks if isinstance(b, Text) for p in b.paragraphs]
    assert "nan" not in " ".join(texts).lower().split()


def test_reasons_to_doubt_end_above_the_foot(document: Document) -> None:
    """However long they are, with rules above them or without: they end at the foot."""
    (first, *_) = document.findings
    long = tuple(f"{i} of 8 participants give no evaluable pair; {'if the reason ' * 12}" for i in range(4))
    rules = (RuleLine("stop", "x", "a mean above 1.25", "1.1", "90 %", "5 %"),) * 5
    for told in (dataclasses.replace(first, doubts=long, rules=r) for r in ((), rules)):
        made = dataclasses.replace(document, findings=(told,), sections=())
        slide = Presentation(io.BytesIO(render_deck(made))).slides[1]
        (frame,) = [s for s in slide.shapes if s.has_text_frame and "to doubt it" in s.text_frame.text]
        need = sum(
            text_height(p.text, int(p.runs[0].font.size.pt), bold=bool(p.runs[0].font.bold))
            for p in frame.text_frame.paragraphs
        )
        assert Emu(frame.top).inches + need <= 7.1
        assert "in the report" in frame.text_frame.text
        for grid in (s for s in slide.shapes if s.has_table):
            assert grid.top + grid.height <= frame.top


def test_what_cannot_be_judged_is_no_effect_to_doubt(fake: ModuleType) -> None:
    made = fake.make_result(genes=5, n=4, lost=dict.fromkeys(range(4), "on"))
    document = build(made.study, made)
    slides = list(Presentation(io.BytesIO(render_deck(document))).slides)
    words = "\n".join(_words(s) for s in slides)
    assert "not evaluable, C2D1 against screening" in _title(slides[1])
    assert "Why it cannot be judged: 4 of 4 participants" in words
    assert "Strongest reason" not in words + render_html(document)
    assert "No gene of rna could be tested" in words
    assert not any(getattr(b, "key", "").startswith("genes-") for s in document.sections for b in s.blocks)


def test_an_empty_cell_makes_no_row_taller() -> None:
    slide = Presentation().slides.add_slide(Presentation().slide_layouts[6])
    cell = slide.shapes.add_table(1, 1, 0, 0, 914400, 914400).table.cell(0, 0)
    write_cell(cell, "", Column("x"), size=10, fill=RGBColor(255, 255, 255))
    paragraph = cell.text_frame.paragraphs[0]._p
    assert paragraph.find("{*}endParaRPr").get("sz") == "1000"
    assert paragraph.find("{*}r") is None


def test_a_drawing_does_not_repeat_the_title_of_its_slide() -> None:
    """Only while it is on the slide: the page and the PDF have the same drawing with its whole title."""
    fig = figure(4, 3)
    axes = fig.subplots(1, 4)
    names = ("CD8 density", "CD8 density: change per participant", "Effects: primary", "")
    for ax, name in zip(axes, names, strict=True):
        ax.set_title(name, loc="left")
    with titled_once(fig, "CD8 density rose, × 2.10, in 9 pairs"):
        shown = ["", "Change per participant", "Effects: primary", ""]
        assert [ax.get_title(loc="left") for ax in axes] == shown
    assert tuple(ax.get_title(loc="left") for ax in axes) == names


def test_a_slide_shows_a_rule_that_stops_beside_the_sentence_that_joins_it(document: Document) -> None:
    rules = tuple(
        RuleLine(
            verdict, f"rule_{i}", "mean ratio (rise) above 1.25, one-sided p ≤ 0.05", "2 of 8", "7 %", "99 %"
        )
        for i, verdict in enumerate(("consider", "consider", "consider", "stop"))
    )
    facts = (
        Fact("beyond noise", "2 up of 8, by more than ×/÷ 3.14. That limit is noise from treated pairs."),
        *both_true("Change shown", rules),
        Fact("two estimates", "× 2.39 is the mixed model's, which also uses the 4 with one biopsy; the "
             "decision rules judge the plain geometric mean of the 8 pairs, × 2.53."),
    )  # fmt: skip
    (first, *_) = document.findings
    told = dataclasses.replace(first, rules=rules, decided=facts)
    slide = Presentation(
        io.BytesIO(render_deck(dataclasses.replace(document, findings=(told,), sections=())))
    ).slides[1]
    (grid,) = [shape.table for shape in slide.shapes if shape.has_table]
    assert [grid.cell(row, 0).text for row in range(1, 5)] == ["consider", "consider", "consider", "stop"]
    words = _words(slide)
    assert "change shown, and stop: The mean moved" in words
    assert "That limit is" not in words
    assert "That limit is noise from treated pairs." in slide.notes_slide.notes_text_frame.text


def test_measures_of_a_finding_do_not_run_into_each_other(document: Document) -> None:
    """Boxes of effect, interval, pairs and evidence: none begins before the one at its left ends."""
    (first, *_) = document.findings
    long = dataclasses.replace(first, headline="+1.12 log2 CPM (× 2.2)", interval="0.573 to 1.67")
    deck = Presentation(io.BytesIO(render_deck(dataclasses.replace(document, findings=(long,), sections=()))))
    named = {"effect", "95 % CI", first.counted, "evidence"}
    boxes = [
        shape
        for shape in deck.slides[1].shapes
        if shape.has_text_frame and shape.text_frame.paragraphs[0].text in named
    ]
    assert len(boxes) == 4
    boxes.sort(key=lambda shape: shape.left)
    for left, right in itertools.pairwise(boxes):
        assert left.left + left.width <= right.left + 2
    assert boxes[-1].left + boxes[-1].width <= deck.slide_width


def test_cells_of_a_slide_are_not_torn_and_not_tall() -> None:
    """Numbers, intervals and headings stand whole; beside a long text the type is smaller."""
    heads = [("sigma", "number"), ("95 % CI", "text"), ("scale", "text"), ("df", "number"), ("from", "text")]
    heads += [("RCV (MDC)", "number"), ("2-fold up by noise", "text"), ("reliability", "text")]
    row = (1.61, "1.30 to 2.13", "as measured", 32.0, "replicate biopsies, borrowed from another study", 4.65)
    table = Table(
        "noise", "Noise.", tuple(Column(*h) for h in heads), ((*row, "7.6 %", "0.49 (0.1 to 0.7)"),)
    )
    layout = Layout.of(table, 4.8)
    per_inch = 72 / layout.size / 0.57
    for column, width, text in zip(layout.columns, layout.widths, layout.texts[0], strict=True):
        lines = lines_of(text, int((width - 0.2) * per_inch))
        assert lines <= 4
        assert lines == 1 or len(text) > 17, text
        assert max(map(len, column.label.split())) * 1.25 <= (width - 0.2) * per_inch, column.label
    assert layout.size >= 12


def test_lines_are_counted_between_words() -> None:
    assert lines_of("estimate moved, n changed", 14) == 3  # of 25 characters 14 a line would be two
    assert lines_of("", 5) == 1
    assert lines_of("a\nb", 5) == 2
