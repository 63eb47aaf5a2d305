"""Censored values: the uncensored limit, integration by scipy, recovery, a real assay with ULOQ."""

from __future__ import annotations

import doctest
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import integrate, stats

import pdbiomarker.mixed.tobit
from pdbiomarker.errors import AssayError
from pdbiomarker.mixed.tobit import TobitFit, fit_tobit

Array = NDArray[np.float64]
NUMBERS = ("estimate", "se", "df", "t", "p", "sigma", "residual", "loglik")


def paired(pairs: int) -> tuple[NDArray[np.int64], Array]:
    visit = np.repeat([0.0, 1.0], pairs)
    return np.tile(np.arange(pairs), 2), np.column_stack([np.ones(2 * pairs), visit])


def draw(pairs: int, sets: int, seed: int, *, sd: tuple[float, float] = (1.0, 0.5)) -> Array:
    """Participant SD and residual SD; level 5, change .7."""
    rng = np.random.default_rng(seed)
    groups, X = paired(pairs)
    u = rng.normal(0, sd[0], (sets, pairs))[:, groups]
    return np.asarray(5 + 0.7 * X[:, 1] + u + rng.normal(0, sd[1], (sets, 2 * pairs)))


def limit(values: Array, lower: float, upper: float) -> tuple[Array, Array]:
    """What the assay reports, and on which side it is censored."""
    side = np.where(values < lower, -1, np.where(values > upper, 1, 0))
    return np.clip(values, lower, upper), side


def _same(one: TobitFit, other: TobitFit, rtol: float = 1e-6) -> None:
    for name in NUMBERS:
        np.testing.assert_allclose(
            getattr(other, name), getattr(one, name), rtol=rtol, atol=1e-8, err_msg=name
        )
    np.testing.assert_array_equal(one.status, other.status)


# --- without censoring ---------------------------------------------------------------------------


