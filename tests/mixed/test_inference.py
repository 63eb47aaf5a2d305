"""Standard errors, degrees of freedom and p: against a dense implementation, exact tests, error rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from pdbiomarker.mixed import fit
from pdbiomarker.mixed.inference import t_tail

METHODS = ["kenward-roger", "satterthwaite"]


def _unbalanced(seed: int, *, weighted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Six features, three visits with gaps, a participant-level and a biopsy-level covariate."""
    rng = np.random.default_rng(seed)
    q = int(rng.integers(5, 9))
    participant = np.repeat(np.arange(q), 3)
    visit = np.tile(np.arange(3), q)
    keep = (visit == 0) | (rng.random(3 * q) < 0.7)
    participant, visit = participant[keep], visit[keep]
    n = len(participant)
    X = np.column_stack(
        [np.ones(n), visit == 1, visit == 2, rng.normal(size=q)[participant], rng.normal(size=n)]
    ).astype(float)
    spread = np.array([0.0, 0.2, 0.5, 1.0, 2.0, 10.0])[:, None]
    Y = 3 + spread * rng.normal(size=(6, q))[:, participant] + rng.normal(size=(6, n))
    Y[rng.random(Y.shape) < 0.05] = np.nan
    weights = rng.lognormal(0, 0.8, size=Y.shape) if weighted else None
    return Y, X, participant, weights


