"""Operating characteristics: published figures, and what an independent simulation finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pdbiomarker.decide import Setting, count_probability, operating_characteristics, preset
from pdbiomarker.errors import InputError
from pdbiomarker.noise import Noise


def noise(sigma=0.7, df=np.inf) -> Noise:
    return Noise("CD8_density", "log2", sigma, df, "replicate biopsies")


def test_rubinsteins_published_figures():
    """2 of 3: power .896 at 80 %, false positives .028 at 10 % for one endpoint, .055 for two."""
    assert round(count_probability(3, 2, 0.8), 3) == 0.896
    assert round(count_probability(3, 2, 0.1), 3) == 0.028
    assert round(count_probability(3, 2, 0.1, endpoints=2), 3) == 0.055


def test_two_correlated_endpoints_err_less_often_than_independent_ones():
    """What .055 leaves out: endpoints of one biopsy correlate."""
    random = np.random.default_rng(5)
    shared = random.normal(size=(40_000, 3, 1))
    z = np.sqrt(0.8) * shared + np.sqrt(0.2) * random.normal(size=(40_000, 3, 2))
    any_go = ((z > stats.norm.isf(0.1)).sum(axis=1) >= 2).any(axis=1).mean()
    assert any_go < count_probability(3, 2, 0.1, endpoints=2) - 0.008


def _false_go(fold: float, sigma: float, need: int, n: int) -> float:
    return float(stats.binom.sf(need - 1, n, stats.norm.sf(np.log2(fold) / (np.sqrt(2) * sigma))))


@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.9])
def test_a_count_rule_without_limits_is_binomial(sigma):
    rule = preset("x_of_n")
    rule = rule.model_copy(update={"participant": rule.participant.model_copy(update={"beyond_noise": None})})
    found = operating_characteristics(rule, noise(sigma), Setting(10), truths=[2.0], n_sims=20_000)
    inert, doubling = found.iloc[0], found.iloc[1]
    exact = _false_go(2.0, sigma, 4, 10)
    assert inert["p_go"] == pytest.approx(exact, abs=3 * np.sqrt(exact / 20_000) + 1e-4)
    assert doubling["p_responder"] == pytest.approx(0.5, abs=0.006)
    assert doubling["p_go"] == pytest.approx(stats.binom.sf(3, 10, 0.5), abs=0.011)
    np.testing.assert_allclose(found[["p_go", "p_consider", "p_stop", "p_not_evaluable"]].sum(axis=1), 1.0)


def test_the_estimated_noise_is_in_the_figures():
    """Prediction limits with 6 df: the exact mixture over the estimate gives .062 for 2 of 12, not .035."""
    rule = preset("rcv_fraction")  # go with 2 of 12
    found = operating_characteristics(rule, noise(0.7, 6.0), Setting(12), truths=[], n_sims=40_000)
    grid = (np.arange(20_000) + 0.5) / 20_000
    s = np.sqrt(stats.chi2.ppf(grid, 6) / 6)
    exact = np.mean(stats.binom.sf(1, 12, stats.norm.sf(stats.t.isf(0.025, 6) * s)))
    assert exact == pytest.approx(0.062, abs=0.001)
    assert found["p_go"].iloc[0] == pytest.approx(exact, abs=0.004)
    assert found["p_responder"].iloc[0] == pytest.approx(0.025, abs=0.002)


def test_the_t_test_of_the_margin_is_exact():
    found = operating_characteristics(
        preset("gmr_margin"), noise(0.7), Setting(12), truths=[1.25, 2.0], n_sims=40_000
    )
    rows = found.set_index("truth")
    assert rows.loc[1.25, "p_go"] == pytest.approx(0.05, abs=0.0035)
    shift = np.sqrt(12) * np.log2(2 / 1.25) / (np.sqrt(2) * 0.7)
    assert rows.loc[2.0, "p_go"] == pytest.approx(stats.nct.sf(stats.t.isf(0.05, 11), 11, shift), abs=0.008)
    # Trap 15: untreated drift of 1.25 would pass a test against no change at all far more often.
    none = preset("gmr_margin").model_copy(update={"margin": 1.0})
    drift = operating_characteristics(none, noise(0.7), Setting(12), truths=[1.25], n_sims=10_000)
    assert drift.set_index("truth").loc[1.25, "p_go"] > 0.25


@pytest.mark.parametrize(("baseline", "passes"), [(500.0, 0.51), (800.0, 0.85)])
def test_an_inert_drug_passes_dejardins_criteria_where_they_are_joined_by_or(baseline, passes):
    """51 % at 500/mm2 and 85 % at 800: why "or" is refused. 12 participants, log2 SD 2.2 between them."""
    random = np.random.default_rng(7)
    truth = np.log2(baseline) + 2.2 * random.normal(size=(20_000, 12))
    before, on = (truth + 0.7 * random.normal(size=truth.shape) for _ in range(2))
    either = ((on - before).mean(axis=1) >= np.log2(2.5)) | (on.mean(axis=1) >= np.log2(500))
    assert either.mean() == pytest.approx(passes, abs=0.02)
    setting = Setting(12, 12, float(np.log2(baseline)), float(np.hypot(2.2, 0.7)))
    ours = operating_characteristics(preset("dejardin_2024"), noise(0.7), setting, n_sims=4_000)
    inert = ours[ours["inert"]].iloc[0]
    assert (inert["p_go"], inert["p_consider"]) == (0.0, pytest.approx(0.0, abs=0.002))


def test_a_response_that_differs_between_participants_lowers_power():
    same, differing = (
        operating_characteristics(
            preset("gmr_margin"), noise(), Setting(12, sd_response=sd), truths=[2.0], n_sims=4_000
        ).set_index("truth")["p_go"]
        for sd in (0.0, 1.5)
    )
    assert differing[2.0] < same[2.0] - 0.2


def test_figures_are_reproducible_and_carry_their_error():
    one, two = (
        operating_characteristics(preset("x_of_n"), noise(), Setting(10), n_sims=500, seed=3)
        for _ in range(2)
    )
    assert one.equals(two)
    p = one["p_stop"]
    assert (one["mc_se"] >= np.sqrt(p * (1 - p) / 500) - 1e-12).all()


@pytest.mark.parametrize(
    ("setting", "n_sims"),
    [(Setting(0), 1000), (Setting(5), 10), (Setting(5, baseline_sd=-1), 1000)],
)
def test_impossible_settings_are_refused(setting, n_sims):
    with pytest.raises(InputError, match="E-RULE-004"):
        operating_characteristics(preset("x_of_n"), noise(), setting, n_sims=n_sims)


def test_trap_15_untreated_drift_passes_a_test_against_1_and_not_the_margin():
    """Biopsies that drift 1.25-fold by themselves; the test against 1 is the noncentral t (3 MC errors)."""
    setting = Setting(n=20, n_baselines=20, baseline_sd=1.5)
    against_1 = preset("gmr_margin").model_copy(update={"margin": 1.0})
    drift = {}
    for rule in (against_1, preset("gmr_margin")):
        told = operating_characteristics(rule, noise(0.4), setting, truths=[1.25], n_sims=20_000)
        drift[rule.margin] = float(told.loc[told["truth"] == 1.25, "p_go"].iloc[0])
    exact = stats.nct.sf(stats.t.isf(0.05, 19), 19, np.sqrt(20) * np.log2(1.25) / (0.4 * np.sqrt(2)))
    assert drift[1.0] == pytest.approx(exact, abs=0.011)
    assert drift[1.0] > 0.75
    assert drift[1.25] == pytest.approx(0.05, abs=0.005)
