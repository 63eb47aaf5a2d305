"""Counts and proportions: glmmTMB, directly coded marginal likelihoods, closed forms, simulations, edges."""

from __future__ import annotations

import dataclasses
import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import optimize, special, stats

import pdbiomarker.mixed.glmm.model
from pdbiomarker.errors import AssayError
from pdbiomarker.mixed.glmm import GlmmFit, Inference, fit_counts, fit_proportions
from pdbiomarker.mixed.glmm.families import FAMILIES, gamma_differences
from pdbiomarker.mixed.glmm.laplace import Laplace, Levels
from pdbiomarker.mixed.glmm.maximum import Sample, simulate

Array = NDArray[np.float64]
NUMBERS = ("estimate", "se", "df", "t", "p", "sigma", "dispersion", "loglik")


def paired(pairs: int) -> tuple[NDArray[np.int64], Array]:
    """Participants and design of complete pairs, baseline first."""
    visit = np.repeat([0.0, 1.0], pairs)
    return np.tile(np.arange(pairs), 2), np.column_stack([np.ones(2 * pairs), visit])


@dataclasses.dataclass(frozen=True)
class Panel:
    """A golden data set: the design, and per feature counts, positives, cells, areas."""

    participant: NDArray[np.object_]
    biopsy: NDArray[np.object_] | None
    X: Array
    count: Array
    positive: Array
    cells: Array
    area: Array

    def fit(self, family: str, groups: Any = None, **options: Any) -> GlmmFit:
        groups = self.participant if groups is None else groups
        if family in ("nbinom2", "poisson"):
            return fit_counts(self.count, self.X, groups, offset=np.log(self.area), family=family, **options)
        return fit_proportions(self.positive, self.X, groups, n=self.cells, family=family, **options)


def read_panel(folder: Path, name: str) -> Panel:
    data = pd.read_csv(folder / "glmm" / f"{name}_data.csv")
    features = [rows for _, rows in data.groupby("feature")]
    first = features[0]
    columns = [np.ones(len(first)), first["visit"] == "C2D1"]
    if "purity" in first:
        columns += [first["visit"] == "C4D1", first["purity"]]
    values = {
        c: np.stack([rows[c].to_numpy(float) for rows in features])
        for c in ("count", "positive", "n_cells", "area_mm2")
    }
    biopsy = first["biopsy"].to_numpy(object) if "biopsy" in first else None
    return Panel(
        first["participant"].to_numpy(object),
        biopsy,
        np.column_stack(columns).astype(float),
        values["count"],
        values["positive"],
        values["n_cells"],
        values["area_mm2"],
    )


@pytest.fixture(scope="module")
def panel(golden: Path) -> Panel:
    return read_panel(golden, "glmm")


# --- against glmmTMB -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["nbinom2", "poisson", "betabinomial"])
def test_panel_agrees_with_glmmtmb(golden: Path, panel: Panel, family: str) -> None:
    """glmmTMB 1.1.5: estimates, SE, dispersion, log-likelihood to 1e-5 (asked: 1e-4)."""
    table = pd.read_csv(golden / "glmm" / "glmm_results.csv")
    table = table[table["family"] == family]
    fit = panel.fit(family)
    np.testing.assert_allclose(fit.estimate, table["estimate"].to_numpy().reshape(-1, 2), atol=1e-5)
    np.testing.assert_allclose(fit.se, table["se"].to_numpy().reshape(-1, 2), rtol=1e-5)
    once = table.iloc[::2]
    np.testing.assert_allclose(fit.loglik, once["loglik"], atol=1e-7)
    # Where glmmTMB's log scale cannot reach 0 it stops at 4e-5 to 6e-4; here it is 0.
    sd = once["sd_participant"].to_numpy()
    np.testing.assert_allclose(fit.sigma, np.where(sd < 1e-3, 0.0, sd), atol=1e-5)
    np.testing.assert_array_equal(fit.status, np.where(sd < 1e-3, "singular", "ok"))
    if family != "poisson":
        np.testing.assert_allclose(fit.dispersion, once["dispersion"], rtol=1e-5)
    np.testing.assert_array_equal(fit.df[:, 1], 16)
    assert (fit.n_pairs[:, 1] == 17).all()


