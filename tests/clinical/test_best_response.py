"""Confirmed and unconfirmed best response."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pdbiomarker.clinical.response import ResponseRules, best_overall_response
from pdbiomarker.errors import InputError
from tests.reference_inputs import recist_example

RULES = {
    "1": ResponseRules(min_sd_days=28),
    "2": ResponseRules(
        min_sd_days=28, confirmation_days=14, max_ne_between=0, accept_sd_between=True, missing_as_ne=True
    ),
}
CASES_FILE = Path(__file__).parents[1] / "golden" / "response" / "confirmed_best_response.csv"
CASES = list(csv.DictReader(CASES_FILE.read_text().splitlines()))


def people(*starts: str) -> pd.DataFrame:
    ids = [f"{i:03d}" for i in range(1, len(starts) + 1)]
    return pd.DataFrame({"participant_id": ids, "first_dose_datetime": starts})


def scans(*responses: tuple[str, str], person: str = "001") -> pd.DataFrame:
    return pd.DataFrame(responses, columns=["date", "response"]).assign(participant_id=person)


def best_of(frame: pd.DataFrame, rules: ResponseRules | None = None, **options: object) -> pd.Series:
    found = best_overall_response(frame, people("2024-01-01"), rules=rules, **options)  # type: ignore[arg-type]
    return found.table.iloc[0]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"set{c['set']}-{c['participant_id']}")
def test_trap_25_published_cases_of_confirmation(case: dict[str, str]) -> None:
    """Source: tests of admiralonco (golden/response/README.md); exact."""
    pairs = [tuple(text.split("=")) for text in case["assessments"].split(";") if text]
    frame = pd.DataFrame(pairs, columns=["date", "response"]).assign(participant_id=case["participant_id"])
    who = pd.DataFrame(
        {"participant_id": [case["participant_id"]], "first_dose_datetime": [case["first_dose"]]}
    )
    row = best_overall_response(frame, who, rules=RULES[case["set"]]).table.iloc[0]
    found = (row["best_response"], row["best_response_date"])
    assert found == (case["expected_response"], case["expected_date"])


def test_the_published_cases_are_eighteen() -> None:
    assert len(CASES) == 18


@pytest.mark.parametrize(("gap", "expected"), [("2024-03-24", "SD"), ("2024-03-25", "PR")])
def test_trap_25_a_response_is_confirmed_at_28_days_not_at_27(gap: str, expected: str) -> None:
    row = best_of(scans(("2024-02-26", "PR"), (gap, "PR")))
    assert row["best_response"] == expected
    assert row["best_response_unconfirmed"] == "PR"
    assert bool(row["responder"]) == (expected == "PR")


@pytest.mark.parametrize(("between", "expected"), [(["NE"], "PR"), (["NE", "NE"], "SD"), (["SD"], "SD")])
def test_trap_25_what_may_stand_between(between: list[str], expected: str) -> None:
    days = ["2024-03-01", "2024-03-10", "2024-03-20"]
    rows = [(days[0], "PR"), *zip(days[1:], between, strict=False), ("2024-05-01", "PR")]
    assert best_of(scans(*rows))["best_response"] == expected


def test_trap_25_a_response_after_progression_does_not_count() -> None:
    frame = scans(("2024-02-26", "PD"), ("2024-04-22", "PR"), ("2024-06-17", "PR"))
    found = best_overall_response(frame, people("2024-01-01"))
    assert found.table["best_response"].tolist() == ["PD"]
    assert found.assessments["why_not"].tolist() == ["", "after progression", "after progression"]


@pytest.mark.parametrize(("day", "expected"), [("2024-02-11", "NE"), ("2024-02-12", "SD")])
def test_trap_25_stable_disease_before_its_least_day_is_not_evaluable(day: str, expected: str) -> None:
    assert best_of(scans((day, "SD")))["best_response"] == expected  # 41 and 42 days after the first dose


def test_trap_25_partial_after_complete_response_is_named() -> None:
    frame = scans(("2024-02-26", "PR"), ("2024-03-10", "CR"), ("2024-04-22", "PR"))
    found = best_overall_response(frame, people("2024-01-01"))
    assert [p.code for p in found.problems] == ["E-RESP-007"]
    assert found.table["best_response"].tolist() == ["SD"]


def test_trap_24_rows_of_several_readers_are_refused_with_the_list() -> None:
    frame = pd.concat(
        [scans(("2024-02-26", "PR")).assign(reader=r) for r in ("INVESTIGATOR", "RADIOLOGIST 1")]
    )
    with pytest.raises(InputError, match=r"E-RESP-004 .*'INVESTIGATOR', 'RADIOLOGIST 1'"):
        best_of(frame)
    with pytest.raises(InputError, match=r"E-RESP-004 .*No assessment is of that reader"):
        best_of(frame, reader="RADIOLOGIST 9")
    assert best_of(frame, reader="INVESTIGATOR")["n_assessments"] == 1


def test_new_therapy_cutoff_and_early_assessments_keep_their_rows() -> None:
    frame = scans(
        ("2023-12-20", "SD"),
        ("2024-02-26", "PR"),
        ("2024-04-22", "PR"),
        ("2024-06-17", "CR"),
        ("2025-01-01", "PD"),
    )
    outcomes = pd.DataFrame({"participant_id": ["001"], "new_therapy_date": ["2024-05-01"]})
    found = best_overall_response(frame, people("2024-01-01"), outcomes, cutoff="2024-12-31")
    expected = ["before the first dose", "", "", "after new anticancer therapy", "after the data cut-off"]
    assert found.assessments["why_not"].tolist() == expected
    assert {p.code for p in found.problems} == {"E-RESP-006", "E-RESP-013"}
    assert found.table["first_response_date"].tolist() == ["2024-02-26"]


def test_an_order_that_partial_dates_leave_open_is_told() -> None:
    """RECIST needs an order: a response of a month may come before or after one of a day in it."""
    frame = scans(("2024-03", "PR"), ("2024-03-15", "SD"))
    found = best_overall_response(frame, people("2024-01-01"))
    assert "E-RESP-012" in {p.code for p in found.problems}


def test_first_response_is_the_first_confirmed_one_not_the_best() -> None:
    frame = scans(("2024-02-26", "PR"), ("2024-04-22", "CR"), ("2024-06-17", "CR"))
    row = best_of(frame)
    assert (row["best_response"], row["best_response_date"]) == ("CR", "2024-04-22")
    assert row["first_response_date"] == "2024-02-26"


def test_partial_dates_give_the_shortest_interval() -> None:
    assert best_of(scans(("2024-03", "PR"), ("2024-04-20", "PR")))["best_response"] == "SD"  # 20 to 50 days
    row = best_of(scans(("2024-03", "PR"), ("2024-04-28", "PR")))
    assert (row["best_response"], row["date_imputed"]) == ("PR", "day")
    assert (row["first_response_date"], row["first_response_date_latest"]) == ("2024-03-01", "2024-03-31")


def test_contradicting_records_unknown_people_and_responses_are_named_at_once() -> None:
    frame = pd.concat(
        [
            scans(("2024-02-26", "PR"), ("2024-02-26", "SD"), ("2024-04-22", "iCR"), ("22/04/2024", "PR")),
            scans(("2024-02-26", "PR"), person="404"),
        ],
        ignore_index=True,
    )
    with pytest.raises(InputError) as told:
        best_of(frame)
    codes = {p.code for p in told.value.problems}
    assert codes == {"E-RESP-002", "E-RESP-005", "E-RESP-009", "E-SHEET-012"}


def test_the_same_record_twice_is_used_once_and_told() -> None:
    frame = scans(("2024-02-26", "PR"), ("2024-02-26", "PR"))
    found = best_overall_response(frame, people("2024-01-01"))
    assert [p.code for p in found.problems] == ["E-RESP-005"]
    assert len(found.assessments) == 1


def test_row_order_does_not_matter() -> None:
    frame = scans(("2024-02-26", "PR"), ("2024-04-22", "CR"), ("2024-06-17", "CR"))
    whole = best_overall_response(frame, people("2024-01-01", "2024-01-01"))
    turned = best_overall_response(frame.iloc[::-1], people("2024-01-01", "2024-01-01").iloc[::-1])
    pd.testing.assert_frame_equal(whole.table, turned.table)


def test_participants_without_ids_or_first_doses_or_twice_are_refused() -> None:
    frame = scans(("2024-02-26", "PR"))
    for who, code in (
        (people("2024-01-01").drop(columns="participant_id"), "E-SURV-001"),
        (people("2024-01-01").drop(columns="first_dose_datetime"), "E-SURV-001"),
        (pd.concat([people("2024-01-01")] * 2), "E-SURV-009"),
        (people("2024-01"), "E-SURV-003"),
    ):
        with pytest.raises(InputError, match=code):
            best_overall_response(frame, who)
    indexed = people("2024-01-01").set_index("participant_id")
    assert best_overall_response(frame, indexed).table["participant_id"].tolist() == ["001"]


def test_rules_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="E-RESP-008"):
        ResponseRules(confirmation_days=-1)


@pytest.mark.data
def test_trap_24_the_investigator_of_the_cdisc_example(shared_data: Callable[[str], Path]) -> None:
    """adrs_onco of pharmaverseadam 0.2 (Apache-2.0) derives the same from the same records."""
    folder = shared_data("cdisc_onco_pk")
    rs, adsl = (folder / f"pharmaverse{n}.parquet" for n in ("sdtm__rs_onco_recist", "adam__adsl"))
    adrs = pd.read_parquet(folder / "pharmaverseadam__adrs_onco.parquet")
    responses, who, _ = recist_example(rs, adsl)
    with pytest.raises(InputError, match="'INVESTIGATOR', 'RADIOLOGIST 1', 'RADIOLOGIST 2'"):
        best_overall_response(responses, who)
    found = best_overall_response(responses, who, reader="INVESTIGATOR", rules=ResponseRules(min_sd_days=28))
    table = found.table.set_index("participant_id")
    for ours, theirs in (("best_response", "CBOR"), ("best_response_unconfirmed", "BOR")):
        want = adrs[adrs["PARAMCD"] == theirs].set_index("USUBJID")["AVALC"]
        got = table[ours].reindex(want.index)
        assert (got == want).all(), (got[got != want], want[got != want])
    imputed = found.assessments[found.assessments["date_imputed"] == "day"]
    assert imputed[["date", "date_latest"]].to_numpy().tolist() == [["2014-02-01", "2014-02-28"]]
