"""Adverse events, dose-limiting toxicities, and the path of the escalation, by hand and on public data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.errors import InputError

safety = pb.clinical.safety

PEOPLE = pd.DataFrame(
    [
        ("001", "2025-01-10T09:00", 3, "escalation"),
        ("002", "2025-01-20", 3, "escalation"),
        ("003", "2025-02-01", 10, "escalation"),
        ("004", "2025-06-01", 10, "expansion"),
        ("005", None, 10, "escalation"),
    ],
    columns=["participant_id", "first_dose_datetime", "dose_mg", "cohort"],
)
DOSES = pd.DataFrame(
    [(p, day, 3.0, 3.0) for p, day in (("001", "2025-01-10"), ("001", "2025-02-07"), ("002", "2025-01-20"))]
    + [("003", "2025-02-01", 10.0, 10.0), ("004", "2025-06-01", 10.0, 10.0)],
    columns=["participant_id", "start", "amount", "planned_amount"],
)


def event(person: str, term: str, start: str | None, grade: float | None = 1, **more: Any) -> dict[str, Any]:
    base = {
        "participant_id": person,
        "term": term,
        "system_organ_class": "General",
        "start": start,
        "end": None,
    }
    return {**base, "grade": grade, "serious": "no", "related": "yes", "dose_limiting": "no", **more}


def read(*events: dict[str, Any], **options: Any) -> Any:
    return safety.read_events(
        pd.DataFrame(list(events)), PEOPLE, DOSES, options=safety.SafetyOptions(**options)
    )


# --- treatment-emergent ---


@pytest.mark.data
def test_treatment_emergent_events_agree_with_the_flags_of_the_pharmaverse_data(
    shared_data: Callable[[str], Path],
) -> None:
    # ADAE of the public test data: TRTEMFL was derived with a window of 30 days after the last dose.
    adae = pd.read_parquet(shared_data("cdisc_onco_pk/pharmaverseadam__adae.parquet"))
    adsl = pd.read_parquet(shared_data("cdisc_onco_pk/pharmaverseadam__adsl.parquet"))
    adsl = adsl[adsl["TRTSDT"].notna()]
    events = pd.DataFrame(
        {
            "participant_id": adae["USUBJID"],
            "term": adae["AEDECOD"],
            "grade": adae["AESEV"].map({"MILD": 1, "MODERATE": 2, "SEVERE": 3}),
            "start": adae["AESTDTC"],
            "end": adae["AEENDTC"],
        }
    )
    people = pd.DataFrame(
        {"participant_id": adsl["USUBJID"], "first_dose_datetime": adsl["TRTSDT"].astype(str)}
    )
    doses = pd.DataFrame(
        {
            "participant_id": adsl["USUBJID"],
            "start": adsl["TRTSDT"].astype(str),
            "end": adsl["TRTEDT"].astype(str).where(adsl["TRTEDT"].notna(), None),
        }
    )
    data = safety.read_events(events, people, doses, options=safety.SafetyOptions(days_after_last=30))
    assert len(data.events) == 1191
    assert data.events["emergent"].tolist() == (adae["TRTEMFL"] == "Y").tolist()
    assert int(data.events["emergent"].sum()) == 1122
    # 15 onsets without a day and 11 without a month are imputed, and say so.
    assert data.events["start_imputed"].value_counts().to_dict() == {"": 1165, "day": 15, "month": 11}


@pytest.mark.parametrize(
    ("start", "end", "emergent", "why"),
    [
        ("2025-01-09", None, False, "before the first dose"),
        ("2025-01-10", None, True, "onset after"),  # the day of the first dose counts
        ("2025-05-08", None, True, "onset after"),  # last dose 7 February: 90 days later
        ("2025-05-09", None, False, "more than 90 days"),
        ("2025-01", None, True, "may lie after the first dose"),
        ("2025-01", "2025-01-08", False, "ended before"),
        ("2024-12", None, False, "before the first dose"),
        ("2025", None, True, "may lie after"),
        ("2025-05", None, True, "onset after"),  # may lie within 90 days
        ("2025-06", None, False, "more than 90 days"),
        (None, None, True, "not recorded"),
        (None, "2025-01-09", False, "ended before"),
    ],
)
def test_treatment_emergent_by_hand(start: str | None, end: str | None, emergent: bool, why: str) -> None:
    (row,) = read(event("001", "Rash", start, end=end)).events.to_dict("records")
    assert row["emergent"] is emergent
    assert why in row["emergent_why"]


def test_a_partial_onset_is_imputed_as_the_first_day_it_may_be_under_treatment_and_flagged() -> None:
    data = read(event("001", "Rash", "2025-01"), event("001", "Cough", "2025-02"), event("001", "Pain", None))
    assert data.events["start_date"].tolist() == ["2025-01-10", "2025-02-01", "2025-01-10"]
    assert data.events["start_imputed"].tolist() == ["day", "day", "date"]
    assert data.events["flags"].tolist() == [f"onset {what} imputed" for what in ("day", "day", "date")]
    assert data.events["study_day"].tolist() == [1, 23, 1]


def test_worsening_is_told_and_an_untreated_participant_has_none() -> None:
    data = read(
        event("001", "Fatigue", "2025-01-01", 1),
        event("001", "fatigue", "2025-01-15", 2),
        event("001", "Fatigue", "2025-01-25", 1),
        event("005", "Fatigue", "2025-01-25", 3),
    )
    assert data.events["emergent"].tolist() == [False, True, True, False]
    assert data.events["emergent_why"].tolist() == [
        "onset before the first dose",
        "worsened after the first dose, from grade 1",
        "onset after the first dose; the term was there before it at grade 1",
        "not treated",
    ]


def test_without_doses_every_event_from_the_first_dose_on_counts() -> None:
    data = safety.read_events(pd.DataFrame([event("001", "Rash", "2026-12-01")]), PEOPLE)
    assert data.events["emergent"].tolist() == [True]
    assert "the last dose is not known" in data.events["emergent_why"][0]


# --- tables ---


def _data(**options: Any) -> Any:
    return read(
        event("001", "Rash", "2025-01-15", 1),
        event("001", "Rash", "2025-01-25", 3, serious="yes"),
        event("001", "Cough", "2025-01-15", 2, system_organ_class="Chest", related="no"),
        event("002", "Rash", "2025-01-25", 2),
        event("002", "Cough", "2025-01-30", None, system_organ_class="Chest"),
        event("003", "Rash", "2025-01-25", 4),  # before the first dose
        event(
            "003", "Death", "2025-02-20", 5, system_organ_class="Chest", dose_limiting="yes", serious="yes"
        ),
        **options,
    )


def test_a_participant_counts_once_in_a_row_at_the_maximum_grade() -> None:
    table = safety.by_term(_data()).set_index(["dose", "system_organ_class", "term"])
    rash = table.loc[("3 mg", "General", "Rash")]
    assert rash[["n", "n_treated", "pct", "n_events"]].tolist() == [2, 2, 100.0, 3]
    assert rash[[f"grade_{g}" for g in range(1, 6)]].tolist() == [0, 1, 1, 0, 0]
    assert rash[["n_severe", "n_serious", "n_related"]].tolist() == [1, 1, 2]
    assert table.loc[("10 mg", "General", "Rash"), ["n", "n_treated"]].tolist() == [0, 2]
    chest = table.loc[("all", "Chest", "")]
    assert chest[["n", "n_treated", "grade_2", "grade_3", "grade_5"]].tolist() == [3, 4, 1, 1, 1]
    assert table.loc[("all", "any", ""), ["n", "n_events"]].tolist() == [3, 6]
    # Each row: the grades add up to the participants.
    grades = table[[*(f"grade_{g}" for g in range(1, 6)), "grade_unknown"]].sum(axis=1)
    assert (grades == table["n"]).all()


def test_terms_stand_by_falling_frequency() -> None:
    table = safety.by_term(_data())
    shown = table[table["dose"] == "all"]
    assert list(zip(shown["system_organ_class"], shown["term"], strict=True)) == [
        ("any", ""), ("Chest", ""), ("Chest", "Cough"), ("Chest", "Death"), ("General", ""),
        ("General", "Rash"),
    ]  # fmt: skip


def test_kinds_of_event_by_dose() -> None:
    table = safety.by_kind(_data()).set_index(["dose", "kind"])["n"]
    assert table["all"][["any", "related", "grade 3 or higher", "serious", "dose-limiting"]].tolist() == [
        3,
        3,
        3,
        2,
        1,
    ]
    assert table["3 mg"][["grade 3 or higher", "serious", "grade 5 (fatal)"]].tolist() == [2, 1, 0]
    assert table["10 mg"][["maximum grade 5", "any"]].tolist() == [1, 1]


def test_a_missing_grade_counts_as_severe_and_is_flagged_or_is_left_unknown() -> None:
    kinds = safety.by_kind(_data()).set_index(["dose", "kind"])
    assert kinds.loc[("3 mg", "grade 3 or higher"), ["n", "n_grade_missing"]].tolist() == [2, 1]
    worst = safety.max_grades(_data())
    assert worst.loc[worst["grade_imputed"], ["participant_id", "term", "grade"]].to_numpy().tolist() == [
        ["002", "Cough", 3.0]
    ]
    left = _data(missing_grade=None)
    kinds = safety.by_kind(left).set_index(["dose", "kind"])
    assert kinds.loc[("3 mg", "grade 3 or higher"), ["n", "n_grade_missing"]].tolist() == [1, 0]
    assert safety.by_term(left)["grade_unknown"].sum() == 4  # term and class, at 3 mg and overall
    assert "grade missing" in left.events["flags"][4]


def test_the_denominator_is_who_was_treated() -> None:
    counts = safety.by_kind(_data()).drop_duplicates("dose").set_index("dose")["n_treated"]
    assert counts.to_dict() == {"3 mg": 2, "10 mg": 2, "all": 4}  # 005 has no first dose


def test_what_cannot_be_read_is_told_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read(
            event("001", "Rash", "2025-01-15", 6),
            event("009", "Rash", "2025-01-15", 1),
            event("001", "Rash", "15/01/2025", 1, serious="perhaps"),
            event("001", "Rash", "2025-01-15", 2, end="2025-01-10"),
            event("001", "", "2025-01-15", 2.5),
        )
    assert {(p.code, p.row, p.column) for p in caught.value.problems} == {
        ("E-AE-001", 0, "grade"), ("E-AE-001", 4, "grade"), ("E-SHEET-006", 1, "participant_id"),
        ("E-SHEET-012", 2, "start"), ("E-SHEET-007", 2, "serious"), ("E-AE-002", 3, "end"),
        ("E-SHEET-017", 4, "term"),
    }  # fmt: skip


def test_options_out_of_range() -> None:
    for options in (
        {"missing_grade": 6},
        {"dlt_window_days": 0},
        {"least_dose_pct": 120},
        {"planned_doses": 0},
    ):
        with pytest.raises(InputError, match="E-AE-003"):
            safety.SafetyOptions(**options)


def test_trap_35_what_lies_after_the_cut_off_does_not_count_and_is_told() -> None:
    data = read(
        event("001", "Rash", "2025-01-20"), event("001", "Rash", "2025-02-01", 3), cutoff="2025-01-31"
    )
    assert data.events["emergent"].tolist() == [True, False]
    assert data.events["emergent_why"][1] == "onset after the data cut-off"
    told = [(p.code, p.file, p.severity, p.value) for p in data.problems]
    late = [("doses.csv", "2025-02-07"), ("doses.csv", "2025-02-01"), ("doses.csv", "2025-06-01")]
    late.append(("adverse_events.csv", "2025-02-01"))
    assert told == [("E-SHEET-014", file, "warning", value) for file, value in late]
    assert data.courses["001"].last.isoformat() == "2025-01-10"


def test_two_first_doses_that_differ_are_told() -> None:
    doses = DOSES.assign(start=DOSES["start"].replace("2025-01-10", "2025-01-11"))
    data = safety.read_events(pd.DataFrame([event("001", "Rash", "2025-01-10")]), PEOPLE, doses)
    assert [(p.code, p.severity, p.item) for p in data.problems] == [("E-AE-004", "warning", "001")]
    assert data.events["emergent"].tolist() == [True]


# --- dose-limiting toxicities ---

CONTACTS = pd.DataFrame(
    {"participant_id": ["001", "002", "003"], "last_contact_date": ["2025-02-06", "2025-02-05", "2025-12-01"]}
)


def status_of(*events: dict[str, Any], cutoff: str | None = None, **options: Any) -> pd.DataFrame:
    quiet = event("004", "Cough", "2025-06-02")
    table = safety.dlt_evaluable(read(quiet, *events, cutoff=cutoff, **options), CONTACTS)
    return table.set_index("participant_id")


def test_who_is_evaluable_for_a_dose_limiting_toxicity() -> None:
    got = status_of(event("003", "Syncope", "2025-02-28", 3, dose_limiting="yes"))
    assert got["status"].to_dict() == {
        "001": "no DLT", "002": "not evaluable", "003": "DLT", "004": "not evaluable", "005": "not evaluable",
    }  # fmt: skip
    # Windows of 28 days: from 10 January to 6 February, from 20 January to 16 February.
    assert got["window_end"].tolist()[:3] == ["2025-02-06", "2025-02-16", "2025-02-28"]
    assert got.loc["001", "followed_days"] == 28
    assert got.loc["002", "reason"] == "followed to 2025-02-05 (last contact), the window ends 2025-02-16"
    assert got.loc["003", "dlt_day"] == 28
    assert got.loc["005", "reason"] == "not treated"


def test_a_toxicity_after_the_window_is_no_dlt_and_one_with_an_imputed_onset_is() -> None:
    late = status_of(event("003", "Syncope", "2025-03-01", 3, dose_limiting="yes"))
    assert late.loc["003", ["status", "flags"]].tolist() == ["no DLT", "1 dose-limiting outside the window"]
    partial = status_of(event("003", "Syncope", "2025-02", 3, dose_limiting="yes"))
    assert partial.loc["003", ["status", "dlt_day", "flags"]].tolist() == ["DLT", 1, "onset imputed"]


def test_a_dlt_counts_however_little_was_given_and_without_one_the_dose_decides() -> None:
    quiet = status_of(planned_doses=2)
    assert quiet.loc["003", "status"] == "not evaluable"
    assert quiet.loc["003", "reason"] == "received 50 % of the planned dose, less than 75 %"
    assert status_of(planned_doses=2, least_dose_pct=50).loc["003", "status"] == "no DLT"
    toxic = status_of(event("003", "Syncope", "2025-02-02", 3, dose_limiting="yes"), planned_doses=2)
    assert toxic.loc["003", ["status", "evaluable"]].tolist() == ["DLT", True]


def test_held_doses_count_as_planned() -> None:
    doses = pd.DataFrame(
        [
            ("003", f"2025-02-{day:02d}", a, 10.0, s)
            for day, a, s in ((1, 10, "given"), (8, 10, "held"), (15, 4, "reduced"))
        ],
        columns=["participant_id", "start", "amount", "planned_amount", "status"],
    )
    data = safety.read_events(pd.DataFrame([event("003", "Rash", "2025-02-02")]), PEOPLE, doses)
    got = safety.dlt_evaluable(data, CONTACTS).set_index("participant_id")
    assert got.loc["003", "received_pct"] == pytest.approx(100 * 14 / 30)
    assert data.courses["003"].last.isoformat() == "2025-02-15"


def test_a_window_that_the_cut_off_cuts_is_pending() -> None:
    got = status_of(cutoff="2025-02-10")
    assert got.loc["002", "status"] == "pending"
    assert got.loc["002", "reason"] == "the data cut-off lies before the end of the window, 2025-02-16"
    with pytest.raises(InputError, match="E-SHEET-012"):
        status_of(cutoff="10 February")


def test_the_table_of_dose_limiting_toxicities_names_who_is_not_evaluable() -> None:
    table = safety.dlt_table(
        status_of(event("003", "Syncope", "2025-02-28", 3, dose_limiting="yes")).reset_index()
    )
    assert table[["dose", "n_treated", "n_evaluable", "n_dlt", "n_not_evaluable"]].to_numpy().tolist() == [
        ["3 mg", 2, 1, 0, 1], ["10 mg", 2, 1, 1, 1], ["all", 4, 2, 1, 2],
    ]  # fmt: skip
    assert table.loc[0, "not_evaluable"].startswith("002: followed to 2025-02-05")
    assert table.loc[1, "dlt_terms"] == "003: Syncope"
    # Clopper-Pearson for 0 of 1 and 1 of 1: 0 to 97.5 %, 2.5 to 100 %.
    assert table.loc[:1, ["pct_low", "pct_high"]].to_numpy() == pytest.approx(
        np.array([[0, 97.5], [2.5, 100]])
    )


# --- the path of the escalation ---


def path_table(*people: tuple[str, str, float, str, bool]) -> pd.DataFrame:
    """(id, first dose, dose, status, ...) as from dlt_evaluable."""
    return pd.DataFrame(
        [
            {
                "participant_id": p, "first_dose": day, "dose_mg": dose, "cohort": cohort, "dlt": dlt,
                "evaluable": True, "status": "DLT" if dlt else "no DLT", "reason": "window completed",
            }
            for p, day, dose, cohort, dlt in people
        ]
    )  # fmt: skip


def test_the_outcomes_of_a_study_are_read_in_the_order_of_first_doses() -> None:
    people = [(f"{k:03d}", f"2025-01-{k:02d}", 1.0 if k <= 3 else 3.0, "esc", k == 5) for k in range(1, 10)]
    table = path_table(*people, ("010", "2025-03-01", 3.0, "Expansion A", False))
    table.loc[1, ["evaluable", "status", "reason"]] = [False, "not evaluable", "withdrew"]
    path = safety.outcomes_of(table.iloc[::-1])
    assert path.outcomes == "1NN 2NTN 2NNN"
    assert path.doses == (1.0, 3.0)
    rows = path.table.set_index("participant_id")
    assert rows.loc["002", ["used", "in_escalation", "reason"]].tolist() == [
        False,
        True,
        "not evaluable: withdrew",
    ]
    assert rows.loc["010", ["used", "in_escalation", "reason"]].tolist() == [False, False, "expansion cohort"]
    assert rows["cohort_number"].tolist()[:4] == [1, pd.NA, 1, 2]
    assert pb.clinical.escalation.next_dose("boin", path.outcomes, 2) == (2, True)


def test_dose_levels_and_cohorts_may_be_given() -> None:
    table = path_table(("001", "2025-01-01", 3.0, "A", False), ("002", "2025-01-02", 10.0, "B", True))
    assert safety.outcomes_of(table, doses=[1, 3, 10]).outcomes == "2N 3T"
    assert safety.outcomes_of(table, cohorts=["A"]).outcomes == "1N"
    for doses, said in (([1, 3], "10 mg is not one"), ([10, 3], "do not rise")):
        with pytest.raises(InputError, match="E-DOSE-005") as caught:
            safety.outcomes_of(table, doses=doses)
        assert said in str(caught.value)
