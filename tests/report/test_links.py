"""The report's section on links, and the tables of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from linked import trial

from pdbiomarker import PDResult, link
from pdbiomarker.report.build import build
from pdbiomarker.report.content import Figure, Table
from pdbiomarker.report.links import link_sections
from pdbiomarker.run.links import write_links


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    return trial(tmp_path_factory.mktemp("links") / "study")


def test_the_section_has_a_figure_and_a_table_of_each_kind(result: PDResult) -> None:
    (section,) = link_sections(result, "dose_mg")
    assert section.title == "Exposure, response, agreement of assays and blood"
    figures = [b for b in section.blocks if isinstance(b, Figure)]
    assert [f.key.partition("-")[0] for f in figures] == [
        "exposure", "response", "landmark", "concordance", "blood",
    ]  # fmt: skip
    assert len({f.key for f in figures}) == len(figures)
    for figure in figures:
        assert figure.draw().axes
    tables = {b.key: b for b in section.blocks if isinstance(b, Table)}
    assert list(tables) == ["link-exposure", "link-response", "link-concordance", "link-blood"]
    assert "no p is adjusted" in tables["link-response"].caption
    assert link.NO_SURROGATE in figures[-1].caption


def test_a_figure_and_a_table_say_in_words_what_is_linked(result: PDResult) -> None:
    (section,) = link_sections(result, "dose_mg")
    said = {b.key.partition("-")[0]: b.message for b in section.blocks if isinstance(b, Figure)}
    assert "and progression-free survival: hazard ratio" in said["landmark"]  # not best response
    assert "best response" in said["response"]
    tables = {b.key: b for b in section.blocks if isinstance(b, Table)}
    assert all(":" not in str(row[0]) for table in tables.values() for row in table.rows)
    for table in tables.values():
        column = [c.label for c in table.columns].index("n")
        written = [table.columns[column].write(row[column]) for row in table.rows]
        assert any(text.isdigit() for text in written)
        assert not any("." in text for text in written)  # 8, not 8.00


def test_the_numbers_of_the_report_are_those_of_the_files(result: PDResult, tmp_path: Path) -> None:
    written = write_links(result, tmp_path)
    assert [p.name for p in written] == [
        "link_blood.csv", "link_concordance.csv", "link_exposure.csv", "link_response.csv",
    ]  # fmt: skip
    (section,) = link_sections(result, None)
    for block in section.blocks:
        if not isinstance(block, Table):
            continue
        file = pd.read_csv(tmp_path / "results" / f"{block.key.replace('-', '_')}.csv")
        heads = [c.label for c in block.columns]
        shown = [row[heads.index("estimate")] for row in block.rows]
        assert len(shown) == len(file)
        for mine, theirs in zip(shown, file["estimate"], strict=True):
            assert (mine is None and pd.isna(theirs)) or mine == theirs


def test_the_section_stands_in_the_report(result: PDResult) -> None:
    document = build(result.study, result)
    assert "links" in [s.key for s in document.sections]


def test_without_dose_outcome_and_blood_only_assays_are_compared(tmp_path: Path) -> None:
    plan = "families: {other: [ihc, rna, serum]}\n"
    result = trial(tmp_path / "s", n=6, plan=plan, columns=False, blood=False)
    text = link_sections(result, None)
    assert [b.key for s in text for b in s.blocks if isinstance(b, Table)] == ["link-concordance"]