def test_complete_pairs_without_censoring_have_the_closed_form() -> None:
    """ML of compound symmetry: change = mean difference, SE = sd_ML(differences) / sqrt(N); 1e-9."""
    groups, X = paired(9)
    y = draw(9, 4, 1)
    fit = fit_tobit(y, X, groups, censored=np.zeros(18))
    difference = y[:, 9:] - y[:, :9]
    np.testing.assert_allclose(fit.estimate[:, 1], difference.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(fit.se[:, 1], difference.std(axis=1) / 3, rtol=1e-6)
    np.testing.assert_allclose(fit.residual**2, difference.var(axis=1) / 2, rtol=1e-6)
    total = (y[:, 9:] + y[:, :9]).var(axis=1) / 4
    np.testing.assert_allclose(fit.sigma**2, total - difference.var(axis=1) / 4, rtol=1e-6)
    np.testing.assert_array_equal(fit.df[:, 1], 8)
    np.testing.assert_allclose(fit.p[:, 1], 2 * stats.t.sf(np.abs(fit.t[:, 1]), 8), rtol=1e-9)


def test_missing_visits_without_censoring_agree_with_statsmodels() -> None:
    """statsmodels MixedLM, reml=False: estimates, SE, variances, log-likelihood to 1e-6."""
    groups, X = paired(20)
    y = draw(20, 1, 2)[0]
    keep = np.ones(40, dtype=bool)
    keep[[3, 21, 25, 33]] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = fit_tobit(np.where(keep, y, np.nan), X, groups, censored=np.zeros(40))
        peer = sm.MixedLM(y[keep], X[keep], groups[keep]).fit(reml=False, method="bfgs", gtol=1e-12)
    np.testing.assert_allclose(ours.estimate[0], peer.fe_params, rtol=1e-6)
    np.testing.assert_allclose(ours.se[0], peer.bse_fe, rtol=1e-6)
    np.testing.assert_allclose(ours.sigma[0] ** 2, peer.cov_re[0, 0], rtol=1e-6)
    np.testing.assert_allclose(ours.residual[0] ** 2, peer.scale, rtol=1e-6)
    assert ours.loglik[0] == pytest.approx(peer.llf, abs=1e-9)
    assert ours.n_pairs[0, 1] == 16


# --- against integration by scipy ----------------------------------------------------------------


def _exact(x: Array, y: Array, side: Array, X: Array, groups: Array) -> float:
    """Minus log-likelihood by the trapezoidal rule on 8,001 points a participant (exact to rounding)."""
    sigma, residual = np.exp(x[-2:])
    u = np.linspace(-9, 9, 8001)
    total = 0.0
    for label in np.unique(groups):
        rows = groups == label
        z = (y[rows] - X[rows] @ x[:-2] - sigma * u[:, None]) / residual
        observed = stats.norm.logpdf(z) - np.log(residual)
        parts = np.where(side[rows] == 0, observed, stats.norm.logcdf(-side[rows] * z))
        joint = parts.sum(axis=1) + stats.norm.logpdf(u)
        total += np.log(integrate.trapezoid(np.exp(joint - joint.max()), u)) + joint.max()
    return -total


def test_maximum_of_the_likelihood_integrated_by_scipy() -> None:
    """Seven pairs, values below and above the limits: log-likelihood 1e-6, SE 1e-3 (differences)."""
    groups, X = paired(7)
    y, side = limit(draw(7, 1, 3)[0], 4.2, 6.3)
    assert (side == -1).any()
    assert (side == 1).sum() >= 2
    fit = fit_tobit(y, X, groups, censored=side)
    x = np.array([*fit.coefficients[0], np.log(fit.sigma[0]), np.log(fit.residual[0])])
    at = _exact(x, y, side, X, groups)
    assert -at == pytest.approx(fit.loglik[0], abs=1e-6)
    size, h = len(x), 1e-3
    steps = h * np.eye(size)
    ups = np.array([_exact(x + step, y, side, X, groups) for step in steps])
    downs = np.array([_exact(x - step, y, side, X, groups) for step in steps])
    slopes, bends = (ups - downs) / (2 * h), ups + downs - 2 * at
    hessian = np.diag(bends) / h**2
    for i in range(size):
        for j in range(i):
            both = _exact(x + steps[i] + steps[j], y, side, X, groups)
            none = _exact(x - steps[i] - steps[j], y, side, X, groups)
            hessian[i, j] = hessian[j, i] = (both + none - 2 * at - bends[i] - bends[j]) / (2 * h**2)
    covariance = np.linalg.inv(hessian)
    # At a maximum: the step that Newton would still take is nothing beside the standard errors.
    assert np.abs(covariance @ slopes / np.sqrt(np.diag(covariance))).max() < 1e-4
    np.testing.assert_allclose(fit.se[0], np.sqrt(np.diag(covariance))[:2], rtol=1e-3)


@pytest.mark.parametrize(("nodes", "error"), [(None, 2e-6), (40, 1e-10)])
@pytest.mark.parametrize("case", range(4))
def test_kept_optima_by_quadrature(golden: Path, case: int, nodes: int | None, error: float) -> None:
    """`golden/tobit/make_tobit.py`, exact to rounding: estimates, log SD and log-likelihood.

    Standard errors to 1e-5 at the default number of nodes, and to 2e-9 with 40.
    """
    folder = golden / "tobit"
    data = pd.read_csv(folder / "tobit_data.csv").query("case == @case")
    expected = pd.read_csv(folder / "tobit_results.csv").query("case == @case").set_index("parameter")
    visits = np.arange(1, data.visit.max() + 1)
    X = np.column_stack([np.ones(len(data)), data.visit.to_numpy()[:, None] == visits]).astype(float)
    options = {} if nodes is None else {"nodes": nodes}
    fit = fit_tobit([data.y], X, data.participant, censored=data.side.to_numpy(), **options)
    found = [*fit.estimate[0], np.log(fit.sigma[0]), np.log(fit.residual[0]), fit.loglik[0]]
    np.testing.assert_allclose(found, [*expected.value, expected.loglik.iloc[0]], rtol=0, atol=error)
    se = expected.se.to_numpy()[: X.shape[1]]
    np.testing.assert_allclose(fit.se[0], se, rtol=1e-5 if nodes is None else 2e-9)


@pytest.mark.parametrize(
    ("residual", "nodes", "error"),
    [(0.2, 15, 1e-4), (0.2, 20, 1e-5), (0.2, 30, 1e-7), (0.06, 15, 5e-4), (0.06, 20, 2e-4), (0.06, 30, 5e-6)],
)
def test_the_hardest_integrals_converge_with_the_nodes(residual: float, nodes: int, error: float) -> None:
    """Log-likelihood at the fit; two of six have all three visits above the limit, s = .13 and .04 s_u."""
    groups = np.tile(np.arange(6), 3)
    X = np.ones((18, 1))
    rng = np.random.default_rng(4)
    y, side = limit(5 + rng.normal(0, 1.2, 6)[groups] + rng.normal(0, residual, 18), -np.inf, 5.6)
    assert (side.reshape(3, 6) == 1).all(axis=0).any()
    fit = fit_tobit(y, X, groups, censored=side, nodes=nodes)
    x = np.array([*fit.coefficients[0], np.log(fit.sigma[0]), np.log(fit.residual[0])])
    assert abs(fit.loglik[0] + _exact(x, y, side, X, groups)) < error


def test_recovery_where_substitution_is_biased() -> None:
    """30 % above ULOQ, change .7, 100 sets of 30 pairs: Tobit unbiased, the limit put in shrinks it."""
    groups, X = paired(30)
    truth = draw(30, 100, 5)
    y, side = limit(truth, -np.inf, float(np.quantile(truth, 0.7)))
    fit = fit_tobit(y, X, groups, censored=side)
    assert np.isin(fit.status, ["ok", "singular"]).all()
    assert (fit.n_right / 60).mean() == pytest.approx(0.3, abs=0.02)
    error = fit.estimate[:, 1] - 0.7
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(100)
    assert np.median(fit.sigma) == pytest.approx(1.0, abs=0.08)
    assert np.median(fit.residual) == pytest.approx(0.5, abs=0.03)
    covered = np.abs(error) < stats.t.ppf(0.975, fit.df[:, 1]) * fit.se[:, 1]
    assert 0.89 < covered.mean() < 0.99
    substituted = (y[:, 30:] - y[:, :30]).mean(axis=1)
    assert substituted.mean() < 0.52


def test_type_one_error_at_ten_pairs() -> None:
    """250 null sets, 20 % censored, t with pairs - 1: ML standard errors leave the rate at .06 to .07."""
    groups, X = paired(10)
    truth = draw(10, 250, 6) - 0.7 * X[:, 1]
    y, side = limit(truth, -np.inf, float(np.quantile(truth, 0.8)))
    fit = fit_tobit(y, X, groups, censored=side)
    told = np.isfinite(fit.p[:, 1])
    assert told.mean() > 0.97
    assert np.mean(fit.p[told, 1] < 0.05) < 0.07 + 2 * np.sqrt(0.07 * 0.93 / 250)


# --- what must not change a result ---------------------------------------------------------------


def test_order_sign_scale_and_company() -> None:
    groups, X = paired(12)
    y, side = limit(draw(12, 3, 7), 4.0, 6.2)
    y[1, 4] = np.nan
    plain = fit_tobit(y, X, groups, censored=side)
    order = np.random.default_rng(1).permutation(24)
    _same(plain, fit_tobit(y[:, order], X[order], groups[order], censored=side[:, order]))
    _same(plain, fit_tobit(y, X, {"participant": [f"p{g}" for g in groups]}, censored=side))
    mirror = fit_tobit(-y, X, groups, censored=-side)
    np.testing.assert_allclose(mirror.estimate, -plain.estimate, rtol=1e-6)
    np.testing.assert_array_equal(mirror.n_left, plain.n_right)
    moved = fit_tobit(1000 + 50 * y, X, groups, censored=side)
    np.testing.assert_allclose(moved.estimate[:, 1], 50 * plain.estimate[:, 1], rtol=1e-6)
    np.testing.assert_allclose(moved.sigma, 50 * plain.sigma, rtol=1e-6)
    n_exact = 24 - np.isnan(y).sum(axis=1) - plain.n_left - plain.n_right
    np.testing.assert_allclose(moved.loglik, plain.loglik - n_exact * np.log(50), atol=1e-7)
    alone = fit_tobit(y[1], X, groups, censored=side[1])
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(alone, name)[0], getattr(plain, name)[1], rtol=1e-6, atol=1e-8)


