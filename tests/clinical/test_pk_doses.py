"""Several doses, exposure at biopsies and dose proportionality, against exact superposition and R."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.pk import auc_between, dose_proportionality, exposure_at, nca_intervals
from pdbiomarker.errors import InputError

K, V, DOSE, TAU, N = 0.02, 4.0, 100.0, 48.0, 6
CL = K * V
ACCUMULATED = [(1 - math.exp(-n * K * TAU)) / (1 - math.exp(-K * TAU)) for n in range(1, N + 1)]


def amount_at(time: float) -> float:
    """Exact superposition of boluses of one compartment, just after a dose at the same time."""
    return sum(DOSE * math.exp(-K * (time - n * TAU)) for n in range(N) if time >= n * TAU)


def samples(times: list[float] | None = None) -> pd.DataFrame:
    chosen = times or [n * TAU + h for n in range(N) for h in (0.0, 1, 4, 12, 24, 47)]
    return pd.DataFrame(
        {"participant_id": "P1", "time_h": chosen, "concentration": [amount_at(t) / V for t in chosen]}
    )


DOSES = pd.DataFrame(
    {"participant_id": "P1", "time_h": [n * TAU for n in range(N)], "amount": DOSE, "duration_h": 0.0}
)


def test_intervals_of_boluses_follow_superposition() -> None:
    """The log rule is exact on one falling exponential, so every figure has a closed form."""
    table = nca_intervals(samples(), DOSES, route="bolus")
    assert len(table) == N
    first = DOSE / CL * (1 - math.exp(-K * TAU))
    for row, r in zip(table.itertuples(), ACCUMULATED, strict=True):
        assert row.auc_tau == pytest.approx(first * r, rel=1e-10)
        assert row.cmax == pytest.approx(DOSE / V * r, rel=1e-12)
        assert row.ctrough == pytest.approx(DOSE / V * r * math.exp(-K * TAU), rel=1e-10)
        assert row.cavg == pytest.approx(row.auc_tau / TAU, rel=1e-14)
        assert "extrapolated" in row.flags
    assert table["accumulation_auc"][1:].tolist() == pytest.approx(ACCUMULATED[1:], rel=1e-10)
    assert table["accumulation_cmax"][1:].tolist() == pytest.approx(ACCUMULATED[1:], rel=1e-12)
    assert math.isnan(table["accumulation_auc"][0])


def test_infusions_reach_steady_state_where_the_troughs_say_so() -> None:
    """Pre-dose samples at each dose; CLss only at steady state, and equal to CL in the limit."""
    r = np.array([0.0, *ACCUMULATED])
    troughs = DOSE / V * r * math.exp(-K * TAU)
    rows = []
    for n in range(N):
        rows += [(n * TAU, troughs[n])]
        rows += [(n * TAU + h, DOSE / V * r[n + 1] * math.exp(-K * h)) for h in (0.001, 4, 12, 24, 40)]
    frame = pd.DataFrame(rows, columns=["time_h", "concentration"]).assign(participant_id="P1")
    doses = DOSES.assign(duration_h=0.001)
    table = nca_intervals(frame, doses)
    change = troughs[1:] / np.where(troughs[:-1] > 0, troughs[:-1], np.nan) - 1
    assert table["steady_state"].tolist() == [bool(abs(c) <= 0.2) for c in change]
    assert table["steady_state"].tolist() == [False, False, True, True, True, True]
    assert table.loc[~table["steady_state"], "cl_ss"].isna().all()
    assert table["cl_ss"].iloc[-1] == pytest.approx(
        CL / r[N] * r[-1] / (1 - math.exp(-N * K * TAU)), rel=1e-4
    )
    assumed = nca_intervals(frame, doses, steady_state="assume")
    assert assumed["cl_ss"].notna().tolist() == [False, True, True, True, True, True]


def test_another_amount_gives_no_accumulation_and_a_gap_says_so() -> None:
    doses = DOSES.assign(amount=[100, 50, 100, 100, 100, 100])
    table = nca_intervals(samples(), doses, route="bolus")
    assert math.isnan(table["accumulation_auc"][1])
    assert "another amount than the first dose" in table["flags"][1]
    unsampled = nca_intervals(samples([0.0, 1, 4, 12, 24, 47, 100, 110, 120, 140]), DOSES, route="bolus")
    assert "too few samples above the limit" in unsampled["flags"][1]
    assert unsampled["auc_tau"].notna().tolist() == [True, False, True, False, False, False]


def test_areas_across_doses_are_those_of_superposition() -> None:
    for start, end in ((0.0, 20.0), (10.0, 130.0), (96.0, 288.0), (0.0, 500.0)):
        exact = sum(
            DOSE / CL * (math.exp(-K * max(start - n * TAU, 0)) - math.exp(-K * (end - n * TAU)))
            for n in range(N)
            if end > n * TAU
        )
        row = auc_between(samples(), DOSES, start_h=start, end_h=end, route="bolus").iloc[0]
        assert row["auc"] == pytest.approx(exact, rel=1e-10)
    assert "extrapolated from 47 to 260 h" in row["flags"]
    with pytest.raises(InputError, match="E-PK-010"):
        auc_between(samples(), DOSES, start_h=30, end_h=20)


def test_exposure_at_a_biopsy() -> None:
    biopsies = pd.DataFrame(
        {
            "participant_id": ["P1", "P1", "P1", "P1", "P1", "P9"],
            "time_h": [-30.0, 30.0, 108.0, 243.5, math.nan, 5.0],
        },
        index=pd.Index(["B1", "B2", "B3", "B4", "B5", "B6"], name="biopsy_id"),
    )
    table = exposure_at(biopsies, samples(), DOSES, route="bolus").set_index("biopsy_id")
    for biopsy, time in (("B2", 30.0), ("B3", 108.0), ("B4", 243.5)):
        row = table.loc[biopsy]
        doses = [n * TAU for n in range(N) if n * TAU <= time]
        assert row["n_doses"] == len(doses)
        assert row["hours_since_last_dose"] == time - doses[-1]
        exact = sum(DOSE / CL * (1 - math.exp(-K * (time - d))) for d in doses)
        assert row["auc_to_biopsy"] == pytest.approx(exact, rel=1e-10)
        assert row["concentration"] == pytest.approx(amount_at(time) / V, rel=1e-10)
    assert table["concentration_is"].tolist()[:4] == [
        "before dose",
        "interpolated",
        "measured",
        "interpolated",
    ]
    assert (table.loc["B1", "auc_to_biopsy"], table.loc["B1", "concentration"]) == (0, 0)
    assert table.loc["B3", "last_trough"] == pytest.approx(amount_at(95.0) / V, rel=1e-12)
    assert table.loc["B3", "last_trough_time_h"] == 95.0
    assert "no trough" in table.loc["B2", "flags"]
    assert table.loc["B5", "flags"] == "the time of the biopsy is not known"
    assert table.loc["B6", "flags"] == "no doses and no concentrations"


def test_exposure_that_rests_on_little_says_so() -> None:
    sparse = samples([0.0, 1, 4, 12, 24, 47, 48, 49])
    biopsy = pd.DataFrame({"biopsy_id": ["B1"], "participant_id": ["P1"], "time_h": [90.0]})
    row = exposure_at(biopsy, sparse, DOSES, route="bolus").iloc[0]
    assert row["concentration_is"] == "extrapolated"
    assert row["concentration"] == pytest.approx(amount_at(90.0) / V, rel=1e-10)
    assert "dose 2: extrapolated from 1 to 42 h, by the slope of an earlier dose" in row["flags"]
    assert row["auc_extrapolated_pct"] > 30
    exact = sum(DOSE / CL * (1 - math.exp(-K * (90.0 - d))) for d in (0.0, 48.0))
    assert row["auc_to_biopsy"] == pytest.approx(exact, rel=1e-10)
    none = exposure_at(biopsy, samples([0.0, 1, 4, 12, 24, 47]), DOSES, route="bolus").iloc[0]
    assert math.isnan(none["auc_to_biopsy"])
    assert "dose 2: not sampled" in none["flags"]


def test_a_line_down_to_a_late_sample_below_the_limit_is_no_exposure() -> None:
    """Later cycles with a peak and a trough below the limit: the slope goes on, not a line over four weeks.

    Exact by superposition; the line from the peak would give 5.6 times the area of the second dose.
    """
    k, gap = 0.02, 672.0
    curve = [(h, DOSE / V * math.exp(-k * h)) for h in (0.0, 4, 24, 72, 168)]
    rows = [*curve, (gap - 1, "BLQ"), (gap, DOSE / V), (2 * gap - 1, "BLQ")]
    frame = pd.DataFrame(rows, columns=["time_h", "concentration"]).assign(participant_id="P1")
    doses = pd.DataFrame({"participant_id": "P1", "time_h": [0.0, gap, 2 * gap], "amount": DOSE})
    biopsies = pd.DataFrame(
        {"biopsy_id": ["B1", "B2"], "participant_id": "P1", "time_h": [gap + 100, 2 * gap - 0.5]}
    )
    table = exposure_at(biopsies, frame, doses, route="bolus").set_index("biopsy_id")
    exact = DOSE / (k * V) * (2 - math.exp(-k * 100))
    assert table.loc["B1", "auc_to_biopsy"] == pytest.approx(exact, rel=1e-5)
    assert table.loc["B1", "concentration"] == pytest.approx(DOSE / V * math.exp(-k * 100), rel=1e-9)
    assert "1 samples above the limit" in table.loc["B1", "flags"]
    assert "by the slope of an earlier dose" in table.loc["B1", "flags"]
    assert table.loc["B2", "concentration_is"] == "below limit"
    intervals = nca_intervals(frame, doses.head(2), route="bolus", tau_h=gap)
    assert intervals["accumulation_auc"][1] == pytest.approx(1, rel=1e-5)


# --- dose proportionality ----------------------------------------------------------------------------------


def test_the_power_model_as_rs_lm() -> None:
    """R 4.2.2: summary(lm(log(y) ~ log(d))), confint(level = .9); script in tests/golden/pk/power.R."""
    dose = [1, 1, 1, 3, 3, 3, 10, 10, 10, 30, 30, 30]
    auc = [11.2, 9.1, 13.5, 35.0, 27.9, 41.2, 95.0, 141.0, 120.5, 420.0, 310.3, 505.9]
    frame = pd.DataFrame({"participant_id": [f"P{i:02}" for i in range(12)], "dose": dose, "auc_inf": auc})
    row = dose_proportionality(frame, values=["auc_inf"]).iloc[0]
    expected = {
        "slope": POWER["slope"],
        "se": POWER["se"],
        "ci_low": POWER["low"],
        "ci_high": POWER["high"],
        "intercept": POWER["intercept"],
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-10), name
    assert (row["model"], row["df"], row["n_doses"]) == ("ols", 10, 4)
    r = math.log(30)
    assert row["accept_low"] == pytest.approx(1 + math.log(0.8) / r, rel=1e-12)
    assert row["accept_high"] == pytest.approx(1 + math.log(1.25) / r, rel=1e-12)
    assert row["verdict"] == "inconclusive"


POWER = {
    "slope": 1.0524262288400843,
    "se": 0.0433439309473082,
    "low": 0.9738670390882543,
    "high": 1.1309854185919141,
    "intercept": 2.3875545599448911,
}


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [(1.0, "proportional"), (1.5, "more than proportional"), (0.6, "less than proportional")],
)
def test_a_known_power_is_found(slope: float, verdict: str) -> None:
    rng = np.random.default_rng(7354)
    dose = np.repeat([1.0, 3, 10, 30, 100], 8)
    value = 5 * dose**slope * np.exp(rng.normal(0, 0.05, len(dose)))
    frame = pd.DataFrame({"participant_id": [f"P{i}" for i in range(40)], "dose": dose, "cmax": value})
    row = dose_proportionality(frame, values=["cmax"]).iloc[0]
    assert row["slope"] == pytest.approx(slope, abs=0.03)
    assert row["verdict"] == verdict


def test_participants_with_several_doses_are_a_random_effect() -> None:
    """Complete crossover: the slope within participants is that of the pairs' differences."""
    people = [f"P{i}" for i in range(8)]
    rng = np.random.default_rng(1)
    level, change = rng.normal(0, 1, 8), rng.normal(math.log(3), 0.1, 8)
    frame = pd.DataFrame(
        {
            "participant_id": people * 2,
            "dose": [1.0] * 8 + [3.0] * 8,
            "cmax": np.exp(np.concatenate([level, level + change])),
        }
    )
    row = dose_proportionality(frame, values=["cmax"]).iloc[0]
    assert (row["model"], row["n_participants"], row["n"]) == ("mixed", 8, 16)
    assert row["slope"] == pytest.approx(change.mean() / math.log(3), rel=1e-8)
    assert row["se"] == pytest.approx(change.std(ddof=1) / math.sqrt(8) / math.log(3), rel=1e-6)
    assert row["df"] == pytest.approx(7, rel=1e-6)


def test_what_cannot_be_fitted_says_why() -> None:
    frame = pd.DataFrame({"participant_id": list("abcd"), "dose": [1.0] * 4, "cmax": [1, 2, 0, np.nan]})
    row = dose_proportionality(frame, values=["cmax"]).iloc[0]
    assert row["verdict"] == "not estimable"
    assert row["note"] == "2 without a value above 0 left out; one dose only"
