"""Correlation within groups and least squares with it: limma's numbers, dense algebra, known truth.

The goldens' responses have 11 digits; from the same digits limma 3.54.1 gives the t of `fit_correlated` to
5e-14 (absolute). Tolerances below allow for that rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import optimize

from pdbiomarker.errors import AssayError, FormulaError
from pdbiomarker.mixed.dupcor import duplicate_correlation, fit_correlated
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances

Array = NDArray[np.float64]
SETS = ["sim200", pytest.param("riaz200", marks=pytest.mark.data)]


class Golden(NamedTuple):
    folder: Path
    genes: list[str]
    E: Array
    W: Array
    X: Array
    participant: Array
    contrasts: pd.DataFrame

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv")


@pytest.fixture(params=SETS)
def example(request: pytest.FixtureRequest, golden: Path, shared_golden: Callable[[str], Path]) -> Golden:
    folder = golden / "sim200" if request.param == "sim200" else shared_golden(request.param)
    E = pd.read_csv(folder / "voom_E.csv", index_col=0)
    return Golden(
        folder,
        list(E.index),
        E.to_numpy(),
        pd.read_csv(folder / "voom_weights.csv", index_col=0).to_numpy(),
        pd.read_csv(folder / "design.csv").iloc[:, 1:].to_numpy(float),
        pd.read_csv(folder / "samples.csv")["participant"].to_numpy(),
        pd.read_csv(folder / "contrasts.csv", index_col=0),
    )


class Dense:
    """The model of one feature with its n x n matrices, from the general theory of REML."""

    def __init__(self, y: Array, X: Array, groups: Array, w: Array | None) -> None:
        root = np.ones(len(y)) if w is None else np.sqrt(w)
        use = np.isfinite(y) & (root > 0)
        self.y, self.X = (root * y)[use], (root[:, None] * X)[use]
        self.G = (groups[use][:, None] == groups[use]).astype(float)
        self.nu = len(self.y) - X.shape[1]

    def pieces(self, rho: float) -> tuple[Array, Array, Array]:
        """R, R^-1 and P."""
        R = (1 - rho) * np.eye(len(self.y)) + rho * self.G
        inverse = np.linalg.inv(R)
        part = inverse @ self.X
        return R, inverse, inverse - part @ np.linalg.solve(self.X.T @ part, part.T)

    def criterion(self, rho: float) -> float:
        R, inverse, P = self.pieces(rho)
        logs = np.linalg.slogdet(R)[1] + np.linalg.slogdet(self.X.T @ inverse @ self.X)[1]
        return float(logs + self.nu * np.log(self.y @ P @ self.y))

    def slope(self, rho: float) -> float:
        P = self.pieces(rho)[2]
        change = self.G - np.eye(len(self.y))
        Py = P @ self.y
        return float(np.trace(P @ change) - self.nu * (Py @ change @ Py) / (self.y @ Py))

    def fit(self, rho: float, contrasts: Array) -> tuple[Array, Array, float]:
        _, inverse, P = self.pieces(rho)
        covariance = np.linalg.inv(self.X.T @ inverse @ self.X)
        b = covariance @ self.X.T @ inverse @ self.y
        sd = np.sqrt(np.diag(contrasts @ covariance @ contrasts.T))
        return contrasts @ b, sd, float(self.y @ P @ self.y) / self.nu


@pytest.mark.parametrize("weighted", [True, False])
def test_consensus_is_limma(example: Golden, weighted: bool) -> None:
    """Consensus to 1e-5 (found: 1.5e-6), features to 5e-5 in atanh where limma has converged."""
    tag = "weighted" if weighted else "unweighted"
    found = duplicate_correlation(
        example.E, example.X, example.participant, weights=example.W if weighted else None
    )
    consensus = example.table("limma_dupcor_consensus").set_index("what")["value"]
    assert found.consensus == pytest.approx(consensus[f"consensus_{tag}"], abs=1e-5)
    limma = example.table("limma_dupcor_genes")[f"atanh_corr_{tag}"].to_numpy()
    gap = np.abs(found.atanh_correlations - limma)
    assert np.median(gap) < 2e-6
    assert (gap > 5e-5).sum() <= 8


@pytest.mark.parametrize("weighted", [True, False])
def test_where_limma_differs_ours_is_the_optimum(example: Golden, weighted: bool) -> None:
    """limma stops its iteration by the change of the deviance. The twelve features that differ most:

    the dense criterion is lower at ours, its slope changes sign within 1e-8 of ours (limma's does not), and
    no point of a fine grid is lower.
    """
    tag = "weighted" if weighted else "unweighted"
    W = example.W if weighted else None
    found = duplicate_correlation(example.E, example.X, example.participant, weights=W).atanh_correlations
    limma = example.table("limma_dupcor_genes")[f"atanh_corr_{tag}"].to_numpy()
    for g in np.argsort(-np.abs(found - limma))[:12]:
        dense = Dense(example.E[g], example.X, example.participant, None if W is None else W[g])
        ours, theirs = float(np.tanh(found[g])), float(np.tanh(limma[g]))
        assert dense.criterion(ours) <= dense.criterion(theirs)
        step = 1e-8
        assert dense.slope(ours - step) < 0 < dense.slope(ours + step)
        lowest = -1 / (np.bincount(pd.factorize(example.participant)[0]).max() - 1)
        grid = np.linspace(lowest + 0.01, 0.99, 80)
        assert min(dense.criterion(r) for r in grid) >= dense.criterion(ours) - 1e-9


@pytest.mark.parametrize("correlation", ["nocorr", "dupcor"])
@pytest.mark.parametrize("kind", ["std", "trend", "robust"])
def test_whole_voom_road_is_limma(example: Golden, correlation: str, kind: str) -> None:
    """Estimates, unscaled SD, sigma, moderated t and p of `lmFit`, `contrasts.fit` and `eBayes`.

    Relative 1e-8 for SD, sigma, df; t 1e-6 absolute (an estimate has an error of 6e-9 from the digits of the
    input, its standard error is as small as .02); log10 p 1e-6.
    """
    rho = 0.0
    if correlation == "dupcor":
        rho = float(example.table("limma_dupcor_consensus")["value"][0])
    fit = fit_correlated(
        example.E,
        example.X,
        example.participant,
        rho=rho,
        weights=example.W,
        contrasts=example.contrasts.to_numpy(float),
        standard_errors="limma",
    )
    mean = example.E.mean(axis=1)
    prior = squeeze_variances(
        fit.sigma2, fit.df_residual, covariate=mean if kind == "trend" else None, robust=kind == "robust"
    )
    tests = moderated_t(fit.estimate, fit.unscaled_sd, fit.df_residual, moderation=prior)
    table = example.table(f"limma_voom_{correlation}_{kind}_contrasts").set_index(["gene", "contrast"])
    genes = example.table(f"limma_voom_{correlation}_{kind}_genes").set_index("gene").loc[example.genes]

    def wide(column: str) -> Array:
        return table[column].unstack().loc[example.genes, example.contrasts.index].to_numpy()  # noqa: PD010

    if kind == "std":
        np.testing.assert_allclose(fit.estimate, wide("logFC"), atol=2e-8, rtol=0)
        np.testing.assert_allclose(fit.unscaled_sd, wide("stdev_unscaled"), rtol=1e-8)
    np.testing.assert_allclose(np.sqrt(fit.sigma2), genes["sigma"], rtol=1e-8)
    np.testing.assert_array_equal(fit.df_residual, genes["df_residual"])
    np.testing.assert_allclose(tests.df[:, 0], genes["df_total"], rtol=1e-8)
    np.testing.assert_allclose(prior.s2_post, genes["s2_post"], rtol=2e-8)
    np.testing.assert_allclose(tests.t, wide("t"), atol=1e-6, rtol=1e-8)
    np.testing.assert_allclose(np.log10(tests.p), np.log10(wide("p")), atol=1e-6, rtol=0)


class Small:
    """Groups of 1, 2, 3 and 5 observations, eight features, weights, some values missing."""

    def __init__(self, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.groups = np.repeat(np.arange(12), [1, 2, 2, 3, 3, 5, 1, 2, 2, 3, 2, 2])
        n = len(self.groups)
        self.groups = rng.permutation(self.groups)
        self.X = np.column_stack([np.ones(n), rng.normal(size=n), rng.integers(0, 2, n)]).astype(float)
        self.Y = 4 + rng.normal(size=(8, 12))[:, self.groups] + rng.normal(size=(8, n))
        self.W = rng.lognormal(0, 0.6, size=self.Y.shape)
        self.Y[1, 3] = self.Y[1, 7] = self.Y[5, 0] = np.nan
        self.W[6, 4] = 0.0


@pytest.mark.parametrize("weighted", [True, False])
def test_each_feature_against_dense_algebra(weighted: bool) -> None:
    """Optimum by bisection of the dense slope: atanh to 1e-8; fits at two correlations to 1e-11."""
    s = Small()
    W = s.W if weighted else None
    Y = s.Y if weighted else np.where(s.W == 0, np.nan, s.Y)
    found = duplicate_correlation(Y, s.X, s.groups, weights=W)
    contrasts = np.array([[0.0, 1.0, 0.0], [0.0, 0.5, -1.0]])
    for rho in (-0.15, 0.6):
        fit = fit_correlated(Y, s.X, s.groups, rho=rho, weights=W, contrasts=contrasts)
        for g in range(len(Y)):
            dense = Dense(Y[g], s.X, s.groups, None if W is None else W[g])
            estimate, sd, sigma2 = dense.fit(rho, contrasts)
            np.testing.assert_allclose(fit.estimate[g], estimate, rtol=1e-10, atol=1e-11)
            np.testing.assert_allclose(fit.unscaled_sd[g], sd, rtol=1e-11)
            assert fit.sigma2[g] == pytest.approx(sigma2, rel=1e-11)
            assert fit.df_residual[g] == dense.nu
    for g in range(len(Y)):
        dense = Dense(Y[g], s.X, s.groups, None if W is None else W[g])
        grid = np.linspace(-0.24, 0.99, 300)
        best = int(np.argmin([dense.criterion(r) for r in grid]))
        if 0 < best < len(grid) - 1:
            best_rho = optimize.brentq(dense.slope, grid[best - 1], grid[best + 1], xtol=1e-13)
            assert found.atanh_correlations[g] == pytest.approx(np.arctanh(best_rho), abs=1e-8)
        else:
            assert np.tanh(found.atanh_correlations[g]) == pytest.approx(grid[best], abs=1e-9)


def test_correlation_stops_at_the_bounds_of_limma() -> None:
    """Opposite pairs: -1 + .01; equal pairs: .99."""
    rng = np.random.default_rng(1)
    pairs, x = np.repeat(np.arange(20), 2), rng.normal(size=20)
    Y = np.stack([np.column_stack([x, -x]).ravel(), np.column_stack([x, x]).ravel()])
    Y += 1e-4 * rng.normal(size=Y.shape)
    found = duplicate_correlation(Y, np.ones((40, 1)), pairs).atanh_correlations
    np.testing.assert_allclose(np.tanh(found), [-0.99, 0.99], rtol=1e-12)


def test_known_correlation_is_found() -> None:
    """3,000 features, rho .4 on standardised errors, uneven groups: consensus within .01 (SE .003)."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(15), [1, 2, 3] * 5)
    W = rng.lognormal(0, 0.5, size=(3000, 30))
    errors = np.sqrt(0.4) * rng.normal(size=(3000, 15))[:, groups]
    errors += np.sqrt(0.6) * rng.normal(size=(3000, 30))
    X = np.column_stack([np.ones(30), rng.normal(size=30)])
    found = duplicate_correlation(7 + errors / np.sqrt(W), X, groups, weights=W)
    assert found.consensus == pytest.approx(0.4, abs=0.01)


def test_complete_pairs_give_the_paired_t_test() -> None:
    """Whatever rho: the contrast of complete pairs has the variance of the differences."""
    rng = np.random.default_rng(2)
    pairs = np.repeat(np.arange(9), 2)
    X = np.column_stack([np.ones(18), np.tile([0.0, 1.0], 9)])
    Y = rng.normal(size=(4, 18))
    difference = Y[:, 1::2] - Y[:, ::2]
    fit = fit_correlated(Y, X, pairs, rho=0.3, contrasts=[[0.0, 1.0]])
    np.testing.assert_allclose(fit.estimate[:, 0], difference.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(fit.unscaled_sd[:, 0], np.sqrt(2 * 0.7 / 9), rtol=1e-12)


def test_order_labels_units_and_company_do_not_matter() -> None:
    s = Small()
    base = duplicate_correlation(s.Y, s.X, s.groups, weights=s.W).atanh_correlations
    order = np.random.default_rng(0).permutation(len(s.groups))
    names = np.array([f"p{g:03d}" for g in s.groups])[order]
    other = duplicate_correlation(
        1e5 * s.Y[::-1][:, order] - 3e4, s.X[order], names, weights=7 * s.W[::-1][:, order]
    ).atanh_correlations
    np.testing.assert_allclose(other[::-1], base, atol=1e-8, rtol=0)
    alone = duplicate_correlation(s.Y[2:3], s.X, s.groups, weights=s.W[2:3])
    assert alone.atanh_correlations[0] == pytest.approx(base[2], abs=1e-12)
    assert alone.consensus == pytest.approx(np.tanh(base[2]), abs=1e-12)


def test_consensus_trims_both_ends() -> None:
    s = Small()
    found = duplicate_correlation(s.Y, s.X, s.groups, trim=0.15)
    z = np.sort(found.atanh_correlations)
    assert found.consensus == pytest.approx(np.tanh(z[1:-1].mean()), rel=1e-12)


def test_features_that_cannot_tell_are_missing() -> None:
    s = Small()
    Y = s.Y.copy()
    Y[0, 5:] = np.nan
    Y[2] = s.X @ [1.0, 2.0, 3.0]
    found = duplicate_correlation(Y, s.X, s.groups).atanh_correlations
    assert np.isnan(found[[0, 2]]).all()
    assert np.isfinite(np.delete(found, [0, 2])).all()


def test_aliased_columns_and_saturated_features() -> None:
    s = Small()
    X = np.column_stack([s.X, s.X[:, 0] - s.X[:, 2]])
    Y = s.Y.copy()
    Y[3, 3:] = np.nan
    contrasts = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    wide = fit_correlated(Y, X, s.groups, rho=0.2, weights=s.W, contrasts=contrasts)
    narrow = fit_correlated(Y, s.X, s.groups, rho=0.2, weights=s.W, contrasts=[[0.0, 1.0, 0.0]])
    np.testing.assert_allclose(wide.estimate[:, 0], narrow.estimate[:, 0], rtol=1e-10)
    np.testing.assert_allclose(wide.sigma2, narrow.sigma2, rtol=1e-10)
    assert np.isnan(wide.estimate[:, 1:2]).all()
    assert np.isnan(wide.unscaled_sd[:, 1:2]).all()
    assert np.isfinite(wide.estimate[4, 2])
    assert wide.df_residual[3] == 0
    assert np.isnan(wide.sigma2[3])


def test_standard_errors_of_limma_are_exact_without_weights() -> None:
    s = Small()
    Y = np.nan_to_num(s.Y, nan=4.0)
    contrasts = [[0.0, 1.0, -1.0], [1.0, 0.5, 0.5]]
    exact = fit_correlated(Y, s.X, s.groups, rho=0.4, contrasts=contrasts)
    limma = fit_correlated(Y, s.X, s.groups, rho=0.4, contrasts=contrasts, standard_errors="limma")
    np.testing.assert_allclose(limma.estimate, exact.estimate, rtol=1e-10)
    np.testing.assert_allclose(limma.unscaled_sd, exact.unscaled_sd, rtol=1e-12)


def test_refusals() -> None:
    s = Small()
    with pytest.raises(AssayError, match="E-MODEL-007"):
        duplicate_correlation(s.Y, s.X, s.groups, trim=0.5)
    with pytest.raises(AssayError, match="E-MODEL-007"):
        duplicate_correlation(s.Y, s.X, np.arange(len(s.groups)))
    encoded = np.eye(12)[s.groups]
    with pytest.raises(AssayError, match="E-MODEL-007"):
        duplicate_correlation(s.Y, encoded, s.groups)
    for rho in (-0.25, 1.0, np.nan):
        with pytest.raises(AssayError, match="E-MODEL-007"):
            fit_correlated(s.Y, s.X, s.groups, rho=rho)
    with pytest.raises(AssayError, match="E-MODEL-007"):
        fit_correlated(s.Y, s.X, s.groups, rho=0.1, standard_errors="robust")  # type: ignore[arg-type]
    with pytest.raises(AssayError, match="E-MODEL-001"):
        duplicate_correlation(s.Y[0], s.X, s.groups)
    with pytest.raises(FormulaError):
        duplicate_correlation(s.Y, s.X, {"a": s.groups, "b": s.groups})


def test_common_and_rare_patterns_of_observation_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Small()
    pooled = duplicate_correlation(s.Y, s.X, s.groups, weights=s.W).atanh_correlations
    fit = fit_correlated(s.Y, s.X, s.groups, rho=0.3, weights=s.W)
    monkeypatch.setattr("pdbiomarker.mixed.dupcor.COMMON", 1)
    apart = duplicate_correlation(s.Y, s.X, s.groups, weights=s.W).atanh_correlations
    np.testing.assert_allclose(apart, pooled, atol=1e-10, rtol=0)
    again = fit_correlated(s.Y, s.X, s.groups, rho=0.3, weights=s.W)
    np.testing.assert_allclose(again.estimate, fit.estimate, rtol=1e-12)
    np.testing.assert_allclose(again.unscaled_sd, fit.unscaled_sd, rtol=1e-12)
