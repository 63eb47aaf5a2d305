"""Honesty checks, each with a planted fault that it must find and a clean case that it must pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.decide import (
    leave_one_out,
    missing_second_biopsy,
    offset_sensitivity,
    regression_to_the_mean,
    reliability_of,
    threshold_sensitivity,
    unpaired_baselines,
)
from pdbiomarker.errors import InputError
from pdbiomarker.noise import Noise


def noise(sigma=0.7, **more) -> Noise:
    return Noise("CD8_density", "log2", sigma, np.inf, "replicate biopsies", **more)


# --- trap 14: regression to the mean ---


def without_effect(random, n, reliability=0.6):
    truth = np.sqrt(reliability) * random.normal(size=n)
    first, second = (truth + np.sqrt(1 - reliability) * random.normal(size=n) for _ in range(2))
    return first, second - first


def test_trap_14_the_null_is_minus_45_and_32_hundredths_of_an_sd_at_reliability_60():
    """Printed figures, and a simulated drug without effect that has them."""
    baseline, change = without_effect(np.random.default_rng(3), 40_000)
    table = regression_to_the_mean(baseline, change, reliability=0.6).table.set_index("quantity")
    assert round(table["by_noise_alone"].iloc[0], 2) == -0.45
    assert [round(x, 2) for x in table["by_noise_alone"].iloc[1:]] == [0.32, -0.32]
    np.testing.assert_allclose(table["observed"], table["by_noise_alone"], atol=0.015)


def test_trap_14_an_inert_drug_is_flagged_as_it_should_be():
    """400 trials of 20: the correlation differs from 0 in most, from the null in about 5 %."""
    random = np.random.default_rng(4)
    naive = beyond = 0
    for _ in range(400):
        baseline, change = without_effect(random, 20)
        naive += stats.pearsonr(baseline, change).pvalue <= 0.05
        beyond += regression_to_the_mean(baseline, change, reliability=0.6).table["p"].iloc[0] <= 0.05
    assert naive / 400 > 0.4
    assert beyond / 400 == pytest.approx(0.05, abs=0.033)


def test_trap_14_a_real_benefit_of_low_baselines_passes_the_null():
    random = np.random.default_rng(5)
    truth = random.normal(size=40)
    first = truth + 0.3 * random.normal(size=40)
    change = -0.9 * truth + 0.3 * random.normal(size=40)
    found = regression_to_the_mean(first, change, reliability=0.9)
    assert found.finding == "clear"
    assert "more than regression to the mean explains" in found.verdict
    inert = regression_to_the_mean(*without_effect(random, 30), reliability=0.6)
    assert inert.finding == "caution"
    assert "No more than regression to the mean explains" in inert.verdict
    grows = regression_to_the_mean(truth, 0.9 * truth + 0.3 * random.normal(size=40), reliability=0.9)
    assert grows.finding == "caution"
    assert "less than regression to the mean explains" in grows.verdict
    few = regression_to_the_mean([1.0, 2.0], [0.1, 0.2], reliability=0.6)
    assert few.finding == "not told"


def test_an_uncertain_reliability_tests_the_nearest_null():
    baseline, change = without_effect(np.random.default_rng(6), 60, reliability=0.3)
    sure = regression_to_the_mean(baseline, change, reliability=0.95).table["p"].iloc[0]
    unsure = regression_to_the_mean(baseline, change, reliability=0.95, low=0.2, high=0.99).table["p"].iloc[0]
    assert sure < 0.01
    assert unsure > 0.1


def test_reliability_is_what_noise_leaves_of_the_variance():
    b = np.random.default_rng(7).normal(0, 1.4, size=50)
    value, low, high = reliability_of(noise(0.7, low=0.5, high=1.0), b)
    assert value == pytest.approx(1 - 0.49 / b.var(ddof=1))
    assert low < value < high
    assert low == pytest.approx(1 - 1.0 / b.var(ddof=1))
    assert reliability_of(noise(9.0), b)[0] == 0.0
    with pytest.raises(InputError, match="E-RULE-003"):
        regression_to_the_mean(b, b, reliability=1.2)


# --- trap 6: the offset ---


def test_trap_06_the_offset_decides_where_counts_are_zero():
    """10 pairs, two baselines of 0 cells; each row equals scipy's paired t-test at that offset."""
    before = np.array([0, 0, 6, 9, 12, 5, 8, 14, 7, 10], dtype=float)
    on = np.array([3, 9, 9, 22, 12, 11, 10, 35, 15, 13], dtype=float)
    area = np.full(10, 2.0)
    found = offset_sensitivity((before, area), (on, area))
    for row in found.table.itertuples():
        d = np.log2((on + row.offset_cells) / (before + row.offset_cells))
        assert row.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=1e-9)
        assert row.gmr == pytest.approx(2 ** d.mean(), rel=1e-9)
    assert found.table["gmr"].is_monotonic_decreasing
    assert found.finding == "caution"
    assert "2 zero counts" in found.verdict