@pytest.mark.parametrize("ddf", METHODS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dense_implementation(
    dense: Callable[..., Any], ddf: str, weighted: bool, negative: bool, seed: int
) -> None:
    """n x n matrices, the published algorithms, scipy's search: estimate, SE 1e-7, df 1e-6, loglik 1e-9."""
    Y, X, participant, weights = _unbalanced(seed, weighted=weighted)
    contrasts = np.vstack([np.eye(5), [0, -1, 1, 0, 0]])
    options = {"contrasts": contrasts, "ddf": ddf, "allow_negative_icc": negative}
    result = fit(Y, X, participant, weights=weights, **options)
    for g, y in enumerate(Y):
        if result.status[g] not in {"ok", "singular"} or (negative and result.status[g] == "singular"):
            continue
        best = dense(y, X, participant, weights=None if weights is None else weights[g], **options)
        assert result.loglik[g] == pytest.approx(best.loglik, abs=1e-9)
        np.testing.assert_allclose(result.theta[g, 0], best.theta, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(result.estimate[g], best.estimate, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(result.se[g], best.se, rtol=1e-7)
        np.testing.assert_allclose(result.df[g], best.df, rtol=1e-6)
        np.testing.assert_allclose(result.p[g], best.p, rtol=1e-5)


@pytest.mark.parametrize("ddf", METHODS)
@pytest.mark.parametrize("n", [2, 3, 6, 20])
def test_complete_pairs_are_the_paired_t_test(ddf: str, n: int) -> None:
    """At any intraclass correlation once it may be negative; scipy's paired t-test to 1e-8."""
    rng = np.random.default_rng(n)
    X = np.column_stack([np.ones(2 * n), np.tile([0.0, 1.0], n)])
    own, shared = rng.normal(size=(200, n, 2)), rng.normal(size=(200, n, 1))
    mix = np.linspace(-0.9, 3, 200)[:, None, None]
    # Negative: part of the participant's mean is taken off, so that the two biopsies of a pair repel.
    pairs = np.where(mix < 0, own + mix * own.mean(axis=2, keepdims=True), own + mix * shared)
    result = fit(pairs.reshape(200, -1), X, np.repeat(np.arange(n), 2), ddf=ddf, allow_negative_icc=True)
    exact = stats.ttest_rel(pairs[:, :, 1], pairs[:, :, 0], axis=1)
    assert (result.theta[:, 0] < 0).sum() > 30
    assert set(result.status) == {"ok"}
    np.testing.assert_allclose(result.t[:, 1], exact.statistic, rtol=1e-8)
    np.testing.assert_allclose(result.df[:, 1], n - 1, rtol=1e-7)
    np.testing.assert_allclose(result.p[:, 1], exact.pvalue, rtol=1e-7)
    np.testing.assert_allclose(result.estimate[:, 1], np.diff(pairs, axis=2)[..., 0].mean(axis=1), atol=1e-12)


def test_unpaired_participants_are_the_two_sample_t_test() -> None:
    """Nobody has both visits: nothing tells theta, but every variance is proportional to 1 + theta."""
    rng = np.random.default_rng(8)
    y = rng.normal(size=15)
    on = np.arange(15) % 2 == 1
    result = fit([y], np.column_stack([np.ones(15), on]), np.arange(15))
    exact = stats.ttest_ind(y[on], y[~on])
    assert result.status[0] == "singular"
    assert result.df[0, 1] == 13
    assert result.p[0, 1] == pytest.approx(exact.pvalue, rel=1e-12)


def test_residual_degrees_of_freedom() -> None:
    Y, X, participant, _ = _unbalanced(5, weighted=False)
    result = fit(Y, X, participant, ddf="residual")
    np.testing.assert_array_equal(result.df, np.repeat(result.n_obs[:, None] - 5, 5, axis=1))
    assert result.ddf == "residual"


@given(
    pairs=st.integers(3, 8),
    gaps=st.integers(0, 4),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_no_better_theta_exists(dense: Callable[..., Any], pairs: int, gaps: int, seed: int) -> None:
    """The criterion may have two minima: ours is the lower one of a search over 400 points."""
    rng = np.random.default_rng(seed)
    participant = np.repeat(np.arange(pairs), 2)
    keep = np.ones(2 * pairs, dtype=bool)
    keep[rng.permutation(2 * pairs)[: min(gaps, pairs - 1)]] = False
    X = np.column_stack([np.ones(2 * pairs), np.tile([0.0, 1.0], pairs)])[keep]
    y = (rng.standard_t(2, size=pairs)[participant] + rng.standard_t(2, size=2 * pairs))[keep]
    w = rng.lognormal(0, 1, size=keep.sum())
    result = fit([y], X, participant[keep], weights=[w])
    if np.isfinite(result.loglik[0]):
        assert result.loglik[0] >= dense(y, X, participant[keep], weights=w).loglik - 1e-9


@pytest.mark.parametrize(
    ("t", "df", "p"),
    [
        (4.0621277, 9, 0.0028328901267663099),
        (50, 40, 1.1117395583690507e-37),
        (500, 12.5, 2.9056582513633252e-28),
        (-1e-6, 3, 0.99999926489480617),
        (1e5, 60, 2.2677354768710288e-248),
        (0.7, 1.3, 0.58784527248433971),
        (-1e8, 2.2, 2.8804389232228212e-18),
    ],
)
def test_far_tail(t: float, df: float, p: float) -> None:
    """R's 2 * pt(-|t|, df), 17 digits; 1e-13 relative."""
    assert t_tail(np.array([t]), np.array([float(df)]))[0] == pytest.approx(p, rel=1e-13)


def test_all_roads_to_a_tail_are_one() -> None:
    """Where the algorithms take turns: against scipy's complement alone, 2e-13 relative; df up to 1e6."""
    rng = np.random.default_rng(1)
    df = 10 ** rng.uniform(-2, 6, 4000)
    t = np.abs(rng.normal(size=4000)) * 10 ** rng.uniform(-2, 1, 4000)
    t[:1000] = np.sqrt(0.01 * df[:1000]) * rng.uniform(0.999, 1.001, 1000)
    t[1000:2000] = np.sqrt(df[1000:2000]) * rng.uniform(0.999, 1.001, 1000)
    t[2000:2500], df[2000:2500] = rng.uniform(0, 30, 500), 1000 * rng.uniform(0.999, 1.001, 500)
    ratio = t**2 / df
    one = special.betaincc(0.5, 0.5 * df, ratio / (1 + ratio))
    told = (one > 1e-280) & (ratio < 1)
    np.testing.assert_allclose(t_tail(t, df)[told], one[told], rtol=2e-13)
    far = (ratio > 1) & (df < 50)
    np.testing.assert_allclose(t_tail(t, df)[far], 2 * stats.t.sf(t, df)[far], rtol=2e-13)


def test_no_p_is_zero() -> None:
    p = t_tail(np.array([1e300, 1e20, np.nan, 1.0]), np.array([500.0, 50.0, 3.0, np.nan]))
    assert p[0] > 0
    assert 0 < p[1] <= 1
    assert np.isnan(p[2:]).all()


@pytest.mark.parametrize(
    ("pairs", "icc", "ddf", "negative", "published"),
    [
        (6, 0.3, "satterthwaite", False, (0.056, 0.012)),
        (6, 0.3, "kenward-roger", False, (0.052, 0.0105)),
        (10, 0.0, "satterthwaite", False, (0.064, 0.014)),
        (10, 0.0, "kenward-roger", False, (0.058, 0.011)),
        (6, 0.3, "kenward-roger", True, (0.05, 0.01)),
        (10, 0.0, "kenward-roger", True, (0.05, 0.01)),
    ],
)
def test_type_one_error(
    pairs: int, icc: float, ddf: str, negative: bool, published: tuple[float, float]
) -> None:
    """Null data against the rates of an earlier run of 200,000 sets, within 3 Monte Carlo standard errors.

    With a negative intraclass correlation allowed, the rate is nominal: the test is the paired t-test.
    """
    sets = 40_000
    rng = np.random.default_rng(20 + pairs)
    participant = np.repeat(np.arange(pairs), 2)
    X = np.column_stack([np.ones(2 * pairs), np.tile([0.0, 1.0], pairs)])
    Y = np.sqrt(icc) * rng.normal(size=(sets, pairs))[:, participant]
    Y += np.sqrt(1 - icc) * rng.normal(size=(sets, 2 * pairs))
    result = fit(Y, X, participant, contrasts=[[0, 1]], ddf=ddf, allow_negative_icc=negative)
    assert np.isfinite(result.p).all()
    for alpha, rate in zip((0.05, 0.01), published, strict=True):
        error = np.sqrt(rate * (1 - rate) * (1 / sets + 1 / 200_000))
        rounding = 0.0005
        assert abs((result.p < alpha).mean() - rate) < 3 * error + rounding


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite", "residual"])
@pytest.mark.parametrize("negative", [False, True])
def test_no_degree_of_freedom_within_participants(ddf: str, negative: bool) -> None:
    """Two pairs and ten unpaired; visit and a covariate use up both changes, so nothing tells their variance.

    Without the covariate one degree of freedom is left: every feature has its test. With two covariates more,
    the change is told by the unpaired too: tested, but never with next to no degrees of freedom.
    """
    rng = np.random.default_rng(12)
    groups = np.concatenate([[0, 0, 1, 1], np.arange(2, 12)])
    visit = np.concatenate([[0.0, 1.0, 0.0, 1.0], np.repeat([0.0, 1.0], 5)])
    X = np.column_stack([np.ones(14), visit, rng.normal(size=(14, 3))])
    y = rng.normal(size=(200, 14)) + rng.normal(size=(200, 12))[:, groups] * rng.choice([0, 1, 3], (200, 1))
    change = {"contrasts": [[0, 1, 0]], "ddf": ddf, "allow_negative_icc": negative}
    result = fit(y, X[:, :3], groups, **change)
    assert set(result.status) <= {"not_estimable", "not_converged"}
    assert (result.status == "not_estimable").mean() > 0.9
    stands = result.status == "not_estimable"
    assert np.isfinite(result.estimate[stands]).all()
    for name in ("se", "df", "t", "p"):
        assert np.isnan(getattr(result, name)).all()
    assert np.isnan(result.joint([[0, 1, 0]]).p).all()
    plain = fit(y, X[:, :2], groups, **(change | {"contrasts": [[0, 1]]}))
    assert np.isfinite(plain.p[plain.status == "ok"]).all()
    assert (plain.status == "ok").any()
    more = fit(y, X, groups, ddf=ddf, allow_negative_icc=negative)
    tested = np.isfinite(more.p)
    assert (more.df[tested] >= 1e-3).all()
    assert np.isfinite(more.p[more.status == "ok"]).all()
    assert tested.any()


def test_degrees_of_freedom_within_participants_are_counted_for_each_pattern() -> None:
    """A missing biopsy takes the last one: a test for the complete feature, none for the other."""
    rng = np.random.default_rng(13)
    groups = np.concatenate([np.repeat(np.arange(3), 2), np.arange(3, 10)])
    visit = np.concatenate([np.tile([0.0, 1.0], 3), np.arange(7) % 2])
    X = np.column_stack([np.ones(13), visit, rng.normal(size=13)])
    y = np.tile(rng.normal(size=13) + rng.normal(size=10)[groups], (2, 1))
    y[1, 0] = np.nan
    result = fit(y, X, groups)
    assert np.isfinite(result.p[0, 1])
    assert np.isnan(result.p[1, 1:]).all()
    assert result.status[1] in {"singular", "not_estimable"}
    weights = rng.lognormal(0, 3, y.shape)
    assert np.isnan(fit(y, X, groups, weights=weights).p[1, 1:]).all()