@pytest.mark.parametrize("model", ["one", "nested"])
@pytest.mark.parametrize("family", ["nbinom2", "poisson", "betabinomial", "binomial"])
def test_regions_within_biopsies_agree_with_glmmtmb(golden: Path, model: str, family: str) -> None:
    """glmmTMB 1.1.5: estimates 3e-5, SE 1e-4 (3e-4 in the one fit that glmmTMB leaves 9e-9 short)."""
    regions = read_panel(golden, "nested")
    table = pd.read_csv(golden / "glmm" / "nested_results.csv")
    table = table[(table["family"] == family) & (table["model"] == model)]
    groups = {"participant": regions.participant}
    if model == "nested":
        assert regions.biopsy is not None
        groups["biopsy"] = regions.biopsy
    fit = regions.fit(family, groups)
    once = table.iloc[::4]
    np.testing.assert_allclose(fit.estimate, table["estimate"].to_numpy().reshape(-1, 4), atol=3e-5)
    short = (family, model) == ("poisson", "nested")
    np.testing.assert_allclose(fit.se, table["se"].to_numpy().reshape(-1, 4), rtol=3e-4 if short else 1e-4)
    np.testing.assert_allclose(fit.loglik, once["loglik"], atol=1e-7)
    assert (fit.loglik > once["loglik"] - 1e-9).all()
    np.testing.assert_allclose(fit.sigma, once["sd_participant"], atol=3e-4 if short else 1e-5)
    if model == "nested":
        np.testing.assert_allclose(fit.sigma_biopsy, once["sd_biopsy"], atol=1e-5)
    else:
        assert np.isnan(fit.sigma_biopsy).all()


# --- against a marginal likelihood coded directly ------------------------------------------------


def _marginal(x: Array, data: tuple[Array, Array, Array, Array], *, exact: bool) -> float:
    """Minus log-likelihood of nbinom2, by Laplace with scipy's search, or by a sum over a fine grid."""
    y, X, offset, groups = data
    sigma, theta = np.exp(x[-2:])
    total = 0.0
    for label in np.unique(groups):
        rows = groups == label
        fixed = X[rows] @ x[:-2] + offset[rows]

        def log_joint(u: Array, fixed: Array = fixed, rows: Any = rows) -> Any:
            mu = np.exp(fixed + np.asarray(u)[..., None])
            return stats.nbinom.logpmf(y[rows], theta, theta / (theta + mu)).sum(-1) + stats.norm.logpdf(
                u, scale=sigma
            )

        if exact:
            grid = np.linspace(-9, 9, 601) * sigma
            total += special.logsumexp(log_joint(grid)) + np.log(grid[1] - grid[0])
        else:

            def score(u: float, fixed: Array = fixed, rows: Any = rows) -> float:
                mu = np.exp(fixed + u)
                return float((y[rows] - (y[rows] + theta) * mu / (theta + mu)).sum() - u / sigma**2)

            mode = optimize.brentq(score, -12, 12, xtol=1e-14, rtol=1e-14)
            mu = np.exp(fixed + mode)
            curvature = ((y[rows] + theta) * theta * mu / (theta + mu) ** 2).sum() + sigma**-2
            total += float(log_joint(np.array(mode))) + 0.5 * np.log(2 * np.pi / curvature)
    return -total


@pytest.mark.parametrize("feature", [1, 9])
def test_maximum_of_a_directly_coded_marginal(panel: Panel, feature: int) -> None:
    """scipy's BFGS on a per-participant Laplace: coefficients 2e-5, log-likelihood 1e-8."""
    fit = panel.fit("nbinom2")
    data = (panel.count[feature], panel.X, np.log(panel.area[feature]), panel.participant)
    start = np.array([*fit.coefficients[feature] + 0.2, -0.3, 1.0])
    found = optimize.minimize(lambda x: _marginal(x, data, exact=False), start, method="BFGS")
    np.testing.assert_allclose(found.x[:2], fit.coefficients[feature], atol=2e-5)
    np.testing.assert_allclose(np.exp(found.x[2:]), [fit.sigma[feature], fit.dispersion[feature]], rtol=2e-5)
    assert -found.fun == pytest.approx(fit.loglik[feature], abs=1e-8)
    assert -found.fun <= fit.loglik[feature] + 1e-9


