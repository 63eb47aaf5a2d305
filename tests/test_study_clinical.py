"""The clinical sheets of a study folder: what is read, what is refused and where, and the way back to disk."""
# ruff: noqa: E501 - tables of cases, one line each

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pdbiomarker.cli.study import Kind
from pdbiomarker.errors import Problem, Problems, StudyError
from pdbiomarker.run.check import check
from pdbiomarker.study import Study, read_study
from pdbiomarker.study.clinical_reading import parse_concentration
from pdbiomarker.study.clinical_sheets import SHEETS
from pdbiomarker.study.units import conversion, parse_unit

STUDY = {
    "study.yaml": "id: T\ndata_cutoff: 2025-06-30\nvisits:\n  screening: [-28, -1]\n  C2D1: {day: 29, window: 7}\ncolumns: {SUBJ: participant_id, PCORRES: concentration}\n",
    "participants.csv": "participant_id,cohort,dose_mg,first_dose_datetime\n007,A,100,2025-01-10T09:00\nP2,A,300,2025-02-01\nP3,B,300,\n",
    "biopsies.csv": "participant_id,biopsy_id,visit\n007,B1,screening\n007,B2,C2D1\n",
}
CLINICAL = {
    "doses": "participant_id,start,end,amount,unit,cycle,day,status\n007,2025-01-10T09:00,2025-01-10T10:00,100,mg,1,1,Given\n007,2025-02-07T09:00,,0.1,g,2,1,reduced\nP2,2025-02-01,,2,mg/kg,1,1,\n",
    "concentrations": "SUBJ,datetime,PCORRES,unit,lloq,site_note\n007,2025-01-10T08:30,<BLQ,ug/ml,0.05,a\n007,2025-01-10T10:00,4.3,ug/ml,0.05,b\n007,2025-01-11T10:00,0,ug/ml,0.05,\n007,2025-01-12T10:00,<0.05,ug/ml,,\n007,2025-01-13T10:00,,ug/ml,0.05,lost\n",
    "lesions": "participant_id,date,lesion_id,role,diameter_mm,node,state,reader\n007,2025-01-05,T01,TARGET,23,no,measured,INV\n007,2025-01-05,T01,target,24,no,measured,RAD1\n007,2025-01,N1,non-target,,yes,present,INV\n",
    "responses": "participant_id,date,response\nP2,2025-03-28,pr\n",
    "outcomes": "participant_id,death_date,last_contact_date,measurable_disease\n007,2025-08-01,2025-06-01,Y\nP2,,2025-06,no\n",
    "ada": "participant_id,study_day,assay_step,result,titre,titre_scale,drug_concentration,unit\n007,1,screen,neg,,,,\n007,29,titer,positive,160,linear,12,ng/mL\n",
    "adverse_events": "participant_id,term,system_organ_class,grade,start,end,serious,related,dose_limiting\n007,Nausea,GI,2,2025-01-12,2025-07-05,no,yes,no\nP2,Fever,General,3,2025-07-02,,yes,yes,yes\n",
}


def folder(path: Path, **sheets: str) -> Path:
    (path / "clinical").mkdir(parents=True)
    named = any("SUBJ" in text for text in sheets.values())
    for name, text in STUDY.items():
        content = text if named else text.partition("columns:")[0]
        (path / name).write_text(content, encoding="utf-8")
    for name, text in sheets.items():
        (path / "clinical" / f"{name}.csv").write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return read_study(folder(tmp_path / "s", **CLINICAL))


def test_every_sheet_is_read_typed_with_text_ids(study: Study) -> None:
    assert set(study.clinical) == {*CLINICAL, "set_aside"}
    doses = study.clinical["doses"]
    assert doses["participant_id"].tolist() == ["007", "007", "P2"]
    assert doses["status"].tolist() == ["given", "reduced", None]
    assert doses["amount"].tolist() == [100.0, 0.1, 2.0]
    assert doses["start"].tolist() == ["2025-01-10T09:00:00", "2025-02-07T09:00:00", "2025-02-01"]
    assert doses["start_typed"].dt.day.tolist() == [10, 7, 1]
    assert doses["study_day"].tolist() == [1, 29, 1]
    assert doses["end_study_day"].tolist() == [1, pd.NA, pd.NA]
    assert study.clinical["lesions"]["role"].tolist() == ["non-target", "target", "target"]
    assert study.clinical["responses"]["response"].tolist() == ["PR"]
    assert study.clinical["ada"]["result"].tolist() == ["negative", "positive"]
    assert study.clinical["ada"]["study_day"].tolist() == [1, 29]
    assert study.clinical["outcomes"]["measurable_disease"].tolist() == ["yes", "no"]
    assert "clinical" in repr(study)


