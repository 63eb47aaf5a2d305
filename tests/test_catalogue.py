"""Codes, columns and words are explained, each from where it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.catalogue import said_of
from pdbiomarker.change.result import CHANGE_COLUMNS, TABLE_COLUMNS
from pdbiomarker.cli import app
from pdbiomarker.decide.evaluate import DECISION_COLUMNS
from pdbiomarker.errors import CATALOGUE, InputError
from pdbiomarker.pairing.accounting import DISPOSITION_COLUMNS
from pdbiomarker.reference import list_reference, reference_path
from pdbiomarker.study.clinical_sheets import SHEETS

ROOT = Path(__file__).parents[1]


def test_every_code_is_explained() -> None:
    for code, meaning in CATALOGUE.items():
        (entry,) = pb.explain(code)
        assert (entry.kind, entry.meaning) == ("code", meaning)


def test_a_code_may_be_typed_short() -> None:
    assert {e.name for w in ("E-SHEET-005", "sheet-5", "SHEET-005") for e in pb.explain(w)} == {"E-SHEET-005"}


def test_what_the_source_says_of_a_code() -> None:
    """The texts of one call, read by eye in pdbiomarker/clinical/cdisc/reading.py."""
    said = said_of("E-FILE-004")
    assert ("The file is empty.", "Export the dataset again.") in [(s.message, s.remedy) for s in said]


def test_most_codes_say_what_to_do() -> None:
    without = [code for code in CATALOGUE if not any(s.remedy for s in said_of(code))]
    assert len(without) < len(CATALOGUE) / 3


@pytest.mark.parametrize(
    "column",
    sorted({*TABLE_COLUMNS, *CHANGE_COLUMNS, *DISPOSITION_COLUMNS, *DECISION_COLUMNS}),
)
def test_a_column_of_a_result_is_explained(column: str) -> None:
    assert {e.kind for e in pb.explain(column)} <= {"column", "term"}


@pytest.mark.parametrize("word", ["h-score", "H-Score", "  reference  change value ", "kenward-roger", "dlt"])
def test_a_word_is_explained(word: str) -> None:
    assert "term" in {entry.kind for entry in pb.explain(word)}


@pytest.mark.parametrize(
    ("word", "name", "says"),
    [
        ("CD8 density", "CD8_density", "CD8+ T-cell density"),
        ("cd8_density_tissue", "CD8_density", "CD8+ T-cell density"),
        ("CD8+ T-cell density", "CD8_density", "CD8+ T-cell density"),
        ("TIS18", "TIS18", "T-cell-inflamed profile (18 genes)"),
        ("t-cell-inflamed profile", "TIS18", "T-cell-inflamed profile (18 genes)"),
    ],
)
def test_a_feature_is_explained_by_its_name_or_label(word: str, name: str, says: str) -> None:
    (entry,) = [e for e in pb.explain(word) if e.kind == "feature"]
    assert (entry.name, entry.meaning) == (name, says)


def test_every_feature_of_the_reference_is_explained() -> None:
    """Each signature by its name and genes, each panel by its scores, with what the score means."""
    for name in pb.expression.available_signatures():
        (entry,) = [e for e in pb.explain(name) if e.kind == "feature"]
        assert dict(entry.facts)["genes"] == ", ".join(pb.expression.read_signature(name).genes)
    for file in list_reference("panels"):
        panel = pb.ihc.read_panel(reference_path(file))
        for score, feature in panel.features.items():
            (entry,) = [e for e in pb.explain(f"{panel.marker}_{score}") if e.kind == "feature"]
            assert entry.meaning == feature.label


@pytest.mark.parametrize(
    ("words", "first", "among"),
    [
        ("adjusted p", "q", "q"),
        ("expected share of false", "bh", "fdr"),
        ("GZMA", "cyt", "CYT"),
        ("p not adjusted", "p", "p"),
    ],
)
def test_other_words_find_what_they_explain(words: str, first: str, among: str) -> None:
    names = [entry.name for entry in pb.explain(words)]
    assert names[0] == first
    assert among in names
    assert len(names) <= 5


def test_words_that_stand_everywhere_find_nothing() -> None:
    with pytest.raises(InputError, match="E-TERM-001"):
        pb.explain("the of")


def test_an_unknown_word_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"E-TERM-001.*'df_method'"):
        pb.explain("df_methd")


def test_rows_of_the_pages_are_whole() -> None:
    """A row with more or fewer cells than its head would be read wrongly."""
    for page in ("study_folder.md", "results.md", "glossary.md"):
        width = 0
        for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
            cells = len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert cells == 0 or width in {0, cells}, (page, line)
            width = cells


def test_the_command_explains() -> None:
    result = CliRunner().invoke(app, ["explain", "df", "method"])
    assert result.exit_code == 0
    assert "kenward-roger" in result.stdout
    assert CliRunner().invoke(app, ["explain", "nothing-like-it"]).exit_code == 3


def test_the_sheets_of_the_template_are_those_that_are_read() -> None:
    text = (ROOT / "pdbiomarker/study/template/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)\.csv`: ", text)) == set(SHEETS)