@pytest.mark.parametrize(("feature", "shift"), [(1, 2e-3), (9, 8e-3)])
def test_laplace_is_close_to_the_exact_likelihood(panel: Panel, feature: int, shift: float) -> None:
    """Against a sum over 601 points a participant: what the approximation itself costs.

    F02 (median count 150) and F10 (median 5): the contrast moves by less than 2e-3 and 8e-3, a few hundredths
    of its standard error; the log-likelihood by less than .1.
    """
    fit = panel.fit("nbinom2")
    data = (panel.count[feature], panel.X, np.log(panel.area[feature]), panel.participant)
    x = np.array([*fit.coefficients[feature], np.log(fit.sigma[feature]), np.log(fit.dispersion[feature])])
    found = optimize.minimize(lambda x: _marginal(x, data, exact=True), x, method="BFGS", tol=1e-5)
    assert abs(found.x[1] - fit.estimate[feature, 1]) < shift
    assert abs(found.x[1] - fit.estimate[feature, 1]) < 0.05 * fit.se[feature, 1]
    assert -found.fun == pytest.approx(fit.loglik[feature], abs=0.1)


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "k", "expected"),
    [
        # mpmath, 40 digits.
        (1e-6, 5, (-10.637454644283705, 1000002.0833319096, -1000000000001.4236, 2e18)),
        (0.3, 7, (6.052094528204177, 5.420344557838118, -12.098568777976302, 75.25102577428441)),
        (25, 3, (9.772809228894012, 0.1154985754985755, -0.004451032053311255, 0.00034340206076045876)),
        (
            1e6,
            40,
            (552.6212023083011, 3.9999220020539386e-05, -3.9998440061617564e-11, 7.999532024646783e-17),
        ),
        (1e9, 3, (62.169797513839235, 2.9999999969999995e-09, -2.9999999939999997e-18, 5.999999982e-27)),
        (3, 1e5, (1051321.554632871, 10.590166129563434, -0.39492406709822026, 0.1541138062191936)),
    ],
)
def test_gamma_differences_do_not_cancel(x: float, k: float, expected: tuple[float, ...]) -> None:
    found = [float(v) for v in gamma_differences(np.array(x), np.array(float(k)), order=3)]
    np.testing.assert_allclose(found, expected, rtol=2e-15)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_derivatives_of_the_families(name: str) -> None:
    """Central differences, 1e-7; values against scipy.stats, 1e-13."""
    family, h = FAMILIES[name], 1e-5
    y, n = np.array([0.0, 3, 40, 7]), np.array([5.0, 3, 100, 30])
    eta, d = np.array([-1.0, 0.3, 2.0, 0.5]), np.array([1.2])
    at = family.full(eta, d, y, n)
    ups, downs = family.full(eta + h, d, y, n), family.full(eta - h, d, y, n)
    for lower, upper in (("value", "e"), ("e", "ee"), ("ee", "eee")):
        slope = (getattr(ups, lower) - getattr(downs, lower)) / (2 * h)
        np.testing.assert_allclose(getattr(at, upper), slope, rtol=1e-6, atol=1e-7)
    if family.limit:
        ups, downs = family.full(eta, d + h, y, n), family.full(eta, d - h, y, n)
        for lower, upper in (("value", "d"), ("e", "ed"), ("ee", "eed")):
            slope = (getattr(ups, lower) - getattr(downs, lower)) / (2 * h)
            np.testing.assert_allclose(getattr(at, upper), slope, rtol=1e-6, atol=1e-7)
    part, e, ee = family.inner(eta, d, y, n)
    np.testing.assert_allclose(e, at.e, rtol=1e-12)
    np.testing.assert_allclose(ee, at.ee, rtol=1e-12)
    np.testing.assert_allclose(
        part - family.inner(eta * 0, d, y, n)[0], at.value - family.full(eta * 0, d, y, n).value, rtol=1e-9
    )
    p, size, mu = special.expit(eta), np.exp(1.2), np.exp(eta)
    expected = {
        "poisson": stats.poisson.logpmf(y, mu),
        "nbinom2": stats.nbinom.logpmf(y, size, size / (size + mu)),
        "binomial": stats.binom.logpmf(y, n, p),
        "betabinomial": stats.betabinom.logpmf(y, n, p * size, (1 - p) * size),
    }
    np.testing.assert_allclose(at.value, expected[name], rtol=1e-12)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_gradient_of_the_approximation(name: str, nested: bool) -> None:
    """Central differences, relative 1e-6."""
    family, rng = FAMILIES[name], np.random.default_rng(0)
    participant, biopsy = np.repeat(np.arange(6), 4), np.repeat(np.arange(12), 2)
    y = rng.poisson(5, (3, 24)).astype(float)
    seen = (rng.random((3, 24)) < 0.9).astype(float)
    X = np.column_stack([np.ones(24), biopsy % 2]).astype(float)
    objective = Laplace(
        family,
        Levels.of(participant, biopsy if nested else None),
        y * seen,
        (y + rng.poisson(20, y.shape)) * seen,
        seen,
        np.zeros((1, 24)),
        X[None],
        np.zeros((3, 6)),
        np.zeros((3, 12)) if nested else None,
    )
    x = np.array([1.0, 0.3, 0.6] + [0.4] * nested + [1.2] * (family.limit is not None))
    x = np.tile(x, (3, 1))
    _, gradient = objective.evaluate(x)
    for j in range(x.shape[1]):
        step = 1e-5 * np.eye(x.shape[1])[j]
        slope = (objective.evaluate(x + step)[0] - objective.evaluate(x - step)[0]) / 2e-5
        np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-6, atol=1e-6)


