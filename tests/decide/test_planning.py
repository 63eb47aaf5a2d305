"""Power and enrolment: the published table, scipy's noncentral t, and simulation through pd_change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pdbiomarker.decide import (
    TrialAssumptions,
    enrol_for,
    evaluable_of,
    pairs_for_power,
    power_of_pairs,
    power_table,
    simulate_power,
)
from pdbiomarker.decide.planning import adjusted
from pdbiomarker.errors import InputError


def test_the_table_of_pairs_for_80_percent_power():
    """True 1.5, 2, 2.5 and 3-fold; SD of log2 changes 1, 1.5, 2, 2.5; two-sided .05."""
    table = power_table()
    assert table.to_numpy().tolist() == [
        [25, 10, 7, 6],
        [54, 20, 13, 10],
        [94, 34, 20, 15],
        [146, 52, 31, 22],
    ]
    assert table.index.tolist() == [1.0, 1.5, 2.0, 2.5]


def test_power_is_that_of_simulated_t_tests():
    random = np.random.default_rng(2)
    d = np.log2(1.8) + 1.2 * random.normal(size=(40_000, 11))
    found = np.mean(stats.ttest_1samp(d, 0.0, axis=1).pvalue <= 0.05)
    assert power_of_pairs(11, 1.8, 1.2) == pytest.approx(found, abs=0.0075)
    above = np.mean(stats.ttest_1samp(d, np.log2(1.25), axis=1, alternative="greater").pvalue <= 0.05)
    assert power_of_pairs(11, 1.8, 1.2, sided=1, margin=1.25) == pytest.approx(above, abs=0.0075)


def test_power_is_a_number_where_scipy_has_none():
    """Two pairs, an 8-fold rise, SD .5: by simulation; scipy's lower tail is NaN there."""
    assert np.isnan(stats.nct.cdf(-stats.t.isf(0.025, 1), 1, np.sqrt(2) * 6))
    random = np.random.default_rng(3)
    d = 3.0 + 0.5 * random.normal(size=(100_000, 2))
    t = d.mean(axis=1) / (np.abs(d[:, 0] - d[:, 1]) / 2)
    assert power_of_pairs(2, 8.0, 0.5) == pytest.approx(np.mean(np.abs(t) > stats.t.isf(0.025, 1)), abs=0.005)


def test_the_fewest_pairs_are_the_fewest():
    for fold, sd in ((1.3, 0.8), (2.0, 1.5), (0.5, 1.0), (8.0, 0.5)):
        n = pairs_for_power(fold, sd, power=0.9)
        assert power_of_pairs(n, fold, sd) >= 0.9
        assert n == 2 or power_of_pairs(n - 1, fold, sd) < 0.9


def test_enrolment_reaches_its_assurance_and_one_fewer_does_not():
    """Brute force over the binomial distribution."""
    for wanted, rate, assurance in ((20, 0.6, 0.9), (10, 0.42, 0.8), (34, 0.9, 0.95), (1, 0.5, 0.5)):
        found = enrol_for(wanted, rate, assurance=assurance)
        enough = [n for n in range(wanted, 400) if stats.binom.sf(wanted - 1, n, rate) >= assurance]
        assert found.n_enrol == enough[0]
        assert found.assurance == pytest.approx(stats.binom.sf(wanted - 1, found.n_enrol, rate))
        assert found.n_expected == int(np.ceil(wanted / rate))


def test_stages_multiply():
    stages = {"baseline adequate": 0.87, "on-treatment taken": 0.8, "on-treatment adequate": 0.84}
    found = enrol_for(20, stages)
    assert found.rate == pytest.approx(0.87 * 0.8 * 0.84)
    assert found == enrol_for(20, found.rate)
    assert (found.low, found.high) == evaluable_of(found.n_enrol, found.rate)
    assert enrol_for(7, 1.0).n_enrol == 7


def test_simulation_through_the_pipeline_has_the_analytic_power():
    """Complete pairs: the mixed model is the paired t-test, so power is the noncentral t's: .807."""
    trial = TrialAssumptions(20, {"CD8": 2.0}, sigma=1.5 / np.sqrt(2))
    found = simulate_power(trial, n_sims=1500).iloc[0]
    assert found["power"] == pytest.approx(power_of_pairs(20, 2.0, 1.5), abs=3 * np.sqrt(0.16 / 1500))
    assert found["bias"] == pytest.approx(0.0, abs=3 * 1.5 / np.sqrt(20 * 1500))
    assert found["n_pairs"] == 20