def test_trap_23_below_the_limit_in_three_spellings_is_one_thing(study: Study) -> None:
    frame = study.clinical["concentrations"]
    assert frame["blq"].tolist() == [True, False, True, True, False]
    assert frame["concentration"].notna().tolist() == [False, True, False, False, False]
    assert frame["lloq"].tolist() == [0.05, 0.05, 0.05, 0.05, 0.05]
    assert frame["concentration_text"].tolist() == ["<BLQ", "4.3", "0", "<0.05", None]
    assert frame["site_note"].tolist() == ["a", "b", None, None, "lost"]
    assert [parse_concentration(t) for t in ("BLQ", "< 0.5", "nd", "1,5")][2:] == [None, None]


def test_partial_dates_stay_as_typed_and_are_told(study: Study) -> None:
    lesions, outcomes = study.clinical["lesions"], study.clinical["outcomes"]
    assert lesions["date"].tolist() == ["2025-01", "2025-01-05", "2025-01-05"]
    assert lesions["date_imputed"].tolist() == ["day", None, None]
    assert lesions["date_typed"].isna().tolist() == [True, False, False]
    assert lesions["study_day"].tolist() == [pd.NA, -5, -5]
    assert outcomes["last_contact_date"].tolist() == ["2025-06-01", "2025-06"]
    told = [p for p in study.problems if p.code == "E-CLIN-008"]
    assert {(p.file, p.row, p.value) for p in told} == {
        ("clinical/lesions.csv", 4, "2025-01"),
        ("clinical/outcomes.csv", 3, "2025-06"),
    }


def test_trap_35_what_lies_after_the_cut_off_is_set_aside_with_its_row(study: Study) -> None:
    aside = study.clinical["set_aside"]
    assert aside[["sheet", "line", "participant_id", "column", "value"]].to_numpy().tolist() == [
        ["adverse_events", 2, "007", "end", "2025-07-05"],
        ["adverse_events", 3, "P2", "start", "2025-07-02"],
        ["outcomes", 2, "007", "death_date", "2025-08-01"],
    ]
    assert "term=Fever" in aside["row"].iloc[1]
    assert study.clinical["adverse_events"]["term"].tolist() == ["Nausea"]
    assert study.clinical["adverse_events"]["end"].tolist() == [None]
    assert study.clinical["outcomes"]["death_date"].tolist() == [None, None]
    told = [p for p in study.problems if p.code == "E-CLIN-007"]
    assert [p.severity for p in told] == ["warning"] * 3


def test_trap_35_a_row_is_set_aside_once_and_a_sheet_may_be_left_with_none(tmp_path: Path) -> None:
    late = "participant_id,start,end,amount,unit\n007,2025-07-01,2025-07-02,1,mg\n"
    found = read_study(folder(tmp_path / "s", doses=late))
    assert found.clinical["doses"].empty
    assert found.clinical["set_aside"]["column"].tolist() == ["start"]
    again = read_study(found.write(tmp_path / "copy"))
    assert set(again.clinical) == {"set_aside"}


def test_the_folder_written_reads_back_the_same(study: Study, tmp_path: Path) -> None:
    again = read_study(study.write(tmp_path / "copy"))
    assert set(again.clinical) == set(study.clinical)
    for name, frame in study.clinical.items():
        pd.testing.assert_frame_equal(
            again.clinical[name].drop(columns="line"), frame.drop(columns="line"), check_dtype=False
        )
    third = read_study(again.write(tmp_path / "third"))
    for path in sorted((tmp_path / "copy" / "clinical").iterdir()):
        assert path.read_bytes() == (tmp_path / "third" / "clinical" / path.name).read_bytes()
    assert set(third.clinical) == set(study.clinical)


