"""The study folder: what is read, what is refused and where, and the way back to disk."""
# ruff: noqa: E501 - tables of cases, one line each

from __future__ import annotations

import copy
import random
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from builders import assay
from riaz import build_riaz_study

from pdbiomarker.checks import check_file
from pdbiomarker.errors import AssayError, InputError, Problems, StudyError
from pdbiomarker.study import Study, check_assay, init_study, read_study
from pdbiomarker.study.folder import check_study
from pdbiomarker.study.ids import normal_id, skeleton
from pdbiomarker.tables import id_key

FILES = {
    "study.yaml": """\
id: IGM-7354-101
data_cutoff: 2025-06-30
visits:
  screening: [-28, -1]
  C1D15: {day: 15, window: 3}
  C2D1: {day: 29, window: 7}
adequacy: {viable_tumor_cells: 100}
assays:
  rna: {kind: count, file: counts.csv, genes: genes.csv, signatures: [CYT]}
  ihc: {slides: slides.csv, panel: cd8, regions: regions/}
columns: {subject: participant_id, timepoint: visit}
""",
    "participants.csv": """\
subject,cohort,dose_mg,sex,age,first_dose_datetime,site_code
P1,A,100,F,61,2025-01-10T09:00,007
P2,A,100,M,55.5,2025-02-01,008
P3,B,300,F,,2025-03-01T10:30,NA
""",
    "biopsies.csv": """\
subject,biopsy_id,timepoint,collection_date,study_day,lesion_id,core,tumor_content_pct,viable_tumor_cells,batch,rin
P1,B1,screening,2025-01-02,-8,L1,1,60,500,R1,7.5
P1,B2,C2D1,2025-02-07,29,L1,1,40,350,R1,8
P2,B3,screening,,-3,L1,1,,120,R2,
P2,B4,,2025-03-01,,L1,2,35,80,R2,6.1
P3,B5,screening,2025-03-01T08:00,,L2,1,0,0,R1,9
""",
    "libraries.csv": "library_id,biopsy_id,batch\nL-1,B1,S1\nL-2a,B2,S1\nL-2b,B2,S2\nL-3,B3,S1\n",
    "slides.csv": (
        "slide_id,biopsy_id,path,panel,mpp,scanner\nS1,B1,slides/S1.tif,,0.5,GT450\nS2,B2,slides/S2.tif,ki67,,GT450\n"
    ),
    "counts.csv": "gene,L-1\nA,1\n",
    "genes.csv": "gene,symbol\nA,a\n",
    "slides/S1.tif": "x",
    "slides/S2.tif": "x",
    "regions/S1.geojson": "{}",
    "plan.yaml": "contrasts: {on_treatment: C2D1 - screening}\n",
}


def folder(path: Path, **changes: str | None) -> Path:
    """Write the study; `biopsies=...` replaces biopsies.csv, None leaves a file out."""
    files: dict[str, str | None] = dict(FILES)
    for name, content in changes.items():
        key = next(file for file in FILES if Path(file).stem == name)
        files[key] = content
    for name, content in files.items():
        if content is not None:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(content, encoding="utf-8", newline="\n")
    return path


def edited(file: str, *edits: tuple[str, str]) -> str:
    text = FILES[file]
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def refused(path: Path, **changes: str | None):
    with pytest.raises(StudyError) as caught:
        read_study(folder(path, **changes))
    return caught.value.problems


# --- what is read --------------------------------------------------------------------------------------


def test_the_study_as_read(tmp_path):
    study = read_study(folder(tmp_path))
    assert study.problems == ()
    assert study.spec.visit_names == ("screening", "C1D15", "C2D1")
    assert [(v.low, v.high, v.target) for v in study.spec.visits] == [
        (-28, -1, None),
        (12, 18, 15),
        (22, 36, 29),
    ]
    assert study.participants.index.tolist() == ["P1", "P2", "P3"]
    assert study.participants["site_code"].tolist() == ["007", "008", "NA"]
    assert study.participants["age"].tolist() == pytest.approx([61, 55.5, np.nan], nan_ok=True)
    biopsies = study.biopsies
    assert biopsies["visit"].tolist() == ["screening", "C2D1", "screening", None, "screening"]
    assert biopsies["study_day"].tolist() == [-8, 29, -3, 29, 1]
    assert str(biopsies["study_day"].dtype) == "Int64"
    assert biopsies["line"].tolist() == [2, 3, 4, 5, 6]
    assert biopsies["core"].tolist() == ["1", "1", "1", "2", "1"]  # a name, not a number
    assert biopsies["rin"].dtype == np.float64
    assert biopsies["collection_date"].tolist()[2:4] == [None, "2025-03-01"]
    assert biopsies["hours_from_first_dose"].tolist() == pytest.approx([np.nan] * 4 + [-2.5], nan_ok=True)
    assert study.libraries["biopsy_id"].tolist() == ["B1", "B2", "B2", "B3"]
    assert study.slides[["panel", "assay"]].to_numpy().tolist() == [["cd8", "ihc"], ["ki67", "ihc"]]
    assert study.slides["mpp"].tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert study.resolve("slides/S1.tif").read_text() == "x"
    rna, ihc = study.spec.assays
    assert (rna.kind, rna.signatures, ihc.kind, ihc.panel) == ("count", ("CYT",), "ihc", "cd8")
    assert study.spec.assay("rna") is rna
    with pytest.raises(KeyError, match="Nearest: 'rna'"):
        study.spec.assay("rma")


