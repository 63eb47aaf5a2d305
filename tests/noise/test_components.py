"""Variance components: against lme4, the textbook analysis of variance, and simulated truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.errors import InputError
from pdbiomarker.noise import icc, variance_components


@pytest.fixture(scope="module")
def nested(golden):
    return pd.read_csv(golden / "noise" / "nested.csv", dtype={"region": str})


def _levels(frame):
    levels = {name: frame[name].to_numpy() for name in ("participant", "visit", "biopsy", "region")}
    return frame["y"].to_numpy(), levels


def test_unbalanced_nested_replicates_equal_lme4(golden, nested):
    """lme4 1.1-31 at a tight optimiser; script and session stand beside the numbers. Tolerance 1e-4."""
    y, levels = _levels(nested)
    found = variance_components(y, levels, fixed=levels["visit"])
    expected = pd.read_csv(golden / "noise" / "nested_varcorr.csv").set_index("component")["variance"]
    names = {"participant": "participant", "visit": "occasion", "biopsy": "biopsy", "region": "Residual"}
    for ours, theirs in names.items():
        assert found.variance_of(ours) == pytest.approx(expected[theirs], rel=1e-4), ours
    assert found.names == ("participant", "visit", "biopsy", "region")
    assert found.method == "reml"
    table = found.table.set_index("component")
    sizes = {"participant": 14, "visit": 28, "biopsy": nested["biopsy"].nunique(), "region": len(nested)}
    assert table["n_groups"].to_dict() == sizes
    assert table["share"].sum() == pytest.approx(1.0)
    # All four of lme4's variances are above 0, one of them far below 1.
    assert expected.min() < 0.5
    assert set(table["status"]) == {"ok"}


def test_order_of_rows_and_labels_changes_nothing(nested):
    y, levels = _levels(nested)
    one = variance_components(y, levels, fixed=levels["visit"])
    order = np.random.default_rng(1).permutation(len(y))
    other = variance_components(
        y[order], {k: v[order] for k, v in levels.items()}, fixed=levels["visit"][order]
    )
    left, right = (t.select_dtypes("number") for t in (one.table, other.table))
    np.testing.assert_allclose(left, right, rtol=1e-8)


def test_one_way_equals_the_analysis_of_variance_and_the_exact_limits(golden):
    """R's aov for the mean squares; the limits of sigma are those of chi-squared, exactly."""
    data = pd.read_csv(golden / "noise" / "oneway.csv")
    squares = pd.read_csv(golden / "noise" / "oneway_aov.csv")
    between, within = squares["ms"]
    found = variance_components(data["y"], {"participant": data["subject"]})
    assert found.variance_of("residual") == pytest.approx(within, rel=1e-8)
    assert found.variance_of("participant") == pytest.approx((between - within) / 3, rel=1e-8)
    row = found.table.set_index("component").loc["residual"]
    limits = [24 * within / stats.chi2.ppf(q, 24) for q in (0.975, 0.025)]
    np.testing.assert_allclose([row["variance_low"], row["variance_high"]], limits, rtol=2e-3)
    value, low, high = found.icc("participant")
    exact = icc(data["y"].to_numpy().reshape(12, 3), "ICC(1,1)")
    assert value == pytest.approx(exact.value, rel=1e-8)
    np.testing.assert_allclose([low, high], [exact.low, exact.high], atol=0.012)


def test_both_methods_agree_in_a_balanced_design():
    random = np.random.default_rng(14)
    participant, biopsy = np.repeat(np.arange(10), 4), np.repeat(np.arange(20), 2)
    y = 2 * random.normal(size=10)[participant] + random.normal(size=20)[biopsy] + random.normal(size=40)
    levels = {"participant": participant, "biopsy": biopsy, "region": np.arange(40)}
    reml, anova = (variance_components(y, levels, method=m) for m in ("reml", "anova"))
    assert (reml.method, anova.method) == ("reml", "anova")
    assert anova.table["variance"].min() > 0
    np.testing.assert_allclose(reml.table["variance"], anova.table["variance"], rtol=1e-6)


