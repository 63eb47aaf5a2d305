"""Dose escalation against published decisions, exact enumeration and brute force."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

import pdbiomarker as pb
from pdbiomarker.clinical.escalation.outcomes import Tally
from pdbiomarker.clinical.escalation.selection import isotonic_rates, nearest_dose
from pdbiomarker.errors import InputError

esc = pb.clinical.escalation


def _options(text: str) -> dict[str, Any]:
    flags = {"TRUE": True, "FALSE": False}
    parts = (part.split("=") for part in text.split(",") if part.strip())
    return {k.strip(): flags[v.strip()] if v.strip() in flags else float(v) for k, v in parts}


@pytest.mark.data
def test_the_197_published_decisions(shared_golden: Callable[[str], Path]) -> None:
    # Korn 1994 (3+3), Ji 2010 figure 2, Guo 2017 figure 3, BOIN: as collected, with options.
    with shared_golden("escalation_decisions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 197
    wrong = []
    for row in rows:
        target = {"target": float(row["target"])} if row["target"] else {}
        got = esc.next_dose(
            row["design"],
            row["outcomes"],
            int(row["num_doses"]),
            options=_options(row["parameters"]),
            **target,
        )
        dose = None if row["recommended_dose"] == "NA" else int(row["recommended_dose"])
        if got != (dose, row["continue"] == "true"):
            wrong.append((row, got))
    assert wrong == []


def test_the_example_of_the_boin_paper_cohort_by_cohort() -> None:
    # Yan, Zhang, Zhou, Pan, Liu and Yuan 2020, J Stat Softw 94(13), page 25: target .3, five doses.
    cohorts = ["1NNN", "2NNN", "3NTT", "2NTN", "3NNN", "3NNN", "4TTT", "3NTN", "3NNT", "3TNN"]
    wanted = [2, 3, 2, 3, 3, 4, 3, 3, 3, 3]
    so_far = [" ".join(cohorts[: i + 1]) for i in range(len(cohorts))]
    assert [esc.next_dose("boin", text, 5) for text in so_far] == [(dose, True) for dose in wanted]
    chosen = esc.select_mtd("boin", so_far[-1], 5)
    assert (chosen.mtd, chosen.mad, chosen.reached) == (3, 4, True)


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [(0.20, 0.1572, 0.2385), (0.25, 0.1968, 0.2984), (0.30, 0.2365, 0.3585), (0.33, 0.2604, 0.3947)],
)
def test_boin_limits(target: float, low: float, high: float) -> None:
    # Liu and Yuan 2015, table 1 (three digits there; four here, computed independently).
    assert esc.boin_limits(target) == pytest.approx((low, high), abs=5e-5)


def test_the_boin_table_for_30_percent() -> None:
    # Liu and Yuan 2015: escalate, de-escalate, eliminate for n = 1..9.
    table = esc.boundaries("boin", target=0.30, max_n=9)
    assert table["escalate_if_at_most"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert table["deescalate_if_at_least"].tolist() == [1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert table["eliminate_if_at_least"].isna().tolist() == [True, True, *[False] * 7]
    assert table["eliminate_if_at_least"].tolist()[2:] == [3, 3, 4, 4, 5, 5, 5]


@pytest.mark.parametrize("design", ["boin", "mtpi", "mtpi2"])
def test_the_decision_table_is_what_next_dose_does(design: str) -> None:
    table = esc.decision_table(design, target=0.25, max_n=9)
    assert len(table) == sum(n + 1 for n in range(1, 10))
    move = {"escalate": 1, "stay": 0, "de-escalate": -1, "eliminate": -1}
    for n, y, decision in table.itertuples(index=False):
        text = f"3{'T' * y}{'N' * (n - y)}"
        assert esc.next_dose(design, text, 5, target=0.25)[0] == 3 + move[decision], (n, y)
        # An eliminated dose is not come back to, however good the dose below looks.
        back = esc.next_dose(design, f"{text} 2NNNNNN", 5, target=0.25)[0]
        assert back == (2 if decision == "eliminate" else 3), (n, y)


@pytest.mark.parametrize("design", ["boin", "mtpi", "mtpi2"])
def test_more_toxicities_never_lead_higher(design: str) -> None:
    rank = {"escalate": 0, "stay": 1, "de-escalate": 2, "eliminate": 3}
    for _, at in esc.decision_table(design, max_n=15).groupby("n_treated"):
        assert np.all(np.diff(at["decision"].map(rank)) >= 0)


def test_the_two_decisions_in_which_mtpi_and_mtpi2_differ_for_three_of_six() -> None:
    # Guo 2017: 3 toxicities of 6 at a target of 30 % stays under mTPI and de-escalates under mTPI-2.
    got = {d: esc.next_dose(d, "3NNNTTT", 5)[0] for d in ("mtpi", "mtpi2")}
    assert got == {"mtpi": 3, "mtpi2": 2}


def test_boin_without_the_stopping_rule_stays_at_the_lowest_dose() -> None:
    assert esc.next_dose("boin", "1TTT", 3) == (None, False)
    assert esc.next_dose("boin", "1TTT", 3, options={"use_stopping_rule": False}) == (1, True)


# --- what cannot be read ---


@pytest.mark.parametrize(
    ("text", "code", "position", "said"),
    [
        ("1NNN 2NXN", "E-DOSE-001", 8, "neither N nor T"),
        ("1NNN nnt", "E-DOSE-001", 6, "no dose level"),
        ("1NNn", "E-DOSE-001", 4, "lower case"),
        ("1", "E-DOSE-001", 2, "no outcome"),
        ("1NN2NN", "E-DOSE-001", 4, "second dose level"),
        ("1NNN,2NNN", "E-DOSE-001", 5, "neither"),
        ("1NNN 6NNN", "E-DOSE-002", 6, "levels 1 to 5"),
        ("0NNN", "E-DOSE-002", 1, "levels 1 to 5"),
        ("-1NNN", "E-DOSE-001", 1, "no meaning"),
    ],
)
def test_a_malformed_text_is_refused_at_its_position(text: str, code: str, position: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        esc.next_dose("boin", text, 5)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.column == f"outcomes, position {position}"
    assert said in problem.message
    assert problem.remedy


def test_every_fault_of_a_text_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        esc.next_dose("boin", "1NXN 9NNN 2nn", 5)
    assert [p.code for p in caught.value.problems] == ["E-DOSE-001", "E-DOSE-002", "E-DOSE-001"]


@pytest.mark.parametrize(
    ("design", "settings", "said"),
    [
        ("crm", {}, "no design"),
        ("boin", {"options": {"epsilon1": 0.05}}, "no option 'epsilon1'"),
        ("boin", {"options": {"use_stopping_rule": "yes"}}, "not a truth value"),
        ("mtpi", {"options": {"epsilon1": True}}, "not a number"),
        ("mtpi", {"options": {"epsilon1": 0.4}}, "inside 0 to 1"),
        ("mtpi", {"options": {"exclusion_certainty": 1.0}}, "below 1"),
        ("boin", {"target": 30}, "between 0 and 1"),
        ("boin", {"target": 0.8}, "0.714"),
        ("boin", {"target": "a third"}, "between 0 and 1"),
        ("mtpi", {"target": math.nan}, "between 0 and 1"),
        ("mtpi", {"options": 0.05}, "not a mapping"),
    ],
)
def test_designs_and_options_that_cannot_be_used(design: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=r"E-DOSE-003") as caught:
        esc.next_dose(design, "1NNN", 5, **settings)
    assert said in str(caught.value)


def test_the_empty_cell_of_a_table_is_nobody_treated_and_a_number_is_no_outcome() -> None:
    assert esc.next_dose("boin", math.nan, 5) == esc.next_dose("boin", None, 5) == (1, True)
    with pytest.raises(InputError, match=r"E-DOSE-001.*not a text"):
        esc.next_dose("boin", 3.0, 5)


@pytest.mark.parametrize("n_doses", [0, 101, 2.5, "5", True, None])
def test_the_number_of_doses_is_a_whole_number(n_doses: Any) -> None:
    with pytest.raises(InputError, match=r"E-DOSE-003.*whole number"):
        esc.next_dose("boin", "1NNN", n_doses)


def _boin_by_hand(cohorts: list[tuple[int, str]], n_doses: int, target: float) -> tuple[int | None, bool]:
    """BOIN from its published rules, with scipy's beta tail."""
    n = {d: sum(len(x) for e, x in cohorts if e == d) for d in range(1, n_doses + 1)}
    y = {d: sum(x.count("T") for e, x in cohorts if e == d) for d in range(1, n_doses + 1)}
    gone = [d for d in n if n[d] >= 3 and stats.beta.sf(target, 1 + y[d], 1 + n[d] - y[d]) > 0.95]
    highest = min(gone, default=n_doses + 1) - 1
    if highest == 0:
        return None, False
    low, high = 0.6 * target, 1.4 * target
    up = math.log((1 - low) / (1 - target)) / math.log(target * (1 - low) / (low * (1 - target)))
    down = math.log((1 - target) / (1 - high)) / math.log(high * (1 - target) / (target * (1 - high)))
    here = cohorts[-1][0]
    rate = y[here] / n[here]
    move = 1 if rate <= up else (-1 if rate >= down else 0)
    return min(max(here + move, 1), highest), True


