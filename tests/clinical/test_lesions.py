"""Sums of diameters, responses at each assessment, rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.clinical.response import (
    ResponseRules,
    best_overall_response,
    populations,
    response_rates,
    spider_data,
    sum_of_diameters,
    timepoint_response,
    waterfall_data,
)
from pdbiomarker.clinical.response.lesions import courses
from pdbiomarker.errors import InputError, Problems
from pdbiomarker.shares import clopper_pearson

PEOPLE = pd.DataFrame({"participant_id": ["001"], "first_dose_datetime": ["2024-01-10"]})
BASE, W8, W16, W24 = "2024-01-02", "2024-03-06", "2024-05-01", "2024-06-26"
Row = tuple[str, str, str, float | None, str, str]


def sheet(*rows: Row) -> pd.DataFrame:
    columns = ["date", "lesion_id", "role", "diameter_mm", "node", "state"]
    return pd.DataFrame(rows, columns=columns).assign(participant_id="001")


def targets(*sums: float) -> pd.DataFrame:
    """One target lesion with these diameters at baseline, week 8, 16 and 24."""
    days = (BASE, W8, W16, W24)
    return sheet(*((day, "T1", "target", mm, "no", "") for day, mm in zip(days, sums, strict=False)))


def last(frame: pd.DataFrame) -> pd.Series:
    return timepoint_response(frame, PEOPLE).iloc[-1]


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        ((50, 35), "PR"),  # exactly 30 %
        ((50, 35.01), "SD"),
        ((50, 60), "PD"),  # exactly 20 % and 10 mm
        ((50, 59.99), "SD"),
        ((20, 24.9), "SD"),  # 24.5 %, but 4.9 mm
        ((20, 25), "PD"),
        ((20, 12, 17), "PD"),  # against the nadir: 5 mm and 42 %, though below the baseline
        ((100, 60, 72), "PD"),  # PR against the baseline and PD against the nadir: progression wins
        ((50, 0), "CR"),
        ((50, 0, 3), "PD"),  # a lesion that comes back after a complete response
        ((0.3 * 3, 0.63), "PR"),  # 30 % that binary arithmetic puts a hair below
    ],
)
def test_target_lesions_by_the_limits_of_recist(sums: tuple[float, ...], expected: str) -> None:
    assert last(targets(*sums))["target"] == expected


def test_the_baseline_counts_as_nadir_and_nadir_comes_before_the_assessment() -> None:
    found = sum_of_diameters(targets(50, 60, 30, 40), PEOPLE)
    np.testing.assert_array_equal(found["nadir_mm"], [np.nan, 50, 50, 30])
    np.testing.assert_allclose(found["change_pct"], [0, 20, -40, -20])
    np.testing.assert_allclose(found["change_nadir_pct"][1:], [20, -40, 100 / 3])
    assert found["study_day"].tolist() == [-8, 57, 113, 169]


def test_a_node_below_10_mm_is_gone_and_still_adds_to_the_sum() -> None:
    frame = sheet(
        (BASE, "T1", "target", 30, "no", ""),
        (BASE, "T2", "target", 18, "yes", ""),
        (W8, "T1", "target", 0, "no", ""),
        (W8, "T2", "target", 9.9, "yes", ""),
    )
    row = last(frame)
    assert (row["target"], row["sum_mm"], row["response"]) == ("CR", 9.9, "CR")
    frame.loc[3, "diameter_mm"] = 10
    assert last(frame)["target"] == "PR"


def test_too_small_to_measure_counts_5_mm_and_absent_counts_none() -> None:
    small = sheet((BASE, "T1", "target", 20, "no", ""), (W8, "T1", "target", None, "no", "too small"))
    assert (last(small)["sum_mm"], last(small)["target"]) == (5.0, "PR")
    gone = sheet((BASE, "T1", "target", 20, "no", ""), (W8, "T1", "target", None, "no", "absent"))
    assert (last(gone)["sum_mm"], last(gone)["target"]) == (0.0, "CR")


@pytest.mark.parametrize("how", ["not evaluable", "missing"])
def test_an_unevaluated_target_is_ne_unless_the_others_show_progression(how: str) -> None:
    rows: list[Row] = [(BASE, "T1", "target", 30, "no", ""), (BASE, "T2", "target", 20, "no", "")]
    lost: list[Row] = [(W8, "T2", "target", None, "no", "not evaluable")] if how == "not evaluable" else []
    row = last(sheet(*rows, (W8, "T1", "target", 25, "no", ""), *lost))
    assert (row["target"], row["response"], row["note"]) == ("NE", "NE", "not evaluable: T2")
    assert np.isnan(row["change_pct"])
    row = last(sheet(*rows, (W8, "T1", "target", 61, "no", ""), *lost))
    assert row["target"] == "PD"
    assert "of those evaluated" in row["target_rule"]


#: target, non-target, new -> overall: Eisenhauer et al. 2009, tables 1 and 2.
TABLE: list[tuple[float | None, str | None, bool, str]] = [
    (0, "absent", False, "CR"),
    (0, "present", False, "PR"),
    (0, "not evaluable", False, "PR"),
    (30, "present", False, "PR"),
    (30, "not evaluable", False, "PR"),
    (45, "present", False, "SD"),
    (45, "not evaluable", False, "SD"),
    (None, "present", False, "NE"),
    (80, "absent", False, "PD"),
    (0, "progression", False, "PD"),
    (0, "absent", True, "PD"),
    (None, "present", True, "PD"),
]


@pytest.mark.parametrize(("target", "other", "new", "expected"), TABLE)
def test_overall_response_with_target_lesions(
    target: float | None, other: str, new: bool, expected: str
) -> None:
    rows: list[Row] = [
        (BASE, "T1", "target", 50, "no", ""),
        (BASE, "N1", "non-target", None, "no", "present"),
        (W8, "T1", "target", target, "no", "" if target is not None else "not evaluable"),
        (W8, "N1", "non-target", None, "no", other),
    ]
    rows += [(W8, "X1", "new", 12, "no", "")] * new
    assert last(sheet(*rows))["response"] == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("absent", "CR"),
        ("present", "NON-CR/NON-PD"),
        ("not evaluable", "NE"),
        ("progression", "PD"),
    ],
)
def test_overall_response_without_target_lesions(state: str, expected: str) -> None:
    rows: list[Row] = [
        (BASE, "N1", "non-target", None, "no", "present"),
        (W8, "N1", "non-target", None, "no", state),
    ]
    assert last(sheet(*rows))["response"] == expected


def test_an_equivocal_new_lesion_is_noted_and_no_progression() -> None:
    row = last(pd.concat([targets(50, 45), sheet((W8, "X1", "new", None, "no", "equivocal"))]))
    assert (row["new_lesions"], row["response"]) == ("equivocal", "SD")


def test_screening_scans_of_several_days_are_one_baseline() -> None:
    frame = sheet(
        ("2023-12-28", "T1", "target", 30, "no", ""),
        ("2024-01-05", "T2", "target", 20, "no", ""),
        (W8, "T1", "target", 30, "no", ""),
        (W8, "T2", "target", 18, "no", ""),
    )
    found = timepoint_response(frame, PEOPLE)
    assert found["sum_mm"].tolist() == [50, 48]
    assert found["date"].tolist() == ["2024-01-05", W8]


def test_scans_of_one_visit_on_several_days_are_one_assessment() -> None:
    frame = sheet(
        (BASE, "T1", "target", 30, "no", ""),
        (BASE, "T2", "target", 20, "no", ""),
        ("2024-03-04", "T1", "target", 15, "no", ""),
        (W8, "T2", "target", 10, "no", ""),
    ).assign(visit=["SCR", "SCR", "W8", "W8"])
    found = timepoint_response(frame, PEOPLE)
    assert found["response"].tolist() == ["", "PR"]
    assert found["date"].tolist() == [BASE, W8]  # the last scan dates a response
    worse = timepoint_response(frame.assign(diameter_mm=[30, 20, 45, 30]), PEOPLE)
    assert worse["date"].tolist() == [BASE, "2024-03-04"]  # the first one progression


def test_faults_of_the_sheet_are_named_at_once() -> None:
    frame = pd.concat(
        [
            targets(50, 40),
            sheet(
                (W8, "T1", "target", 41, "no", ""),
                (W8, "N1", "bystander", 3, "no", ""),
                (W8, "N2", "non-target", -3, "no", ""),
                (W8, "N3", "non-target", 3, "maybe", "vanished"),
                ("08/03/2024", "T1", "target", 3, "no", ""),
            ),
        ],
        ignore_index=True,
    )
    with pytest.raises(InputError) as told:
        sum_of_diameters(frame, PEOPLE)
    codes = sorted(p.code for p in told.value.problems)
    assert codes == ["E-RESP-002", "E-RESP-002", "E-RESP-002", "E-RESP-003", "E-RESP-005", "E-SHEET-012"]
    small = Problems()
    courses(targets(9, 8), PEOPLE, reader=None, rules=ResponseRules(), problems=small)
    assert [(p.code, p.value) for p in small] == [("E-RESP-014", "9")]
    late = pd.concat([targets(50, 40), sheet((W8, "T9", "target", 41, "no", ""))])
    with pytest.raises(InputError, match="E-RESP-011"):
        sum_of_diameters(late, PEOPLE)


def test_lesions_without_a_baseline_are_told_and_show_only_new_lesions() -> None:
    problems = Problems()
    frame = sheet((W8, "T1", "target", 30, "no", ""), (W16, "X1", "new", 9, "no", ""))
    found = timepoint_response(frame, PEOPLE, problems=problems)
    assert [p.code for p in problems] == ["E-RESP-010"]
    assert found["response"].tolist() == ["NE", "PD"]


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 12), (12, 12), (1, 1)])
def test_clopper_pearson_equals_the_exact_interval_of_scipy(k: int, n: int) -> None:
    """Oracle: scipy.stats.binomtest, which inverts the binomial by root finding."""
    want = stats.binomtest(k, n).proportion_ci(method="exact")
    np.testing.assert_allclose(clopper_pearson(k, n), (want.low, want.high), atol=1e-9)


def test_clopper_pearson_published() -> None:
    """5 of 10: .187 to .813; 10 of 100: .0490 to .1762 (tables of exact limits)."""
    np.testing.assert_allclose(clopper_pearson(5, 10), (0.187, 0.813), atol=5e-4)
    np.testing.assert_allclose(clopper_pearson(10, 100), (0.0490, 0.1762), atol=5e-5)
    assert np.isnan(clopper_pearson(0, 0)).all()


def cohort() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    people = pd.DataFrame(
        {
            "participant_id": ["1", "2", "3", "4", "5", "6"],
            "first_dose_datetime": [*["2024-01-10"] * 5, None],
            "dose_mg": [1, 10, 10, 2, 2, 2],
        }
    )
    rows = [("1", W8, "PR"), ("1", W16, "PR"), ("2", W8, "PR"), ("3", W8, "NE"), ("5", W8, "NON-CR/NON-PD")]
    responses = pd.DataFrame(rows, columns=["participant_id", "date", "response"])
    outcomes = pd.DataFrame(
        {
            "participant_id": ["1", "2", "3", "4", "5"],
            "measurable_disease": ["yes", "yes", "yes", "yes", "no"],
        }
    )
    return people, responses, outcomes


def test_rates_state_their_denominators_and_doses_are_in_order() -> None:
    people, responses, outcomes = cohort()
    best = best_overall_response(responses, people)
    who = populations(best, people, outcomes).set_index("participant_id")
    assert who["why_not"].tolist() == [
        "",
        "",
        "no evaluable assessment after baseline",
        "no evaluable assessment after baseline",
        "no measurable disease at baseline",
        "not treated",
    ]
    rates = response_rates(best, people, outcomes, by="dose_mg")
    one = rates[(rates["endpoint"] == "ORR confirmed") & (rates["population"] == "measurable")]
    assert one[["group", "n_with", "n"]].to_numpy().tolist() == [
        ["all", 1, 4],
        ["1", 1, 1],
        ["2", 0, 1],
        ["10", 0, 2],
    ]
    np.testing.assert_allclose(one["ci_high"].iloc[0], stats.binomtest(1, 4).proportion_ci().high)
    assert set(one["denominator"]) == {"treated, measurable disease at baseline"}
    other = rates[(rates["endpoint"] == "ORR confirmed") & (rates["population"] == "response_evaluable")]
    assert other[["n_with", "n"]].iloc[0].tolist() == [1, 2]
    loose = rates[(rates["endpoint"] == "ORR unconfirmed") & (rates["population"] == "measurable")]
    assert loose[["n_with", "n"]].iloc[0].tolist() == [2, 4]
    unknown = response_rates(best, people)
    assert set(unknown["population"]) == {"treated", "response_evaluable"}
    assert unknown["n"].iloc[0] == 5


def test_waterfall_and_spider_use_what_counts_and_keep_everyone() -> None:
    people, responses, _ = cohort()
    frame = targets(50, 30, 70, 10).assign(participant_id="1")
    timepoints = timepoint_response(frame, people)
    best = best_overall_response(
        pd.concat([timepoints, responses[responses["participant_id"] != "1"]]), people
    )
    fall = waterfall_data(timepoints, best)
    assert fall["best_size_change_pct"].tolist()[0] == -40  # the fall after progression does not count
    assert len(fall) == 6
    assert set(fall["why_not"][1:]) == {"no lesions recorded"}
    lines = spider_data(timepoints, best)
    assert lines["change_pct"].tolist() == [0, -40, 40, -80]
    assert lines["counted"].tolist() == [True, True, True, False]


@pytest.mark.data
def test_sums_and_responses_of_the_cdisc_example(shared_data: Callable[[str], Path]) -> None:
    """tr_onco_recist of the CDISC example against its ADaM: sums of adtr_onco where every target was measured
    (1e-9), and the recorded response of the investigator (rs_onco_recist) at all 22 assessments.
    """
    folder = shared_data("cdisc_onco_pk")
    tr = pd.read_parquet(folder / "pharmaversesdtm__tr_onco_recist.parquet")
    tu = pd.read_parquet(folder / "pharmaversesdtm__tu_onco_recist.parquet")
    adsl = pd.read_parquet(folder / "pharmaverseadam__adsl.parquet")
    tr = tr[tr["TREVAL"] == "INVESTIGATOR"]
    place = tu[tu["TUEVAL"] == "INVESTIGATOR"].set_index(["USUBJID", "TULNKID"])["TULOC"]
    node = [place.get((u, k)) == "LYMPH NODE" for u, k in zip(tr["USUBJID"], tr["TRLNKID"], strict=True)]
    keep = [t in {"TUMSTATE", "LPERP" if n else "LDIAM"} for t, n in zip(tr["TRTESTCD"], node, strict=True)]
    lesions = pd.DataFrame(
        {
            "participant_id": tr["USUBJID"],
            "date": tr["TRDTC"],
            "lesion_id": tr["TRLNKID"],
            "role": tr["TRGRPID"].str.lower(),
            "diameter_mm": tr["TRSTRESN"],
            "node": ["yes" if n else "no" for n in node],
            "state": [
                s.lower() if t == "TUMSTATE" else ""
                for s, t in zip(tr["TRSTRESC"], tr["TRTESTCD"], strict=True)
            ],
        }
    )[keep]
    people = pd.DataFrame({"participant_id": adsl["USUBJID"], "first_dose_datetime": adsl["TRTSDT"]})
    found = timepoint_response(lesions, people)
    adtr = pd.read_parquet(folder / "pharmaverseadam__adtr_onco.parquet")
    adtr = adtr[adtr["PARAMCD"] == "SDIAM"].assign(date=lambda x: x["ADT"].astype(str))
    both = found.merge(adtr, left_on=["participant_id", "date"], right_on=["USUBJID", "date"])
    whole = both[both["n_target_evaluable"] == both["n_target"]]
    assert len(whole) >= 20
    assert whole["is_baseline"].sum() == 6
    np.testing.assert_allclose(whole["sum_mm"], whole["AVAL"], atol=1e-9)
    np.testing.assert_allclose(whole["change_pct"], whole["PCHG"].astype(float), atol=1e-9)
    rs = pd.read_parquet(folder / "pharmaversesdtm__rs_onco_recist.parquet")
    rs = rs[rs["RSEVAL"] == "INVESTIGATOR"].assign(
        date=lambda x: x["RSDTC"].where(x["RSDTC"] != "2014-02", "2014-02-01")
    )
    told = found.merge(rs, left_on=["participant_id", "date"], right_on=["USUBJID", "date"], how="inner")
    differ = told[told["response"] != told["RSSTRESC"]][["participant_id", "date", "response", "RSSTRESC"]]
    assert len(told) == 22
    assert differ.to_numpy().tolist() == []


@pytest.mark.data
def test_parts_of_the_response_of_the_large_cdisc_example(shared_data: Callable[[str], Path]) -> None:
    """tr_onco and rs_onco of pharmaversesdtm 1 (Apache-2.0), investigator: 633 assessments after baseline.

    Sums equal the recorded ones, so do new lesions and non-target responses. The example has no rule of the
    nadir: where its target response differs, ours is PD by the nadir, or NE as a lesion was not assessed.
    """
    folder = shared_data("cdisc_onco_pk")
    tr = pd.read_parquet(folder / "pharmaversesdtm__tr_onco.parquet")
    adsl = pd.read_parquet(folder / "pharmaverseadam__adsl.parquet")
    tr = tr[tr["TREVAL"] == "INVESTIGATOR"]
    recorded = tr[tr["TRTESTCD"] == "SUMDIAM"]
    tr = tr[tr["TRTESTCD"].isin(["DIAMETER", "TUMSTATE"])]
    state = tr["TRSTRESC"].where(tr["TRTESTCD"] == "TUMSTATE", "").str.lower()
    lesions = pd.DataFrame(
        {
            "participant_id": tr["USUBJID"],
            "date": tr["TRDTC"],
            "lesion_id": tr["TRLNKID"],
            "role": tr["TRGRPID"].str.lower(),
            "diameter_mm": tr["TRSTRESN"],
            "state": state.where(tr["TRSTAT"] != "NOT DONE", "not evaluable"),
        }
    )
    people = pd.DataFrame({"participant_id": adsl["USUBJID"], "first_dose_datetime": adsl["TRTSDT"]})
    found = timepoint_response(lesions, people)
    sums = found.merge(recorded, left_on=["participant_id", "date"], right_on=["USUBJID", "TRDTC"])
    whole = sums[sums["sum_mm"].notna()]
    assert len(whole) > 850
    np.testing.assert_allclose(whole["sum_mm"], whole["TRSTRESN"], atol=1e-9)
    rs = pd.read_parquet(folder / "pharmaversesdtm__rs_onco.parquet")
    rs = rs[rs["RSEVAL"] == "INVESTIGATOR"].drop(columns="RSTEST")
    parts = rs.pivot_table(index=["USUBJID", "RSDTC"], columns="RSTESTCD", values="RSSTRESC", aggfunc="first")
    told = found[~found["is_baseline"]].merge(
        parts.reset_index(), left_on=["participant_id", "date"], right_on=["USUBJID", "RSDTC"]
    )
    assert len(told) == 633
    whole = told[told["NTRGRESP"].notna()]
    assert len(whole) == 632
    assert (whole["non_target"] == whole["NTRGRESP"]).all()
    words = told["NEWLPROG"].map({"UNEQUIVOCAL": "yes", "EQUIVOCAL": "equivocal"}).fillna("no")
    assert (told["new_lesions"] == words).all()
    differ = told[told["target"] != told["TRGRESP"]]
    why = differ["target_rule"].str.contains("nadir of|reappeared|not evaluated")
    assert why.all(), differ.loc[~why, ["participant_id", "date", "target", "TRGRESP", "target_rule"]]
    above = differ.loc[differ["target"] == "PD", "change_pct"]
    assert (above < 20).all()  # none is PD against the baseline
    assert len(differ) < 80
