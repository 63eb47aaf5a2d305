r"""Scaled F distributions fitted to residual variances.

Model: s2_g = s0_g F_g with F_g ~ F(d_g, d0): the variance of a feature is inverse chi-squared with d0 degrees
of freedom about s0_g, and s2_g is chi-squared about it with d_g. With psi the digamma function and

    b(d) = log(d / 2) - psi(d / 2),        e_g = log s2_g + b(d_g),

    E e_g = log s0_g + b(d0),              Var e_g = psi'(d_g / 2) + psi'(d0 / 2).

**Moments** (Smyth 2004). The mean of e_g, or a natural spline in a covariate, gives log s0 + b(d0). What the
variance of e_g has above the mean of psi'(d_g / 2) is psi'(d0 / 2); if nothing, d0 is infinite.

**Robust moments** (Phipson et al. 2016). The log variances are compared with a trimmed mean (or a lowess
trend), Winsorised at their lower 5 % and upper 10 % quantiles, and d0 is chosen such that log F(d, d0),
Winsorised likewise, has the same variance; it is never below d0 of plain moments. Where the d_g differ,
variances are first carried to the largest d by the distribution function of the plain fit. A feature whose
tail probability p is below its share r of features so far out is an outlier with probability 1 - p / r.
Its d0 is drawn towards that at which the most extreme variance would be the median of its distribution, and
d0 never falls as p grows.

**Likelihood** (for unequal d_g). The mean, or weighted local lines, of e_g with weights 1 / psi'(d_g / 2)
gives log s0 + b(d0); d0 >= 2 maximises the likelihood of the scaled F distributions. Robust: features whose
two-sided false discovery rate (Benjamini-Hochberg) is at most 0.3 are weighted with it, and d0 is fitted
again; outliers on the right get a smaller d0 as above, by the p of the first fit.

Sources: Smyth 2004, doi:10.2202/1544-6115.1027; Phipson, Lee, Majewski, Alexander and Smyth 2016,
doi:10.1214/16-AOAS920.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from .smooth import local_trend, lowess_trend, natural_spline_basis

__all__ = [
    "FDistribution",
    "Variances",
    "by_likelihood",
    "by_moments",
    "by_robust_moments",
    "inverse_trigamma",
]

Array = NDArray[np.float64]

#: Shares of the log variances that are Winsorised on the left and on the right.
WINSOR_LEFT, WINSOR_RIGHT = 0.05, 0.10
LOWESS_SPAN = 0.4
QUADRATURE_NODES = 128
#: Range of d0 by likelihood; what would exceed it is infinite.
LEAST_PRIOR, LARGEST_PRIOR = 2.0, 1e5
#: Robust likelihood: features with a false discovery rate up to this are outliers.
OUTLIER_RATE = 0.3
#: Below this a tail probability is too small for a logarithm of it.
TINY = 1e-280


class Variances(NamedTuple):
    """Positive variances (n,), their degrees of freedom (n,) and a covariate (n,) or None."""

    s2: Array
    df: Array
    covariate: Array | None


class FDistribution(NamedTuple):
    """A fit: s0 at the covariate values asked for, d0, and d0 of each feature (n,), smaller for outliers."""

    scale: Array
    prior_df: float
    each_df: Array


def by_moments(data: Variances, at: Array) -> FDistribution:
    """Fit by the moments of log s2.

    Parameters
    ----------
    data : Variances
        n >= 2 features.
    at : (m,) array
        Covariate values at which s0 is wanted; only its length counts without a covariate.
    """
    e = np.log(data.s2) + _bias(data.df)
    basis = None if data.covariate is None else _spline(data.covariate)
    if basis is None or data.covariate is None:
        location = np.full(len(at), e.mean())
        spread = float(e.var(ddof=1))
    else:
        design = natural_spline_basis(data.covariate, basis)
        coefficients, _, rank, _ = np.linalg.lstsq(design, e, rcond=None)
        spread = float(np.square(e - design @ coefficients).sum()) / (len(e) - int(rank))
        location = natural_spline_basis(at, basis) @ coefficients
    excess = spread - float(special.polygamma(1, 0.5 * data.df).mean())
    prior = 2.0 * inverse_trigamma(excess) if excess > 0 else np.inf
    scale = np.exp(location - _bias(prior))
    if np.isinf(prior) and basis is None:
        scale = np.full(len(at), data.s2.mean())
    return FDistribution(scale, prior, np.full(len(e), prior))


def by_robust_moments(data: Variances, at: Array) -> FDistribution:
    """Fit by Winsorised moments of log s2, with a smaller d0 for outliers; arguments as of `by_moments`."""
    own = np.zeros(len(data.s2)) if data.covariate is None else data.covariate
    plain = by_moments(data, own)
    if len(data.s2) < 3:
        return by_moments(data, at)
    df = float(data.df.max())
    z = np.log(_carried(data, plain, df))
    if data.covariate is None:
        cut = int(len(z) * WINSOR_RIGHT)
        level = np.sort(z)[cut : len(z) - cut].mean()
        trend, elsewhere = np.full(len(z), level), np.full(len(at), level)
    else:
        trend = lowess_trend(data.covariate, z, data.covariate, span=LOWESS_SPAN)
        elsewhere = lowess_trend(data.covariate, z, at, span=LOWESS_SPAN)
    low, high = np.quantile(z - trend, [WINSOR_LEFT, 1.0 - WINSOR_RIGHT])
    clipped = np.clip(z - trend, low, high)
    mean, spread = float(clipped.mean()), float(clipped.var(ddof=1))
    prior = _match_spread(df, spread, plain.prior_df)
    shift = mean - _winsorised_log_f(df, prior)[0]
    f = np.exp(z - trend - shift)
    return FDistribution(
        np.exp(elsewhere + shift), prior, _outlier_prior(f, np.full(len(f), df), prior, judge=prior)
    )


def by_likelihood(data: Variances, at: Array, *, robust: bool) -> FDistribution:
    """Fit by likelihood, for features with unequal degrees of freedom; arguments as of `by_moments`."""
    scale, own, prior = _likelihood_fit(data, at, np.ones(len(data.s2)))
    if not robust:
        return FDistribution(scale, prior, np.full(len(data.s2), prior))
    f = data.s2 / own
    tail = _upper_tail(f, data.df, prior)
    rate = np.asarray(stats.false_discovery_control(2.0 * np.minimum(tail, _lower_tail(f, data.df, prior))))
    weights = np.where(rate <= OUTLIER_RATE, rate, 1.0)
    if (weights == 1.0).all():
        return FDistribution(scale, prior, np.full(len(f), prior))
    scale, _, bulk = _likelihood_fit(data, at, weights)
    return FDistribution(scale, bulk, _outlier_prior(f, data.df, bulk, judge=prior))


def inverse_trigamma(value: float) -> float:
    """Return y with trigamma(y) = value > 0, by Newton's method on 1 / trigamma, which is convex.

    Examples
    --------
    >>> round(inverse_trigamma(float(special.polygamma(1, 2.5))), 12)
    2.5
    """
    if value > 1e7:
        return float(1.0 / np.sqrt(value))
    if value < 1e-6:
        return 1.0 / value
    y = 0.5 + 1.0 / value
    for _ in range(50):
        here = float(special.polygamma(1, y))
        step = here * (1.0 - here / value) / float(special.polygamma(2, y))
        y += step
        if abs(step) <= 1e-14 * y:
            break
    return y


def _bias(df: Array | float) -> Array:
    """b(d) = log(d / 2) - psi(d / 2); 0 for infinite d."""
    half = 0.5 * np.asarray(df, dtype=np.float64)
    finite = np.where(np.isinf(half), 1.0, half)
    return np.where(np.isinf(half), 0.0, np.log(finite) - special.digamma(finite))


def _spline(covariate: Array) -> Array | None:
    """Knots of the trend's natural spline; None where the features are too few or the covariate constant."""
    n = len(covariate)
    dimension = min(1 + (n >= 3) + (n >= 6) + (n >= 30), len(np.unique(covariate)))
    if dimension < 2:
        return None
    return np.asarray(np.quantile(covariate, np.linspace(0.0, 1.0, dimension)))


