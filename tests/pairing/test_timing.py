"""Times since the doses before a biopsy, by hand."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from builders import assay, study_folder

from pdbiomarker.change import pd_change
from pdbiomarker.pairing import TIMING_COLUMNS, dose_timing
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

BIOPSIES = """
participant_id,biopsy_id,visit,collection_date
P1,pre,screening,2025-01-08T09:00
P1,timed,C2D1,2025-02-07T08:00
P1,dated,C2D1,2025-02-08
P1,same_day,C2D1,2025-02-07
P2,pre2,screening,2025-01-30
P2,on2,C2D1,2025-03-03
P3,day_only,screening,
"""
PEOPLE = "participant_id,first_dose_datetime\nP1,2025-01-10T09:00\nP2,2025-02-01T10:00\nP3,2025-02-01T10:00\n"
DOSES = pd.DataFrame(
    [
        ("P1", "2025-01-10T09:00", 100.0, "mg", "given"),
        ("P1", "2025-01-24T09:00", 0.0, "mg", "held"),
        ("P1", "2025-02-07T12:00", 50.0, "mg", "reduced"),
        ("P2", "2025-02-01T10:00", 100.0, "mg", "given"),
        ("P2", "2025-03-01T10:00", 2.0, "mg/kg", "given"),
    ],
    columns=["participant_id", "start", "amount", "unit", "status"],
)


@pytest.fixture
def study(tmp_path):
    text = "id: T\nvisits: {screening: default, C2D1: {window: 7}}\n"
    found = read_study(study_folder(tmp_path, biopsies=BIOPSIES, participants=PEOPLE, study=text))
    return dataclasses.replace(found, clinical={"doses": DOSES})


def test_hours_and_doses_before_each_biopsy(study):
    table = dose_timing(study)
    # Hours by hand: 2025-02-07T08:00 is 28 days less 1 h after the first dose; the dose of 12:00 comes later.
    assert table.loc["timed", "hours_since_first_dose"] == pytest.approx(28 * 24 - 1)
    assert table.loc["timed", "hours_since_last_dose"] == pytest.approx(28 * 24 - 1)
    assert table.loc["timed", ["n_doses_before", "cumulative_dose", "timing"]].tolist() == [1, 100.0, "time"]
    # By the date alone: the reduced dose of the day before counts, 24 h; the held one never does.
    assert table.loc["dated", ["hours_since_first_dose", "hours_since_last_dose"]].tolist() == [29 * 24, 24]
    assert table.loc["dated", ["n_doses_before", "cumulative_dose", "timing"]].tolist() == [2, 150.0, "date"]
    assert table.loc["same_day", "timing"] == "date; a dose of the same day is not counted"
    assert table.loc["same_day", "n_doses_before"] == 1
    assert table["dose_modified"].to_dict()["dated"] == "yes"
    assert table.loc["pre", "hours_since_first_dose"] == -48
    assert table.loc["pre", ["n_doses_before", "cumulative_dose"]].tolist() == [0, 0.0]
    # Units that differ cannot be summed.
    assert table.loc["on2", "n_doses_before"] == 2
    assert pd.isna(table.loc["on2", "cumulative_dose"])
    assert table.loc["day_only", "timing"] == ""


def test_doses_without_a_unit_are_summed_without_one(study):
    table = dose_timing(dataclasses.replace(study, clinical={"doses": DOSES.drop(columns="unit")}))
    assert table.loc["dated", ["cumulative_dose", "dose_unit"]].tolist() == [150.0, ""]


def test_without_doses_only_the_first_is_known(study):
    table = dose_timing(dataclasses.replace(study, clinical={}))
    assert table.loc["timed", "hours_since_first_dose"] == 28 * 24 - 1
    assert table["n_doses_before"].isna().all()
    assert table["cumulative_dose"].isna().all()


def test_the_rows_of_the_biopsies_carry_the_timing(study):
    with_assay = study.with_assay(
        "s", assay({"pre": [1.0], "timed": [2.0], "pre2": [1.0], "on2": [3.0]}, ["X"])
    )
    rows = pd_change(with_assay, Plan.default(with_assay)).biopsies
    assert set(TIMING_COLUMNS) <= set(rows.columns)
    strict = rows[rows["set"] == "strict"].set_index("biopsy_id")
    assert strict.loc["timed", ["study_day", "nominal_day", "lag"]].tolist() == [29, 29, 0]
    assert strict.loc["timed", "hours_since_last_dose"] == 28 * 24 - 1
    assert strict["baseline_biopsy"].to_dict()["timed"] == "pre"


def test_who_has_no_dose_in_the_sheet_had_none(study, tmp_path):
    """The doses of the study are recorded, and none is theirs: 0, which is not the same as unknown."""
    biopsies = "participant_id,biopsy_id,visit,collection_date\nP9,undosed,screening,2025-02-03\n"
    text = "id: T\nvisits: {screening: default, C2D1: {window: 7}}\n"
    other = read_study(study_folder(tmp_path / "other", biopsies=biopsies, study=text))
    row = dose_timing(dataclasses.replace(other, clinical=study.clinical)).loc["undosed"]
    assert row[["n_doses_before", "cumulative_dose", "dose_modified"]].tolist() == [0, 0.0, "no"]
    assert dose_timing(other).loc["undosed", ["n_doses_before", "cumulative_dose"]].isna().all()