def test_the_offset_does_not_matter_where_counts_are_large():
    random = np.random.default_rng(8)
    before = random.poisson(900, 12).astype(float)
    on = random.poisson(1800, 12).astype(float)
    found = offset_sensitivity((before, np.ones(12)), (on, np.ones(12)), offsets=(0.1, 0.5, 1.0))
    assert found.finding == "clear"
    assert offset_sensitivity((before[:1], [1.0]), (on[:1], [1.0])).finding == "not told"
    with pytest.raises(InputError, match="E-RULE-003"):
        offset_sensitivity((before, np.ones(12)), (on, np.ones(12)), offsets=(0.0,))


# --- thresholds, one participant ---


def test_thresholds_are_counted_and_held_against_noise():
    d = np.array([2.2, 2.1, 1.9, 2.3, 2.0, 0.1, np.nan])
    found = threshold_sensitivity(d, noise(0.5))
    assert found.table["n_up"].tolist() == [5, 5, 5, 5, 4]
    assert found.table["n_evaluable"].unique().tolist() == [6]
    two = found.table.set_index("fold").loc[2.0]
    assert two["p"] == pytest.approx(
        stats.binomtest(5, 6, two["chance_by_noise"], alternative="greater").pvalue
    )
    assert found.finding == "clear"
    random = np.random.default_rng(9)
    inert = threshold_sensitivity(0.7 * np.sqrt(2) * random.normal(size=12), noise(0.7))
    assert inert.finding == "caution"
    with pytest.raises(InputError, match="E-RULE-003"):
        threshold_sensitivity(d, noise(), folds=(1.0,))


def test_one_participant_who_decides_is_named():
    d = np.array([0.3, -0.1, 0.2, 0.1, -0.2, 0.4, 0.35, 0.3])
    people = [f"P{i}" for i in range(8)]
    found = leave_one_out(d, people)
    assert found.table["left_out"].tolist() == ["nobody", *people]
    for i, person in enumerate(people):
        row = found.table.set_index("left_out").loc[person]
        test = stats.ttest_1samp(np.delete(d, i), 0)
        assert row["p"] == pytest.approx(test.pvalue, rel=1e-9)
        interval = test.confidence_interval()
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)
    outlier = leave_one_out([0.05, 0.1, -0.05, 0.0, 0.1, 6.0], list("abcdef"))
    assert outlier.finding == "clear"  # never significant, never another sign
    # By hand: 6.2 / 6 with f, 0.2 / 5 without.
    assert "leaving out f moves it most, from 1.03 to 0.04" in outlier.verdict
    first = leave_one_out([-1.1, 0.9, 1.1, 1.0, 1.2, 0.8], list("abcdef"))
    assert "One participant decides whether p lies below .05: a (" in first.verdict
    flipping = leave_one_out([0.9, 1.1, 1.0, 1.2, 0.8, -1.1], list("abcdef"))
    assert flipping.finding == "caution"
    assert "f" in flipping.verdict
    assert leave_one_out([1.0, np.nan, 2.0], list("abc")).finding == "not told"
    with pytest.raises(InputError, match="E-RULE-003"):
        leave_one_out([1.0], ["a", "b"])


# --- missing second biopsies ---


def test_unpaired_baselines_that_differ_are_found():
    random = np.random.default_rng(10)
    paired = np.repeat([True, False], [30, 14])
    frame = pd.DataFrame(
        {
            "CD8": random.normal(size=44) + 1.2 * paired,
            "age": random.normal(60, 8, size=44),
            "tumor": np.where(random.uniform(size=44) < 0.5, "lung", "colon"),
        }
    )
    found = unpaired_baselines(frame, paired)
    rows = found.table.set_index(["characteristic", "category"])
    a, b = frame.loc[paired, "CD8"], frame.loc[~paired, "CD8"]
    by_hand = (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2)
    assert rows.loc[("CD8", ""), "smd"] == pytest.approx(by_hand, rel=1e-12)
    assert rows.loc[("tumor", "lung"), "smd"] == pytest.approx(-rows.loc[("tumor", "colon"), "smd"])
    assert found.finding == "caution"
    assert "in CD8" in found.verdict
    assert unpaired_baselines(frame, np.ones(44, bool)).finding == "clear"
    assert unpaired_baselines(frame, np.arange(44) != 3).finding == "not told"