BAD = {
    # name: sheet, text, then code, line, column, value
    "not a date": (
        "responses",
        "participant_id,date,response\n007,03/04/2025,PR\n",
        "E-SHEET-012",
        2,
        "date",
        "03/04/2025",
    ),
    "no such month": (
        "responses",
        "participant_id,date,response\n007,2025-13,PR\n",
        "E-SHEET-012",
        2,
        "date",
        "2025-13",
    ),
    "unknown participant": (
        "responses",
        "participant_id,date,response\n7,2025-03-01,PR\n",
        "E-SHEET-006",
        2,
        "participant_id",
        "7",
    ),
    "unknown word": (
        "responses",
        "participant_id,date,response\n007,2025-03-01,RP\n",
        "E-CLIN-002",
        2,
        "response",
        "RP",
    ),
    "duplicate record": (
        "responses",
        "participant_id,date,response\n007,2025-03-01,PR\n007,2025-03-01,SD\n",
        "E-CLIN-003",
        3,
        "participant_id",
        "007, 2025-03-01",
    ),
    "row twice": (
        "responses",
        "participant_id,date,response\n007,2025-03-01,PR\n007,2025-03-01,PR\n",
        "E-SHEET-016",
        3,
        "participant_id",
        "007, 2025-03-01",
    ),
    "missing column": (
        "responses",
        "participant_id,date\n007,2025-03-01\n",
        "E-SHEET-001",
        1,
        "response",
        None,
    ),
    "missing value": (
        "responses",
        "participant_id,date,response\n007,2025-03-01,\n",
        "E-SHEET-017",
        2,
        "response",
        None,
    ),
    "negative concentration": (
        "concentrations",
        "participant_id,time_h,concentration,unit\n007,1,-3,ng/mL\n",
        "E-SHEET-008",
        2,
        "concentration",
        "-3",
    ),
    "concentration in words": (
        "concentrations",
        "participant_id,time_h,concentration,unit\n007,1,ND,ng/mL\n",
        "E-CLIN-009",
        2,
        "concentration",
        "ND",
    ),
    "concentration in mg": (
        "concentrations",
        "participant_id,time_h,concentration,unit\n007,1,3,mg\n",
        "E-CLIN-005",
        2,
        "unit",
        "mg",
    ),
    "sample without time": (
        "concentrations",
        "participant_id,time_h,concentration,unit\n007,,3,mg/L\n",
        "E-SHEET-017",
        2,
        "time_h",
        None,
    ),
    "no time column": (
        "concentrations",
        "participant_id,concentration,unit\n007,3,mg/L\n",
        "E-SHEET-001",
        1,
        "datetime",
        None,
    ),
    "sample twice": (
        "concentrations",
        "participant_id,time_h,concentration,unit\n007,1,3,mg/L\n007,1.0,4,mg/L\n",
        "E-CLIN-003",
        3,
        "participant_id",
        "007, 1.0",
    ),
    "dose without unit": (
        "doses",
        "participant_id,start,amount,unit\n007,2025-01-10,100,\n",
        "E-CLIN-004",
        2,
        "unit",
        "100",
    ),
    "dose without a unit column": (
        "doses",
        "participant_id,start,amount\n007,2025-01-10,100\n",
        "E-CLIN-004",
        2,
        "unit",
        "100",
    ),
    "dose in an unknown unit": (
        "doses",
        "participant_id,start,amount,unit\n007,2025-01-10,100,tablet\n",
        "E-CLIN-005",
        2,
        "unit",
        "tablet",
    ),
    "dose without amount": (
        "doses",
        "participant_id,start,amount,unit\n007,2025-01-10,,mg\n",
        "E-SHEET-017",
        2,
        "amount",
        None,
    ),
    "end before start": (
        "doses",
        "participant_id,start,end,amount,unit\n007,2025-01-10T09:00,2025-01-10T08:00,1,mg\n",
        "E-CLIN-006",
        2,
        "end",
        "2025-01-10T08:00:00",
    ),
    "grade 6": (
        "adverse_events",
        "participant_id,term,grade\n007,Nausea,6\n",
        "E-SHEET-008",
        2,
        "grade",
        "6",
    ),
    "titre without scale": (
        "ada",
        "participant_id,study_day,assay_step,titre\n007,29,titre,2.2\n",
        "E-CLIN-004",
        2,
        "titre_scale",
        "2.2",
    ),
    "day 0": (
        "ada",
        "participant_id,study_day,assay_step\n007,0,screen\n",
        "E-SHEET-008",
        2,
        "study_day",
        "0",
    ),
    "day against date": (
        "ada",
        "participant_id,date,study_day,assay_step\n007,2025-01-12,5,screen\n",
        "E-SHEET-013",
        2,
        "study_day",
        "5",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_refused_with_its_place_and_remedy(case: str, tmp_path: Path) -> None:
    sheet, text, code, line, column, value = BAD[case]
    with pytest.raises(StudyError) as caught:
        read_study(folder(tmp_path / "s", **{sheet: text}))
    errors = [p for p in caught.value.problems if p.severity == "error"]
    assert [(p.code, p.file, p.row, p.column, p.value) for p in errors if p.code == code] == [
        (code, f"clinical/{sheet}.csv", line, column, value)
    ]
    assert all(p.remedy for p in errors)


def test_all_problems_are_told_at_once_by_check_too(tmp_path: Path) -> None:
    path = folder(tmp_path / "s", **{s: text for s, text, *_ in BAD.values()}, lession="a\n1\n")
    found: list[Problem] = list(check(path))
    assert {p.file for p in found if p.severity == "error"} == {
        f"clinical/{sheet}.csv" for sheet, *_ in BAD.values()
    }
    unknown = [p for p in found if p.code == "E-CLIN-001"]
    assert [(p.file, p.severity) for p in unknown] == [("clinical/lession.csv", "warning")]
    assert "'lesions'" in unknown[0].remedy


def test_one_sheet_is_checked_by_itself(tmp_path: Path) -> None:
    path = folder(tmp_path / "s", doses=BAD["dose without unit"][1]) / "clinical" / "doses.csv"
    assert [(p.code, p.file, p.row) for p in check(path, as_="doses")] == [("E-CLIN-004", "doses.csv", 2)]
    assert set(SHEETS) <= set(Kind)


def test_the_file_names_the_sites_column(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        read_study(folder(tmp_path / "s", concentrations="SUBJ,time_h,PCORRES,unit\n008,1,-2,mg/L\n"))
    assert {(p.code, p.column) for p in caught.value.problems if p.severity == "error"} == {
        ("E-SHEET-006", "SUBJ"),
        ("E-SHEET-008", "PCORRES"),
    }


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        ("ug/mL", "mg/L", 1.0),
        ("µg/ml", "ng/mL", 1000.0),
        ("mcg", "mg", 0.001),
        ("g", "mg", 1000.0),
        ("h*ug/ml", "day*ng/mL", 1000 / 24),
        ("nM", "nmol/L", 1.0),
        ("ug/kg", "mg/kg", 0.001),
        ("mg/kg", "mg", None),
        ("mg", "mg/m2", None),
        ("nmol/L", "ng/mL", None),
        ("mL/min", "L/h", 0.06),
    ],
)
def test_units_convert_exactly_or_not_at_all(source: str, target: str, factor: float | None) -> None:
    a, b = parse_unit(source), parse_unit(target)
    assert a is not None
    assert b is not None
    assert conversion(a, b) == factor


@pytest.mark.parametrize("text", ["", "tablet", "mg//L", "/mL", "mg/", "mg L"])
def test_a_unit_that_is_not_in_the_table_is_none(text: str) -> None:
    assert parse_unit(text) is None


def test_the_manifest_names_the_clinical_sheets(study: Study) -> None:
    from pdbiomarker.run.description import input_files

    names = {name for name, _ in input_files(study, None)}
    assert {f"clinical/{name}.csv" for name in CLINICAL} <= names


def test_without_a_folder_there_is_nothing_and_no_word(tmp_path: Path) -> None:
    path = folder(tmp_path / "s")
    (path / "clinical").rmdir()
    found = read_study(path)
    assert dict(found.clinical) == {}
    assert not Problems(found.problems).warnings
