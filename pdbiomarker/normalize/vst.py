r"""Variance-stabilised counts, for pictures and distances between libraries (never for tests).

With size factors :math:`s_k`, a negative binomial count has variance :math:`\mu + \alpha\mu^2`. Gene by
gene :math:`\alpha` maximises the Cox-Reid adjusted likelihood at a mean common to all libraries (a *blind*
design); the trend :math:`\alpha(\mu) = a_0 + a_1/\mu` is a gamma regression of the genes' values on their
mean, refitted without genes outside 1e-4 to 15 times the curve until it stands still; and of a normalised
count q

.. math:: \mathrm{vst}(q) = \log_2 \frac{1 + a_1 + 2 a_0 q + 2\sqrt{a_0 q (1 + a_1 + a_0 q)}}{4 a_0}.

Where the parametric trend does not exist (a coefficient is not positive, or it does not settle), it is a
constant, the mean of the genes' dispersions (trimmed by .1 %), with :math:`a_1 = 0`; the result says which.

Agreement with DESeq2 1.38.3 (``varianceStabilizingTransformation``, blind): 1e-4 in log2 on the golden
matrices, 2e-4 of the trend's coefficients. The rest is DESeq2's line search, which stops at a gain of 1e-6 in
likelihood; here the optimum is found to 1e-8 in log dispersion.

Sources: Anders and Huber 2010, doi 10.1186/gb-2010-11-10-r106; Love et al. 2014,
doi 10.1186/s13059-014-0550-8; Cox and Reid 1987 (adjusted profile likelihood).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.normalize.size_factors import deseq_size_factors

__all__ = ["DispersionTrend", "Stabilised", "gene_dispersions", "trend_of_dispersion", "vst"]

#: Dispersions are sought in this range; the upper end grows with the number of libraries.
_LEAST: Final = 1e-8
_MOST: Final = 10.0
#: Genes above this dispersion tell the trend.
_TELLING: Final = 100 * _LEAST
#: Genes outside these multiples of the curve do not tell it.
_OUTSIDE: Final = (1e-4, 15.0)
#: A gain in log-likelihood below this share keeps the moment estimate.
_GAIN: Final = 1e-6
_LEAST_MEAN: Final = 0.5
_STEPS: Final = 60
_SETTLED: Final = 1e-8
_ROUNDS: Final = 100


class DispersionTrend(NamedTuple):
    """The curve a0 + a1 / mean, and how it was found."""

    a0: float
    a1: float
    kind: Literal["parametric", "mean"]


class Stabilised(NamedTuple):
    """Result of :func:`vst`: values (genes x libraries, log2 scale), size factors and trend."""

    values: FloatArray
    size_factors: FloatArray
    trend: DispersionTrend


def vst(counts: npt.ArrayLike, size_factors: npt.ArrayLike | None = None) -> Stabilised:
    """Variance-stabilised log2 counts, as DESeq2's with ``blind=TRUE``.

    Parameters
    ----------
    counts : array, genes x libraries
        Counts >= 0, complete; three libraries or more.
    size_factors : array, libraries, optional
        Default :func:`~pdbiomarker.normalize.size_factors.deseq_size_factors`.

    Returns
    -------
    Stabilised

    References
    ----------
    Anders S, Huber W. Genome Biology 2010;11:R106, doi 10.1186/gb-2010-11-10-r106.
    """
    y = np.asarray(counts, dtype=np.float64)
    factors = deseq_size_factors(y) if size_factors is None else np.asarray(size_factors, dtype=np.float64)
    seen = y.any(axis=1)
    scaled = y / factors
    dispersions = gene_dispersions(y[seen], factors)
    trend = trend_of_dispersion(scaled[seen].mean(axis=1), dispersions)
    a0, a1 = trend.a0, trend.a1
    root = np.sqrt(a0 * scaled * (1 + a1 + a0 * scaled))
    values = np.log2((1 + a1 + 2 * a0 * scaled + 2 * root) / (4 * a0))
    return Stabilised(values, factors, trend)


def gene_dispersions(counts: npt.ArrayLike, size_factors: npt.ArrayLike) -> FloatArray:
    """Dispersion of each gene at a mean common to all libraries.

    Parameters
    ----------
    counts : array, genes x libraries
        Every gene with a read.
    size_factors : array, libraries

    Returns
    -------
    array, genes
        From 1e-8 to max(10, number of libraries).
    """
    y = np.asarray(counts, dtype=np.float64)
    s = np.asarray(size_factors, dtype=np.float64)
    n = y.shape[1]
    scaled = y / s
    mean = scaled.mean(axis=1)
    most = max(_MOST, float(n))
    fitted = np.maximum(mean, 1.0)[:, None]
    by_residuals = np.maximum((((scaled - fitted) ** 2 - fitted) / fitted**2).sum(axis=1) / (n - 1), 0)
    variance = scaled.var(axis=1, ddof=1)
    by_moments = (variance - np.mean(1 / s) * mean) / mean**2
    start = np.clip(np.minimum(by_residuals, by_moments), _LEAST, most)
    mu = np.maximum(mean[:, None] * s, _LEAST_MEAN)
    found = _maximum(y, mu, np.log(start), (np.log(_LEAST / 10), np.log(most)))
    before, after = _likelihood(y, mu, np.log(start)), _likelihood(y, mu, found)
    kept = after < before + np.abs(before) * _GAIN
    return np.asarray(np.minimum(np.where(kept, start, np.exp(found)), most))


def _likelihood(y: FloatArray, mu: FloatArray, log_alpha: FloatArray) -> FloatArray:
    """Cox-Reid adjusted log-likelihood of each gene, terms without alpha left out."""
    alpha = np.exp(log_alpha)[:, None]
    size = 1 / alpha
    adjusted = -0.5 * np.log((1 / (1 / mu + alpha)).sum(axis=1))
    terms = special.gammaln(y + size) - special.gammaln(size)
    terms -= y * np.log(mu + size) + size * np.log1p(mu * alpha)
    return np.asarray(adjusted + terms.sum(axis=1))


def _slope(y: FloatArray, mu: FloatArray, log_alpha: FloatArray) -> FloatArray:
    """Derivative of :func:`_likelihood` by log alpha."""
    alpha = np.exp(log_alpha)[:, None]
    size = 1 / alpha
    working = 1 / (1 / mu + alpha)
    adjusted = 0.5 * (working**2).sum(axis=1) / working.sum(axis=1)
    terms = special.digamma(size) - special.digamma(y + size) + np.log1p(mu * alpha)
    terms += -mu * alpha / (1 + mu * alpha) + y * alpha / (1 + mu * alpha)
    return np.asarray((terms * size).sum(axis=1) + adjusted * alpha[:, 0])


def _maximum(y: FloatArray, mu: FloatArray, start: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """Maximum by log alpha: an interval round the start that holds a change of sign, halved."""
    low = np.full(start.shape, limits[0])
    high = np.full(start.shape, limits[1])
    rising = _slope(y, mu, start) > 0
    low, high = np.where(rising, start, low), np.where(rising, high, start)
    # The interval is first widened in steps of 2, so that a second, distant optimum is not taken.
    edge, step = start.copy(), 1.0
    open_ = np.ones(start.shape, dtype=bool)
    while open_.any() and step < limits[1] - limits[0]:
        edge[open_] = np.clip(start[open_] + np.where(rising[open_], step, -step), *limits)
        turned = open_.copy()
        turned[open_] = (_slope(y[open_], mu[open_], edge[open_]) > 0) != rising[open_]
        high = np.where(turned & rising, edge, high)
        low = np.where(turned & ~rising, edge, low)
        inside = open_ & ~turned
        low = np.where(inside & rising, edge, low)
        high = np.where(inside & ~rising, edge, high)
        open_ = inside
        step *= 2
    for _ in range(_STEPS):
        active = np.flatnonzero(high - low > _SETTLED)
        if active.size == 0:
            break
        middle = (low[active] + high[active]) / 2
        up = _slope(y[active], mu[active], middle) > 0
        low[active], high[active] = np.where(up, middle, low[active]), np.where(up, high[active], middle)
    return np.asarray((low + high) / 2)


def trend_of_dispersion(means: FloatArray, dispersions: FloatArray) -> DispersionTrend:
    """Gamma regression of dispersions on 1 / mean, with identity link.

    Parameters
    ----------
    means, dispersions : array, genes

    Returns
    -------
    DispersionTrend
    """
    telling = dispersions > _TELLING
    x, z = 1 / means[telling], dispersions[telling]
    a = np.array([0.1, 1.0])
    for _ in range(_ROUNDS if telling.sum() > 2 else 0):
        ratio = z / (a[0] + a[1] * x)
        inside = (ratio > _OUTSIDE[0]) & (ratio < _OUTSIDE[1])
        new = _gamma_fit(x[inside], z[inside], a)
        if new is None:
            break
        moved = float((np.log(new / a) ** 2).sum())
        a = new
        if moved < 1e-6:
            return DispersionTrend(float(a[0]), float(a[1]), "parametric")
    usable = dispersions[dispersions > 10 * _LEAST]
    mean = float(stats.trim_mean(usable, 0.001)) if usable.size else _TELLING
    return DispersionTrend(mean, 0.0, "mean")


def _gamma_fit(x: FloatArray, z: FloatArray, start: FloatArray) -> FloatArray | None:
    """Iteratively reweighted least squares of z on 1 and x, weights 1 / fitted^2; None where it fails."""
    a = start
    design = np.column_stack([np.ones(x.size), x])
    deviance = np.inf
    for _ in range(_ROUNDS):
        fitted = design @ a
        if (fitted <= 0).any():
            return None
        new = 2 * float((-np.log(z / fitted) + (z - fitted) / fitted).sum())
        if abs(new - deviance) < 1e-8 * (abs(new) + 0.1):
            return a if (a > 0).all() else None
        deviance = new
        weighted = design / fitted[:, None]
        a = np.linalg.lstsq(weighted, z / fitted, rcond=None)[0]
    return None