def test_the_summary_is_compact_and_escaped(tmp_path):
    study = read_study(folder(tmp_path, study=edited("study.yaml", ("IGM-7354-101", "<b>x</b>"))))
    assert "screening 3, C1D15, C2D1 1" in repr(study)
    counts = dict(line.split(maxsplit=1) for line in repr(study).splitlines() if len(line.split()) == 2)
    assert [counts[name] for name in ("participants", "biopsies", "libraries", "slides")] == list("3542")
    assert len(repr(study).splitlines()) < 12
    assert "&lt;b&gt;" in study._repr_html_()
    assert "<b>" not in study._repr_html_()


def test_windows_know_no_day_0(tmp_path):
    text = edited("study.yaml", ("{day: 15, window: 3}", "{day: 1, window: 2}"), ("[-28, -1]", "[-28, -3]"))
    visit = read_study(folder(tmp_path, study=text)).spec.visits[1]
    assert (visit.low, visit.high) == (-2, 3)


def test_without_days_biopsies_stand_in_the_order_of_the_visits(tmp_path):
    files = {
        "study.yaml": "id: T\nvisits: {late: {}, early: {}, unscheduled: {}}\n",
        "participants.csv": "participant_id\nP1\n",
        "biopsies.csv": "participant_id,biopsy_id,visit\nP1,a,unscheduled\nP1,b,early\nP1,c,late\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="\n")
    study = read_study(tmp_path)
    assert study.biopsies.index.tolist() == ["c", "b", "a"]
    # An unscheduled visit that study.yaml has is a visit like the others.
    assert study.biopsies["visit"].tolist() == ["late", "early", "unscheduled"]
    assert not study.problems
    (tmp_path / "study.yaml").write_text("id: T\nvisits: {late: {}, early: {}}\n", encoding="utf-8")
    told = read_study(tmp_path)
    assert [(p.code, p.value) for p in told.problems] == [("E-STUDY-013", "unscheduled")]
    assert told.biopsies["visit"].tolist() == ["late", "early", None]


def test_a_word_that_some_take_for_no_number_is_a_word(tmp_path):
    """Facts of a participant: 1 and 1.0 are one, NaN and nan are two."""
    people = "participant_id,kit\nP1,1.0\nP2,NaN\n"
    for kit, refused_ in (("nan", True), ("NaN", False)):
        path = tmp_path / kit
        path.mkdir()
        (path / "study.yaml").write_text("id: T\nvisits: {a: {}}\n", encoding="utf-8")
        (path / "participants.csv").write_text(people, encoding="utf-8")
        rows = f"participant_id,biopsy_id,visit,kit\nP1,B1,a,1\nP2,B2,a,{kit}\n"
        (path / "biopsies.csv").write_text(rows, encoding="utf-8")
        told = [(p.code, p.value) for p in read_study(path).problems]
        assert told == ([("E-SHEET-015", kit)] if refused_ else [])


@pytest.mark.parametrize("name", ["", " T", "T\u200b"])
def test_a_new_study_needs_a_name_that_can_be_typed(tmp_path, name):
    with pytest.raises(StudyError, match="The study's name is empty, or has spaces") as caught:
        init_study(tmp_path / "new", id=name)
    assert [(p.code, p.column) for p in caught.value.problems] == [("E-STUDY-001", "id")]
    assert not (tmp_path / "new").exists()


def test_libraries_and_slides_from_the_biopsies(tmp_path):
    text = "subject,biopsy_id,timepoint,library,slide,mpp\nP1,B1,screening,LIB1,slides/S1.tif,0.25\nP1,B2,C2D1,,,\n"
    study = read_study(
        folder(
            tmp_path,
            biopsies=text,
            libraries=None,
            slides=None,
            study=edited(
                "study.yaml", ("slides: slides.csv, ", ""), ("adequacy: {viable_tumor_cells: 100}\n", "")
            ),
        )
    )
    assert study.libraries[["biopsy_id", "source"]].to_dict("index") == {
        "LIB1": {"biopsy_id": "B1", "source": "biopsies.csv"}
    }
    assert study.slides[["biopsy_id", "path", "panel", "mpp"]].to_dict("index") == {
        "S1": {"biopsy_id": "B1", "path": "slides/S1.tif", "panel": "cd8", "mpp": 0.25}
    }


def test_without_any_naming_the_libraries_carry_the_biopsies_ids(tmp_path):
    study = read_study(folder(tmp_path, libraries=None))
    assert study.libraries.index.tolist() == ["B1", "B2", "B3", "B4", "B5"]
    assert set(study.libraries["source"]) == {"biopsy_id"}


def test_a_missing_slide_is_quarantined_and_the_rest_goes_on(tmp_path):
    path = folder(tmp_path)
    (path / "slides/S1.tif").unlink()
    study = read_study(path)
    assert study.slides.index.tolist() == ["S2"]
    (problem,) = study.problems
    assert (problem.code, problem.severity, problem.item) == ("E-FILE-001", "quarantine", "S1")
    assert "slide 'S1' of biopsy 'B1'" in problem.message
    assert (problem.file, problem.row, problem.column, problem.value) == (
        "slides.csv",
        2,
        "path",
        "slides/S1.tif",
    )


NO_IHC = ("  ihc: {slides: slides.csv, panel: cd8, regions: regions/}\n", "")


@pytest.mark.parametrize(
    "slides", ["slide_id,biopsy_id,path\nS1,B1,slides/S1.tif\nS9,B2,slides/S9.tif\n", None]
)
def test_slides_that_no_assay_measures_are_told_once_and_nothing_is_quarantined(tmp_path, slides):
    biopsies = FILES["biopsies.csv"]
    if slides is None:
        biopsies = (
            "subject,biopsy_id,timepoint,slide\nP1,B1,screening,slides/S1.tif\nP1,B2,C2D1,slides/S9.tif\n"
        )
    yaml = edited("study.yaml", NO_IHC, ("adequacy: {viable_tumor_cells: 100}\n", ""))
    study = read_study(folder(tmp_path, study=yaml, slides=slides, biopsies=biopsies, libraries=None))
    (problem,) = [p for p in study.problems if p.code == "E-STUDY-290"]
    assert (problem.severity, problem.file) == ("warning", "slides.csv" if slides else "biopsies.csv")
    assert "2 rows, 1 of their files not there" in problem.message
    assert [p for p in study.problems if p.severity == "quarantine"] == []
    assert study.slides.index.tolist() == [
        "S1",
        "S9",
    ]  # a reviewer may speak of both


def test_a_column_slide_of_another_meaning_refuses_nothing(tmp_path):
    """Numbers of glasses: they repeat, and no file is called so."""
    text = "subject,biopsy_id,timepoint,slide\nP1,B1,screening,1\nP1,B2,C2D1,1\n"
    yaml = edited("study.yaml", NO_IHC, ("adequacy: {viable_tumor_cells: 100}\n", ""))
    study = read_study(folder(tmp_path, study=yaml, slides=None, biopsies=text, libraries=None))
    assert [(p.code, p.severity) for p in study.problems] == [("E-STUDY-290", "warning")]
    assert len(study.slides) == 0


def test_slides_may_lie_elsewhere(tmp_path):
    elsewhere = tmp_path / "elsewhere.tif"
    elsewhere.write_text("x")
    slides = f"slide_id,biopsy_id,path\nS1,B1,{elsewhere}\nS2,B2,../elsewhere.tif\n"
    study = read_study(folder(tmp_path / "study", slides=slides))
    assert study.slides.index.tolist() == ["S1", "S2"]


def test_two_slide_assays_on_one_sheet_are_told_apart_by_panel(tmp_path):
    text = edited(
        "study.yaml",
        ("ihc: {slides: slides.csv, panel: cd8, regions: regions/}",
         "cd8: {slides: slides.csv, panel: cd8}\n  ki67: {slides: slides.csv, panel: ki67}"),
    )  # fmt: skip
    slides = "slide_id,biopsy_id,path,panel\nS1,B1,slides/S1.tif,cd8\nS2,B2,slides/S2.tif,ki67\n"
    assert read_study(folder(tmp_path / "a", study=text, slides=slides)).slides["assay"].tolist() == [
        "cd8",
        "ki67",
    ]
    study = read_study(tmp_path / "a")
    back = read_study(study.write(tmp_path / "c"))
    assert sorted(p.name for p in (tmp_path / "c").glob("slides*")) == ["slides_cd8.csv", "slides_ki67.csv"]
    assert back.slides[["biopsy_id", "assay"]].to_dict("index") == {
        "S1": {"biopsy_id": "B1", "assay": "cd8"},
        "S2": {"biopsy_id": "B2", "assay": "ki67"},
    }
    problems = refused(tmp_path / "b", study=text, slides=slides.replace("ki67", "pdl1"))
    assert [(p.code, p.row, p.column, p.value) for p in problems] == [("E-SHEET-006", 3, "panel", "pdl1")]


# --- what is told and goes on --------------------------------------------------------------------------

TOLD = [
    ("biopsies", ("P1,B1,", "P1\u200b ,B1,"), "E-SHEET-009", 2, "subject", "read as 'P1'"),
    ("biopsies", ("2025-02-07,29", "2025-07-07,"), "E-SHEET-014", 3, "collection_date", "2025-06-30"),
    ("participants", ("2025-02-01", "2025-12-01"), "E-SHEET-014", 3, "first_dose_datetime", "cut-off"),
    ("biopsies", ("R1,7.5\n", "r1,7.5\n"), "E-SHEET-009", 2, "batch", "taken for two"),
    ("biopsies", ("batch,rin", "batch,line"), "E-SHEET-002", 1, "line", "line_given"),
    ("biopsies", ("batch,rin", "batch,site_code"), "E-SHEET-015", 2, "site_code", "both sheets"),
]


@pytest.mark.parametrize(("sheet", "edit", "code", "row", "column", "said"), TOLD)
def test_warnings(tmp_path, sheet, edit, code, row, column, said):
    changes = {sheet: edited(f"{sheet}.csv", edit)}
    if code == "E-SHEET-014" and sheet == "participants":
        changes["biopsies"] = edited("biopsies.csv", ("P2,B3,screening,,-3", "P2,B3,screening,,"))
    study = read_study(folder(tmp_path, **changes))
    found = [p for p in study.problems if p.code == code]
    assert (found[0].row, found[0].column, found[0].severity) == (row, column, "warning")
    assert said in found[0].message
    assert found[0].remedy


def test_a_batch_that_is_a_visit_is_told(tmp_path):
    biopsies = "subject,biopsy_id,timepoint,batch,viable_tumor_cells\n" + "".join(
        f"P{i},B{i}{k},{visit},{batch},100\n"
        for i in (1, 2, 3)
        for k, visit, batch in (("a", "screening", "R1"), ("b", "C2D1", "R2"))
    )
    sheets = {
        "biopsies": biopsies,
        "libraries": None,
        "slides": "slide_id,biopsy_id,path\nS1,B1a,slides/S1.tif\n",
    }
    study = read_study(folder(tmp_path / "a", **sheets))
    found = [p for p in study.problems if p.code == "E-STUDY-005"]
    assert found[0].file == "biopsies.csv"
    assert "R1: screening; R2: C2D1" in str(found[0].value)
    sheets["biopsies"] = biopsies.replace("B3b,C2D1,R2", "B3b,C2D1,R1")
    assert not read_study(folder(tmp_path / "b", **sheets)).problems


# --- what is refused -----------------------------------------------------------------------------------

#: (sheet, edits, code, row, column, said, remedy)
REFUSED_SHEETS = [
    ("participants", [("subject,", "person,")], "E-SHEET-001", 1, "participant_id", "missing", "columns"),
    ("biopsies", [("biopsy_id", "biopsyid")], "E-SHEET-001", 1, "biopsy_id", "missing", "Nearest: 'biopsyid'"),
    ("slides", [("path", "file")], "E-SHEET-001", 1, "path", "missing", "Add it"),
    ("libraries", [("library_id", "lib")], "E-SHEET-001", 1, "library_id", "missing", "Add it"),
    ("participants", [("P2,A", ",A")], "E-SHEET-004", 3, "subject", "missing", "id"),
    ("biopsies", [("P1,B2", "P1,")], "E-SHEET-004", 3, "biopsy_id", "missing", "id"),
    ("biopsies", [("P1,B2", "P1, \u00a0")], "E-SHEET-004", 3, "biopsy_id", "missing", "id"),
    ("libraries", [("L-3,B3", "L-3,")], "E-SHEET-004", 5, "biopsy_id", "missing", "id"),
    ("participants", [("P2,", "P1,")], "E-SHEET-005", 3, "subject", "lines 2 and 3", "of its own"),
    ("biopsies", [("P2,B3", "P2,B1")], "E-SHEET-005", 4, "biopsy_id", "lines 2 and 4", "of its own"),
    ("biopsies", [("P2,B3", "P2,\uff22\uff11")], "E-SHEET-005", 4, "biopsy_id", "lines 2 and 4", "of its own"),
    ("libraries", [("L-2b", "L-2a")], "E-SHEET-005", 4, "library_id", "lines 3 and 4", "of its own"),
    ("slides", [("S2,B2", "S1,B2")], "E-SHEET-005", 3, "slide_id", "lines 2 and 3", "of its own"),
    ("slides", [("slides/S2.tif", "slides/S1.tif")], "E-SHEET-005", 3, "path", "lines 2 and 3", "one slide"),
    ("participants", [("P2,A,100,M,55.5,2025-02-01,008", "P1,A,100,F,61,2025-01-10T09:00,007")],
     "E-SHEET-016", 3, "subject", "same as that of line 2", "Remove"),
    ("participants", [("P2,", "p1,")], "E-SHEET-009", 3, "subject", "'P1' (line 2) and 'p1' (line 3)", "one way"),
    ("participants", [("P2,", "\u0420" "1,")], "E-SHEET-009", 3, "subject", "look-alike", "one way"),
    ("participants", [("P2,", "P 1,")], "E-SHEET-009", 3, "subject", "spaces", "one way"),
    ("participants", [("P2,", "Pl,")], "E-SHEET-009", 3, "subject", "look-alike", "one way"),
    ("participants", [("P2,", "P\u202e2,")], "E-SHEET-010", 3, "subject", "U+202E", "invisible"),
    ("biopsies", [("P1,B2", "P1,B\x1b2")], "E-SHEET-010", 3, "biopsy_id", "U+001B", "invisible"),
    ("biopsies", [("P1,B2", 'P1,"B\n2"')], "E-SHEET-010", 3, "biopsy_id", "U+000A", "invisible"),
    ("biopsies", [("P2,B3", "P22,B3")], "E-SHEET-006", 4, "subject", "participants.csv", "Nearest: 'P2'"),
    ("libraries", [("L-3,B3", "L-3,B33")], "E-SHEET-006", 5, "biopsy_id", "biopsies.csv", "Nearest: 'B3'"),
    ("slides", [("S2,B2", "S2,X")], "E-SHEET-006", 3, "biopsy_id", "biopsies.csv", "There are"),
    ("biopsies", [(",C2D1,", ",c2d1,")], "E-STUDY-004", 3, "timepoint", "Nearest: 'C2D1'", "study.yaml"),
    ("biopsies", [(",C2D1,", ",EOT,")], "E-STUDY-004", 3, "timepoint", "not among", "study.yaml"),
    ("biopsies", [("P1,B2,C2D1,2025-02-07,29", "P1,B2,C2D1,2025-02-07,28")],
     "E-SHEET-013", 3, "study_day", "is study day 29", "Correct"),
    ("biopsies", [("2025-01-02,-8", "2025-01-10,0")], "E-SHEET-008", 2, "study_day", "no study day 0", "-1"),
    ("biopsies", [("2025-01-02,-8", ",-8.5")], "E-SHEET-007", 2, "study_day", "whole", "plain number"),
    ("biopsies", [("2025-01-02,-8", ",90000")], "E-SHEET-008", 2, "study_day", "range", "value"),
    ("biopsies", [("2025-01-02", "02/01/2025")], "E-SHEET-012", 2, "collection_date", "ambiguous", "YYYY-MM-DD"),
    ("biopsies", [("2025-01-02", "45659")], "E-SHEET-012", 2, "collection_date", "2025-01-02", "YYYY-MM-DD"),
    ("participants", [("2025-02-01", "2025-02")], "E-SHEET-012", 3, "first_dose_datetime", "partial", "YYYY"),
    ("biopsies", [("L1,1,60,", "L1,1,160,")], "E-SHEET-008", 2, "tumor_content_pct", "0 to 100", "0 to 100"),
    ("biopsies", [("L1,1,60,", "L1,1,60%,")], "E-SHEET-007", 2, "tumor_content_pct", "percent", "plain number"),
    ("biopsies", [("60,500", "60,-1")], "E-SHEET-008", 2, "viable_tumor_cells", "range", "value"),
    ("biopsies", [("60,500", '60,"1,5"')], "E-SHEET-007", 2, "viable_tumor_cells", "decimal comma", "point"),
    ("biopsies", [("60,500", "60,inf")], "E-SHEET-007", 2, "viable_tumor_cells", "not a number", "empty"),
    ("participants", [("F,61", "F,161")], "E-SHEET-008", 2, "age", "range", "value"),
    ("participants", [("A,100,F", "A,-100,F")], "E-SHEET-008", 2, "dose_mg", "range", "value"),
    ("participants", [("A,100,F", "A,100mg,F")], "E-SHEET-007", 2, "dose_mg", "not a number", "plain number"),
    ("slides", [("0.5", "0")], "E-SHEET-008", 2, "mpp", "range", "value"),
    ("slides", [("slides/S1.tif", "")], "E-SHEET-017", 2, "path", "missing", "path"),
    ("biopsies", [("batch,rin", "batch,cohort"), ("R1,7.5", "R1,B")], "E-SHEET-015", 2, "cohort", "'A' in", "Correct"),
    ("biopsies", [("batch,rin", "batch,tumor_type"), ("R1,7.5", "R1,x")],
     "E-SHEET-015", 3, "tumor_type", "'x' in line 2", "Correct"),
    ("biopsies", [("batch,rin", "batch,dose_mg"), ("R1,7.5", "R1,100.0"), ("R1,8", "R1,1e2"), ("R2,6.1", "R2,5")],
     "E-SHEET-015", 5, "dose_mg", "'100.0' in participants.csv", "Correct"),
    ("biopsies", [("batch,rin", "batch,library"), ("R1,7.5", "R1,L-3")], "E-SHEET-006", 2, "library", "'B3'", "same"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sheet", "key"), [("biopsies", ("biopsy_id", "biopsy")), ("participants", ("subject", "who"))]
)
def test_a_missing_key_column_is_told_once_and_not_for_every_row_that_names_it(tmp_path, sheet, key):
    (problem,) = refused(tmp_path, **{sheet: edited(f"{sheet}.csv", key)})
    assert (problem.code, problem.file, problem.row) == ("E-SHEET-001", f"{sheet}.csv", 1)


def test_a_wrong_number_is_told_by_the_heading_that_the_sheet_has(tmp_path):
    slides = edited("slides.csv", ("mpp", "um_per_pixel"), ("0.5", "0"))
    study = edited("study.yaml", ("timepoint: visit}", "timepoint: visit, um_per_pixel: mpp}"))
    (problem,) = refused(tmp_path, slides=slides, study=study)
    assert (problem.code, problem.row, problem.column) == ("E-SHEET-008", 2, "um_per_pixel")


def test_a_missing_column_is_not_taken_for_one_that_has_a_meaning_of_its_own(tmp_path):
    slides = "slide_id,biopsy_id,batch\nS1,B1,a\n"
    (problem,) = refused(tmp_path, slides=slides)
    assert (problem.code, problem.column) == ("E-SHEET-001", "path")
    assert "batch" not in problem.remedy


def test_a_mistyped_visit_is_told_once_at_its_row(tmp_path):
    (problem,) = refused(tmp_path, biopsies=edited("biopsies.csv", ("P1,B1,screening", "P1,B1,Screening")))
    assert (problem.code, problem.row, problem.value) == ("E-STUDY-004", 2, "Screening")


@pytest.mark.parametrize(("sheet", "edits", "code", "row", "column", "said", "remedy"), REFUSED_SHEETS)
def test_refused_sheets(tmp_path, sheet, edits, code, row, column, said, remedy):
    problems = refused(tmp_path, **{sheet: edited(f"{sheet}.csv", *edits)})
    found = [p for p in problems if (p.code, p.row, p.column) == (code, row, column)]
    assert found, problems
    assert found[0].severity == "error"
    assert found[0].file == f"{sheet}.csv"
    assert said in found[0].message
    assert remedy in found[0].remedy


#: (edits of study.yaml, code, row, column, said, remedy)
REFUSED_STUDY = [
    ([("id:", "ids:")], "E-STUDY-001", 1, "ids", "unknown", "'id'"),
    ([("id: IGM-7354-101\n", "")], "E-STUDY-001", 1, "id", "missing", "Add it"),
    ([("data_cutoff: 2025-06-30", "data_cutoff: 30.06.2025")], "E-STUDY-001", 2, "data_cutoff", "ISO", "YYYY-MM-DD"),
    ([("  screening:", '  "screening ":')], "E-STUDY-001", 4, "visits.screening ", "has spaces", "Type the name again"),
    ([("[-28, -1]", "[-1, -28]")], "E-STUDY-001", 4, "visits.screening", "ends before", "earlier"),
    ([("[-28, -1]", "[-28, 0]")], "E-STUDY-001", 4, "visits.screening", "no study day 0", "-1"),
    ([("[-28, -1]", "[-28]")], "E-STUDY-001", 4, "visits.screening", "two whole", "window: 3"),
    ([("[-28, -1]", "weeks before")], "E-STUDY-001", 4, "visits.screening", "no window", "window: 3"),
    ([("{day: 15, window: 3}", "{dat: 15}")], "E-STUDY-001", 5, "visits.C1D15.dat", "unknown", "'day'"),
    ([("C1D15: {day: 15, window: 3}", "W3: {window: 3}")], "E-STUDY-001", 5, "visits.W3", "needs a day", "Add"),
    ([("{day: 15, window: 3}", "{day: 1.5}")], "E-STUDY-001", 5, "visits.C1D15.day", "whole number", "docs"),
    ([("window: 3}", "window: 20}")], "E-STUDY-003", 6, "visits.C2D1", "'C1D15'", "one visit"),
    ([("C1D15:", "c2d1:")], "E-STUDY-001", 6, "visits.C2D1", "differ only", "tell apart"),
    ([("viable_tumor_cells: 100", "viable_tumour_cells: 100")],
     "E-STUDY-001", None, "adequacy.viable_tumour_cells", "numeric column", "'viable_tumor_cells'"),
    ([("viable_tumor_cells: 100", "lesion_id: 100")], "E-STUDY-001", None, "adequacy.lesion_id", "numeric", ""),
    ([("viable_tumor_cells: 100", "viable_tumor_cells: many")],
     "E-STUDY-001", 7, "adequacy.viable_tumor_cells", "number", ""),
    ([("{viable_tumor_cells: 100}", "{batch: {allowed: []}}")],
     "E-STUDY-001", 7, "adequacy.batch", "neither", "allowed"),
    ([("kind: count, ", "")], "E-STUDY-001", 9, "assays.rna", "kind", "kind: count"),
    ([("kind: count", "kind: counts")], "E-STUDY-001", 9, "assays.rna.kind", "allowed", "'count'"),
    ([("file: counts.csv, ", "")], "E-STUDY-001", 9, "assays.rna", "needs a file", "file:"),
    ([("file: counts.csv", "file: counts.csv, panel: cd8")], "E-STUDY-001", 9, "assays.rna", "no panel", "Remove"),
    ([("rna:", "'../rna':")], "E-STUDY-001", 9, "assays.../rna", "letters", "rna"),
    ([("file: counts.csv", "file: ../counts.csv")], "E-FILE-006", None, "assays.rna.file", "outside", "into the study"),
    ([("file: counts.csv", "file: /etc/passwd")], "E-FILE-006", None, "assays.rna.file", "outside", "into the study"),
    ([("slides: slides.csv", "slides: ../slides.csv")], "E-FILE-006", None, None, "outside", "into the study"),
    ([("file: counts.csv", "file: count.csv")], "E-FILE-001", None, "assays.rna.file", "does not exist", "correct"),
    ([("file: counts.csv", "file: regions")], "E-FILE-002", None, "assays.rna.file", "regular file", "correct"),
    ([("genes: genes.csv", "genes: g.csv")], "E-FILE-001", None, "assays.rna.genes", "does not exist", "correct"),
    ([("regions: regions/", "regions: roi/")], "E-FILE-001", None, "assays.ihc.regions", "does not exist", "folder"),
    ([("panel: cd8", "panel: cd8.yaml")], "E-FILE-001", None, "assays.ihc.panel", "does not exist", "correct"),
    ([("slides: slides.csv", "slides: s.csv")], "E-FILE-001", None, None, "does not exist", "name"),
    ([("panel: cd8, ", "")], "E-SHEET-017", 2, "panel", "Neither the slide", "panel"),
    ([("timepoint: visit", "timepiont: visit")], "E-STUDY-001", None, "columns.timepiont", "No sheet", "'timepoint'"),
    ([("timepoint: visit", "timepoint: biopsy_id")], "E-SHEET-002", 1, "timepoint", "both stand", "columns"),
    ([("id: ", "id: !!int ")], "E-STUDY-002", 1, "5", "tag", "Remove"),
]  # fmt: skip


@pytest.mark.parametrize(("edits", "code", "row", "column", "said", "remedy"), REFUSED_STUDY)
def test_refused_study_yaml(tmp_path, edits, code, row, column, said, remedy):
    problems = refused(tmp_path, study=edited("study.yaml", *edits))
    found = [p for p in problems if (p.code, p.row, p.column) == (code, row, column)]
    assert found, problems
    assert said in found[0].message
    assert remedy in found[0].remedy
    assert found[0].remedy


@pytest.mark.parametrize(("words", "told"), [("[R1]", False), ("[r1, nobody]", False), ("[Rl, R22]", True)])
def test_words_of_adequacy_that_no_biopsy_has_are_told(tmp_path, words, told):
    text = edited("study.yaml", ("{viable_tumor_cells: 100}", f"{{batch: {{allowed: {words}}}}}"))
    problems = Problems()
    assert check_study(folder(tmp_path, study=text), problems) is not None
    found = [p for p in problems if p.column == "adequacy.batch.allowed"]
    assert len(found) == told
    if told:
        assert (found[0].code, found[0].severity, found[0].value) == ("E-STUDY-001", "warning", "Rl, R22")
        assert "'R1'" in found[0].remedy


@pytest.mark.parametrize("name", ["study", "participants", "biopsies"])
def test_files_that_must_be_there(tmp_path, name):
    problems = refused(tmp_path, **{name: None})
    assert ("E-FILE-001", name) in {(p.code, Path(p.file).stem) for p in problems}


@pytest.mark.parametrize("name", ["participants", "biopsies", "libraries", "slides"])
def test_sheets_without_rows(tmp_path, name):
    problems = refused(tmp_path, **{name: FILES[f"{name}.csv"].splitlines()[0] + "\n"})
    assert ("E-SHEET-011", f"{name}.csv", 1) in {(p.code, p.file, p.row) for p in problems}


def test_a_biopsy_needs_its_place_in_time(tmp_path):
    problems = refused(tmp_path, biopsies="subject,biopsy_id,viable_tumor_cells\nP1,B1,5\n", libraries=None)
    assert ("E-SHEET-001", "visit") in {(p.code, p.column) for p in problems}


def test_an_assay_of_slides_needs_slides(tmp_path):
    text = edited("study.yaml", ("slides: slides.csv, ", ""))
    problems = refused(tmp_path, study=text, slides=None)
    assert [(p.code, p.column) for p in problems] == [("E-FILE-001", "assays.ihc.slides")]


def test_no_folder(tmp_path):
    for path, code in ((tmp_path / "none", "E-FILE-001"), (tmp_path / "file", "E-FILE-002")):
        (tmp_path / "file").write_text("x")
        with pytest.raises(StudyError) as caught:
            read_study(path)
        assert [p.code for p in caught.value.problems] == [code]


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path):
    path = folder(tmp_path / "study")
    (tmp_path / "secret.csv").write_text("gene,x\n")
    (path / "counts.csv").unlink()
    (path / "counts.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(StudyError, match="E-FILE-006"):
        read_study(path)


def test_every_fault_of_every_file_is_told_at_once(tmp_path):
    problems = refused(
        tmp_path,
        study=edited("study.yaml", ("id:", "ids:")),
        participants=edited("participants.csv", ("F,61", "F,x")),
        biopsies=edited("biopsies.csv", ("P2,B3", "P9,B3"), ("60,500", "60,-1")),
        slides=edited("slides.csv", ("0.5", "0,5")),
    )
    assert {p.file for p in problems} == {"study.yaml", "participants.csv", "biopsies.csv", "slides.csv"}
    assert {p.code for p in problems} >= {
        "E-STUDY-001",
        "E-SHEET-007",
        "E-SHEET-006",
        "E-SHEET-008",
        "E-SHEET-003",
    }


def test_a_damaged_file_is_read_or_refused_never_a_crash(tmp_path):
    path = folder(tmp_path)
    pieces = [
        b"",
        b",",
        b"\n",
        b'"',
        b"\x00",
        b"\xff",
        b"NA",
        b"1e400",
        b":",
        b"{",
        b"[",
        b"&a",
        b"*a",
        b"!!",
        b"\t",
        b"#",
    ]
    pieces += [
        "Ａ".encode(),
        b"../",
        b"9999-12-31",
        b"0001-01-01",
        b"2025-01-01T00:00Z",
        b";",
        b"null",
        b"-0",
        b"\r",
        b"=",
    ]
    draw = random.Random(1)  # noqa: S311 - cases, not secrets
    outcomes = set()
    for _ in range(60):
        file = path / draw.choice([name for name in FILES if name.endswith((".yaml", "s.csv"))])
        data = file.read_bytes()
        start = draw.randrange(len(data) + 1)
        file.write_bytes(data[:start] + draw.choice(pieces) + data[start + draw.choice([0, 1, 3]) :])
        problems = Problems()
        outcomes.add(check_study(path, problems) is not None)
        assert all(p.message and p.remedy and p.file for p in problems)
        file.write_bytes(data)
    assert outcomes == {True, False}


# --- ids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["007", "1E5", "NA", "TRUE", "None", "=1+1", "P-1", "日本", "a/b", "../x", "é"]
)
def test_trap_32_ids_that_stay_as_typed(text):
    assert normal_id(text) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P1", "p1"),
        ("P1", "P 1"),
        ("PO1", "P01"),
        ("Р1", "P1"),
        ("A‑1", "A-1"),
        ("Pl", "P1"),
        ("ÀB", "A\u0300B"),
    ],
)
def test_ids_that_a_reader_takes_for_one(one, other):
    assert skeleton(one) == skeleton(other)
    assert skeleton(one) != skeleton(other + "2")


