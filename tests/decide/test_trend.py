"""The change over dose levels: intervals against scipy, the permutation p against every order."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.decide import dose_levels, dose_trend

CHANGE = [0.2, 0.9, 0.5, 1.1, 1.6, 1.2, np.nan]
DOSE = [1.0, 1.0, 3.0, 3.0, 10.0, 10.0, 10.0]


def test_levels_stand_in_the_order_of_the_doses_with_scipys_intervals():
    """scipy 1.x `stats.t.interval`, relative tolerance 1e-12; a participant without a dose keeps a row."""
    order = [5, 0, 3, 6, 1, 4, 2]
    table = dose_levels([*np.array(CHANGE)[order], 9.0], [*np.array(DOSE)[order], np.nan])
    assert table["dose"].tolist()[:3] == [1.0, 3.0, 10.0]
    assert np.isnan(table["dose"].iloc[3])
    assert table["n_participants"].tolist() == [2, 2, 3, 1]
    assert table["n_evaluable"].tolist() == [2, 2, 2, 1]
    own = np.array([0.2, 0.9])
    low, high = stats.t.interval(0.95, 1, own.mean(), stats.sem(own))
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([low, high], rel=1e-12)
    assert table.loc[3, ["low", "high"]].isna().all()


def test_the_trend_is_spearmans_with_the_p_of_every_order():
    """rho: scipy; p: brute force over all 720 orders; slope and interval: scipy's regression on log2 dose."""
    found = dose_trend(CHANGE, DOSE).iloc[0]
    d, x = np.array(CHANGE[:6]), np.array(DOSE[:6])
    rho = stats.spearmanr(d, x).statistic
    assert found["rho"] == pytest.approx(rho, rel=1e-12)
    shares = [abs(stats.spearmanr(d, x[list(o)]).statistic) >= abs(rho) - 1e-10
              for o in itertools.permutations(range(6))]  # fmt: skip
    assert found["p"] == pytest.approx(np.mean(shares), rel=1e-12)
    assert found["method"] == "all 720 permutations"
    fit = stats.linregress(np.log2(x), d)
    half = stats.t.isf(0.025, 4) * fit.stderr
    expected = [fit.slope, fit.slope - half, fit.slope + half]
    assert found[["slope", "slope_low", "slope_high"]].tolist() == pytest.approx(expected, rel=1e-12)
    assert "No trend with dose is shown" in found["verdict"]
    more = dose_trend([*d, 2.0, 2.2], [*x, 30.0, 30.0])["verdict"].iloc[0]
    assert "rises with dose" in more


def test_doses_that_do_nothing_show_a_trend_in_one_study_of_twenty():
    """400 studies of 12 without a trend, sampled permutations: 5 % within 3 Monte Carlo standard errors."""
    random = np.random.default_rng(8)
    dose = np.repeat([10.0, 30.0, 100.0], 4)
    p = [dose_trend(random.normal(size=12), dose, seed=k)["p"].iloc[0] for k in range(400)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 400))


@pytest.mark.parametrize(
    ("change", "dose"),
    [([1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2]), ([1.0] * 6, [1, 2, 3] * 2), ([1.0, 2.0] * 3, [5] * 6)],
)
def test_what_tells_no_trend_says_so(change, dose):
    row = dose_trend(change, dose).iloc[0]
    assert np.isnan(row["rho"])
    assert "tell no trend" in row["verdict"]


def test_a_dose_of_nothing_has_ranks_but_no_doubling():
    row = dose_trend([0.1, 0.2, 0.8, 0.9, 1.5, 1.4], [0, 0, 1, 1, 2, 2]).iloc[0]
    assert row["rho"] > 0.9
    assert pd.isna(row["slope"])


def test_a_drawn_p_does_not_hang_on_the_order_of_the_participants():
    draw = np.random.default_rng(4)
    dose = draw.choice([1.0, 3.0, 10.0], size=14)
    change = draw.normal(size=14)
    found = dose_trend(change, dose)
    assert "permutations" in found["method"].iloc[0]
    assert not found["method"].iloc[0].startswith("all")
    for _ in range(3):
        order = draw.permutation(14)
        pd.testing.assert_frame_equal(dose_trend(change[order], dose[order]), found, rtol=0, atol=0)
