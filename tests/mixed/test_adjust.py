"""Adjusted p against R's p.adjust and by hand; boundaries of looks against published tables and mvtnorm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.errors import AssayError
from pdbiomarker.mixed.adjust import AdjustMethod, _crossing, adjust, adjust_for_look, look_levels

Array = NDArray[np.float64]
P = [0.01, 0.04, 0.03, 0.005]


@pytest.mark.parametrize("method", ["holm", "bh", "by"])
def test_is_p_adjust(golden: Path, method: AdjustMethod) -> None:
    """R 4.2.2 p.adjust, 15 digits (`golden/exact/make_exact.R`): 1e-13, missing p are no tests."""
    table = pd.read_csv(golden / "exact" / "adjusted.csv")
    for _name, family in table.groupby("family"):
        found = adjust(family["p"].to_numpy(), method)
        np.testing.assert_allclose(found.p, family[method].to_numpy(), rtol=1e-13, atol=0)
        assert found.n_tests == family["p"].notna().sum()
    assert table["p"].isna().any()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("holm", [0.03, 0.06, 0.06, 0.02]),
        ("bh", [0.02, 0.04, 0.04, 0.02]),
        ("by", [0.02 * 25 / 12, 0.04 * 25 / 12, 0.04 * 25 / 12, 0.02 * 25 / 12]),
        ("fixed-sequence", [0.01, 0.04, 0.04, 0.04]),
        ("none", P),
    ],
)
def test_by_hand(method: AdjustMethod, expected: list[float]) -> None:
    found = adjust(P, method)
    np.testing.assert_allclose(found.p, expected, rtol=1e-14)
    assert found.rejected.tolist() == [p <= 0.05 for p in expected]
    assert (found.method, found.n_tests, found.alpha) == (method, 4, 0.05)
    table = adjust(np.reshape(P, (2, 2)), method)
    np.testing.assert_array_equal(table.p.ravel(), found.p)


def test_fixed_sequence_is_a_gate() -> None:
    """3 is tested first, then 0, 2, 1: p .005, .01, .03, .04. What is not tested closes the gate."""
    assert adjust(P, "fixed-sequence", order=[3, 0, 2, 1]).p.tolist() == [0.01, 0.04, 0.03, 0.005]
    closed = adjust([0.01, 0.2, 0.001], "fixed-sequence")
    assert closed.p.tolist() == [0.01, 0.2, 0.2]
    assert closed.rejected.tolist() == [True, False, False]
    untested = adjust([0.01, np.nan, 0.001], "fixed-sequence")
    np.testing.assert_array_equal(untested.p, [0.01, np.nan, 1.0])
    assert untested.n_tests == 2
    assert adjust([0.01, np.nan, 0.001], "fixed-sequence", order=[2, 0, 1]).p.tolist()[::2] == [0.01, 0.001]


def test_nothing_to_adjust() -> None:
    for method in get_args(AdjustMethod):
        assert adjust([], method).p.shape == (0,)
        assert adjust([], method).n_tests == 0
        none = adjust([np.nan, np.nan], method)
        assert np.isnan(none.p).all()
        assert not none.rejected.any()


@settings(max_examples=60, deadline=None)
@given(
    p=st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=12),
    method=st.sampled_from(["holm", "bh", "by"]),
    seed=st.integers(0, 99),
)
def test_properties(p: list[float], method: Any, seed: int) -> None:
    """Never below p, never above 1, in the order of p, not dependent on the order of the tests."""
    values = np.array(p)
    found = adjust(values, method).p
    tested = ~np.isnan(values)
    assert np.array_equal(np.isnan(found), ~tested)
    assert (found[tested] >= values[tested]).all()
    assert (found[tested] <= 1).all()
    order = np.argsort(values[tested], kind="stable")
    assert (np.diff(found[tested][order]) >= 0).all()
    shuffle = np.random.default_rng(seed).permutation(len(values))
    np.testing.assert_array_equal(adjust(values[shuffle], method).p, found[shuffle])


# Jennison and Turnbull 2000, tables 2.1 and 2.3: constants C_P(K, alpha) and C_B(K, alpha), two-sided.
POCOCK = {
    0.01: [2.772, 2.873, 2.939, 2.986],
    0.05: [2.178, 2.289, 2.361, 2.413],
    0.10: [1.875, 1.992, 2.067, 2.122],
}
OBRIEN_FLEMING = {
    0.01: [2.580, 2.595, 2.609, 2.621],
    0.05: [1.977, 2.004, 2.024, 2.040],
    0.10: [1.678, 1.710, 1.733, 1.751],
}


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.10])
def test_published_constants(alpha: float) -> None:
    """Three decimals, as printed."""
    for k, (pocock, fleming) in enumerate(zip(POCOCK[alpha], OBRIEN_FLEMING[alpha], strict=True), start=2):
        found = look_levels(k, boundary="pocock", alpha=alpha).critical
        np.testing.assert_allclose(found, pocock, atol=5.01e-4)
        found = look_levels(k, boundary="obrien-fleming", alpha=alpha).critical
        np.testing.assert_allclose(found / np.sqrt(k / np.arange(1, k + 1)), fleming, atol=5.01e-4)


def test_published_levels() -> None:
    """Pocock's nominal levels at .05: .0294, .0221, .0182, .0158 for 2 to 5 looks."""
    found = [look_levels(k, boundary="pocock").level for k in (2, 3, 4, 5)]
    assert [level[0].round(4) for level in found] == [0.0294, 0.0221, 0.0182, 0.0158]
    critical = look_levels(5, boundary="obrien-fleming").critical
    assert critical.round(2).tolist() == [4.56, 3.23, 2.63, 2.28, 2.04]