# --- assays --------------------------------------------------------------------------------------------


def test_with_assay_gives_a_new_study(tmp_path):
    study = read_study(folder(tmp_path))
    more = study.with_assay("ihc", assay({"B1": [1.0], "B2": [np.nan]}, ["CD8_density"], kind="density"))
    assert "ihc" in more.assays
    assert "ihc" not in study.assays
    assert "2 biopsies x 1 features" in repr(more)
    again = copy.deepcopy(study)
    assert again.spec == study.spec


BAD_ASSAYS = [
    ({"B1": [1.0], "B9": [1.0]}, "score", "not a biopsy", "obs"),
    ({"B1": [1.0]}, "counts", "unknown kind", "var.kind"),
    ({"B1": [np.inf]}, "score", "infinite", "f"),
    ({"B1": [-1.0]}, "count", "negative", "f"),
    ({"B1": [1.5]}, "count", "fractional", "f"),
    ({"B1": [-0.1]}, "density", "negative", "f"),
    ({"B1": [1.5]}, "proportion", "above 1", "f"),
]


@pytest.mark.parametrize(("values", "kind", "said", "column"), BAD_ASSAYS)
def test_assays_that_break_the_contract(tmp_path, values, kind, said, column):
    study = read_study(folder(tmp_path))
    with pytest.raises(AssayError) as caught:
        study.with_assay("x", assay(values, ["f"], kind=kind))
    (problem,) = caught.value.problems
    assert (problem.code, problem.file, problem.column) == ("E-ASSAY-001", "x", column)
    assert said in problem.message
    assert problem.remedy


