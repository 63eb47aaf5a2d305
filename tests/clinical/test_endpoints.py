"""Events and censoring: PFS, duration of response, overall survival."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pdbiomarker.clinical.response import best_overall_response
from pdbiomarker.clinical.survival import (
    PRIMARY,
    SENSITIVITY,
    AssessmentSchedule,
    CensoringRules,
    TimeToEvent,
    duration_of_response,
    overall_survival,
    progression_free_survival,
    side_by_side,
)
from pdbiomarker.errors import InputError
from tests.reference_inputs import recist_example

START = "2024-01-01"
WEEKS_8 = AssessmentSchedule(every_days=56, window_days=7)  # 26 Feb, 22 Apr, 17 Jun, 12 Aug


def person(**dates: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    people = pd.DataFrame({"participant_id": ["001"], "first_dose_datetime": [START]})
    return people, pd.DataFrame({"participant_id": ["001"], **{k: [v] for k, v in dates.items()}})


def scans(*responses: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(responses, columns=["date", "response"]).assign(participant_id="001")


def pfs(
    frame: pd.DataFrame,
    *,
    rules: CensoringRules = PRIMARY,
    schedule: AssessmentSchedule | None = WEEKS_8,
    cutoff: str | None = None,
    **dates: str,
) -> pd.Series:
    people, outcomes = person(**dates)
    found = progression_free_survival(frame, people, outcomes, rules=rules, schedule=schedule, cutoff=cutoff)
    return found.table.iloc[0]


SD8, SD16, PD24, PD32 = ("2024-02-26", "SD"), ("2024-04-22", "SD"), ("2024-06-17", "PD"), ("2024-08-12", "PD")

#: situation, scans, outcomes, rules, expected: end date, event, which rule. Worked by hand from the rules.
CASES = {
    "progression": ([SD8, SD16, PD24], {}, PRIMARY, ("2024-06-17", True, "progression")),
    "death before progression": ([SD8], {"death_date": "2024-03-15"}, PRIMARY, ("2024-03-15", True, "death")),
    "death without a scan": ([], {"death_date": "2024-02-01"}, PRIMARY, ("2024-02-01", True, "death")),
    "alive": ([SD8, SD16], {}, PRIMARY, ("2024-04-22", False, "no event")),
    "last is not evaluable": ([SD8, ("2024-04-22", "NE")], {}, PRIMARY, ("2024-02-26", False, "no event")),
    "no scan after baseline": ([], {}, PRIMARY, (START, False, "no event")),
    "new therapy": (
        [SD8, SD16, PD24],
        {"new_therapy_date": "2024-05-01"},
        PRIMARY,
        ("2024-04-22", False, "new_therapy: censor"),
    ),
    "new therapy is an event": (
        [SD8, SD16, PD24],
        {"new_therapy_date": "2024-05-01"},
        SENSITIVITY,
        ("2024-05-01", True, "new_therapy: event"),
    ),
    "new therapy ignored": (
        [SD8, PD24],
        {"new_therapy_date": "2024-05-01"},
        CensoringRules("other", new_therapy="ignore"),
        ("2024-06-17", True, "progression"),
    ),
    "new therapy on the day of progression": (
        [SD8, SD16, PD24],
        {"new_therapy_date": "2024-06-17"},
        PRIMARY,
        ("2024-06-17", True, "progression"),
    ),
    "progression after two missed scans": (
        [SD8, PD32],
        {},
        PRIMARY,
        ("2024-02-26", False, "missed_assessments: censor from 2"),
    ),
    "the same in the sensitivity analysis": (
        [SD8, PD32],
        {},
        SENSITIVITY,
        ("2024-08-12", True, "progression"),
    ),
    "one missed scan": ([SD8, PD24], {}, PRIMARY, ("2024-06-17", True, "progression")),
    "an unevaluable scan is a missed one": (
        [SD8, ("2024-04-22", "NE"), ("2024-06-17", "NE"), PD32],
        {},
        PRIMARY,
        ("2024-02-26", False, "missed_assessments: censor from 2"),
    ),
    "death after two missed scans": (
        [SD8],
        {"death_date": "2024-07-15"},
        PRIMARY,
        ("2024-02-26", False, "missed_assessments: censor from 2"),
    ),
    "death long after the first dose, no scan": (
        [],
        {"death_date": "2024-07-15"},
        PRIMARY,
        (START, False, "missed_assessments: censor from 2"),
    ),
    "withdrawal": ([SD8], {"withdrawal_date": "2024-03-01"}, PRIMARY, ("2024-02-26", False, "no event")),
    "withdrawal is an event": (
        [SD8],
        {"withdrawal_date": "2024-03-01"},
        CensoringRules("strict", withdrawal="event"),
        ("2024-03-01", True, "withdrawal: event"),
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trap_26_events_and_censoring(case: str) -> None:
    rows, dates, rules, (end, event, rule) = CASES[case]
    found = pfs(scans(*rows), rules=rules, **dates)
    assert (found["end_date"], found["event"], found["rule"]) == (end, event, rule)
    assert bool(found["event_description"]) == event
    assert bool(found["censoring_description"]) == (not event)
    assert found["days"] == (pd.Timestamp(end) - pd.Timestamp(START)).days + 1


def test_trap_26_time_starts_with_the_first_dose_and_the_first_day_may_count_or_not() -> None:
    frame = scans(("2024-02-26", "PD"))
    assert pfs(frame)["days"] == 57
    assert pfs(frame, rules=CensoringRules("other", count_first_day=False))["days"] == 56


def test_trap_26_duration_of_response_starts_with_the_response_not_its_confirmation() -> None:
    people, outcomes = person()
    frame = scans(("2024-02-26", "PR"), ("2024-04-22", "PR"), ("2024-06-17", "PD"))
    best = best_overall_response(frame, people)
    row = duration_of_response(best, frame, people, outcomes=outcomes).table.iloc[0]
    assert (row["start_date"], row["end_date"], row["days"]) == ("2024-02-26", "2024-06-17", 113.0)


def test_duration_of_an_unconfirmed_response_is_a_row_outside_the_analysis() -> None:
    people, _ = person()
    frame = scans(("2024-02-26", "PR"), ("2024-04-22", "SD"))
    row = duration_of_response(best_overall_response(frame, people), frame, people).table.iloc[0]
    assert not row["in_analysis"]
    assert row["note"] == "no confirmed response"


def test_trap_35_nothing_after_the_cutoff_leaks_in() -> None:
    found = pfs(
        scans(SD8, SD16, PD24), cutoff="2024-05-01", death_date="2024-07-01", new_therapy_date="2024-06-20"
    )
    assert (found["end_date"], found["event"]) == ("2024-04-22", False)
    assert found["note"] == "death after the data cut-off; new therapy after the data cut-off"


def test_trap_11_partial_dates_are_taken_on_the_cautious_side_and_flagged() -> None:
    row = pfs(scans(SD8, ("2024-04", "PD")))
    assert (row["end_date"], row["date_imputed"]) == ("2024-04-01", "day")
    death = pfs(scans(SD8), death_date="2024-02")  # not before the scan of the 26th
    assert (death["end_date"], death["date_imputed"]) == ("2024-02-26", "day")
    year = pfs(scans(SD8), death_date="2024")
    assert (year["end_date"], year["date_imputed"]) == ("2024-02-26", "month")


def test_dates_that_contradict_each_other_are_named() -> None:
    people, outcomes = person(death_date="2024-03-01")
    found = progression_free_survival(scans(SD8, PD24), people, outcomes)
    assert {p.code for p in found.problems} == {"E-SURV-005", "E-SURV-011"}
    assert found.table["end_date"].tolist() == ["2024-03-01"]
    people, outcomes = person(death_date="2023-03-01")
    with pytest.raises(InputError, match="E-SURV-004"):
        progression_free_survival(scans(SD8), people, outcomes)
    twice = pd.concat([outcomes, outcomes], ignore_index=True)
    with pytest.raises(InputError, match="E-SURV-009"):
        progression_free_survival(scans(SD8), people, twice)


def test_no_baseline_is_censored_on_day_1_where_lesions_show_baselines() -> None:
    people = pd.DataFrame({"participant_id": ["001", "002"], "first_dose_datetime": START})
    frame = pd.DataFrame(
        {
            "participant_id": ["001", "001", "002"],
            "date": ["2023-12-20", "2024-02-26", "2024-02-26"],
            "response": ["", "PD", "PD"],
            "is_baseline": [True, False, False],
        }
    )
    found = progression_free_survival(frame, people).table
    assert found["rule"].tolist() == ["progression", "no_baseline: censor"]
    assert found["days"].tolist() == [57.0, 1.0]


def test_untreated_participants_keep_a_row() -> None:
    people = pd.DataFrame({"participant_id": ["001", "002"], "first_dose_datetime": [START, None]})
    found = progression_free_survival(scans(SD8), people).table
    assert found["in_analysis"].tolist() == [True, False]
    assert found["note"].tolist() == ["", "no first dose"]


def test_rules_side_by_side() -> None:
    people, outcomes = person(new_therapy_date="2024-05-01")
    both: list[TimeToEvent] = [
        progression_free_survival(scans(SD8, SD16, PD24), people, outcomes, rules=rules)
        for rules in (PRIMARY, SENSITIVITY)
    ]
    row = side_by_side(*both).iloc[0]
    assert (row["primary_days"], row["sensitivity_days"], row["differs"]) == (113.0, 122.0, True)
    assert len(PRIMARY.table()) == len(SENSITIVITY.table()) == 8


def test_rules_that_there_are_not_are_refused() -> None:
    with pytest.raises(InputError, match="Choose one of: censor, event, ignore"):
        CensoringRules(new_therapy="drop")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="E-SURV-002"):
        AssessmentSchedule(every_days=0)


def test_overall_survival_censors_the_living_when_last_known() -> None:
    people = pd.DataFrame({"participant_id": ["1", "2", "3"], "first_dose_datetime": START})
    outcomes = pd.DataFrame(
        {
            "participant_id": ["1", "2"],
            "death_date": ["2024-03-01", ""],
            "last_contact_date": ["", "2024-06-01"],
        }
    )
    found = overall_survival(people, outcomes, cutoff="2024-05-31").table
    assert found["days"].tolist() == [61.0, 152.0, 1.0]
    assert found["event"].tolist() == [True, False, False]


@pytest.mark.data
def test_pfs_and_duration_of_the_cdisc_example(shared_data: Callable[[str], Path]) -> None:
    """adtte_onco of pharmaverseadam 0.2 (Apache-2.0): days and events of all treated participants, exact.

    Its duration of response counts responses without confirmation, so it is compared by its end only.
    """
    folder = shared_data("cdisc_onco_pk")
    rs, adsl = (folder / f"pharmaverse{n}.parquet" for n in ("sdtm__rs_onco_recist", "adam__adsl"))
    adtte = pd.read_parquet(folder / "pharmaverseadam__adtte_onco.parquet")
    responses, who, outcomes = recist_example(rs, adsl)
    found = progression_free_survival(responses, who, outcomes, reader="INVESTIGATOR").table
    found = found[found["in_analysis"]].set_index("participant_id")
    want = adtte[adtte["PARAMCD"] == "PFS"].set_index("USUBJID")
    assert len(found) == len(want) == 254
    want = want.reindex(found.index)
    assert (found["days"] == want["AVAL"]).all()
    assert (found["event"] == (want["CNSR"] == 0)).all()
