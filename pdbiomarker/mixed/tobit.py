r"""Mixed model for values censored by the limits of an assay, by adaptive quadrature.

y* = x'b + s_u u[participant] + s e,   u, e ~ N(0, 1). Where y* lies beyond a limit (LLOQ, ULOQ) only that is
known, not y*. With z = (y - eta) / s, an observation adds to the log-likelihood, given u,

    observed              -z^2 / 2 - log s - log(2 pi) / 2,
    left-censored at y     log Phi(z),
    right-censored at y    log Phi(-z),

and a participant's likelihood is the integral over u of exp(h), h = sum l - u^2 / 2 - log(2 pi) / 2, which is
concave with h'' <= -1. Its mode u^ is found by Newton's method, and on either side the distance at which h
has fallen by 36 (at most sqrt(72)); each side has its own Gauss-Legendre rule of K nodes. The gradient is the
posterior mean of that of the complete log-likelihood (Fisher's identity), by the same nodes.

Why not Gauss-Hermite nodes round the mode: of a participant with every value censored only one side is
limited by the data, the other by the prior. With two of six participants so and s / s_u = .13, 41 of them
left an error of 3e-3 in the log-likelihood and other numbers found no maximum; K = 15, 20 and 30 here leave
4e-5, 5e-6 and 1e-8, at s / s_u = .04 2e-4, 9e-5 and 2e-6 (the tests hold these). Ask for more below that.

Estimates are maximum likelihood, standard errors come from the observed information; the variances have the
usual small-sample bias of maximum likelihood (n - 1 against n), which t with pairs - 1 degrees of freedom
only partly makes up for: six uncensored complete pairs have SE sqrt(5/6) of the paired t-test's.

Sources: Tobin 1958, doi:10.2307/1907382; Hughes 1999, doi:10.1111/j.0006-341X.1999.00625.x (mixed models with
censored responses); Pinheiro and Bates 1995, doi:10.1080/10618600.1995.10474663 (adaptive quadrature).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pdbiomarker.errors import AssayError, Problems

from .basis import Basis, contrast_coordinates, orthonormal_basis
from .glmm.information import contrast_tests, invert_information
from .glmm.inputs import Checked, check_arrays, places, shaped
from .glmm.newton import minimise
from .glmm.pairs import Pairs, count_pairs

__all__ = ["TobitFit", "fit_tobit"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

FEWEST_NODES = 15
#: Features x observations x nodes x parameters of one batch.
BATCH = 100_000
INNER_ITERATIONS = 60
INNER_STEP = 1e-4
#: Starts, in units of the residual spread: s_u and log s.
STARTS = ((0.8, -0.4), (0.2, 0.0))
#: Ranges of s_u and log s in that unit.
LARGEST_DEVIATION, LOG_RESIDUAL = 50.0, (-14.0, 4.0)
#: A standard deviation below this share of the residual spread is zero.
ZERO_DEVIATION = 1e-4
#: What differs by less than this share of the largest value is rounding.
ROUNDING = 1e-13
#: h falls by this much within the limits of integration, and by it at the latest after so many prior SD.
FALL = 36.0
FARTHEST = float(np.sqrt(2.0 * FALL))
#: Halvings (on a log scale) of the interval in which the limit of integration lies.
LIMIT_STEPS = 6
HALF_LOG_TAU = 0.5 * float(np.log(2.0 * np.pi))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TobitFit:
    """Fits of F features with k contrasts and p coefficients.

    Attributes
    ----------
    estimate, se, df, t, p : (F, k) arrays
        Each contrast with its standard error, degrees of freedom (pairs - 1), t and two-sided p; NaN where
        the data do not tell it.
    estimable : (F, k) array of bool
        False where the design does not determine the contrast, or everything at a visit is censored on the
        same side.
    coefficients : (F, p) array
        Coefficients of X; NaN where one is not estimable by itself.
    sigma, residual : (F,) arrays
        Standard deviations of the participant intercept and of the rest.
    loglik : (F,) array
        Log-likelihood (ML).
    status : (F,) array of str
        ``ok``; ``singular``: the participant variance is 0, estimates stand; ``not_estimable``: no contrast
        is, or nothing is observed uncensored; ``too_few``: no more observations than coefficients, or one
        participant; ``constant``: nothing varies around the fit; ``not_converged``.
    n_obs, n_groups, n_left, n_right : (F,) arrays of int
        Observations used, participants, and the censored among the observations.
    n_pairs : (F, k) array of int
        Participants within whom the contrast's columns vary and of whom a value is observed uncensored.
    nodes : int
        Quadrature nodes on each side of the mode.
    """

    estimate: Array
    se: Array
    df: Array
    t: Array
    p: Array
    estimable: Flags
    coefficients: Array
    sigma: Array
    residual: Array
    loglik: Array
    status: NDArray[np.str_]
    n_obs: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    n_left: NDArray[np.int64]
    n_right: NDArray[np.int64]
    n_pairs: NDArray[np.int64]
    nodes: int


def fit_tobit(
    y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    censored: ArrayLike,
    contrasts: ArrayLike | None = None,
    n_pairs: int | None = None,
    nodes: int = 30,
) -> TobitFit:
    """Fit y* = X b + u[participant] + e where some values are only known to lie beyond a limit.

    Parameters
    ----------
    y : (F, n) or (n,) array
        Values, usually logs; the limit where censored; NaN = missing.
    X : (n, p) array
        Design matrix. Aliased columns are allowed.
    groups : (n,) array of labels, or mapping of one term's name to them
        Participant of each observation.
    censored : (n,) or (F, n) array of -1, 0, 1
        -1: the true value is at most y (below LLOQ); 0: y was observed; 1: it is at least y (above ULOQ).
    contrasts : (k, p) or (p,) array, optional
        Default: each coefficient.
    n_pairs : int, optional
        Pairs, when the design does not tell them.
    nodes : int
        Quadrature nodes on each side of the mode, at least 15.

    Returns
    -------
    TobitFit
        One row for each feature, in order; a feature that cannot be fitted has a status and NaN.

    Raises
    ------
    AssayError
        Shapes that do not fit, infinite values, missing labels, other censoring indicators, too few nodes.

    Examples
    --------
    >>> import numpy as np
    >>> before = [3.1, 4.0, 2.7, 5.2, 3.9, 4.4]
    >>> after = [4.0, 5.1, 3.9, 6.0, 5.3, 6.0]                       # ULOQ 6.0
    >>> X = np.column_stack([np.ones(12), np.repeat([0.0, 1.0], 6)])
    >>> above = np.array([0] * 9 + [1, 0, 1])
    >>> fit = fit_tobit(before + after, X, np.tile(np.arange(6), 2), censored=above)
    >>> [float(x[0, 1].round(3)) for x in (fit.estimate, fit.se, fit.df)]
    [1.261, 0.125, 5.0]
    """
    problems = Problems()
    checked = check_arrays(y, X, groups, contrasts=contrasts, problems=problems)
    sides = shaped(censored, "censored", checked.y.shape, problems)
    if sides is not None:
        sides = np.broadcast_to(sides, checked.y.shape)
        bad = ~np.isin(sides, (-1.0, 0.0, 1.0)) & ~np.isnan(checked.y)
        fault = ("E-MODEL-021", "This is no censoring indicator.", "-1 at most y, 0 observed, 1 at least y")
        places(bad, sides, "censored", fault, problems)
    if nodes < FEWEST_NODES or checked.biopsies is not None:
        problems.add(
            "E-MODEL-005",
            "The quadrature has too few nodes, or a second grouping term is given.",
            column="nodes" if checked.biopsies is None else "groups",
            value=nodes,
            remedy=f"use at least {FEWEST_NODES} nodes and one term, the participant",
        )
    problems.raise_if_any(AssayError)
    if sides is None:
        raise AssayError(problems)
    return _fit(checked, sides, n_pairs, nodes)


@dataclasses.dataclass(slots=True, eq=False)
class _Quadrature:
    """Minus the log-likelihood of M runs; an `Objective` with parameters g (p), s_u, log s.

    Attributes
    ----------
    y, side : (M, n) arrays
        Values, and -1, 0, 1.
    seen : (M, n) array of 0 and 1
    design : (M or 1, n, p) array
    starts, participant_of : arrays of int
        First observation of each participant; participant of each observation.
    rule : (nodes, log weights) on (0, 1), for each side of the mode
    """

    y: Array
    side: Array
    seen: Array
    design: Array
    starts: Indices
    participant_of: Indices
    rule: tuple[Array, Array]

    def take(self, rows: Indices) -> _Quadrature:
        """Those runs."""
        design = self.design if len(self.design) == 1 else self.design[rows]
        return dataclasses.replace(
            self, y=self.y[rows], side=self.side[rows], seen=self.seen[rows], design=design
        )

    def evaluate(self, parameters: Array) -> tuple[Array, Array]:
        """See `Objective`."""
        p = self.design.shape[2]
        fixed = np.matmul(self.design, parameters[..., :p, None])[..., 0]
        s_u, d = parameters[..., p, None], parameters[..., p + 1, None]
        mode, top, curvature = self._mode(fixed, s_u, d)
        ends = self._ends(fixed, (s_u, d), (mode, top), curvature)
        shape = (-1,) + (1,) * mode.ndim
        where, log_weights = (x.reshape(shape) for x in self.rule)
        u = np.concatenate([mode - ends[0] * where, mode + ends[1] * where])
        log_width = np.concatenate([np.log(ends[:1]) + log_weights, np.log(ends[1:]) + log_weights])
        value, e, _, by_d = self._pieces(fixed + s_u * self._spread(u), d)
        parts = self._sum(value) - 0.5 * u * u + log_width
        peak = parts.max(axis=0)
        share = np.exp(parts - peak)
        total = share.sum(axis=0)
        loglik = np.log(total) + peak - HALF_LOG_TAU
        share /= total
        wide = self._spread(share)
        mean_e = (wide * e).sum(axis=0)
        by_u = (share * u * self._sum(e)).sum(axis=(0, -1))
        last = (wide * by_d).sum(axis=(0, -1))
        by_g = np.matmul(mean_e[..., None, :], self.design)[..., 0, :]
        return -loglik.sum(axis=-1), -np.concatenate([by_g, by_u[..., None], last[..., None]], axis=-1)

    def _ends(
        self, fixed: Array, scales: tuple[Array, Array], summit: tuple[Array, Array], curvature: Array
    ) -> Array:
        """Distances from the mode, (2, ..., participants), below and above, at which h has fallen enough."""
        (s_u, d), (mode, top) = scales, summit
        sides = np.array([-1.0, 1.0]).reshape(2, *(1,) * mode.ndim)
        outer = np.full((2, *mode.shape), FARTHEST)
        inner = np.broadcast_to(FARTHEST / np.sqrt(curvature), outer.shape)
        for _ in range(LIMIT_STEPS):
            middle = np.sqrt(inner * outer)
            u = mode + sides * middle
            h = self._sum(self._log_terms(fixed + s_u * self._spread(u), d)[0]) - 0.5 * u * u
            enough = top - h >= FALL
            outer, inner = np.where(enough, middle, outer), np.where(enough, inner, middle)
        return outer

    def _sum(self, values: Array) -> Array:
        return np.asarray(np.add.reduceat(values, self.starts, axis=-1))

    def _spread(self, values: Array) -> Array:
        return values[..., self.participant_of]

    def _pieces(self, eta: Array, d: Array) -> tuple[Array, Array, Array, Array]:
        """Log-likelihood of each observation, its derivatives by eta (twice) and by log s."""
        value, z, w = self._log_terms(eta, d)
        precision = np.exp(-d)
        exact = self.side == 0
        mills = np.exp(-0.5 * w * w - HALF_LOG_TAU - np.where(exact, 0.0, value))
        e = np.where(exact, z, self.side * mills) * precision
        ee = -np.where(exact, 1.0, mills * (w + mills)) * precision * precision
        by_d = np.where(exact, z * z - 1.0, -w * mills)
        return value, e * self.seen, ee * self.seen, by_d * self.seen

    def _log_terms(self, eta: Array, d: Array) -> tuple[Array, Array, Array]:
        """Log-likelihood of each observation; z; and w, of which a censored one is log Phi(w)."""
        z = (self.y - eta) * np.exp(-d)
        w = -self.side * z
        exact = self.side == 0
        value = np.where(exact, -0.5 * z * z - d - HALF_LOG_TAU, special.log_ndtr(w))
        return value * self.seen, z, w

    def _mode(self, fixed: Array, s_u: Array, d: Array) -> tuple[Array, Array, Array]:
        """Mode of each participant, h there, and the largest curvature h can have anywhere."""
        u = np.zeros((*fixed.shape[:-1], len(self.starts)))
        keep, best, step = u, np.full(u.shape, -np.inf), np.zeros_like(u)
        for _ in range(INNER_ITERATIONS):
            value, e, ee, _ = self._pieces(fixed + s_u * self._spread(u), d)
            h = self._sum(value) - 0.5 * u * u
            better = h >= best - 1e-11 * (1.0 + np.abs(h))
            step = np.where(better, (s_u * self._sum(e) - u) / (1.0 - s_u * s_u * self._sum(ee)), 0.5 * step)
            keep, best = np.where(better, u, keep), np.where(better, h, best)
            u = keep + step
            if not np.abs(step).max(initial=0.0) > INNER_STEP:
                break
        count = self._sum(np.broadcast_to(self.seen, fixed.shape))
        return keep, best, 1.0 + count * np.square(s_u * np.exp(-d))


def _fit(checked: Checked, sides: Array, n_pairs: int | None, nodes: int) -> TobitFit:
    order = np.argsort(checked.participants, kind="stable")
    y, X, side = checked.y[:, order], checked.X[order], sides[:, order]
    participants = checked.participants[order]
    observed = ~np.isnan(y)
    side = np.where(observed, side, 0.0)
    k = len(checked.contrasts)
    result = _empty(len(y), k, X.shape[1], nodes)
    result.n_left[:], result.n_right[:] = (side < 0).sum(axis=1), (side > 0).sum(axis=1)
    if not y.size:
        return result
    starts = np.flatnonzero(np.diff(participants, prepend=-1))
    participant_of = np.cumsum(np.diff(participants, prepend=-1) != 0) - 1
    basis = orthonormal_basis(X, observed)
    everything = np.concatenate([checked.contrasts, np.eye(X.shape[1])])
    coordinates, estimable = contrast_coordinates(basis, everything)
    exact = observed & (side == 0)
    informative = observed & np.logical_or.reduceat(exact, starts, axis=1)[:, participant_of]
    pairs = count_pairs(X, informative, participants, checked.contrasts, basis.kept)

    result.n_obs[:] = observed.sum(axis=1)
    result.n_groups[:] = np.logical_or.reduceat(observed, starts, axis=1).sum(axis=1)
    result.n_pairs[:] = pairs.pairs if n_pairs is None else n_pairs
    result.estimable[:] = estimable[:, :k]
    values = np.where(observed, y, 0.0)
    start, scale, flat = _standardise(values, basis, result.n_obs)
    told = result.estimable.any(axis=1) & exact.any(axis=1)
    enough = (result.n_obs > basis.kept.sum(axis=1)) & (result.n_groups > 1)
    result.status[:] = np.select([~enough, ~told, flat], ["too_few", "not_estimable", "constant"], "ok")
    live = np.flatnonzero(result.status == "ok")
    points, weights = leggauss(nodes)
    block = max(1, BATCH // (nodes * y.shape[1] * (X.shape[1] + 2)))
    for first in range(0, len(live), block):
        rows = live[first : first + block]
        root = np.sqrt(result.n_obs[rows])
        rest = values[rows] - np.matmul(basis.columns[rows], start[rows, :, None])[..., 0]
        objective = _Quadrature(
            y=rest / scale[rows, None],
            side=side[rows],
            seen=observed[rows].astype(np.float64),
            design=basis.columns[rows] * root[:, None, None],
            starts=starts,
            participant_of=participant_of,
            rule=(0.5 + 0.5 * points, np.log(0.5 * weights)),
        )
        df = _df(pairs, n_pairs)[rows]
        frame = _Frame(start[rows], scale[rows], root, coordinates[rows], estimable[rows], df)
        _maximise(result, rows, objective, frame)
    return result


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """How the standardised fit of the live features goes back to what was asked."""

    start: Array
    scale: Array
    root: Array
    coordinates: Array
    estimable: Flags
    df: Array


def _df(pairs: Pairs, n_pairs: int | None) -> Array:
    return pairs.df if n_pairs is None else np.full_like(pairs.df, max(n_pairs - 1, 0))


def _standardise(values: Array, basis: Basis, n_obs: NDArray[np.int64]) -> tuple[Array, Array, Flags]:
    """Least-squares coefficients, the spread around them, and whether that is rounding only."""
    start = np.zeros((len(values), basis.columns.shape[2]))
    rest = values
    for _ in range(2):
        share = np.matmul(rest[:, None, :], basis.columns)[:, 0]
        rest = rest - np.matmul(basis.columns, share[..., None])[..., 0]
        start += share
    spread = np.sqrt(np.square(rest).sum(axis=1) / np.maximum(n_obs, 1))
    flat = spread <= ROUNDING * np.abs(values).max(axis=1, initial=0.0)
    return start, np.where(flat, 1.0, spread), flat


def _maximise(result: TobitFit, live: Indices, objective: _Quadrature, frame: _Frame) -> None:
    """Fit the standardised values from each start, keep the better end, and write it."""
    p = objective.design.shape[2]
    k = result.estimate.shape[1]
    lower = np.concatenate([np.full(p, -np.inf), [-LARGEST_DEVIATION, LOG_RESIDUAL[0]]])
    upper = np.concatenate([np.full(p, np.inf), [LARGEST_DEVIATION, LOG_RESIDUAL[1]]])
    free = np.ones((len(live), p + 2), dtype=bool)
    free[:, :p] = (objective.design != 0).any(axis=1)
    ends = []
    for s_u, d in STARTS:
        begin = np.zeros((len(live), p + 2))
        begin[:, p:] = s_u, d
        ends.append(minimise(objective, begin, free=free, lower=lower, upper=upper, curvature=False))
    second = ends[1].converged & (~ends[0].converged | (ends[1].value < ends[0].value))
    begin = np.where(second[:, None], ends[1].parameters, ends[0].parameters)
    optimum = minimise(objective, begin, free=free, lower=lower, upper=upper)

    information = invert_information(optimum.hessian, p)
    found = optimum.converged & information.at_minimum & ~optimum.at_bound.any(axis=1)
    coordinates = frame.coordinates * frame.root[:, None, None]
    df = np.concatenate([frame.df, np.zeros((len(live), coordinates.shape[1] - k))], axis=1)
    g = optimum.parameters[:, :p] + frame.start / (frame.scale * frame.root)[:, None]
    tested = contrast_tests(g, information, coordinates, frame.estimable & found[:, None], df)
    size = frame.scale[:, None]
    result.estimate[live], result.coefficients[live] = (
        tested.estimate[:, :k] * size,
        tested.estimate[:, k:] * size,
    )
    result.se[live] = tested.se[:, :k] * size
    result.df[live], result.t[live], result.p[live] = tested.df[:, :k], tested.t[:, :k], tested.p[:, :k]
    result.estimable[live] &= tested.determined[:, :k]
    deviation = np.abs(optimum.parameters[:, p])
    deviation = np.where(deviation < ZERO_DEVIATION, 0.0, deviation)
    exact = ((objective.side == 0) & (objective.seen > 0)).sum(axis=1)
    result.sigma[live] = np.where(found, deviation * frame.scale, np.nan)
    result.residual[live] = np.where(found, np.exp(optimum.parameters[:, p + 1]) * frame.scale, np.nan)
    result.loglik[live] = np.where(found, -optimum.value - exact * np.log(frame.scale), np.nan)
    none = ~result.estimable[live].any(axis=1)
    result.status[live] = np.select(
        [~found, none, deviation == 0], ["not_converged", "not_estimable", "singular"], "ok"
    )


def _empty(features: int, k: int, p: int, nodes: int) -> TobitFit:
    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    def count(*shape: int) -> NDArray[np.int64]:
        return np.zeros(shape, dtype=np.int64)

    return TobitFit(
        estimate=unknown(features, k),
        se=unknown(features, k),
        df=unknown(features, k),
        t=unknown(features, k),
        p=unknown(features, k),
        estimable=np.zeros((features, k), dtype=bool),
        coefficients=unknown(features, p),
        sigma=unknown(features),
        residual=unknown(features),
        loglik=unknown(features),
        status=np.full(features, "too_few", dtype="<U13"),
        n_obs=count(features),
        n_groups=count(features),
        n_left=count(features),
        n_right=count(features),
        n_pairs=count(features, k),
        nodes=nodes,
    )