def test_simulation_of_an_inert_drug_keeps_the_error_rate_with_losses_and_several_features():
    trial = TrialAssumptions(
        24, dict.fromkeys(["CD8", "GZMB", "Ki67"], 1.0), sigma=0.7, p_baseline=0.87, p_on=0.67
    )
    found = simulate_power(trial, n_sims=1500).set_index("feature")
    assert found.loc["any feature", "power"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert found.loc["any feature", "power"] >= 0.025
    # Without adjustment one of three errs far more often.
    assert found.loc["any feature", "power_unadjusted"] > 0.1
    assert found.loc["CD8", "n_pairs"] == pytest.approx(24 * 0.87 * 0.67, abs=0.4)
    assert abs(found.loc["CD8", "bias"]) < 0.03


def test_losses_and_multiplicity_cost_power():
    full = TrialAssumptions(20, {"CD8": 2.0}, sigma=1.0)
    lossy = TrialAssumptions(20, {"CD8": 2.0}, sigma=1.0, p_baseline=0.87, p_on=0.67)
    many = TrialAssumptions(20, {"CD8": 2.0, "b": 1.0, "c": 1.0, "d": 1.0}, sigma=1.0)
    power = [simulate_power(t, n_sims=600).loc[0, "power"] for t in (full, lossy, many)]
    assert power[1] < power[0] - 0.1
    assert power[2] < power[0] - 0.05


def test_adjustment_is_statsmodels():
    random = np.random.default_rng(4)
    p = random.uniform(size=(5, 5)) ** 2
    for method, name in (("holm", "holm"), ("bh", "fdr_bh")):
        expected = np.array([multipletests(row, method=name)[1] for row in p])
        np.testing.assert_allclose(adjusted(p, method), expected, rtol=1e-12)
    p[0, 2] = np.nan
    expected = multipletests(np.delete(p[0], 2), method="holm")[1]
    np.testing.assert_allclose(np.delete(adjusted(p, "holm")[0], 2), expected, rtol=1e-12)
    assert np.isnan(adjusted(p, "holm")[0, 2])


def test_the_same_seed_gives_the_same_table():
    trial = TrialAssumptions(8, {"CD8": 2.0}, sigma=0.7, p_on=0.8)
    assert simulate_power(trial, n_sims=250, seed=9).equals(simulate_power(trial, n_sims=250, seed=9))


@pytest.mark.parametrize(
    ("call", "column"),
    [
        (lambda: power_of_pairs(1, 2.0, 1.0), "n"),
        (lambda: power_of_pairs(5, 0.0, 1.0), "fold"),
        (lambda: power_of_pairs(5, 2.0, 0.0), "sd"),
        (lambda: power_of_pairs(5, 2.0, 1.0, sided=3), "sided"),
        (lambda: pairs_for_power(1.0, 1.0), "fold"),
        (lambda: enrol_for(10, 0.0), "stages"),
        (lambda: enrol_for(10, 0.5, assurance=1.0), "assurance"),
        (lambda: enrol_for(0, 0.5), "stages"),
        (lambda: simulate_power(TrialAssumptions(1, {"f": 2.0}, sigma=1.0)), "n_enrolled"),
        (lambda: simulate_power(TrialAssumptions(9, {}, sigma=1.0)), "folds"),
        (lambda: simulate_power(TrialAssumptions(9, {"f": 2.0}, sigma=1.0, adjustment="by")), "adjustment"),
    ],
)
def test_options_out_of_range_are_refused(call, column):
    with pytest.raises(InputError) as caught:
        call()
    assert {p.code for p in caught.value.problems} == {"E-RULE-004"}
    assert column in [p.column for p in caught.value.problems]


@pytest.mark.parametrize(("n", "fold", "sd"), [(3, 2.0, 1.0), (11, 1.8, 1.2), (20, 0.6, 1.5)])
def test_the_mean_over_the_sd_is_the_noncentral_t(monkeypatch, n, fold, sd):
    """What stands in where scipy has no value equals scipy where it has one."""
    expected = power_of_pairs(n, fold, sd)
    monkeypatch.setattr(stats.nct, "sf", lambda *values: np.nan)
    assert power_of_pairs(n, fold, sd) == pytest.approx(expected, abs=2e-4)
