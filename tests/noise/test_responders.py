"""Responders: fold change, counting error and noise apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.errors import InputError
from pdbiomarker.noise import Noise, counting_variance, responders


def noise(sigma: float = 0.7, df: float = 20.0, **more) -> Noise:
    return Noise("CD8_density", "log2", sigma, df, "replicate biopsies", **more)


def changes(values) -> pd.DataFrame:
    return pd.DataFrame({"participant_id": [f"P{i}" for i in range(len(values))], "change": values})


def simulate(random, pairs=3000, sigma=0.7, cells=250.0):
    """True change 1 in every lesion; two biopsies with noise; Poisson counts."""
    truth = np.log2(cells) + sigma * random.normal(size=(pairs, 2)) + [0.0, 1.0]
    counts = random.poisson(2**truth).astype(float)
    d = np.log2(counts[:, 1] + 0.5) - np.log2(counts[:, 0] + 0.5)
    return d, counting_variance(counts).sum(axis=1)


def test_counting_alone_covers_one_in_five_and_both_errors_cover_95_percent():
    """Within-lesion log2 SD .7, about 250 cells; coverage of the lesion's true change."""
    d, counted = simulate(np.random.default_rng(6))
    # The replicates that tell sigma hold counting error too: sigma^2 = .49 + c.
    c = float(counted.mean() / 2)
    own = noise(float(np.sqrt(0.49 + c)), np.inf, counting_variance=c)
    table = responders(changes(d), own, counting=counted).table
    counting = ((table["counting_low"] <= 2) & (table["counting_high"] >= 2)).mean()
    both = ((table["ratio_low"] <= 2) & (table["ratio_high"] >= 2)).mean()
    assert counting == pytest.approx(0.20, abs=0.03)
    assert both == pytest.approx(0.95, abs=0.013)


def test_coverage_holds_when_sigma_is_estimated_with_few_df_and_counts_are_small():
    random = np.random.default_rng(7)
    d, counted = simulate(random, cells=30.0)
    c = float(counted.mean() / 2)
    inside = []
    for block in range(100):
        rows = slice(20 * block, 20 * block + 20)
        s = np.sqrt((0.49 + c) * random.chisquare(6) / 6)
        found = responders(
            changes(d[rows]), noise(float(s), 6.0, counting_variance=c), counting=counted[rows]
        )
        inside.append(((found.table["ratio_low"] <= 2) & (found.table["ratio_high"] >= 2)).mean())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_calls_by_fold_by_noise_and_by_both():
    own = noise(0.5, np.inf)  # limit: 2.61-fold
    found = responders(changes([np.log2(2.7), np.log2(2.2), -np.log2(3.0), 0.3, np.nan, 1.0]), own)
    assert found.table["call"].tolist() == [
        "beyond fold and noise",
        "beyond fold, within noise",
        "beyond fold and noise",
        "neither",
        "not evaluable",
        "beyond fold, within noise",
    ]
    assert found.table["direction"].tolist() == ["up", "up", "down", "up", "", "up"]
    small = responders(changes([0.9]), noise(0.2, np.inf))
    assert small.table["call"].tolist() == ["beyond noise, below fold"]
    assert len(found.table) == 6
    assert (found.noise, found.fold, found.level) == (own, 2.0, 0.95)
    # At the limit is within noise; the next number is beyond.
    edge = responders(changes([own.limit(), np.nextafter(own.limit(), 9.0), -own.limit()]), own).table
    assert edge["beyond_noise"].tolist() == [False, True, False]
    assert found.table["note"].iloc[4] == "no change: not evaluable"


@pytest.mark.parametrize(("sigma", "chance"), [(0.5, 0.079), (0.7, 0.156), (0.9, 0.216)])
def test_the_chance_of_a_doubling_by_noise_stands_beside_the_rate(sigma, chance):
    """7.9, 15.6 and 21.6 % at a within-lesion log2 SD of .5, .7 and .9."""
    own = noise(sigma, 20.0, low=sigma * 0.8, high=sigma * 1.4)
    rows = responders(changes([1.2, 0.1, -1.5, np.nan]), own).summary
    up = rows[(rows["criterion"] == "beyond 2-fold") & (rows["direction"] == "up")].iloc[0]
    assert round(up["chance_by_noise"], 3) == chance
    assert up["chance_low"] < up["chance_by_noise"] < up["chance_high"]
    assert (up["n"], up["n_evaluable"]) == (1, 3)
    assert (up["rate_low"], up["rate_high"]) == pytest.approx((0.0084, 0.9057), abs=1e-4)  # Clopper-Pearson
    more = responders(changes([9.0, 9.0, -9.0, 0.1, np.nan]), own).summary.set_index("direction")["n"]
    assert more["up"].tolist() == [2, 2, 2]
    assert more["down"].tolist() == [1, 1, 1]


def test_the_printed_chance_is_that_of_simulated_noise():
    random = np.random.default_rng(10)
    d = np.sqrt(2) * 0.7 * random.normal(size=20_000)
    found = responders(changes(d), noise(0.7, np.inf)).summary
    for row in found[found["direction"] == "up"].itertuples():
        assert row.rate == pytest.approx(row.chance_by_noise, abs=0.008), row.criterion


def test_odds_ratios_and_points():
    logit = Noise("pct", "logit", 0.4, np.inf, "replicate biopsies")
    found = responders(changes([np.log(2.0), 0.2]), logit)
    assert found.table["beyond_fold"].tolist() == [True, False]
    assert found.table["ratio"].iloc[0] == pytest.approx(2.0)
    points = Noise("hscore", "identity", 10.0, np.inf, "replicate biopsies")
    scored = responders(changes([50.0, 5.0]), points).table
    assert scored["beyond_fold"].tolist() == [False, False]
    assert scored["beyond_noise"].tolist() == [True, False]
    assert np.isnan(scored["ratio"]).all()
    assert scored["ratio_low"].iloc[0] == pytest.approx(50 - 1.959964 * np.sqrt(2) * 10, rel=1e-6)


def test_without_counts_both_errors_are_not_told_apart():
    table = responders(changes([1.0]), noise()).table
    assert np.isnan(table["counting_se"].iloc[0])
    assert table["note"].iloc[0] == "no cell counts: counting error not shown apart"
    # Borrowed noise does not tell its counting part: both are added.
    added = responders(changes([1.0]), noise(0.7, np.inf), counting=[0.1]).table
    assert added["se"].iloc[0] == pytest.approx(np.sqrt(2 * 0.49 + 0.1))


@pytest.mark.parametrize(
    ("frame", "more", "column"),
    [
        (pd.DataFrame({"participant_id": ["a"]}), {}, "change"),
        (pd.DataFrame({"participant_id": ["a", "a"], "change": [1.0, 2.0]}), {}, "participant_id"),
        (changes([1.0]), {"fold": 1.0}, "fold"),
        (changes([1.0]), {"level": 1.0}, "level"),
        (changes([1.0]), {"counting": [0.1, 0.2]}, "counting"),
    ],
)
def test_impossible_input_is_refused(frame, more, column):
    with pytest.raises(InputError) as caught:
        responders(frame, noise(), **more)
    assert [(p.code, p.column) for p in caught.value.problems] == [("E-NOISE-001", column)]
    if column == "counting":
        assert caught.value.problems[0].remedy == "Give one variance for each change."