# --- closed forms and boundaries -----------------------------------------------------------------


def test_no_variance_at_all_is_the_ratio_of_sums() -> None:
    """Counts less variable than Poisson: log ratio of the sums, SE sqrt(1/a + 1/b)."""
    groups, X = paired(6)
    y = np.array([10, 11, 9, 10, 10, 10, 20, 19, 21, 20, 20, 20])
    fit = fit_counts(y, X, groups)
    assert fit.estimate[0, 1] == pytest.approx(np.log(2), abs=1e-9)
    assert fit.se[0, 1] == pytest.approx(np.sqrt(1 / 60 + 1 / 120), rel=1e-7)
    assert (fit.status[0], fit.boundary[0]) == ("singular", "participant+dispersion")
    assert (fit.sigma[0], fit.dispersion[0]) == (0, np.inf)
    poisson = fit_counts(y, X, groups, family="poisson")
    assert fit.loglik[0] == pytest.approx(poisson.loglik[0], abs=1e-10)
    assert poisson.boundary[0] == "participant"
    assert np.isnan(poisson.dispersion[0])


def test_proportions_without_variance_are_the_odds_ratio_of_sums() -> None:
    groups, X = paired(6)
    k, n = np.array([5, 6, 5, 5, 4, 5, 10, 10, 11, 10, 9, 10]), np.full(12, 20)
    fit = fit_proportions(k, X, groups, n=n)
    assert fit.estimate[0, 1] == pytest.approx(np.log(3), abs=1e-9)
    assert fit.se[0, 1] == pytest.approx(np.sqrt(1 / 30 + 1 / 90 + 1 / 60 + 1 / 60), rel=1e-7)
    assert fit.boundary[0] == "participant+dispersion"


def test_a_visit_without_a_cell_is_not_estimable_but_the_other_contrast_is() -> None:
    """Three visits, none at the last: its ratio is infinitely small; the other keeps its numbers."""
    groups = np.tile(np.arange(5), 3)
    visit = np.repeat([0, 1, 2], 5)
    X = np.column_stack([np.ones(15), visit == 1, visit == 2]).astype(float)
    y = np.array([4, 9, 2, 12, 6, 11, 15, 9, 30, 10, 0, 0, 0, 0, 0])
    fit = fit_counts(y, X, groups)
    np.testing.assert_array_equal(fit.estimable[0], [True, True, False])
    assert "separated" in fit.boundary[0]
    assert np.isnan(fit.estimate[0, 2])
    assert np.isnan(fit.p[0, 2])
    two = fit_counts(y[:10], X[:10, :2], groups[:10])
    np.testing.assert_allclose(fit.estimate[0, :2], two.estimate[0], atol=1e-6)
    np.testing.assert_allclose(fit.se[0, :2], two.se[0], rtol=1e-4)
    only = fit_counts(y[[*range(5), *range(10, 15)]], X[[*range(5), *range(10, 15)]][:, [0, 2]], groups[:10])
    assert only.estimable.tolist() == [[True, False]]