def test_assays_of_the_wrong_shape():
    adata = assay({"B1": [1.0, 2.0]}, ["f", "g"])
    plain = ad.AnnData(
        np.ones((1, 1), dtype=np.float32), obs=pd.DataFrame(index=["B1"]), var=pd.DataFrame(index=["f"])
    )
    assert [p.column for p in check_assay(plain, "x")] == ["var.kind", "X"]
    adata.var["expected_direction"] = [2, 1]
    assert [p.column for p in check_assay(adata, "x")] == ["var.expected_direction"]
    assert not list(check_assay(assay({"B1": [3.0]}, ["f"], kind="count"), "x", biopsies=["B1"]))


def test_a_study_made_in_memory_is_checked(tmp_path):
    study = read_study(folder(tmp_path))
    twice = pd.concat([study.participants, study.participants])
    with pytest.raises(StudyError, match="E-SHEET-005"):
        Study(study.spec, twice, study.biopsies, study.libraries, study.slides)
    with pytest.raises(StudyError, match="E-SHEET-006"):
        Study(study.spec, study.participants.iloc[:1], study.biopsies, study.libraries, study.slides)


# --- the way back --------------------------------------------------------------------------------------


def same(one: Study, other: Study) -> None:
    for name in ("participants", "biopsies", "libraries", "slides"):
        left, right = getattr(one, name), getattr(other, name)
        derived = [c for c in ("hours_from_first_dose", "source", "path", "line") if c in left]
        pd.testing.assert_frame_equal(
            left.drop(columns=derived), right.drop(columns=derived, errors="ignore"), check_like=True
        )


