"""The checker of analysis datasets: a good one passes, each rule broken is told."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.cdisc import check_adam, dataset_of


def good() -> pd.DataFrame:
    """Two participants, one parameter: baseline 10 and 20, later 15 and 10."""
    frame = pd.DataFrame(
        {
            "STUDYID": "S",
            "USUBJID": ["1", "1", "2", "2", "2"],
            "ASEQ": [1.0, 2.0, 1.0, 2.0, 3.0],
            "PARAMCD": "CD8",
            "PARAM": "CD8 (cells/mm2)",
            "AVISIT": ["Base", "On", "Base", "On", "On"],
            "AVISITN": [0.0, 1.0, 0.0, 1.0, 1.0],
            "ADT": [dt.date(2025, 1, 1), dt.date(2025, 2, 1)] * 2 + [dt.date(2025, 2, 2)],
            "ADY": [-5.0, 27.0, -5.0, 27.0, 28.0],
            "BASETYPE": "B",
            "AVAL": [10.0, 15.0, 20.0, 10.0, 11.0],
            "BASE": [10.0, 10.0, 20.0, 20.0, 20.0],
            "CHG": [np.nan, 5.0, np.nan, -10.0, np.nan],
            "PCHG": [np.nan, 50.0, np.nan, -50.0, np.nan],
            "ABLFL": ["Y", None, "Y", None, None],
            "ANL01FL": ["Y", "Y", "Y", "Y", None],
            "ANLRSN": [None] * 4 + ["Another biopsy was chosen."],
        }
    )
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def checked(frame: pd.DataFrame):
    return check_adam(dataset_of("ADPD", frame, label="x", labels={c: f"Label {c}" for c in frame.columns}))


def test_a_good_dataset_passes():
    assert list(checked(good())) == []


@pytest.mark.parametrize(
    ("column", "row", "value", "told"),
    [
        ("PARAMCD", 1, "cd8", "PARAMCD"),
        ("PARAMCD", 1, "TOOLONGCODE", "PARAMCD"),
        ("PARAMCD", 2, "CD9", "PARAM"),
        ("AVISITN", 2, 2.0, "AVISIT"),
        ("ABLFL", 2, "N", "ABLFL"),
        ("ABLFL", 2, "Y", "ABLFL"),
        ("BASE", 2, 11.0, "BASE"),
        ("BASE", 5, np.nan, "BASE"),
        ("CHG", 2, 5.1, "CHG"),
        ("PCHG", 2, 51.0, "PCHG"),
        ("ADY", 1, 0.0, "ADY"),
        ("ADY", 1, -4.5, "ADY"),
        ("ANL01FL", 5, "Y", "ANL01FL"),
        ("ANLRSN", 5, None, "ANLRSN"),
        ("ASEQ", 2, 1.0, "ASEQ"),
        ("AVAL", 5, np.inf, None),
    ],
)
def test_each_rule_that_is_broken_is_told_at_its_record(column, row, value, told):
    frame = good()
    frame.loc[row, column] = value
    problems = [p for p in checked(frame) if p.code == "E-CDISC-011"]
    if told is None:
        assert problems == []
        return
    assert (told, row) in {(p.column, p.row) for p in problems}


def test_a_value_in_the_analysis_is_there():
    frame = good()
    frame.loc[2, ["AVAL", "CHG", "PCHG"]] = np.nan
    assert [(p.column, p.row) for p in checked(frame)] == [("ANL01FL", 2)]


def test_percent_of_a_baseline_of_zero_is_refused():
    frame = good()
    frame.loc[[1, 2], "BASE"] = 0.0
    frame.loc[1, "AVAL"] = 0.0
    frame.loc[2, ["CHG", "PCHG"]] = [15.0, 100.0]
    assert [(p.column, p.row) for p in checked(frame)] == [("PCHG", 2)]


def test_the_scale_of_a_change_decides_what_it_must_be():
    frame = good()
    frame["LINK"] = "LOG2"
    frame["R2BASE"] = [np.nan, 1.5, np.nan, 0.5, np.nan]
    frame["CHG"] = [np.nan, np.log2(1.5), np.nan, -1.0, np.nan]
    assert list(checked(frame)) == []
    frame.loc[4, "CHG"] = -10.0  # the difference, on the scale of ratios
    assert [(p.column, p.row) for p in checked(frame)] == [("CHG", 4)]
    frame["LINK"] = "LOG10"
    assert {p.column for p in checked(frame)} >= {"LINK"}


def test_forms_that_a_transport_file_cannot_hold():
    frame = good().rename(columns={"ANLRSN": "REASONLONG"})
    frame["ANLRSN"] = frame["REASONLONG"]
    frame.loc[5, "ANLRSN"] = "x" * 201
    data = dataset_of("ADPD", frame, label="x", labels={"AVAL": "L" * 41})
    told = {(p.code, p.column) for p in check_adam(data)}
    assert ("E-CDISC-010", "REASONLONG") in told
    assert ("E-CDISC-010", "ANLRSN") in told
    assert ("E-CDISC-010", "AVAL") in told  # too long
    assert ("E-CDISC-010", "BASE") in told  # missing


def test_a_date_by_its_name_is_one_by_its_values():
    frame = good()
    frame["ADT"] = [f"2025-01-0{k}" for k in range(1, 6)]
    assert ("E-CDISC-011", "ADT") in {(p.code, p.column) for p in checked(frame)}


def test_study_days_follow_from_the_first_dose():
    frame = good()
    frame["TRTSDT"] = dt.date(2025, 1, 6)
    assert list(checked(frame)) == []
    frame.loc[2, "ADY"] = 26.0
    assert [(p.column, p.row) for p in checked(frame)] == [("ADY", 2)]


def test_variables_that_a_bds_needs():
    told = [p.column for p in checked(good().drop(columns=["PARAM", "AVAL", "CHG", "PCHG", "BASE"]))]
    assert told == ["PARAM", "AVAL"]
