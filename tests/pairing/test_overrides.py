"""Reviewers' decisions: checked, applied, listed, and taken back without a trace."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from builders import assay, study_folder
from small_study import biopsy, small_study

import pdbiomarker as pb
from pdbiomarker.change import pd_change
from pdbiomarker.errors import Problem, StudyError
from pdbiomarker.pairing import accountability, usable
from pdbiomarker.plan import Plan
from pdbiomarker.run.results import write_result
from pdbiomarker.study import Study, read_study

STUDY = "id: T\nvisits: {screening: [-28, -1], C2D1: {window: 7}}\nadequacy: {viable_tumor_cells: 100}\n"
BIOPSIES = """
participant_id,biopsy_id,visit,study_day,viable_tumor_cells
P1,a1,screening,-7,500
P1,a2,C2D1,29,10
P2,b1,screening,-7,500
P2,b2,C2D1,45,500
P3,c1,screening,-7,500
P3,c2,C2D1,29,500
P4,d1,screening,-7,500
P4,d2,C2D1,29,500
"""
HEADER = "item,action,reason,who,date\n"
PAIR = ("screening", "C2D1")


def overridden(path: Path, rows: str, **files: str) -> Study:
    named = {name.replace("_csv", ".csv"): text for name, text in files.items()}
    folder = study_folder(
        path, biopsies=BIOPSIES, study=STUDY, files={"overrides.csv": HEADER + rows, **named}
    )
    return read_study(folder)


def test_every_action_does_what_it_says_and_says_so(tmp_path):
    study = overridden(
        tmp_path,
        "a2,include,tumour seen on recut,A. Pathologist,2025-07-01\n"
        "biopsy:b2,assign_visit=C2D1,dosing was delayed,B. Monitor,2025-07-02\n"
        "c2,inadequate,crushed throughout,A. Pathologist,2025-07-01\n"
        "participant:P4,exclude,another drug was given,C. Lead,2025-07-03\n",
    )
    assert study.left_out["participant"] == {"P4"}
    assert {i for kind, ids in study.left_out.items() if kind != "participant" for i in ids} == set()
    table = usable(study, None, visits=PAIR)
    assert table["used"].to_dict() == {
        "a1": True, "a2": True, "b1": True, "b2": True, "c1": True, "c2": False, "d1": False, "d2": False,
    }  # fmt: skip
    assert table.loc["a2", "reason"] == (
        "override: included by A. Pathologist on 2025-07-01: tumour seen on recut."
    )
    assert table.loc["b2", ["visit", "visit_source", "code"]].tolist() == [
        "C2D1",
        "override",
        "E-OVERRIDE-012",
    ]
    assert table.loc["c2", "code"] == "E-OVERRIDE-011"
    assert table.loc[["d1", "d2"], "code"].tolist() == ["E-OVERRIDE-010"] * 2
    # In the set of everybody an inadequate biopsy is used, and the reviewer's word still stands there.
    everybody = usable(study, None, visits=PAIR, set_="all_biopsied")
    assert everybody.loc["c2", "used"]
    assert "override: judged inadequate" in everybody.loc["c2", "reason"]
    flow = accountability(study, {"on": PAIR}, sets=("strict",)).set_index("step")
    assert flow.loc["not left out by a reviewer", ["n_lost", "reasons"]].tolist() == [1, "1 override"]
    assert flow.loc["evaluable pair", "n_participants"] == 2
    again = read_study(study.write(tmp_path / "copy"))
    pd.testing.assert_frame_equal(again.overrides, study.overrides)


FAULTS = [
    ("zz,exclude,why,AB,2025-07-01", "E-OVERRIDE-001", "item"),
    ("slide:a1,exclude,why,AB,2025-07-01", "E-OVERRIDE-001", "item"),
    ("a1,remove,why,AB,2025-07-01", "E-OVERRIDE-002", "action"),
    ("a1,assign_visit,why,AB,2025-07-01", "E-OVERRIDE-002", "action"),
    ("a2,assign_visit=C9D1,why,AB,2025-07-01", "E-OVERRIDE-002", "action"),
    ("P1,include,why,AB,2025-07-01", "E-OVERRIDE-002", "action"),
    ("a1,exclude,,AB,2025-07-01", "E-OVERRIDE-003", "reason"),
    ("a1,exclude,why,,2025-07-01", "E-OVERRIDE-003", "who"),
    ("a1,exclude,why,AB,July", "E-OVERRIDE-003", "date"),
    ("a1,assign_visit=C2D1,why,AB,2025-07-01", "E-OVERRIDE-006", "action"),
    ("c1,exclude,why,AB,2025-07-01", "E-OVERRIDE-005", "item"),  # also a slide
]


def test_all_faults_are_refused_at_once_with_their_rows(tmp_path):
    rows = "".join(f"{row}\n" for row, *_ in FAULTS)
    rows += "b1,exclude,why,AB,2025-07-01\nb1,include,why,AB,2025-07-01\nb2,exclude,why,AB,2025-07-01\n"
    rows += "b2,exclude,why,AB,2025-07-02\nP4,exclude,why,AB,2025-07-01\nd1,adequate,why,AB,2025-07-01\n"
    slides = "slide_id,biopsy_id,path\nc1,c1,s.tiff\n"
    with pytest.raises(StudyError) as caught:
        overridden(tmp_path, rows, slides_csv=slides)
    errors = [p for p in caught.value.problems if p.severity == "error"]
    told = {(p.code, p.row, p.column) for p in errors}
    expected = {(code, line, column) for line, (_, code, column) in enumerate(FAULTS, start=2)}
    clashes = {("E-OVERRIDE-004", len(FAULTS) + k, "item") for k in (3, 5, 7)}
    assert told == expected | clashes
    assert all(p.file == "overrides.csv" and p.remedy for p in errors)


def test_an_empty_list_and_no_list_are_the_same(tmp_path):
    with_header = overridden(tmp_path / "a", "")
    folder = study_folder(tmp_path / "b", biopsies=BIOPSIES, study=STUDY)
    assert usable(with_header, None, visits=PAIR).equals(usable(read_study(folder), None, visits=PAIR))
    assert with_header.problems == ()


def test_the_order_of_the_decisions_leaves_no_trace(tmp_path):
    rows = ["a2,include,one,AB,2025-07-01\n", "c2,inadequate,two,AB,2025-07-01\n"]
    one, two = overridden(tmp_path / "a", "".join(rows)), overridden(tmp_path / "b", "".join(rows[::-1]))
    pd.testing.assert_frame_equal(one.overrides, two.overrides)


def test_a_library_left_out_is_named_in_the_row_of_its_biopsy(tmp_path):
    libraries = "library_id,biopsy_id\n" + "".join(f"L{b},{b}\n" for b in ("a1", "b1", "c1", "c2", "d1"))
    study = overridden(
        tmp_path, "Lc2,exclude,wrong tube,AB,2025-07-01\n", libraries_csv=libraries + "Lc2b,c2\nLd2,d2\n"
    )
    assert "Lc2" not in study.libraries.index
    assert study.aside["library"].index.tolist() == ["Lc2"]
    values = {b: [1.0] for b in ("a1", "b1", "c1", "c2", "d1", "d2")}
    with_rna = study.with_assay("rna", assay(values, ["X"]))
    row = usable(with_rna, "rna", visits=PAIR).loc["c2"]
    assert row["used"]  # its second library is still there
    assert row["reason"] == "override: library 'Lc2' left out by AB on 2025-07-01: wrong tube."
    again = read_study(study.write(tmp_path / "copy"))
    columns = ["biopsy_id", "source"]
    pd.testing.assert_frame_equal(again.libraries[columns], study.libraries[columns])
    assert again.aside["library"].index.tolist() == ["Lc2"]


def test_a_slide_left_out_is_named_in_the_row_of_its_biopsy(tmp_path):
    slides = "slide_id,biopsy_id,path\n" + "".join(f"S{b},{b},{b}.tiff\n" for b in ("a1", "c1", "c2"))
    folder = study_folder(
        tmp_path,
        biopsies=BIOPSIES,
        study=STUDY + "assays: {ihc: {slides: slides.csv, panel: cd8}}\n",
        files={
            "slides.csv": slides,
            **{f"{b}.tiff": "x" for b in ("a1", "c1", "c2")},
            "overrides.csv": HEADER + "slide:Sc2,exclude,out of focus,AB,2025-07-01\n",
        },
    )
    study = read_study(folder).with_assay("ihc", assay({"a1": [1.0], "c1": [1.0]}, ["X"]))
    row = usable(study, "ihc", visits=PAIR).loc["c2"]
    assert not row["used"]
    assert "slide 'Sc2' left out by AB on 2025-07-01: out of focus" in row["reason"]


def test_a_slide_whose_file_is_missing_is_named_in_the_row_of_its_biopsy(tmp_path):
    folder = study_folder(
        tmp_path,
        biopsies=BIOPSIES,
        study=STUDY + "assays: {ihc: {slides: slides.csv, panel: cd8}}\n",
        files={
            "slides.csv": "slide_id,biopsy_id,path\nSc1,c1,c1.tiff\nSc2,c2,c2.tiff\n",
            "c1.tiff": "x",
        },
    )
    study = read_study(folder)
    assert study.slides.index.tolist() == ["Sc1"]
    assert study.aside["slide"].index.tolist() == ["Sc2"]
    measured = study.with_assay("ihc", assay({"c1": [1.0]}, ["X"]))
    row = usable(measured, "ihc", visits=PAIR).loc["c2"]
    assert (row["used"], row["code"]) == (False, "E-PAIR-008")
    assert "E-FILE-001" in row["reason"]
    again = read_study(study.write(tmp_path / "copy"))
    assert again.aside["slide"].index.tolist() == ["Sc2"]
    assert [p.code for p in again.problems if p.item == "Sc2"] == ["E-FILE-001"]


@pytest.mark.parametrize("code", ["E-LANE-003", "E-COUNT-007"])
def test_a_lane_that_is_not_fit_is_the_reason_of_its_biopsy(tmp_path, code):
    study = read_study(study_folder(tmp_path, biopsies=BIOPSIES, study=STUDY))
    told = Problem(
        code, "Lane 'c2': too few fields.", "Scan again.", "c2.RCC", severity="quarantine", item="c2"
    )
    study = dataclasses.replace(study, problems=(told,)).with_assay("lanes", assay({"c1": [1.0]}, ["X"]))
    row = usable(study, "lanes", visits=PAIR).loc["c2"]
    assert row["reason"] == f"Not measured in 'lanes': {code} Lane 'c2': too few fields."


def test_taking_a_decision_back_gives_the_earlier_bytes(tmp_path):
    values = {b: [float(k)] for k, b in enumerate(("a1", "a2", "b1", "c1", "c2", "d1", "d2"))}

    def results(name: str, rows: str | None) -> dict[str, bytes]:
        folder = study_folder(tmp_path / name, biopsies=BIOPSIES, study=STUDY)
        if rows is not None:
            (folder / "overrides.csv").write_text(HEADER + rows)
        study = read_study(folder).with_assay("s", assay(values, ["X"]))
        out = tmp_path / f"{name}_out"
        write_result(pd_change(study, Plan.default(study)), out, facts={})
        return {path.name: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    before = results("before", None)
    during = results("during", "c2,exclude,wrong block,AB,2025-07-01\n")
    assert during["pd_change.csv"] != before["pd_change.csv"]
    assert "overrides.csv" in during
    assert "overrides.csv" not in before
    assert results("after", "") == before
    assert results("gone", None) == before


def test_a_run_lists_the_decisions_with_who_when_and_why(tmp_path):
    study = small_study(tmp_path / "study", slides=False)
    row = [f"biopsy:{biopsy(3, 1)}", "exclude", "wrong block", "A. Reviewer", "2025-07-01"]
    (study / "overrides.csv").write_text(HEADER + ",".join(row) + "\n")
    out = tmp_path / "out"
    assert pb.run_study(study, out, progress=False).exit_code == 0
    listed = pd.read_csv(out / "results/overrides.csv", dtype=str)
    columns = ["item", "action", "reason", "who", "date"]
    assert listed[columns].values.tolist() == [[biopsy(3, 1), *row[1:]]]
    rows = pd.read_csv(out / "results/biopsies.csv", dtype=str)
    mine = rows[rows["biopsy_id"] == biopsy(3, 1)]
    assert mine["reason"].str.startswith("override: left out by A. Reviewer on 2025-07-01").all()
    manifest = json.loads((out / "manifest.json").read_text())
    assert "overrides.csv" in json.dumps(manifest["inputs"])
    page = (out / "review.html").read_text()
    assert all(text in page for text in ("A. Reviewer", "wrong block", "2025-07-01", "Reviewers"))
    assert pb.read_result(out).study.overrides["item"].tolist() == [biopsy(3, 1)]


def test_a_results_folder_keeps_who_decided_when(tmp_path):
    folder = study_folder(
        tmp_path / "s",
        biopsies=BIOPSIES,
        study=STUDY + "assays: {s: {kind: intensity, file: s.csv}}\n",
        files={
            "overrides.csv": HEADER + "b2,assign_visit=C2D1,dosing was delayed,B. Monitor,2025-07-02\n",
            "s.csv": "feature,a1,a2,b1,b2,c1,c2,d1,d2\nIL6,1,2,2,5,3,7,4,6\n",
            "plan.yaml": "families: {primary: [s:IL6]}\n",
        },
    )
    pb.run_study(folder, tmp_path / "out", progress=False)
    study = pb.read_result(tmp_path / "out").study
    pd.testing.assert_frame_equal(study.overrides, read_study(folder).overrides, check_dtype=False)
    row = usable(study, "s", visits=PAIR).loc["b2"]
    assert (
        row["reason"] == "override: given the visit 'C2D1' by B. Monitor on 2025-07-02: dosing was delayed."
    )