def _upper_tail(f: Array, df: Array, prior: float) -> Array:
    """P(F > f)."""
    p = special.chdtrc(df, df * f) if np.isinf(prior) else special.fdtrc(df, prior, f)
    return np.asarray(p, dtype=np.float64)


def _log_upper_tail(f: float, df: float, prior: float) -> float:
    """Logarithm of P(F > f) for finite d0, however small."""
    p = float(special.fdtrc(df, prior, f))
    if p > TINY:
        return float(np.log(p))
    # The tail is I_w(a, b), whose series in w has quickly falling terms so far out.
    a, b, w = 0.5 * prior, 0.5 * df, prior / (prior + df * f)
    leading = a * np.log(w) + b * np.log1p(-w) - np.log(a) - special.betaln(a, b)
    return float(leading + np.log(special.hyp2f1(a + b, 1.0, a + 1.0, w)))


def _lower_tail(f: Array, df: Array, prior: float) -> Array:
    """P(F < f)."""
    p = special.chdtr(df, df * f) if np.isinf(prior) else special.fdtr(df, prior, f)
    return np.asarray(p, dtype=np.float64)


def _carried(data: Variances, plain: FDistribution, df: float) -> Array:
    """Variances carried to `df` degrees of freedom by the distribution function of the plain fit."""
    fewer = data.df < df - 1e-14
    s2 = data.s2.copy()
    if not fewer.any():
        return s2
    own, scale, prior = data.df[fewer], plain.scale[fewer], plain.prior_df
    f = s2[fewer] / scale
    upper, lower = _upper_tail(f, own, prior), _lower_tail(f, own, prior)
    if np.isinf(prior):
        from_above, from_below = (
            special.chdtri(df, upper) / df,
            2.0 * special.gammaincinv(0.5 * df, lower) / df,
        )
    else:
        from_above, from_below = 1.0 / special.fdtri(prior, df, upper), special.fdtri(df, prior, lower)
    s2[fewer] = scale * np.where(upper < lower, from_above, from_below)
    return s2


