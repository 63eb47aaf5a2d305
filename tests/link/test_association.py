"""Correlations, order across groups, areas under curves, against R, scipy and brute force."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.link import (
    area_under_curve,
    order_across_groups,
    repeated_measures_correlation,
    shape_test,
    slope,
    spearman,
)


@pytest.fixture(scope="module")
def r(golden: Path) -> pd.Series:
    table = pd.read_csv(golden / "link" / "link_results.csv")
    return table.set_index(["case", "quantity"])["value"]


def test_spearman_and_its_exact_p_are_those_of_r(r: pd.Series) -> None:
    a = [2.1, 0.4, 3.3, 1.7, 5.0, 4.2, 2.9, 0.9]
    b = [1.0, 0.2, 2.2, 3.1, 2.9, 4.4, 1.9, 0.5]
    found = spearman(a, b)
    assert found.value == pytest.approx(r["spearman", "value"], abs=1e-11)
    assert found.p == pytest.approx(r["spearman", "p"], abs=1e-11)
    assert found.p_method == "all permutations"


def test_spearman_with_ties_has_the_limits_of_bonett_and_wright() -> None:
    draw = np.random.default_rng(1)
    x = np.repeat([1.0, 3.0, 10.0, 30.0], 6)
    y = np.log(x) + draw.normal(0, 2, 24)
    found, theirs = spearman(x, y), stats.spearmanr(x, y)
    assert found.value == pytest.approx(theirs.statistic, abs=1e-12)
    z, half = np.arctanh(theirs.statistic), 1.959963984540054 * np.sqrt((1 + theirs.statistic**2 / 2) / 21)
    assert [found.low, found.high] == pytest.approx([np.tanh(z - half), np.tanh(z + half)], abs=1e-12)
    # 20,000 permutations against the t approximation, which is good at n = 24: Monte Carlo error .003.
    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)


def test_limits_of_spearman_cover_the_true_correlation() -> None:
    draw, rho, hits = np.random.default_rng(2), 0.5, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's correlation of a normal pair
    for _ in range(200):
        x = draw.normal(size=20)
        found = spearman(x, rho * x + np.sqrt(1 - rho**2) * draw.normal(size=20))
        hits += found.low <= truth <= found.high
    assert 0.90 <= hits / 200 <= 0.99  # binomial SD .0154


def test_what_cannot_be_correlated_says_why() -> None:
    assert "too few" in spearman([1, 2, 3], [3, 2, 1]).note
    assert "does not vary" in spearman([1, 1, 1, 1], [3, 2, 1, 0]).note
    perfect = spearman([1, 2, 3, 4, 5], [1, 2, 3, 4, 9])
    assert perfect.value == 1.0
    assert np.isnan(perfect.low)
    assert "no width" in perfect.note
    assert perfect.p == pytest.approx(2 / 120)


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1, 0]])
def test_jonckheere_is_that_of_every_permutation(groups: list[int]) -> None:
    codes, y = np.array(groups), np.array([1.2, 3.0, 2.0, 3.0, 4.1, 3.9, 5.0])

    def statistic(labels: np.ndarray) -> float:
        total = 0.0
        for i, j in itertools.product(range(7), repeat=2):
            if labels[i] < labels[j]:
                total += (y[j] > y[i]) + 0.5 * (y[j] == y[i])
        return total

    observed, pairs = statistic(codes), sum(a != b for a, b in itertools.combinations(groups, 2))
    every = np.array([statistic(codes[list(p)]) for p in itertools.permutations(range(7))])
    expected = (np.abs(every - pairs / 2) >= abs(observed - pairs / 2) - 1e-9).mean()
    found = order_across_groups(codes, y)
    assert found.value == pytest.approx(observed / pairs, abs=1e-12)
    assert found.p == pytest.approx(expected, abs=1e-12)
    ways = math.factorial(7) // math.prod(math.factorial(groups.count(group)) for group in set(groups))
    assert found.p_method == f"all {ways} arrangements"  # 7! / (2! 3! 2!), 7! / (3! 4!)


def test_jonckheere_of_a_published_table() -> None:
    """Hollander and Wolfe, table 6.6, motivational effects: J = 79 of 108 pairs."""
    y = [40, 35, 38, 43, 44, 41, 38, 40, 47, 44, 40, 42, 48, 40, 45, 43, 46, 44]
    found = order_across_groups(np.repeat([0, 1, 2], 6), y)
    assert found.value * 108 == pytest.approx(79, abs=1e-9)
    # Normal approximation without ties: z = (79 - 54)/sqrt(V), V = (18^2 39 - 3 * 36 * 15)/72 = 153.
    assert found.p == pytest.approx(2 * stats.norm.sf(25 / np.sqrt(153)), abs=0.01)


def test_area_under_the_curve_has_delongs_limits_and_the_exact_rank_sum_p() -> None:
    cases, others = np.array([2.1, 3.3, 1.9, 4.0, 2.8]), np.array([1.0, 2.0, 0.4, 2.9, 1.5, 0.7])
    found = area_under_curve([True] * 5 + [False] * 6, np.concatenate([cases, others]))
    wins = sum(c > o for c in cases for o in others)
    assert found.value == pytest.approx(wins / 30, abs=1e-12)
    v10 = np.array([np.mean([c > o for o in others]) for c in cases])
    v01 = np.array([np.mean([c > o for c in cases]) for o in others])
    variance = v10.var(ddof=1) / 5 + v01.var(ddof=1) / 6
    area = wins / 30
    half = stats.norm.ppf(0.975) * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    assert found.low == pytest.approx(1 / (1 + np.exp(half - logit)), abs=1e-12)
    assert found.high == pytest.approx(1 / (1 + np.exp(-half - logit)), abs=1e-12)
    exact = stats.mannwhitneyu(cases, others, method="exact").pvalue
    assert found.p == pytest.approx(exact, abs=1e-12)


def test_separated_groups_have_no_interval() -> None:
    found = area_under_curve([True, True, True, False, False, False], [4, 5, 6, 1, 2, 3])
    assert found.value == 1.0
    assert np.isnan(found.low)
    assert "separated" in found.note
    assert found.p == pytest.approx(0.1)  # 2 of 20 arrangements
    assert "at least two" in area_under_curve([True, False, False], [1, 2, 3]).note


@pytest.mark.parametrize("case", ["centred", "plain"])
def test_repeated_measures_correlation_is_rs_analysis_of_covariance(
    golden: Path, r: pd.Series, case: str
) -> None:
    table = pd.read_csv(golden / "link" / "repeated.csv")
    visits = table["visit"].tolist() if case == "centred" else None
    found = repeated_measures_correlation(
        table["a"], table["b"], table["participant"].tolist(), visits=visits
    )
    assert found.value == pytest.approx(r[case, "r"], abs=1e-10)
    assert found.p == pytest.approx(r[case, "p"], rel=1e-8)
    assert found.p_method == f"t, {r[case, 'df']:.0f} df"


def test_with_two_visits_it_is_the_correlation_of_the_changes() -> None:
    draw = np.random.default_rng(3)
    a, b = draw.normal(size=(12, 2)), draw.normal(size=(12, 2))
    people = [f"P{k}" for k in range(12) for _ in range(2)]
    found = repeated_measures_correlation(a.ravel(), b.ravel(), people, visits=["S", "T"] * 12)
    expected = stats.pearsonr(a[:, 1] - a[:, 0], b[:, 1] - b[:, 0])
    assert found.value == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


def test_without_centring_independent_changes_of_1_5_sd_correlate_at_69() -> None:
    """Independent values that both rise by 1.5 SD of their change: r .69 by the visit alone, 0 centred."""
    draw, plain, centred = np.random.default_rng(4), [], []
    for _ in range(60):
        d = draw.normal(1.5, 1.0, (2, 40))
        people = [f"P{k}" for k in range(40) for _ in range(2)]
        a, b = (np.column_stack([np.zeros(40), d[k]]).ravel() for k in (0, 1))
        plain.append(repeated_measures_correlation(a, b, people).value)
        centred.append(repeated_measures_correlation(a, b, people, visits=["S", "T"] * 40).value)
    assert np.mean(plain) == pytest.approx(0.69, abs=0.02)  # 1.5^2 / (1 + 1.5^2) = .692
    assert np.mean(centred) == pytest.approx(0.0, abs=0.06)


def test_slope_is_that_of_r(golden: Path, r: pd.Series) -> None:
    table = pd.read_csv(golden / "link" / "curves.csv")
    found = slope(np.log10(table["x"]), table["y"])
    told = [found.value, found.low, found.high, found.p]
    assert told == pytest.approx([r["log-linear", q] for q in ("slope", "low", "high", "p")], rel=1e-8)
    assert "too few" in slope([1, 2, 3], [1, 2, 3]).note
    assert "same value" in slope([1, 1, 1, 1], [1, 2, 3, 4]).note


def test_the_order_of_rows_does_not_matter_when_all_permutations_are_taken() -> None:
    a, b = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 1, 4, 3, 6, 5])
    order = np.array([3, 0, 5, 1, 4, 2])
    assert spearman(a, b) == spearman(a[order], b[order])


def test_drawn_p_values_do_not_hang_on_the_order_of_the_participants() -> None:
    draw = np.random.default_rng(3)
    x, y = draw.normal(size=15), draw.normal(size=15)
    groups = draw.integers(0, 3, size=15)
    for _ in range(3):
        order = draw.permutation(15)
        assert spearman(x[order], y[order]) == spearman(x, y)
        assert order_across_groups(groups[order], y[order]) == order_across_groups(groups, y)
        assert area_under_curve(groups[order] > 0, y[order]).p == area_under_curve(groups > 0, y).p
        assert shape_test(np.exp(x[order]), y[order]) == shape_test(np.exp(x), y)