def test_few_unpaired_cannot_show_that_they_are_alike():
    frame = pd.DataFrame({"CD8": [1.0, 2.0, 3.0, 4.0, 2.4, 2.6, 2.5, 2.45]})
    found = unpaired_baselines(frame, np.repeat([True, False], [4, 4]))
    assert found.finding == "not told"
    assert "too few to exclude one" in found.verdict


def test_the_tipping_point_is_where_the_limit_reaches_the_null():
    random = np.random.default_rng(11)
    d = 1.0 + 0.8 * random.normal(size=18)
    found = missing_second_biopsy(d, 6)
    rows = found.table.set_index("assumption")
    pairs = stats.ttest_1samp(d, 0)
    first = rows.loc["evaluable pairs only (missing like the others)"]
    assert first["p"] == pytest.approx(pairs.pvalue, rel=1e-9)
    assert rows.loc["tipping point", "low"] == pytest.approx(0.0, abs=1e-9)
    assert rows.loc["tipping point", "p"] == pytest.approx(0.05, abs=1e-6)
    none = rows.loc["no effect in the missing"]
    assert none["change"] == pytest.approx(d.sum() / 24, rel=1e-12)
    worst = rows.loc["worst change seen"]
    assert worst["change"] == pytest.approx((d.sum() + 6 * d.min()) / 24, rel=1e-12)
    assert worst["delta"] == pytest.approx(d.min() - d.mean())


def test_the_variance_of_the_mixture_is_that_of_simulated_trials():
    """30 enrolled, each pair with probability .7; the missing changed by 1.5 less. 800 trials."""
    random = np.random.default_rng(12)
    estimates, variances, inside = [], [], 0
    for _ in range(800):
        paired = random.uniform(size=30) < 0.7
        d = 1.0 + 0.8 * random.normal(size=int(paired.sum()))
        row = missing_second_biopsy(d, int((~paired).sum()), deltas=[-1.5]).table.iloc[1]
        estimates.append(row["change"])
        half = (row["high"] - row["low"]) / 2
        variances.append((half / stats.t.ppf(0.975, len(d) - 1)) ** 2)
        inside += row["low"] <= 1.0 - 0.3 * 1.5 <= row["high"]
    assert np.mean(estimates) == pytest.approx(1.0 - 0.45, abs=0.02)
    assert np.mean(variances) == pytest.approx(np.var(estimates), rel=0.15)
    assert inside / 800 == pytest.approx(0.95, abs=0.023)


def test_verdicts_on_missing_second_biopsies():
    random = np.random.default_rng(13)
    strong = missing_second_biopsy(2.0 + 0.5 * random.normal(size=20), 2)
    assert strong.finding == "clear"
    fragile = missing_second_biopsy(0.5 + 0.8 * random.normal(size=14), 14)
    assert fragile.finding in {"caution", "not told"}
    half = missing_second_biopsy(np.array([1.0, 0.6, 1.4, 0.2, 1.6, 0.5, 0.9, 1.1]), 12)
    assert half.finding == "caution"
    assert "less than having no effect at all" in half.verdict
    falls = missing_second_biopsy(-(2.0 + 0.5 * random.normal(size=20)), 2)
    assert falls.finding == "clear"
    assert falls.table.set_index("assumption").loc["worst change seen", "delta"] > 0
    assert missing_second_biopsy(np.array([0.1, -0.2, 0.3]), 2).finding == "not told"
    for told in ([1.0], [1.0, 1.0, np.nan]):
        none = missing_second_biopsy(told, 2)
        assert (none.finding, len(none.table)) == ("not told", 0)
        assert none.verdict.startswith(f"{np.isfinite(told).sum()} pairs")
    assert missing_second_biopsy(2.0 + 0.1 * random.normal(size=9), 0).finding == "clear"
    with pytest.raises(InputError, match="E-RULE-003"):
        missing_second_biopsy([1.0, 2.0], -1)