def test_written_and_read_back(tmp_path):
    study = read_study(folder(tmp_path / "a"))
    back = read_study(study.write(tmp_path / "b" / "c"))
    same(study, back)
    assert not back.problems
    assert back.slides["path"].tolist() == ["../../a/slides/S1.tif", "../../a/slides/S2.tif"]
    assert back.spec.visits == study.spec.visits
    assert back.spec.assays == study.spec.assays
    assert back.write(tmp_path / "b" / "c") == tmp_path / "b" / "c"
    assert (tmp_path / "b" / "c" / "plan.yaml").read_text() == FILES["plan.yaml"]


def test_hostile_ids_survive(tmp_path):
    ids = [
        "0",
        "00",
        "NA",
        "1E5",
        "TRUE",
        "None",
        "=1+1",
        "-x",
        "'=x",
        "日本",
        'a"b',
        "a,b",
        "#7",
        "007",
        "a/../b",
    ]
    quoted = ['"' + text.replace('"', '""') + '"' for text in ids]
    study = read_study(
        folder(
            tmp_path / "a",
            participants="subject\n" + "\n".join(quoted) + "\n",
            biopsies="subject,biopsy_id,timepoint,viable_tumor_cells\n"
            + "".join(f"{text},{text},screening,5\n" for text in quoted),
            libraries=None,
            slides='slide_id,biopsy_id,path\n"NA","NA",slides/S1.tif\n',
        )
    )
    expected = ["=x" if text == "'=x" else text for text in ids]  # as a spreadsheet-safe writer protects it
    expected = sorted(expected, key=id_key)
    assert study.participants.index.tolist() == expected
    back = read_study(study.write(tmp_path / "b"))
    assert back.participants.index.tolist() == expected
    assert back.biopsies.index.tolist() == expected
    same(study, back)