def test_boin_on_paths_of_every_kind_as_by_hand() -> None:
    rng = np.random.default_rng(3)
    for _ in range(400):
        n_doses, target = int(rng.integers(1, 6)), float(rng.choice([0.2, 0.25, 0.3, 0.33]))
        cohorts = [
            (
                int(rng.integers(1, n_doses + 1)),
                "".join(rng.choice(["N", "T"], rng.integers(1, 5), p=[0.7, 0.3])),
            )
            for _ in range(int(rng.integers(1, 7)))
        ]
        text = " ".join(f"{d}{x}" for d, x in cohorts)
        wanted = _boin_by_hand(cohorts, n_doses, target)
        assert esc.next_dose("boin", text, n_doses, target=target) == wanted, text


def test_a_three_plus_three_that_left_its_rules_is_refused_where_it_did() -> None:
    with pytest.raises(InputError) as caught:
        esc.next_dose("3+3", "1NNN 2NTT 1NNN 3N", 5)
    (problem,) = caught.value.problems
    assert (problem.code, problem.column) == ("E-DOSE-004", "outcomes, position 12")
    assert "would stop here" in problem.message
    assert esc.next_dose("3+3", "1NNN 2NTT 1NNN 3N", 5, options={"strict_mode": False}) == (3, True)