def test_features_that_cannot_be_fitted_have_a_status() -> None:
    groups, X = paired(5)
    y = np.full((5, 10), np.nan)
    y[0] = 0
    y[1, :2] = 3, 9
    y[2] = [3, 5, 2, 8, 4, 7, 9, 3, 20, 6]
    y[3, [0, 5]] = 4, 9
    y[4, :5] = [3, 5, 2, 8, 4]
    fit = fit_counts(y, X, groups)
    assert fit.status.tolist()[:2] == ["constant", "singular"]
    assert fit.status[2] in ("ok", "singular")
    assert fit.status[3] == "too_few"
    # Baseline only: the level is told, the change is not.
    np.testing.assert_array_equal(fit.estimable[4], [True, False])
    assert fit_counts(y[4], X, groups, contrasts=[0, 1]).status[0] == "not_estimable"
    np.testing.assert_array_equal(fit.n_obs, [10, 2, 10, 2, 5])
    np.testing.assert_array_equal(fit.n_groups, [5, 2, 5, 1, 5])
    np.testing.assert_array_equal(fit.n_pairs[:, 1], [5, 0, 5, 1, 0])
    for name in NUMBERS[:5]:
        assert np.isnan(getattr(fit, name)[[0, 3]]).all()
    whole = fit_proportions(np.full(10, 7), X, groups, n=np.full(10, 7))
    assert whole.status[0] == "constant"
    assert fit_counts(np.empty((0, 10)), X, groups).estimate.shape == (0, 2)
    assert fit_counts(np.empty((2, 0)), np.empty((0, 2)), []).status.tolist() == ["too_few"] * 2