def test_is_mvtnorm(golden: Path) -> None:
    """R's pmvnorm (Miwa, 4,096 steps) of the whole boundary: 1e-7; uneven information too."""
    for row in pd.read_csv(golden / "exact" / "looks.csv").itertuples():
        shares, critical = (np.array(text.split(), dtype=float) for text in (row.information, row.critical))
        p = 2 * stats.norm.sf(critical)
        boundary: Any = "pocock" if "pocock" in row.case else "obrien-fleming"
        for look in range(1, len(shares) + 1):
            found = adjust_for_look(
                p[look - 1], look, len(shares), boundary=boundary, information=shares / shares[-1]
            )
            assert float(found) == pytest.approx(row.probability, rel=1e-7)


def test_two_looks_by_quadrature() -> None:
    """P(|Z1| >= a or |Z2| >= b) by adaptive quadrature over Z1."""
    for a, b, t in ((2.0, 2.0, 0.5), (3.0, 2.1, 0.3), (1.0, 2.0, 0.8)):
        inside = stats.norm.expect(
            lambda z, b=b, t=t: (
                stats.norm.cdf((b - np.sqrt(t) * z) / np.sqrt(1 - t))
                - stats.norm.cdf((-b - np.sqrt(t) * z) / np.sqrt(1 - t))
            ),
            lb=-a,
            ub=a,
            epsabs=1e-13,
        )
        from_module = _crossing(np.array([a, b]), np.array([t, 1.0])).sum()
        assert from_module == pytest.approx(1 - inside, abs=1e-12)


@pytest.mark.parametrize("boundary", ["bonferroni", "pocock", "obrien-fleming"])
def test_levels_and_adjusted_p_agree(boundary: Any) -> None:
    """p at the level of its look has adjusted p = alpha; what is spent adds up to alpha."""
    information = [0.25, 0.6, 1.0]
    levels = look_levels(3, boundary=boundary, alpha=0.03, information=information)
    assert levels.spent[-1] == pytest.approx(0.03, rel=1e-10)
    for look in (1, 2, 3):
        found = adjust_for_look(levels.level[look - 1], look, 3, boundary=boundary, information=information)
        assert float(found) == pytest.approx(0.03, rel=1e-9)
    grid = adjust_for_look([[0.0, 1e-200, 1e-6], [0.5, 1.0, np.nan]], 2, 3, boundary=boundary).ravel()
    assert (np.diff(grid[:5]) >= 0).all()
    assert 0 <= grid[0] < 1e-100
    assert grid[4] == 1.0
    assert np.isnan(grid[5])