def test_the_sum_of_components_has_satterthwaites_df():
    """Balanced: sigma2_biopsy + sigma2_region = MS_b / 3 + 2/3 MS_r for three regions of a biopsy."""
    random = np.random.default_rng(5)
    participant, biopsy = np.repeat(np.arange(8), 6), np.repeat(np.arange(16), 3)
    y = random.normal(size=8)[participant] + random.normal(size=16)[biopsy] + 0.5 * random.normal(size=48)
    levels = {"participant": participant, "biopsy": biopsy, "region": np.arange(48)}
    found = variance_components(y, levels)
    means = y.reshape(16, 3).mean(axis=1)
    ms_region = np.square(y.reshape(16, 3) - means[:, None]).sum() / 32
    ms_biopsy = 3 * np.square(means.reshape(8, 2) - means.reshape(8, 2).mean(axis=1)[:, None]).sum() / 8
    single = found.total(["biopsy", "region"])
    parts = np.array([ms_biopsy / 3, 2 * ms_region / 3])
    assert single.variance == pytest.approx(parts.sum(), rel=1e-9)
    assert single.df == pytest.approx(parts.sum() ** 2 / (parts[0] ** 2 / 8 + parts[1] ** 2 / 32), rel=1e-9)
    pooled = found.total(["biopsy", "region"], units={"region": 3})
    assert pooled.variance == pytest.approx(ms_biopsy / 3, rel=1e-9)
    assert pooled.df == pytest.approx(8.0, rel=1e-6)


def test_planted_components_are_recovered_within_their_limits():
    """100 sets of 14 participants x 2 visits x 2 biopsies x 2 regions; limits of every level and of sigma."""
    truth = {"participant": 1.0, "visit": 0.25, "biopsy": 0.36, "region": 0.25}
    participant = np.repeat(np.arange(14), 8)
    visit = np.tile(np.repeat([0, 1], 4), 14)
    biopsy = np.tile(np.repeat([0, 1], 2), 28)
    codes = [participant, participant * 2 + visit, (participant * 2 + visit) * 2 + biopsy]
    levels = {"participant": participant, "visit": visit, "biopsy": biopsy, "region": np.arange(112)}
    random = np.random.default_rng(2)
    inside = dict.fromkeys([*truth, "sigma"], 0)
    estimates = dict.fromkeys(truth, 0.0)
    sets = 100
    for _ in range(sets):
        y = np.sqrt(truth["region"]) * random.normal(size=112) + 0.8 * visit
        for name, code in zip(truth, codes, strict=False):
            y += np.sqrt(truth[name]) * random.normal(size=code.max() + 1)[code]
        found = variance_components(y, levels, fixed=visit, method="anova")
        rows = found.table.set_index("component")
        for name, value in truth.items():
            inside[name] += rows.loc[name, "variance_low"] <= value <= rows.loc[name, "variance_high"]
            estimates[name] += found.variance_of(name) / sets
        sigma = found.total(["biopsy", "region"])
        inside["sigma"] += sigma.low <= 0.61 <= sigma.high
    for name, count in inside.items():
        assert count / sets >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / sets), (name, count)
        assert count / sets <= 0.995, (name, count)
    for name, value in truth.items():
        assert estimates[name] == pytest.approx(value, rel=0.2), name


def test_levels_that_cannot_be_told_apart_say_so():
    participant = np.repeat(["a", "b", "c"], 4)
    levels = {
        "participant": participant,
        "lesion": np.repeat("T01", 12),
        "biopsy": np.tile(np.repeat([1, 2], 2), 3),
        "region": np.arange(12),
    }
    found = variance_components(np.random.default_rng(3).normal(size=12), levels)
    rows = found.table.set_index("component")
    assert rows.loc["lesion", "status"] == "not_separable"
    assert rows.loc["lesion", "note"] == "one lesion in every participant: part of participant"
    assert np.isnan(rows.loc["lesion", "variance"])
    assert found.names == ("participant", "biopsy", "region")
    assert rows.loc["participant", "note"] == "includes what lesion would add"


def test_levels_with_one_row_each_are_the_residual():
    levels = {"participant": ["a", "a", "b", "b"], "biopsy": [1, 2, 1, 2], "core": [1, 1, 1, 1]}
    found = variance_components([1.0, 1.4, 3.0, 2.9], levels)
    assert found.names == ("participant", "biopsy")
    assert found.table.set_index("component").loc["biopsy", "note"] == "includes what core would add"