def test_aliased_columns_leave_the_others_alone(panel: Panel) -> None:
    X = np.column_stack([panel.X, 2 * panel.X[:, 1]])
    plain, aliased = panel.fit("nbinom2"), dataclasses.replace(panel, X=X).fit("nbinom2")
    assert not aliased.estimable[:, 1:].any()
    np.testing.assert_allclose(aliased.estimate[:, 0], plain.estimate[:, 0], rtol=1e-7)
    both = dataclasses.replace(panel, X=X).fit("nbinom2", contrasts=[[0, 1, 2]])
    np.testing.assert_allclose(both.estimate[:, 0], plain.estimate[:, 1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(both.se[:, 0], plain.se[:, 1], rtol=1e-6)


# --- what must not change a result ----------------------------------------------------------------


def _same(one: GlmmFit, other: GlmmFit, rtol: float = 1e-6) -> None:
    for name in NUMBERS:
        np.testing.assert_allclose(
            getattr(other, name), getattr(one, name), rtol=rtol, atol=1e-7, err_msg=name
        )
    np.testing.assert_array_equal(other.status, one.status)


@pytest.mark.parametrize("family", ["nbinom2", "betabinomial"])
def test_order_labels_and_company_do_not_matter(panel: Panel, family: str) -> None:
    plain = panel.fit(family)
    order = np.random.default_rng(1).permutation(len(panel.X))
    shuffled = Panel(
        panel.participant[order],
        None,
        panel.X[order],
        *(getattr(panel, c)[:, order] for c in ("count", "positive", "cells", "area")),
    )
    _same(plain, shuffled.fit(family))
    renamed = {"who": np.array([f"x{hash(p) % 997}{p}" for p in panel.participant], dtype=object)}
    _same(plain, panel.fit(family, renamed))
    for i in (0, 7):
        alone = dataclasses.replace(
            panel, **{c: getattr(panel, c)[[i]] for c in ("count", "positive", "cells", "area")}
        ).fit(family)
        for name in NUMBERS:
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(plain, name)[i], rtol=1e-6, atol=1e-7)


def test_missing_values_are_left_out_feature_by_feature(panel: Panel) -> None:
    count, positive = panel.count.copy(), panel.positive.copy()
    count[0, 3] = positive[0, 3] = np.nan
    count[1, [0, 1, 20]] = positive[1, [0, 1, 20]] = np.nan
    holes = dataclasses.replace(panel, count=count, positive=positive)
    for family in ("nbinom2", "betabinomial"):
        fit = holes.fit(family)
        for i in range(3):
            keep = np.isfinite(count[i])
            dropped = Panel(
                panel.participant[keep],
                None,
                panel.X[keep],
                *(getattr(panel, c)[[i]][:, keep] for c in ("count", "positive", "cells", "area")),
            ).fit(family)
            assert fit.n_obs[i] == keep.sum()
            for name in NUMBERS:
                np.testing.assert_allclose(
                    getattr(fit, name)[i], getattr(dropped, name)[0], rtol=1e-6, atol=1e-7, err_msg=name
                )


def test_a_count_without_area_or_cells_says_nothing(panel: Panel) -> None:
    area, cells = panel.area.copy(), panel.cells.astype(float)
    area[:, 4], cells[:, 4] = np.nan, 0
    positive = panel.positive.copy()
    positive[:, 4] = 0
    holes = dataclasses.replace(panel, area=area, cells=cells, positive=positive)
    assert (holes.fit("nbinom2").n_obs == len(panel.X) - 1).all()
    assert (holes.fit("betabinomial").n_obs == len(panel.X) - 1).all()


def test_units_of_area_move_the_level_only(panel: Panel) -> None:
    plain, scaled = panel.fit("nbinom2"), dataclasses.replace(panel, area=panel.area * 1e6).fit("nbinom2")
    np.testing.assert_allclose(scaled.estimate[:, 0], plain.estimate[:, 0] - np.log(1e6), rtol=1e-7)
    np.testing.assert_allclose(scaled.estimate[:, 1], plain.estimate[:, 1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(scaled.loglik, plain.loglik, atol=1e-7)


def test_positive_and_negative_cells_are_mirrors(panel: Panel) -> None:
    plain = panel.fit("betabinomial")
    mirror = dataclasses.replace(panel, positive=panel.cells - panel.positive).fit("betabinomial")
    np.testing.assert_allclose(mirror.estimate, -plain.estimate, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(mirror.loglik, plain.loglik, atol=1e-7)


def test_a_label_of_a_biopsy_counts_within_its_participant(golden: Path) -> None:
    """`visit` as the biopsy's label is the same nesting as unique biopsy ids."""
    regions = read_panel(golden, "nested")
    visit = regions.X[:, 1] + 2 * regions.X[:, 2]
    unique = regions.fit("nbinom2", {"participant": regions.participant, "biopsy": regions.biopsy})
    _same(unique, regions.fit("nbinom2", {"participant": regions.participant, "biopsy": visit}))


# --- inference -----------------------------------------------------------------------------------


def test_t_with_pairs_less_one_by_default(panel: Panel) -> None:
    fit = panel.fit("nbinom2")
    np.testing.assert_allclose(fit.p[:, 1], 2 * stats.t.sf(np.abs(fit.t[:, 1]), 16), rtol=1e-10)
    np.testing.assert_allclose(fit.t, fit.estimate / fit.se)
    # The level is compared between participants: 20 of them, one coefficient.
    np.testing.assert_array_equal(fit.df[:, 0], 19)
    given = panel.fit("nbinom2", inference=Inference(n_pairs=9))
    np.testing.assert_array_equal(given.df, 8)
    assert (given.p > fit.p).all()


def test_wald_is_the_normal_distribution(panel: Panel, golden: Path) -> None:
    """glmmTMB's z tests: log10 p to 1e-4."""
    table = pd.read_csv(golden / "glmm" / "glmm_results.csv")
    expected = table[table["family"] == "nbinom2"]["p"].to_numpy().reshape(-1, 2)
    fit = panel.fit("nbinom2", inference="wald")
    assert np.isinf(fit.df).all()
    use = expected > 1e-300
    np.testing.assert_allclose(np.log10(fit.p[use]), np.log10(expected[use]), atol=1e-4, rtol=1e-4)


def test_parametric_bootstrap() -> None:
    """Counted as (1 + #) / (B + 1), the same every time, near t where t is right, small for an effect."""
    groups, X = paired(8)
    rng = np.random.default_rng(2)
    base = np.exp(3 + rng.normal(0, 0.6, (2, 8)))
    effect = np.array([1.0, 3.0])[:, None]
    y = rng.poisson(np.concatenate([base, base * effect], axis=1) * rng.gamma(8, 1 / 8, (2, 16)))
    options = Inference("bootstrap", resamples=199, seed=4)
    fit = fit_counts(y, X, groups, contrasts=[0, 1], inference=options)
    by_t = fit_counts(y, X, groups, contrasts=[0, 1])
    np.testing.assert_allclose(fit.p * 200, np.round(fit.p * 200), atol=1e-9)
    np.testing.assert_array_equal(fit.p, fit_counts(y, X, groups, contrasts=[0, 1], inference=options).p)
    other = fit_counts(y, X, groups, contrasts=[0, 1], inference=dataclasses.replace(options, seed=5))
    assert fit.p[0, 0] != other.p[0, 0]
    assert abs(fit.p[0, 0] - by_t.p[0, 0]) < 0.15
    assert fit.p[1, 0] == 1 / 200
    np.testing.assert_array_equal(fit.se, by_t.se)
    np.testing.assert_array_equal(
        fit_counts(y[1], X, groups, contrasts=[0, 1], inference=options).p[0], fit.p[1]
    )
    share = fit_proportions(y, X, groups, n=y + 50, contrasts=[0, 1], inference=options)
    assert share.p[0, 0] > 0.05
    assert share.p[1, 0] < 0.05


# --- the simulations that expose a wrong analysis --------------------------------------------------


def test_area_does_not_turn_into_an_effect() -> None:
    """Null; area 8 -> 2 mm2, .3 cells/mm2, participant SD .7, dispersion .3: log density gives 1.6 to 1.8."""
    groups, X = paired(12)
    rng = np.random.default_rng(5)
    area = np.repeat([8.0, 2.0], 12)
    mean = 0.3 * area * np.exp(rng.normal(0, 0.7, (400, 12))[:, groups])
    y = rng.poisson(mean * rng.gamma(1 / 0.3, 0.3, mean.shape))
    fit = fit_counts(y, X, groups, offset=np.log(area))
    told = fit.estimable[:, 1]
    assert told.mean() > 0.98
    change = fit.estimate[told, 1]
    error = change.std() / np.sqrt(len(change))
    assert abs(change.mean()) < 3 * error + 0.02
    assert np.exp(change.mean()) == pytest.approx(1.0, abs=0.12)
    assert np.mean(fit.p[told, 1] < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    density = np.log((y + 0.5) / area)
    assert np.exp((density[:, 12:] - density[:, :12]).mean()) > 1.5


@pytest.mark.parametrize(("pairs", "limit"), [(6, 0.08), (10, 0.065)])
def test_type_one_error_of_t_is_held_where_z_is_not(pairs: int, limit: float) -> None:
    """NB size 2.5, participant SD .7, mean 40; 800 null sets; limits of the shared figures."""
    groups, X = paired(pairs)
    rng = np.random.default_rng(pairs)
    mean = 40 * np.exp(rng.normal(0, 0.7, (800, pairs))[:, groups])
    fit = fit_counts(rng.poisson(mean * rng.gamma(2.5, 1 / 2.5, mean.shape)), X, groups)
    assert np.isfinite(fit.p[:, 1]).all()
    rate, by_z = np.mean(fit.p[:, 1] < 0.05), np.mean(np.abs(fit.t[:, 1]) > 1.959964)
    assert rate < limit + 2 * np.sqrt(limit * (1 - limit) / 800)
    assert by_z > rate + 0.015


def test_trap_21_denominators_do_not_turn_into_an_effect() -> None:
    """Null; p .05, 8 -> 80 cells: the empirical logit has OR .39 to .54, the beta-binomial about 1."""
    groups, X = paired(12)
    rng = np.random.default_rng(8)
    n = np.tile(np.repeat([8, 80], 12), (300, 1))
    p = special.expit(special.logit(0.05) + rng.normal(0, 0.7, (300, 12))[:, groups])
    k = rng.binomial(n, rng.beta(p * 20, (1 - p) * 20))
    fit = fit_proportions(k, X, groups, n=n)
    told = fit.estimable[:, 1]
    assert told.mean() > 0.97
    change = fit.estimate[told, 1]
    assert np.exp(np.median(change)) == pytest.approx(1.0, abs=0.12)
    assert abs(change.mean()) < 0.12
    assert np.mean(fit.p[told, 1] < 0.05) < 0.07 + 2 * np.sqrt(0.07 * 0.93 / 300)
    logit = np.log((k + 0.5) / (n - k + 0.5))
    assert np.exp((logit[:, 12:] - logit[:, :12]).mean()) < 0.6


def test_truth_is_recovered() -> None:
    """60 participants, 200 sets: GMR 2 and OR 2 within 3 Monte-Carlo errors; CI coverage near .95."""
    groups, X = paired(60)
    rng = np.random.default_rng(9)
    eta = rng.normal(0, 0.6, (200, 60))[:, groups] + np.log(2) * X[:, 1]
    y = rng.poisson(np.exp(2 + eta) * rng.gamma(3, 1 / 3, eta.shape))
    fit = fit_counts(y, X, groups)
    error = fit.estimate[:, 1] - np.log(2)
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(200)
    inside = np.abs(error) < stats.t.ppf(0.975, 59) * fit.se[:, 1]
    assert 0.90 < inside.mean() < 0.99
    assert np.median(fit.sigma) == pytest.approx(0.6, abs=0.05)
    assert np.median(fit.dispersion) == pytest.approx(3, abs=0.3)


# --- refusals ------------------------------------------------------------------------------------

GROUPS, PAIRS = paired(4)
COUNTS = np.array([3, 5, 2, 8, 4, 7, 9, 3])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"y": COUNTS - 4}, "E-MODEL-020"),
        ({"y": COUNTS + 0.5}, "E-MODEL-020"),
        ({"y": np.where(COUNTS == 8, np.inf, COUNTS)}, "E-MODEL-002"),
        ({"y": ["many"] * 8}, "E-MODEL-002"),
        ({"y": COUNTS[:7]}, "E-MODEL-001"),
        ({"X": np.where(PAIRS == 0, np.nan, PAIRS)}, "E-MODEL-002"),
        ({"X": PAIRS[:, 0]}, "E-MODEL-001"),
        ({"groups": [None, *GROUPS[1:]]}, "E-MODEL-004"),
        ({"groups": GROUPS[:5]}, "E-MODEL-001"),
        ({"groups": {}}, "E-FORMULA-006"),
        ({"groups": {"a": GROUPS, "b": GROUPS, "c": GROUPS}}, "E-FORMULA-006"),
        ({"offset": np.zeros(3)}, "E-MODEL-001"),
        ({"offset": ["far"] * 8}, "E-MODEL-002"),
        ({"contrasts": [[0, 1, 0]]}, "E-MODEL-001"),
        ({"contrasts": [[0, np.inf]]}, "E-MODEL-002"),
        ({"family": "gaussian"}, "E-MODEL-005"),
        ({"family": "betabinomial"}, "E-MODEL-005"),
        ({"inference": "z"}, "E-MODEL-005"),
        ({"inference": Inference("bootstrap", resamples=0)}, "E-MODEL-005"),
    ],
)
def test_bad_input_is_refused_by_name(changes: dict[str, Any], code: str) -> None:
    parts = {"y": COUNTS, "X": PAIRS, "groups": GROUPS} | changes
    with pytest.raises(AssayError) as caught:
        fit_counts(parts.pop("y"), parts.pop("X"), parts.pop("groups"), **parts)
    assert code in {problem.code for problem in caught.value.problems}
    assert all(problem.remedy for problem in caught.value.problems)


def test_more_positive_cells_than_cells_are_refused() -> None:
    with pytest.raises(AssayError, match="above its total"):
        fit_proportions(COUNTS, PAIRS, GROUPS, n=np.full(8, 7))
    with pytest.raises(AssayError, match="whole"):
        fit_proportions(COUNTS, PAIRS, GROUPS, n=np.full(8, 9.5))
    with pytest.raises(AssayError):
        fit_proportions(COUNTS, PAIRS, GROUPS, n=np.full(3, 9))


def test_the_examples_of_the_documentation() -> None:
    assert doctest.testmod(pdbiomarker.mixed.glmm.model).failed == 0


def test_simulated_sets_have_a_deviation_of_each_participant_and_of_each_biopsy() -> None:
    """Poisson, mean 1,000: the log of a count varies by both, and within a biopsy by one over the mean."""
    person, biopsy = np.repeat(np.arange(200), 4), np.repeat(np.arange(400), 2)
    n = len(person)
    sample = Sample(
        Levels.of(person, biopsy), np.zeros((1, n)), None, None, np.zeros((1, n)), np.ones((1, n, 1))
    )
    parameters = np.array([np.log(1000.0), 0.5, 0.3, 0.0])
    drawn = np.log(simulate(FAMILIES["poisson"], sample, parameters, sets=20, seed=4))
    of_biopsy = drawn.reshape(20, 400, 2)
    means = of_biopsy.mean(axis=2).reshape(20, 200, 2)
    one = 0.001 * np.exp((0.5**2 + 0.3**2) / 2)  # the mean of one over a log-normal mean of 1,000
    assert of_biopsy.var(axis=2, ddof=1).mean() == pytest.approx(one, rel=0.06)
    assert means.var(axis=2, ddof=1).mean() == pytest.approx(0.3**2, rel=0.06)
    assert means.mean(axis=2).var(axis=1, ddof=1).mean() == pytest.approx(0.5**2 + 0.3**2 / 2, rel=0.06)
