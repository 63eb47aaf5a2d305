r"""Log-likelihoods of one observation, with the derivatives that the Laplace approximation needs.

With the linear predictor eta and the dispersion on the log scale, d:

- **poisson**: y ~ Poisson(mu), mu = exp(eta).
- **nbinom2**: theta = exp(d), variance mu + mu^2 / theta. With r = mu / (theta + mu), s = 1 - r,
  l_eta = y - (y + theta) r; every further derivative by eta follows from r' = r s, s' = -r s, and those by d
  from dr/dd = -r s.
- **binomial**: k of n, p = 1 / (1 + exp(-eta)).
- **betabinomial**: phi = exp(d), p ~ Beta(p phi, (1 - p) phi), variance n p (1 - p) (phi + n) / (phi + 1).
  With a = p phi, b = (1 - p) phi and A(a) = log Gamma(k + a) - log Gamma(a), B(b) likewise for n - k, the
  chain rule gives the derivatives in A', A'', A''' and B', B'', B'''.

These are the definitions of glmmTMB. Differences of log-gamma functions are found without cancellation (see
`gamma_differences`), so the limits theta -> infinity and phi -> infinity are approached smoothly.

Sources: Brooks and others 2017, doi:10.32614/RJ-2017-066 (parameters of the families); Abramowitz and Stegun
1964, 6.1.41, 6.3.18, 6.4.12 (asymptotic series). The derivatives were worked out for this module.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["FAMILIES", "Derivatives", "Family", "FamilyName", "gamma_differences"]

Array = NDArray[np.float64]
FamilyName = Literal["poisson", "nbinom2", "binomial", "betabinomial"]

#: Beyond these predictors a mean or a probability no longer changes in double precision.
LOG_MEAN_LIMIT, LOGIT_LIMIT = 200.0, 60.0
#: The asymptotic series are used from here on; below, the argument is raised by whole steps.
SERIES_FROM = 10
#: B_2k / (2k (2k - 1)), B_2k / 2k, B_2k and (2k + 1) B_2k: series of log Gamma and its derivatives.
BERNOULLI: Final = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
LOG_GAMMA: Final = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1))
DIGAMMA: Final = tuple(b / (2 * k) for k, b in enumerate(BERNOULLI, 1))
TRIGAMMA: Final = BERNOULLI
TETRAGAMMA: Final = tuple(b * (2 * k + 1) for k, b in enumerate(BERNOULLI, 1))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """log-likelihood l of each observation and its derivatives by eta (e) and by the log dispersion (d).

    All (..., n); those by d are None where the family has no dispersion.
    """

    value: Array
    e: Array
    ee: Array
    eee: Array
    d: Array | None = None
    ed: Array | None = None
    eed: Array | None = None


class Family(Protocol):
    """A distribution of counts: `size` is the number of trials, or None for counts without one."""

    name: FamilyName
    #: The family it tends to when the dispersion goes to infinity, or None.
    limit: FamilyName | None

    def inner(self, eta: Array, d: Array, y: Array, size: Array | None, /) -> tuple[Array, Array, Array]:
        """Give l up to what does not depend on eta, and its first two derivatives by eta."""
        ...

    def full(self, eta: Array, d: Array, y: Array, size: Array | None, /) -> Derivatives:
        """Give l and all derivatives."""
        ...

    def draw(
        self, rng: np.random.Generator, eta: Array, d: Array, size: Array | None, /
    ) -> NDArray[np.int64]:
        """New observations; an infinite d means the limit."""
        ...


def _series(coefficients: tuple[float, ...], inverse_square: Array) -> Array:
    total = np.full_like(inverse_square, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= inverse_square
        total += c
    return total


def gamma_differences(x: Array, k: Array, *, order: int) -> tuple[Array, ...]:
    """Find log Gamma(x + k) - log Gamma(x) and its derivatives by x, for k >= 0 and x > 0.

    Parameters
    ----------
    x, k : (...) arrays
        Arguments that broadcast together.
    order : {1, 2, 3}
        How many derivatives.

    Returns
    -------
    tuple of arrays
        The difference and its derivatives. Relative errors are some units in the last place, also for x far
        above k, where subtracting two log-gamma functions would leave nothing.
    """
    x, k = np.broadcast_arrays(x, k)
    low, high = np.array(x, dtype=np.float64), x + k
    ratio = np.ones_like(low)
    lost = [np.zeros_like(low) for _ in range(order)]
    for _ in range(SERIES_FROM):
        ratio *= high / low
        a, b = 1.0 / low, 1.0 / high
        # 1/low - 1/high and its kin, written so that close arguments do not cancel.
        gap = k * a * b
        lost[0] += gap
        if order > 1:
            lost[1] -= gap * (a + b)
        if order > 2:
            lost[2] += 2.0 * gap * (a * a + a * b + b * b)
        low += 1.0
        high = high + 1.0
    a, b = 1.0 / low, 1.0 / high
    gap = k * a * b
    aa, bb = a * a, b * b
    log_ratio = np.log1p(k * a)
    value = (low - 0.5) * log_ratio + k * np.log(high) - k - np.log(ratio)
    value += b * _series(LOG_GAMMA, bb) - a * _series(LOG_GAMMA, aa)
    first = log_ratio + 0.5 * gap - bb * _series(DIGAMMA, bb) + aa * _series(DIGAMMA, aa) + lost[0]
    found = [value, first]
    if order > 1:
        second = -gap - 0.5 * gap * (a + b)
        second += b * bb * _series(TRIGAMMA, bb) - a * aa * _series(TRIGAMMA, aa)
        found.append(second + lost[1])
    if order > 2:
        third = gap * (a + b) + gap * (aa + a * b + bb)
        third -= bb * bb * _series(TETRAGAMMA, bb) - aa * aa * _series(TETRAGAMMA, aa)
        found.append(third + lost[2])
    return tuple(found)


class Poisson:
    """Counts whose variance is the mean."""

    name: FamilyName = "poisson"
    limit: FamilyName | None = None

    def inner(self, eta: Array, _d: Array, y: Array, _size: Array | None, /) -> tuple[Array, Array, Array]:
        """See `Family`."""
        mu = np.exp(np.clip(eta, -LOG_MEAN_LIMIT, LOG_MEAN_LIMIT))
        return y * eta - mu, y - mu, -mu

    def full(self, eta: Array, d: Array, y: Array, size: Array | None, /) -> Derivatives:
        """See `Family`."""
        value, e, ee = self.inner(eta, d, y, size)
        return Derivatives(value - special.gammaln(y + 1.0), e, ee, ee)

    def draw(
        self, rng: np.random.Generator, eta: Array, _d: Array, _size: Array | None, /
    ) -> NDArray[np.int64]:
        """See `Family`."""
        return rng.poisson(np.exp(np.clip(eta, None, 40.0)))


class NegativeBinomial:
    """Counts with variance mu + mu^2 / theta."""

    name: FamilyName = "nbinom2"
    limit: FamilyName | None = "poisson"

    def inner(self, eta: Array, d: Array, y: Array, _size: Array | None, /) -> tuple[Array, Array, Array]:
        """See `Family`."""
        theta = np.exp(d)
        odds = np.exp(np.clip(eta, -LOG_MEAN_LIMIT, LOG_MEAN_LIMIT) - d)
        r = odds / (1.0 + odds)
        total = y + theta
        expected = total * r
        return y * eta - total * np.log1p(odds), y - expected, -expected / (1.0 + odds)

    def full(self, eta: Array, d: Array, y: Array, _size: Array | None, /) -> Derivatives:
        """See `Family`."""
        theta = np.exp(d)
        odds = np.exp(np.clip(eta, -LOG_MEAN_LIMIT, LOG_MEAN_LIMIT) - d)
        s = 1.0 / (1.0 + odds)
        r = odds * s
        total, rs = y + theta, r * s
        gamma, digamma = gamma_differences(theta, y, order=1)
        log_s = -np.log1p(odds)
        value = gamma - special.gammaln(y + 1.0) + y * (eta - d) + total * log_s
        by_d = theta * (digamma + log_s) + theta * r - y * s
        return Derivatives(
            value=value,
            e=y - total * r,
            ee=-total * rs,
            eee=-total * rs * (s - r),
            d=by_d,
            ed=y * rs - theta * r * r,
            eed=rs * (y * (s - r) - 2.0 * theta * r),
        )

    def draw(
        self, rng: np.random.Generator, eta: Array, d: Array, _size: Array | None, /
    ) -> NDArray[np.int64]:
        """See `Family`."""
        mu = np.exp(np.clip(eta, None, 40.0))
        with np.errstate(over="ignore"):
            theta = np.broadcast_to(np.exp(d), mu.shape)
        finite = np.isfinite(theta)
        rate = np.where(finite, rng.gamma(np.where(finite, theta, 1.0)) / np.where(finite, theta, 1.0), 1.0)
        drawn: NDArray[np.int64] = rng.poisson(np.minimum(mu * rate, 1e17))
        return drawn


class Binomial:
    """k of n, all with the same probability."""

    name: FamilyName = "binomial"
    limit: FamilyName | None = None

    def inner(self, eta: Array, _d: Array, y: Array, size: Array | None, /) -> tuple[Array, Array, Array]:
        """See `Family`."""
        n = _trials(size)
        p = special.expit(eta)
        # log(1 + exp(eta)) without overflow.
        value = y * eta - n * (np.maximum(eta, 0.0) + np.log1p(np.exp(-np.abs(eta))))
        return value, y - n * p, -n * p * (1.0 - p)

    def full(self, eta: Array, d: Array, y: Array, size: Array | None, /) -> Derivatives:
        """See `Family`."""
        value, e, ee = self.inner(eta, d, y, size)
        return Derivatives(
            value + _log_choose(_trials(size), y), e, ee, ee * (1.0 - 2.0 * special.expit(eta))
        )

    def draw(
        self, rng: np.random.Generator, eta: Array, _d: Array, size: Array | None, /
    ) -> NDArray[np.int64]:
        """See `Family`."""
        return rng.binomial(_trials(size).astype(np.int64), special.expit(eta))


class BetaBinomial:
    """k of n with a probability that varies from biopsy to biopsy with precision phi."""

    name: FamilyName = "betabinomial"
    limit: FamilyName | None = "binomial"

    def inner(self, eta: Array, d: Array, y: Array, size: Array | None, /) -> tuple[Array, Array, Array]:
        """See `Family`."""
        n, phi = _trials(size), np.exp(d)
        p, q = _probability(eta)
        a0, a1, a2 = gamma_differences(p * phi, y, order=2)
        b0, b1, b2 = gamma_differences(q * phi, n - y, order=2)
        slope = phi * p * q
        return a0 + b0, slope * (a1 - b1), slope * ((q - p) * (a1 - b1) + slope * (a2 + b2))

    def full(self, eta: Array, d: Array, y: Array, size: Array | None, /) -> Derivatives:
        """See `Family`."""
        n, phi = _trials(size), np.exp(d)
        p, q = _probability(eta)
        a0, a1, a2, a3 = gamma_differences(p * phi, y, order=3)
        b0, b1, b2, b3 = gamma_differences(q * phi, n - y, order=3)
        c0, c1 = gamma_differences(phi, n, order=1)
        pq, skew = p * q, q - p
        slope = phi * pq
        # First and second derivatives of A + B along p: with da/dp = phi, db/dp = -phi.
        one, two, three = a1 - b1, a2 + b2, a3 - b3
        mixed_two, mixed_three = p * a2 - q * b2, p * a3 + q * b3
        return Derivatives(
            value=a0 + b0 - c0 + _log_choose(n, y),
            e=slope * one,
            ee=slope * (skew * one + slope * two),
            eee=slope * ((1.0 - 6.0 * pq) * one + slope * (3.0 * skew * two + slope * three)),
            d=phi * (p * a1 + q * b1 - c1),
            ed=slope * (one + phi * mixed_two),
            eed=slope * (skew * one + phi * skew * mixed_two + slope * (2.0 * two + phi * mixed_three)),
        )

    def draw(
        self, rng: np.random.Generator, eta: Array, d: Array, size: Array | None, /
    ) -> NDArray[np.int64]:
        """See `Family`."""
        p, q = _probability(eta)
        with np.errstate(over="ignore"):
            phi = np.broadcast_to(np.exp(d), p.shape)
        finite = np.isfinite(phi)
        safe = np.where(finite, phi, 1.0)
        drawn = rng.beta(np.maximum(p * safe, 1e-12), np.maximum(q * safe, 1e-12))
        return rng.binomial(_trials(size).astype(np.int64), np.where(finite, drawn, p))


def _trials(size: Array | None) -> Array:
    return np.ones(1) if size is None else size


def _probability(eta: Array) -> tuple[Array, Array]:
    """Find p and 1 - p, neither of them ever 0."""
    bounded = np.clip(eta, -LOGIT_LIMIT, LOGIT_LIMIT)
    odds = np.exp(-np.abs(bounded))
    small, large = odds / (1.0 + odds), 1.0 / (1.0 + odds)
    negative = bounded < 0
    return np.where(negative, small, large), np.where(negative, large, small)


def _log_choose(n: Array, k: Array) -> Array:
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))


FAMILIES: Final[dict[str, Family]] = {
    family.name: family for family in (Poisson(), NegativeBinomial(), Binomial(), BetaBinomial())
}
