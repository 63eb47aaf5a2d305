"""Kaplan-Meier, medians, Cox and the landmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.survival import cox, kaplan_meier, landmark
from pdbiomarker.errors import InputError

FOLDER = Path(__file__).parents[1] / "golden" / "survival"
DATA = pd.read_csv(FOLDER / "data.csv")
SETS = sorted({(s, g) for s, g in zip(DATA["set"], DATA["group"], strict=True)})


def of_set(name: str, group: str, file: str, level: float) -> pd.DataFrame:
    rows = pd.read_csv(FOLDER / file)
    return rows[(rows["set"] == name) & (rows["group"] == group) & (rows["level"] == level)]


def rows_of(name: str, group: str) -> pd.DataFrame:
    return DATA[(DATA["set"] == name) & (DATA["group"] == group)]


@pytest.mark.parametrize("level", [0.95, 0.90])
@pytest.mark.parametrize(("name", "group"), SETS)
def test_curves_and_medians_equal_r_survival(name: str, group: str, level: float) -> None:
    """R survival 3.5-3 (golden/survival): ties, no events, median not reached, a curve on one half; 1e-12."""
    found = kaplan_meier(rows_of(name, group), level=level)
    want = of_set(name, group, "curves.csv", level)
    for column in ("days", "n_risk", "n_event", "n_censored", "survival", "ci_low", "ci_high"):
        np.testing.assert_allclose(found.table[column], want[column], rtol=1e-12, err_msg=column)
    falling = want["survival"].to_numpy() > 0  # R gives NaN at survival 0, where Greenwood has no value
    np.testing.assert_allclose(found.table["se"][falling], want["se"][falling], rtol=1e-10)
    median = of_set(name, group, "medians.csv", level)
    for column in ("median_days", "ci_low", "ci_high"):
        np.testing.assert_allclose(found.medians[column], median[column], rtol=1e-12, err_msg=column)


@pytest.mark.parametrize(("name", "group"), SETS)
def test_survival_at_fixed_days_equals_r_survival(name: str, group: str) -> None:
    want = of_set(name, group, "fixed.csv", 0.95)
    found = kaplan_meier(rows_of(name, group)).at(want["days"].tolist())
    for column in ("survival", "ci_low", "ci_high"):
        np.testing.assert_allclose(found[column], want[column], rtol=1e-12, err_msg=column)


def test_beyond_the_last_time_survival_is_unknown_unless_zero() -> None:
    assert kaplan_meier(rows_of("not_reached", "A")).at([51])["survival"].isna().all()
    assert kaplan_meier(rows_of("to_zero", "A")).at([99])["survival"].tolist() == [0.0]


def test_numbers_at_risk_count_those_with_that_time_or_more() -> None:
    times = pd.DataFrame({"days": [5, 8, 8, 12], "event": [1, 1, 0, 1]})
    assert kaplan_meier(times).at([0, 5, 8, 8.5, 12, 13])["n_risk"].tolist() == [4, 4, 3, 1, 1, 0]


def test_groups_are_ordered_as_numbers_and_rows_without_a_time_are_listed() -> None:
    table = pd.DataFrame(
        {
            "participant_id": ["1", "2", "3", "4"],
            "days": [5, 8, 9, np.nan],
            "event": [True, False, True, False],
            "dose_mg": [10, 2, 2, 2],
            "note": ["", "", "", "no first dose"],
        }
    )
    found = kaplan_meier(table, by="dose_mg")
    assert found.medians["group"].tolist() == ["2", "10"]
    assert found.left_out.to_numpy().tolist() == [["4", "no first dose"]]


def test_times_that_cannot_be_used_are_refused() -> None:
    for days, event in ((-1.0, True), (1.0, "perhaps")):
        with pytest.raises(InputError, match="E-SURV-006"):
            kaplan_meier(pd.DataFrame({"days": [days], "event": [event]}))
    with pytest.raises(InputError, match="E-SURV-001"):
        kaplan_meier(pd.DataFrame({"days": [1.0]}))


def test_cox_equals_r_survival_with_ties() -> None:
    """R survival 3.5-3, Efron; 1e-8."""
    want = pd.read_csv(FOLDER / "cox.csv")
    ties = DATA[DATA["set"] == "ties"]
    half = DATA[DATA["set"] == "on_half"].assign(x=[1, 3, 2, 4])
    for model, table, terms in (
        ("x", ties, ["x"]),
        ("x+group", ties, ["x", "group"]),
        ("on_half_x", half, ["x"]),
    ):
        found, own = cox(table, terms), want[want["model"] == model]
        assert found["status"].tolist() == ["ok"] * len(own)
        for column in ("log_hazard_ratio", "se", "z", "p"):
            np.testing.assert_allclose(found[column], own[column], rtol=1e-8, err_msg=f"{model} {column}")


def test_cox_says_why_a_term_cannot_be_estimated() -> None:
    none = DATA[DATA["set"] == "no_events"]
    assert cox(none, ["x"])["note"].tolist() == ["no events"]
    same = DATA[DATA["set"] == "ties"].assign(x=1.0)
    assert cox(same, ["x"])["note"].tolist() == ["a covariate does not vary"]
    apart = pd.DataFrame({"days": [1, 2, 3, 4, 5, 6], "event": [1, 1, 1, 0, 0, 0], "x": [1, 1, 1, 0, 0, 0]})
    row = cox(apart, ["x"]).iloc[0]
    assert row["status"] == "not_estimable"
    assert "no maximum" in row["note"]


def _trial_without_effect(rng: np.random.Generator, n: int = 60) -> pd.DataFrame:
    """Time is exponential; a biopsy on day 42 shows a change in half of those still without progression."""
    days = rng.exponential(60, n) + 1
    seen = rng.random(n) < 0.5
    return pd.DataFrame({"days": days, "event": True, "changed": np.where((days > 42) & seen, 1.0, 0.0)})


def test_trap_27_immortal_time_favours_a_change_and_the_landmark_does_not() -> None:
    """No effect by construction: the mean log hazard ratio is 0 at the landmark; 24 trials of 60, 4 SE."""
    rng = np.random.default_rng(27)
    naive, restarted = [], []
    for _ in range(24):
        trial = _trial_without_effect(rng)
        naive.append(cox(trial, ["changed"])["log_hazard_ratio"].iloc[0])
        later = landmark(trial, 42)
        restarted.append(cox(later[later["in_analysis"]], ["changed"])["log_hazard_ratio"].iloc[0])
    assert np.mean(naive) < -0.6
    assert abs(np.mean(restarted)) < 4 * np.std(restarted) / np.sqrt(24)


def test_trap_27_who_left_before_the_landmark_keeps_a_row() -> None:
    table = pd.DataFrame({"days": [42.0, 43.0, 10.0, np.nan], "event": [True, True, False, False]})
    found = landmark(table, 42)
    assert found["why_not"].tolist() == [
        "event at or before the landmark",
        "",
        "censored at or before the landmark",
        "no time",
    ]
    np.testing.assert_array_equal(found["days"], [np.nan, 1, np.nan, np.nan])
    with pytest.raises(InputError, match="E-SURV-006"):
        landmark(table, 0)


@pytest.mark.data
def test_survival_of_the_public_nivolumab_study(shared_data: Callable[[str], Path]) -> None:
    """Riaz 2017: median overall survival and hazard ratio of the first cohort against R survival 3.5-3."""
    path = shared_data("riaz2017/participants.csv")
    people = pd.read_csv(path)
    table = pd.DataFrame(
        {
            "days": people["os_months"] * 30.4375,
            "event": people["os_cnsr"] == 0,
            "cohort": people["clin_cohort"],
        }
    )
    found = kaplan_meier(table, by="cohort")
    want = pd.read_csv(FOLDER / "riaz.csv").set_index("group")
    assert len(want) >= 2
    for row in found.medians.itertuples():
        np.testing.assert_allclose(row.median_days, want.at[row.group, "median_days"], rtol=1e-9)
        np.testing.assert_allclose(row.ci_low, want.at[row.group, "ci_low"], rtol=1e-9)
        np.testing.assert_allclose(row.ci_high, want.at[row.group, "ci_high"], rtol=1e-9)
    ratio = cox(table, ["cohort"]).iloc[0]
    np.testing.assert_allclose(ratio["log_hazard_ratio"], want["log_hazard_ratio"].iloc[0], rtol=1e-8)