def _winsorised_log_f(df: float, prior: float) -> tuple[float, float]:
    """Mean and variance of log F(df, prior), Winsorised at its own quantiles."""
    if np.isinf(prior):
        ends = (
            np.array([2.0 * special.gammaincinv(0.5 * df, WINSOR_LEFT), special.chdtri(df, WINSOR_RIGHT)])
            / df
        )
    else:
        ends = np.array([special.fdtri(df, prior, WINSOR_LEFT), special.fdtri(df, prior, 1.0 - WINSOR_RIGHT)])
    low, high = np.log(ends)
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    z = low + 0.5 * (high - low) * (nodes + 1.0)
    density = np.exp(_log_f_density(z, df, prior)) * weights * 0.5 * (high - low)
    mean = float(density @ z + WINSOR_LEFT * low + WINSOR_RIGHT * high)
    spread = density @ np.square(z - mean)
    spread += WINSOR_LEFT * (low - mean) ** 2 + WINSOR_RIGHT * (high - mean) ** 2
    return mean, float(spread)


def _log_f_density(z: Array, df: float, prior: float) -> Array:
    """Logarithm of the density of log F(df, prior)."""
    half = 0.5 * df
    if np.isinf(prior):
        return np.asarray(half * (np.log(half) + z - np.exp(z)) - special.gammaln(half))
    odds = z + np.log(df / prior)
    density = half * odds - (half + 0.5 * prior) * np.log1p(np.exp(odds)) - special.betaln(half, 0.5 * prior)
    return np.asarray(density)


def _match_spread(df: float, spread: float, least: float) -> float:
    """d0 >= least at which Winsorised log F has the variance `spread`."""
    if np.isinf(least) or spread <= _winsorised_log_f(df, np.inf)[1]:
        return float(np.inf)

    def lack(u: float) -> float:
        return float(np.log(spread / _winsorised_log_f(df, u / (1.0 - u) if u < 1.0 else np.inf)[1]))

    start = least / (1.0 + least)
    if lack(start) >= 0:
        return least
    u = optimize.brentq(lack, start, 1.0, xtol=1e-15, rtol=1e-14)
    return float(u / (1.0 - u))