def test_one_look_changes_nothing() -> None:
    for boundary in ("bonferroni", "pocock", "obrien-fleming"):
        assert look_levels(1, boundary=boundary).level[0] == pytest.approx(0.05, rel=1e-12)  # type: ignore[arg-type]
        found = adjust_for_look([0.2, 1e-5], 1, 1, boundary=boundary)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, [0.2, 1e-5], rtol=1e-12)


def test_looks_keep_the_level() -> None:
    """20,000 null trials, four looks: .05 each gives .12 to .13; every boundary at most .05, within 4 SE."""
    steps = np.random.default_rng(17).normal(size=(20_000, 4)).cumsum(axis=1)
    p = 2 * stats.norm.sf(np.abs(steps / np.sqrt([1, 2, 3, 4])))
    assert 0.11 < (p <= 0.05).any(axis=1).mean() < 0.14
    margin = 4 * np.sqrt(0.05 * 0.95 / 20_000)
    for boundary in ("pocock", "obrien-fleming"):
        rate = (p <= look_levels(4, boundary=boundary).level).any(axis=1).mean()  # type: ignore[arg-type]
        assert abs(rate - 0.05) < margin
    assert (p <= look_levels(4).level).any(axis=1).mean() <= 0.05


def test_family_wise_error_and_false_discoveries() -> None:
    """2,000 null families of eight correlated tests: any rejection is an error; at most .05, 4 SE."""
    rng = np.random.default_rng(3)
    z = np.sqrt(0.5) * (rng.normal(size=(2_000, 8)) + rng.normal(size=(2_000, 1)))
    p = 2 * stats.norm.sf(np.abs(z))
    for method in ("holm", "bh", "by", "fixed-sequence"):
        rate = np.mean([adjust(one, method).rejected.any() for one in p])  # type: ignore[arg-type]
        assert rate <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 2_000)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"p": [0.1, 1.2]}, "E-MODEL-002"),
        ({"p": [-0.1]}, "E-MODEL-002"),
        ({"p": ["x"]}, "E-MODEL-002"),
        ({"method": "hommel"}, "E-MODEL-030"),
        ({"alpha": 1.5}, "E-MODEL-030"),
        ({"order": [0, 1, 2, 3]}, "E-MODEL-030"),
        ({"method": "fixed-sequence", "order": [0, 1, 1, 2]}, "E-MODEL-030"),
    ],
)
def test_bad_families_are_refused(options: dict[str, object], code: str) -> None:
    with pytest.raises(AssayError, match=code) as caught:
        adjust(**{"p": P, "method": "holm", **options})  # type: ignore[arg-type]
    assert {str(problem.column).partition("[")[0] for problem in caught.value.problems} <= set(options)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"looks": 0}, "E-MODEL-030"),
        ({"looks": 21}, "E-MODEL-030"),
        ({"boundary": "haybittle"}, "E-MODEL-030"),
        ({"alpha": 0.6}, "E-MODEL-030"),
        ({"information": [0.5, 1.0]}, "E-MODEL-001"),
        ({"information": [0.5, 0.4, 1.0]}, "E-MODEL-030"),
        ({"information": [0.2, 0.4, 0.9]}, "E-MODEL-030"),
        ({"information": [np.nan, 0.4, 1.0]}, "E-MODEL-030"),
    ],
)
def test_bad_looks_are_refused(options: dict[str, object], code: str) -> None:
    with pytest.raises(AssayError, match=code):
        look_levels(**{"looks": 3, **options})  # type: ignore[arg-type]
    with pytest.raises(AssayError, match="E-MODEL-030"):
        adjust_for_look(0.1, 4, 3)
