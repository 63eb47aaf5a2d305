"""Study days, cycles and doses received, against figures worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from pdbiomarker.clinical.schedule import (
    amounts_mg,
    cycle_and_day,
    day_of_cycle,
    dose_history,
    doses_before,
    schedule_summary,
)
from pdbiomarker.errors import InputError

PEOPLE = pd.DataFrame(
    {"weight_kg": [70.0, math.nan], "first_dose_datetime": ["2025-01-10T09:00:00", "2025-02-01"]},
    index=pd.Index(["007", "P2"], name="participant_id"),
)
DOSES = pd.DataFrame(
    [
        ("007", "2025-02-07T09:00:00", "2025-02-07T10:00:00", 1.0, "mg/kg", "reduced", 140.0),
        ("007", "2025-01-10T09:00:00", "2025-01-10T10:30:00", 140.0, "mg", "given", 140.0),
        ("007", "2025-03-07T09:00:00", None, 0.0, "mg", "held", 140.0),
        ("007", "2025-03-21T09:00:00", None, 0.07, "g", "given", 140.0),
        ("P2", "2025-02-01", None, 300.0, "mg", None, math.nan),
        ("P2", "2025-03", None, 300.0, "mg", None, math.nan),
    ],
    columns=["participant_id", "start", "end", "amount", "unit", "status", "planned_amount"],
)


def doses() -> pd.DataFrame:
    """Planned amounts share the unit of the row."""
    frame = DOSES.copy()
    frame.loc[0, "planned_amount"] = 2.0  # mg/kg
    frame.loc[3, "planned_amount"] = 0.14  # g
    return frame


@pytest.mark.parametrize(
    ("day", "place"), [(1, (1, 1)), (28, (1, 28)), (29, (2, 1)), (43, (2, 15)), (-1, None)]
)
def test_cycles_and_study_days_go_both_ways(day: int, place: tuple[int, int] | None) -> None:
    assert cycle_and_day(day) == place
    if place is not None:
        assert day_of_cycle(*place) == day


def test_a_history_counts_what_was_received_in_mg() -> None:
    history = dose_history(doses(), PEOPLE)
    own = history[history["participant_id"] == "007"]
    assert own["start"].str[:10].tolist() == ["2025-01-10", "2025-02-07", "2025-03-07", "2025-03-21"]
    assert own["amount_mg"].tolist() == [140.0, 70.0, 0.0, 70.0]
    assert own["cumulative_mg"].tolist() == [140.0, 210.0, 210.0, 280.0]
    assert own["number"].tolist() == [1, 2, 2, 3]
    assert own["time_h"].tolist() == [0.0, 28 * 24.0, 56 * 24.0, 70 * 24.0]
    assert own["study_day"].tolist() == [1, 29, 57, 71]
    assert own["cycle"].tolist() == [1, 2, 3, 3]
    assert own["cycle_day"].tolist() == [1, 1, 1, 15]
    assert own["gap_days"].tolist()[1] == 28
    assert own["gap_days"].tolist()[3] == 42
    assert own["duration_h"].tolist()[:2] == [1.5, 1.0]
    partial = history[history["participant_id"] == "P2"].iloc[-1]
    assert not partial["received"]
    assert partial["note"] == "the start is not a whole date"


def test_a_summary_names_each_interruption() -> None:
    summary = schedule_summary(dose_history(doses(), PEOPLE), interval_days=28).set_index("participant_id")
    row = summary.loc["007"]
    assert (row["n_doses"], row["cumulative_mg"], row["planned_mg"]) == (3, 280.0, 560.0)
    assert row["dose_intensity_pct"] == 50.0
    assert (row["n_held"], row["n_reduced"], row["interrupted"]) == (1, 1, True)
    assert row["interruptions"] == "held 2025-03-07T09:00:00"
    gaps = schedule_summary(dose_history(doses(), PEOPLE), interval_days=21).set_index("participant_id")
    assert "gap of 42 days before 2025-03-21" in gaps.loc["007", "interruptions"]
    assert math.isnan(summary.loc["P2", "planned_mg"])
    assert not summary.loc["P2", "interrupted"]


@pytest.mark.parametrize(
    ("person", "date", "number", "total", "hours", "days", "flag"),
    [
        ("007", "2025-01-10T08:00", 0, 0.0, math.nan, math.nan, "before the first dose"),
        ("007", "2025-01-10T10:00", 1, 140.0, 1.0, 0.0, ""),
        (
            "007",
            "2025-01-10",
            0,
            0.0,
            math.nan,
            math.nan,
            "a dose on the same day: which came first is not known",
        ),
        ("007", "2025-02-10", 2, 210.0, math.nan, 3.0, ""),
        ("007", "2025-03-10T09:00", 2, 210.0, 31 * 24.0, 31.0, ""),
        ("P2", "2025-02-03", 1, 300.0, math.nan, 2.0, "a dose has a partial date"),
        ("P9", "2025-02-03", 0, 0.0, math.nan, math.nan, "no doses recorded"),
        ("007", "2025-02", None, math.nan, math.nan, math.nan, "the date is missing or partial"),
    ],
)
def test_what_was_received_by_a_date(
    person: str, date: str, number: int | None, total: float, hours: float, days: float, flag: str
) -> None:
    dates = pd.DataFrame({"participant_id": [person], "date": [date]}, index=["B1"])
    row = doses_before(dates, dose_history(doses(), PEOPLE)).loc["B1"]
    assert row["n_doses"] == number or (number is None and row["n_doses"] is None)
    for name, value in {
        "cumulative_mg": total,
        "hours_since_last_dose": hours,
        "days_since_last_dose": days,
    }.items():
        assert row[name] == value or (math.isnan(value) and math.isnan(row[name])), name
    assert row["flag"] == flag


def test_an_interruption_before_the_biopsy_is_flagged() -> None:
    dates = pd.DataFrame({"participant_id": ["007", "007"], "date": ["2025-03-01", "2025-03-10"]})
    assert doses_before(dates, dose_history(doses(), PEOPLE))["interrupted_before"].tolist() == [False, True]


def test_trap_29_a_dose_per_body_weight_needs_the_weight_and_every_dose_a_unit() -> None:
    frame = pd.DataFrame(
        {"participant_id": ["007", "P2", "007", "007", "007"], "amount": 5.0},
    ).assign(unit=["ug/kg", "mg/kg", None, "IU", "mg/m2"])
    with pytest.raises(InputError) as caught:
        amounts_mg(frame, PEOPLE)
    assert [(p.code, p.row) for p in caught.value.problems] == [
        ("E-PK-007", 1),
        ("E-PK-005", 2),
        ("E-PK-006", 3),
        ("E-PK-006", 4),
    ]
    assert "'P2'" in caught.value.problems[0].message
    assert amounts_mg(frame.head(1), PEOPLE).tolist() == [pytest.approx(0.35, rel=1e-15)]


def test_the_order_of_rows_does_not_matter() -> None:
    pd.testing.assert_frame_equal(dose_history(doses().iloc[::-1], PEOPLE), dose_history(doses(), PEOPLE))