# --- one file by itself --------------------------------------------------------------------------------


def test_one_file_by_itself(tmp_path):
    path = folder(tmp_path)
    names = {"subject": "participant_id", "timepoint": "visit"}
    for sheet in ("participants", "biopsies"):
        text = FILES[f"{sheet}.csv"]
        for old, new in names.items():
            text = text.replace(old, new)
        (path / f"{sheet}.csv").write_text(text)
    for kind in ("participants", "biopsies", "libraries", "slides", "plan"):
        file = path / ("plan.yaml" if kind == "plan" else f"{kind}.csv")
        assert not list(check_file(file, kind)), kind
    assert [p.code for p in check_file(path / "slides.csv", "biopsies")] == ["E-SHEET-001"] * 2
    assert not list(check_file(path / "study.yaml", "study"))
    assert [p.code for p in check_file(path, "study")] == ["E-STUDY-001"] * 2  # `columns` names nothing now
    with pytest.raises(ValueError, match="Nearest: 'slides'"):
        check_file(path, "slide")


def test_a_formula_by_itself(tmp_path):
    assert not list(check_file("~ visit + (1|participant)", "formula"))
    assert [p.code for p in check_file("~ visit +", "formula")] == ["E-FORMULA-001"]
    (tmp_path / "f.txt").write_text("~ visit + os.system(1)\n")
    assert [p.code for p in check_file(tmp_path / "f.txt", "formula")] == ["E-FORMULA-002"]
    assert [p.code for p in check_file("visit", "formula")] == ["E-FILE-001"]
    (tmp_path / "f.txt").write_bytes(b"~ \xff")
    assert [p.code for p in check_file(tmp_path / "f.txt", "formula")] == ["E-FILE-003"]