# --- the maximum tolerated dose ---


def _brute_force_isotonic(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Min-max formula: max over starts of the min over ends of weighted means."""
    k = len(y)
    mean = [
        [np.average(y[a : b + 1], weights=w[a : b + 1]) if b >= a else 0.0 for b in range(k)]
        for a in range(k)
    ]
    return np.array([max(min(mean[a][b] for b in range(i, k)) for a in range(i + 1)) for i in range(k)])


def test_isotonic_rates_against_brute_force() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        n = rng.integers(0, 10, size=6)
        y = rng.binomial(n, rng.random(6))
        rates = isotonic_rates(Tally(n, y, 1), np.full(6, True))
        at = n > 0
        a, b = y[at] + 0.05, n[at] - y[at] + 0.05
        variance = a * b / ((a + b) ** 2 * (a + b + 1))
        assert rates[at] == pytest.approx(_brute_force_isotonic(a / (a + b), 1 / variance), abs=1e-12)
        assert rates[at] == pytest.approx(optimize.isotonic_regression(a / (a + b), weights=1 / variance).x)
        assert np.isnan(rates[~at]).all()


@pytest.mark.parametrize(
    ("rates", "wanted"),
    [
        ([0.1, 0.2, 0.2, 0.5], 3),  # tied below the target: the higher
        ([0.1, 0.4, 0.4, 0.5], 2),  # tied above it: the lower
        ([0.2, 0.4], 1),  # as far on both sides: the lower
        ([np.nan, 0.9], 2),
        ([np.nan, np.nan], None),
    ],
)
def test_ties_around_the_target(rates: list[float], wanted: int | None) -> None:
    assert nearest_dose(np.array(rates), 0.3) == wanted


def test_the_mtd_of_isotonic_regression_leaves_eliminated_doses_out() -> None:
    chosen = esc.select_mtd("boin", "1NNN 2NNN 3TTT 2NNT", 5)
    assert (chosen.mtd, chosen.mad, chosen.reached) == (2, 3, True)
    assert chosen.table["excluded"].tolist() == [False, False, True, True, True]
    assert chosen.table["isotonic"].isna().tolist() == [False, False, True, True, True]
    # Clopper-Pearson limits of 1 in 6, from its published table: 0.42 to 64.12 %.
    row = chosen.table.loc[1]
    assert (row["interval_low"], row["interval_high"]) == pytest.approx((0.0042107, 0.6412346), abs=1e-6)


def test_no_dose_is_safe_or_none_was_tried() -> None:
    none = esc.select_mtd("boin", "1TTT", 5)
    assert (none.mtd, none.mad, none.reached) == (None, 1, True)
    assert "below dose level 1" in none.note
    empty = esc.select_mtd("boin", "", 5)
    assert (empty.mtd, empty.mad, empty.reached) == (None, None, False)


def test_the_mad_is_reported_where_the_mtd_was_not_reached() -> None:
    for design in ("boin", "3+3"):
        top = esc.select_mtd(design, "1NNN 2NNN 3NNNNNN", 3)
        assert (top.mtd, top.mad, top.reached) == (3, 3, False), design
        assert "not reached; the highest dose level administered is 3" in top.note


@pytest.mark.parametrize(
    ("outcomes", "options", "mtd", "reached"),
    [
        ("1NNN 2NNN", {}, None, False),  # going on, nowhere six treated
        ("1NNN 2NNT 2NNN 3NNN", {}, 2, False),
        ("1NNN 2NNN 3NTT", {}, 2, True),
        ("1NNN 2NNN 3NTT", {"allow_deescalate": True}, None, False),
        ("1NNN 2NNN 3NTT 2NNT", {"allow_deescalate": True}, 2, True),
        ("1NTT", {}, None, True),
    ],
)
def test_the_mtd_of_the_three_plus_three(
    outcomes: str, options: dict[str, Any], mtd: int | None, reached: bool
) -> None:
    chosen = esc.select_mtd("3+3", outcomes, 5, options=options)
    assert (chosen.mtd, chosen.reached) == (mtd, reached)


# --- operating characteristics ---


def _exact_three_plus_three(rates: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Enumerate the 3+3 without de-escalation: chances of each MTD (0 first), participants by dose."""
    k = len(rates)
    mtd, treated = np.zeros(k + 1), np.zeros(k)
    reach = 1.0
    for d, p in enumerate(rates):
        one = [(1 - p) ** 3, 3 * p * (1 - p) ** 2]
        top = d == k - 1
        if not top:
            go = one[0] + one[1] * one[0]
            treated[d] += reach * (3 + 3 * one[1])
        else:  # the highest dose is filled to six
            go = one[0] * (one[0] + one[1]) + one[1] * one[0]
            treated[d] += reach * (3 + 3 * (one[0] + one[1]))
        mtd[d] += reach * (1 - go)  # too toxic: the dose below
        reach *= go
    mtd[k] += reach
    return mtd, treated


def test_the_three_plus_three_agrees_with_exact_enumeration() -> None:
    rates = (0.05, 0.15, 0.30, 0.45)
    got = esc.operating_characteristics("3+3", rates, n_simulations=20_000, seed=5)
    mtd, treated = _exact_three_plus_three(rates)
    assert mtd.sum() == pytest.approx(1)
    chosen = got.set_index("dose")["chosen"].reindex(range(5)).to_numpy()
    # Four Monte Carlo standard errors.
    assert np.all(np.abs(chosen - mtd) < 4 * np.sqrt(mtd * (1 - mtd) / 20_000))
    assert got["n_treated"].to_numpy()[:4] == pytest.approx(treated, abs=4 * 3 / np.sqrt(20_000))


def test_a_boin_trial_of_two_cohorts_agrees_with_exact_enumeration() -> None:
    rates = (0.1, 0.4)
    got = esc.operating_characteristics(
        "boin", rates, size=esc.TrialSize(max_n=4, cohort_size=2), n_simulations=20_000, seed=2
    )
    chance = np.zeros(3)
    for first, second in itertools.product(itertools.product("NT", repeat=2), repeat=2):
        p = np.prod([rates[0] if x == "T" else 1 - rates[0] for x in first])
        dose = esc.next_dose("boin", "1" + "".join(first), 2)[0] or 0
        p *= np.prod([rates[dose - 1] if x == "T" else 1 - rates[dose - 1] for x in second])
        chance[esc.select_mtd("boin", f"1{''.join(first)} {dose}{''.join(second)}", 2).mtd or 0] += p
    shares = got.set_index("dose")["chosen"].reindex(range(3)).to_numpy()
    assert np.all(np.abs(shares - chance) <= 4 * np.sqrt(chance * (1 - chance) / 20_000))


def test_operating_characteristics_are_the_same_on_every_call_and_add_up() -> None:
    def once() -> Any:
        return esc.operating_characteristics("mtpi2", (0.1, 0.3, 0.5), n_simulations=300, seed=9)

    a, b = once(), once()
    assert a.equals(b)
    assert a["chosen"].sum() == pytest.approx(1)
    assert a.attrs["mean_n"] == pytest.approx(a["n_treated"].sum())
    assert a.attrs["mean_n"] <= 36


def test_a_dose_that_kills_everybody_stops_the_trial() -> None:
    got = esc.operating_characteristics("boin", (1.0, 1.0), n_simulations=50)
    assert got.set_index("dose").loc[0, "chosen"] == 1
    assert got.attrs["mean_n"] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"true_rates": (0.1, 1.2)},
        {"size": esc.TrialSize(max_n=2, cohort_size=3)},
        {"n_simulations": 0},
    ],
)
def test_settings_that_cannot_be_simulated(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="E-DOSE-003"):
        esc.operating_characteristics("boin", **{"true_rates": (0.1, 0.2), **settings})