def test_a_limit_far_away_is_no_limit() -> None:
    """A value known to be at least -1e3 says nothing: the same as missing."""
    groups, X = paired(10)
    y, side = draw(10, 1, 8), np.zeros((1, 20))
    missing = y.copy()
    missing[0, 3] = np.nan
    y[0, 3], side[0, 3] = -1e3, 1
    far = fit_tobit(y, X, groups, censored=side)
    plain = fit_tobit(missing, X, groups, censored=np.zeros(20))
    for name in ("estimate", "se", "sigma", "residual", "loglik"):
        np.testing.assert_allclose(getattr(far, name), getattr(plain, name), rtol=1e-5, err_msg=name)


# --- edges ---------------------------------------------------------------------------------------


def test_statuses() -> None:
    groups, X = paired(6)
    y = np.full((7, 12), np.nan)
    y[0] = 3.0
    y[1, :2] = 3.0, 4.0
    y[2] = y[3] = y[4] = draw(6, 1, 9)[0]
    y[5] = np.tile([1.0, 2.0, 1.5, 2.5, 0.5, 3.0], 2) * np.repeat([1.0, -1.0], 6)
    y[6, [0, 6]] = 1.0, 2.0
    side = np.zeros((7, 12))
    side[2] = 1
    side[3, 6:] = 1
    fit = fit_tobit(y, X, groups, censored=side)
    assert fit.status[[0, 2, 5, 6]].tolist() == ["constant", "not_estimable", "singular", "too_few"]
    # Everything after treatment is above the limit: the change is at least something, not estimable.
    np.testing.assert_array_equal(fit.estimable[3], [True, False])
    assert np.isnan(fit.p[3, 1])
    assert fit.status[4] == "ok"
    assert fit.sigma[5] == 0
    # What is missing takes no part: a constant stays one, far from 0 too.
    y[0, 3] = np.nan
    assert fit_tobit(y[:1] + 1e3, X, groups, censored=side[:1]).status[0] == "constant"
    assert fit_tobit(y[:1], X, groups, censored=side[:1]).status[0] == "constant"
    np.testing.assert_array_equal(fit.n_right, [0, 0, 12, 6, 0, 0, 0])
    # A pair of which nothing is observed uncensored carries no comparison.
    side[4, [0, 6]] = 1
    assert fit_tobit(y[4], X, groups, censored=side[4]).n_pairs[0, 1] == 5
    assert fit_tobit(y[4], X, groups, censored=side[4], n_pairs=6).df[0, 1] == 5
    assert fit_tobit(np.empty((0, 12)), X, groups, censored=np.zeros(12)).estimate.shape == (0, 2)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"censored": np.full(8, 2)}, "E-MODEL-021"),
        ({"censored": np.full(8, np.nan)}, "E-MODEL-021"),
        ({"censored": np.zeros(5)}, "E-MODEL-001"),
        ({"y": np.full(8, np.inf)}, "E-MODEL-002"),
        ({"nodes": 14}, "E-MODEL-005"),
        ({"groups": {"participant": np.arange(8), "biopsy": np.arange(8)}}, "E-MODEL-005"),
    ],
)
def test_bad_input_is_refused_by_name(changes: dict[str, Any], code: str) -> None:
    groups, X = paired(4)
    parts = {"y": np.arange(8.0), "groups": groups, "censored": np.zeros(8)} | changes
    with pytest.raises(AssayError) as caught:
        fit_tobit(parts.pop("y"), X, parts.pop("groups"), **parts)
    assert code in {problem.code for problem in caught.value.problems}


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.data
def test_soluble_pdl1_above_uloq(shared_data: Callable[[str], Path]) -> None:
    """CheckMate 009 and 038 (Mahoney 2022, doi:10.1136/jitc-2021-003527): 33 of 455 values at ULOQ.

    log2 sPD-L1 rises by .128 at day 29 and .102 at day 43 or 63. With ULOQ taken for the value the rises are
    .121 and .083: the limit hides a fifth of the later one, because those who have the most rise beyond it;
    the level and the spread between participants are too small as well (SD 1.13 instead of 1.23).
    """
    data = pd.read_csv(shared_data("spdl1_longitudinal/spdl1_long.csv"))
    data = data[data["sPDL1"].notna()]
    visit = data["Timepoint"].to_numpy()
    X = np.column_stack([np.ones(len(data)), visit == "Post1", visit == "Post2"]).astype(float)
    above = data["ULOQflag"].astype(int).to_numpy()
    y, who = np.log2(data["sPDL1"].to_numpy()), data["USUBJID"].to_numpy()
    fit = fit_tobit(y, X, who, censored=above)
    assert (fit.n_obs[0], fit.n_right[0], fit.n_groups[0], fit.status[0]) == (455, 33, 169, "ok")
    taken = fit_tobit(y, X, who, censored=np.zeros(len(data)))
    np.testing.assert_allclose(fit.estimate[0, 1:], [0.1284, 0.1023], atol=2e-4)
    np.testing.assert_allclose(taken.estimate[0, 1:], [0.1208, 0.0835], atol=2e-4)
    np.testing.assert_allclose([fit.sigma[0], taken.sigma[0]], [1.230, 1.135], atol=2e-3)
    assert fit.df[0, 1] == fit.n_pairs[0, 1] - 1
    finer = fit_tobit(y, X, who, censored=above, nodes=60)
    np.testing.assert_allclose(finer.estimate[0, 1:], fit.estimate[0, 1:], atol=1e-5)


def test_the_examples_of_the_documentation() -> None:
    assert doctest.testmod(pdbiomarker.mixed.tobit).failed == 0