# --- real data -----------------------------------------------------------------------------------------


@pytest.mark.data
def test_riaz(tmp_path, shared_data):
    study = read_study(build_riaz_study(shared_data, tmp_path / "riaz"))
    assert study.problems == ()
    assert (len(study.participants), len(study.biopsies), len(study.libraries)) == (65, 108, 109)
    assert study.libraries.loc[study.libraries["biopsy_id"] == "Pt109_On"].shape[0] == 2
    visits = study.biopsies.groupby("participant_id")["visit"].agg(set)
    assert sum(found == {"Pre", "On"} for found in visits) == 43
    same(study, read_study(study.write(tmp_path / "again")))
    assert not list(check_file(tmp_path / "riaz", "study"))


def test_input_errors_carry_their_problems_when_copied(tmp_path):
    with pytest.raises(InputError) as caught:
        read_study(tmp_path / "none")
    again = copy.deepcopy(caught.value)
    assert again.problems == caught.value.problems


# --- the documentation ---------------------------------------------------------------------------------


def test_the_documented_example_is_read_as_it_stands(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "study_folder.md").read_text(encoding="utf-8")
    names = []
    for section in text.split("\n## ")[1:]:
        name, _, body = section.partition("\n")
        if "```" in body and name.endswith((".yaml", ".csv")):
            (tmp_path / name).write_text(body.split("```")[1].split("\n", 1)[1], encoding="utf-8")
            names.append(name)
    assert names == [
        "study.yaml",
        "participants.csv",
        "biopsies.csv",
        "libraries.csv",
        "slides.csv",
        "plan.yaml",
    ]
    tables = ("counts.csv", "genes.csv", "serum.csv", "serum_features.csv")
    for name in (*tables, "slides/S1.ome.tiff", "slides/S2.ome.tiff", "regions/S1.geojson"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert not list(check_file(tmp_path, "study"))
    study = read_study(tmp_path)
    for column in [*study.participants, *study.biopsies, *study.slides]:
        assert column in {"line", "hours_from_first_dose", "assay"} or f"`{column}`" in text, column