def test_missing_values_are_left_out():
    levels = {"participant": ["a", "a", "b", "b", "c"]}
    found = variance_components([1.0, 1.4, 3.0, 2.9, np.nan], levels)
    assert found.n_rows == 4
    assert found.table.set_index("component")["n_groups"].to_dict() == {"participant": 2, "residual": 4}
    assert found.variance_of("residual") == pytest.approx((0.08 + 0.005) / 2)


@pytest.mark.parametrize(
    ("values", "levels", "fixed", "code"),
    [
        ([1.0, 2.0], {"patient": ["a", "a"]}, None, "E-NOISE-001"),
        ([1.0, 2.0], {"biopsy": [1, 2], "participant": ["a", "a"]}, None, "E-NOISE-001"),
        ([1.0, 2.0], {"participant": ["a"]}, None, "E-NOISE-001"),
        ([1.0, 2.0], {"participant": ["a", None]}, None, "E-NOISE-001"),
        ([1.0, 2.0], {"participant": ["a", "b"]}, None, "E-NOISE-002"),
        ([1.0, 2.0, 3.0], {"participant": ["a", "a", "b"]}, [1, 2, 3], "E-NOISE-002"),
        ([1.0, 2.0], {}, None, "E-NOISE-001"),
    ],
)
def test_what_cannot_be_estimated_is_refused(values, levels, fixed, code):
    with pytest.raises(InputError) as caught:
        variance_components(values, levels, fixed=fixed)
    assert {p.code for p in caught.value.problems} == {code}


def test_an_unknown_component_is_refused_with_those_that_exist():
    found = variance_components([1.0, 1.4, 3.0, 2.9], {"participant": ["a", "a", "b", "b"]})
    with pytest.raises(InputError, match="E-NOISE-001"):
        found.variance_of("biopsy")


def test_the_place_of_a_missing_label_and_a_level_are_told():
    """A label may be missing where the value is."""
    with pytest.raises(InputError) as caught:
        variance_components([np.nan, 1.0, 2.0], {"participant": [None, "a", None]}, level=1.0)
    assert [(p.code, p.column) for p in caught.value.problems] == [
        ("E-NOISE-001", "participant"),
        ("E-NOISE-001", "level"),
    ]
    assert "at position 3" in caught.value.problems[0].message


def test_a_level_whose_groups_the_fixed_means_use_up_is_left_to_them():
    """Each participant has a fixed mean of its own: biopsies within them, by the textbook squares."""
    random = np.random.default_rng(8)
    participant = np.repeat(["a", "b", "c", "d"], 6)
    biopsy = np.tile(np.repeat([1, 2, 3], 2), 4)
    y = random.normal(size=4).repeat(6) + 2 * random.normal(size=12).repeat(2) + random.normal(size=24)
    levels = {"participant": participant, "biopsy": biopsy}
    found = variance_components(y, levels, fixed=participant)
    cells = y.reshape(4, 3, 2)
    means = cells.mean(axis=2)
    within = np.square(cells - means[..., None]).sum() / 12
    between = 2 * np.square(means - means.mean(axis=1, keepdims=True)).sum() / 8
    assert found.names == ("biopsy", "residual")
    assert found.variance_of("residual") == pytest.approx(within, rel=1e-6)
    assert found.variance_of("biopsy") == pytest.approx((between - within) / 2, rel=1e-6)
    rows = found.table.set_index("component")
    assert rows["status"].to_dict() == {"participant": "not_separable", "biopsy": "ok", "residual": "ok"}
    assert "fixed means" in rows.loc["participant", "note"]


def test_a_component_without_variance_is_zero():
    """Groups whose means are all equal: less between than within."""
    found = variance_components([1.0, 3.0, 0.0, 4.0, 2.0, 2.0], {"participant": list("aabbcc")})
    rows = found.table.set_index("component")
    assert rows["status"].to_dict() == {"participant": "zero", "residual": "ok"}
    assert rows.loc["participant", "variance"] == pytest.approx(0.0, abs=1e-9)