def _outlier_prior(f: Array, df: Array, prior: float, *, judge: float) -> Array:
    """d0 of each feature, `prior` but smaller for outliers; `judge` is the d0 that tells their p."""
    tail = _upper_tail(f, df, judge)
    share = (len(f) - stats.rankdata(f) + 0.5) / len(f)
    chance = np.minimum(tail / share, 1.0)
    if not (chance < 1.0).any():
        return np.full(len(f), prior)
    if np.isinf(prior) or np.isinf(judge):
        # An infinite d0 cannot be drawn anywhere: outliers get a share of the pooled degrees of freedom.
        return _rising(np.where(chance < 1.0, chance * min(df.sum(), prior), prior), tail)
    worst = int(tail.argmin())
    half = np.log(0.5)
    extreme = half / _log_upper_tail(float(f[worst]), float(df[worst]), judge) * prior
    extreme *= half / _log_upper_tail(float(f[worst]), float(df[worst]), extreme)
    return _rising(chance * prior + (1.0 - chance) * extreme, tail)


def _rising(each: Array, tail: Array) -> Array:
    """Make d0 rise with the tail probability; the first ones share their smallest running mean."""
    order = np.argsort(tail, kind="stable")
    ordered = each[order]
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    lowest = int(means.argmin())
    ordered[: lowest + 1] = means[lowest]
    rising = np.empty_like(each)
    rising[order] = np.maximum.accumulate(ordered)
    return rising


def _likelihood_fit(data: Variances, at: Array, weights: Array) -> tuple[Array, Array, float]:
    """s0 at `at` and at the features, and d0, with weights of the features."""
    n = len(data.s2)
    e = np.log(data.s2) + _bias(data.df)
    information = weights / special.polygamma(1, 0.5 * data.df)
    if data.covariate is None or np.ptp(data.covariate) == 0:
        own = np.full(n, information @ e / information.sum())
        elsewhere = np.full(len(at), own[0])
    elif n < 4:
        centred = data.covariate - information @ data.covariate / information.sum()
        slope = information * centred @ e / (information * centred @ centred)
        middle = information @ e / information.sum()
        own = middle + slope * centred
        elsewhere = np.interp(at, np.sort(data.covariate), own[np.argsort(data.covariate)])
    else:
        span = min(0.3 + 0.7 * (500.0 / n) ** (1.0 / 3.0), 1.0)
        both = np.concatenate([data.covariate, at])
        own, elsewhere = np.split(local_trend(data.covariate, e, information, both, span=span), [n])
    prior = _likeliest_prior(data.s2 / np.exp(own), data.df, weights)
    return np.exp(elsewhere - _bias(prior)), np.exp(own - _bias(prior)), prior


def _likeliest_prior(ratio: Array, df: Array, weights: Array) -> float:
    """d0 >= 2 of the largest likelihood, given s2 / exp(log s0 + b(d0))."""

    def pieces(log_prior: float) -> tuple[Array, Array, float]:
        prior = np.exp(log_prior)
        return df * ratio * np.exp(_bias(prior)) / prior, df + prior, prior

    def loss(log_prior: float) -> float:
        v, total, prior = pieces(log_prior)
        terms = special.gammaln(0.5 * total) - special.gammaln(0.5 * prior)
        return float(-(weights * (terms + 0.5 * df * np.log(v) - 0.5 * total * np.log1p(v))).sum())

    def slope(log_prior: float) -> float:
        v, total, prior = pieces(log_prior)
        direct = special.digamma(0.5 * total) - special.digamma(0.5 * prior) - np.log1p(v)
        drift = special.polygamma(1, 0.5 * prior) * (total * (v / (1.0 + v)) - df)
        return float(-(weights * (direct + 0.5 * drift)).sum())

    grid = np.linspace(np.log(LEAST_PRIOR), np.log(LARGEST_PRIOR), 24)
    best = int(np.argmin([loss(g) for g in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if slope(low) >= 0:
        return LEAST_PRIOR
    if slope(high) <= 0:
        return float(np.inf)
    return float(np.exp(optimize.brentq(slope, low, high, xtol=1e-14, rtol=1e-13)))
