"""`fit`: the road from arrays to estimates, block by block of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .basis import Basis, contrast_coordinates, orthonormal_basis, unit_coefficients
from .inference import DdfMethod, infer, t_tail
from .inputs import Inputs, check_inputs
from .reml import GroupedDesign, solve

__all__ = ["MixedFit", "fit"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: Doubles that the largest array of one block of features may hold.
BLOCK_DOUBLES = 600_000
#: What differs by less than this many units in the last place of the largest response is rounding.
ROUNDING = 8 * np.finfo(np.float64).eps


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MixedFit:
    """Fits of G features with k contrasts, p coefficients and one grouping term.

    Attributes
    ----------
    estimate, se, df, t, p : (G, k) arrays
        Each contrast with its standard error, degrees of freedom, t and two-sided p; NaN where the data do
        not tell it.
    estimable : (G, k) array of bool
        Whether the feature's observations determine the contrast.
    coefficients : (G, p) array
        Coefficients of X; NaN where one is not estimable by itself (an aliased column).
    sigma2 : (G,) array
        Residual variance at weight 1.
    theta : (G, 1) array
        Variance of the groups over the residual variance (lme4's theta is its square root).
    loglik : (G,) array
        REML log-likelihood, as lme4's logLik of a REML fit.
    status : (G,) array of str
        ``ok``; ``singular``: theta lies on the bound of its range, or the data do not tell it;
        ``not_estimable``: no contrast is; ``too_few``: no residual degree of freedom, or one group only;
        ``constant``: nothing varies around the fit, so estimates stand without a test; ``not_converged``: no
        maximum was found (also where the sums of all pairs are equal and theta may be negative).
    n_obs, n_groups : (G,) arrays of int
        Observations used, and groups among them.
    terms : tuple of str
        Names of the grouping terms, the columns of theta.
    ddf : {"kenward-roger", "satterthwaite", "residual"}
        How se and df were found.
    """

    estimate: Array
    se: Array
    df: Array
    t: Array
    p: Array
    estimable: Flags
    coefficients: Array
    sigma2: Array
    theta: Array
    loglik: Array
    status: NDArray[np.str_]
    n_obs: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    terms: tuple[str, ...]
    ddf: DdfMethod


def fit(
    Y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    weights: ArrayLike | None = None,
    contrasts: ArrayLike | None = None,
    ddf: str = "kenward-roger",
    allow_negative_icc: bool = False,
) -> MixedFit:
    """Fit y = X b + u[group] + e to every feature by REML, and test contrasts of b.

    Parameters
    ----------
    Y : (G, n) array
        Features x observations; NaN = missing, for that feature only.
    X : (n, p) array
        Design matrix shared by the features. Aliased columns are allowed: contrasts that need them are not
        estimable, the others are right.
    groups : (n,) array of labels, or mapping of one term's name to them
        Participant of each observation. Several terms are refused.
    weights : (G, n) array, optional
        Known relative precisions, Var(e) = sigma2 / w; 0 = missing. Their scale moves sigma2 and theta,
        nothing else.
    contrasts : (k, p) array, optional
        Default: each coefficient.
    ddf : {"kenward-roger", "satterthwaite", "residual"}
        Kenward-Roger enlarges the standard errors and uses the expected information; Satterthwaite uses the
        observed information and, where theta is 0, gives n - p as lmerTest does; residual is n - p. The
        mathematics stand in `pdbiomarker.mixed.inference`.
    allow_negative_icc : bool
        Let observations of one group be less alike than those of different groups (compound symmetry): theta
        may fall below 0 as long as the covariance is positive definite. Complete pairs then give the paired
        t-test. Where one group alone would reach that bound, because its weights are the largest, theta stops
        at 99 % of it, with status ``singular``.

    Returns
    -------
    MixedFit
        One row for each feature, in order; a feature that cannot be fitted has a status and NaN.

    Raises
    ------
    AssayError
        Shapes that do not fit, infinite values, negative weights, missing labels, an unknown `ddf`.
    FormulaError
        Several grouping terms.

    Examples
    --------
    >>> import numpy as np
    >>> change = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])       # R's sleep data
    >>> first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    >>> visit = np.repeat([0.0, 1.0], 10)
    >>> X = np.column_stack([np.ones(20), visit])
    >>> sleep = fit([np.concatenate([first, first + change])], X, np.tile(np.arange(10), 2))
    >>> [float(x[0, 1].round(6)) for x in (sleep.estimate, sleep.se, sleep.df, sleep.p)]
    [1.58, 0.388959, 9.0, 0.002833]
    """
    inputs = check_inputs(Y, X, groups, weights=weights, contrasts=contrasts, ddf=ddf)
    result = _empty(inputs)
    layout = _Layout(inputs)
    if not len(layout.starts):
        return result
    for start in range(0, len(inputs.Y), layout.block):
        rows = np.arange(start, min(start + layout.block, len(inputs.Y)))
        _fit_block(inputs, layout, rows, result, allow_negative_icc)
    return result


class _Layout:
    """Order of rows and columns that the blocks share."""

    def __init__(self, inputs: Inputs) -> None:
        X, codes = inputs.X, inputs.codes
        n, p = X.shape
        self.rows = np.argsort(codes, kind="stable")
        in_order = codes[self.rows]
        self.starts: Indices = np.flatnonzero(np.diff(in_order, prepend=-1))
        # Columns that do not vary within groups come first: their part within groups is then exactly zero.
        span = np.zeros(p)
        if n:
            upper = np.maximum.reduceat(X[self.rows], self.starts, axis=0)
            span = (upper - np.minimum.reduceat(X[self.rows], self.starts, axis=0)).max(axis=0)
        self.columns = np.argsort(span > 0, kind="stable")
        self.X = np.ascontiguousarray(X[self.rows][:, self.columns])
        self.contrasts = np.concatenate([inputs.contrasts, np.eye(p)])[:, self.columns]
        self.unit = unit_coefficients(self.X)
        size = n * (p + 1) + len(self.starts) * (p + 1) * (p + 2) // 2
        self.block = max(1, BLOCK_DOUBLES // max(1, size))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some features: which observations they have, their bases, and their responses brought to unit size.

    Response = scale (constant + Q g + residual). All arrays have one row a feature, but `basis`,
    `coordinates` and `estimable` have one row a pattern of observation, and `pattern` says which.
    """

    observed: Flags
    weights: Array | None
    pattern: Indices
    basis: Basis
    coordinates: Array
    estimable: Flags
    residual: Array
    coefficients: Array
    constant: Array
    scale: Array
    rounding: Array


def _empty(inputs: Inputs) -> MixedFit:
    """A result in which nothing is known yet."""
    features, k, p = len(inputs.Y), len(inputs.contrasts), inputs.X.shape[1]

    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    return MixedFit(
        estimate=unknown(features, k),
        se=unknown(features, k),
        df=unknown(features, k),
        t=unknown(features, k),
        p=unknown(features, k),
        estimable=np.zeros((features, k), dtype=bool),
        coefficients=unknown(features, p),
        sigma2=unknown(features),
        theta=unknown(features, 1),
        loglik=unknown(features),
        status=np.full(features, "too_few", dtype="<U13"),
        n_obs=np.zeros(features, dtype=np.int64),
        n_groups=np.zeros(features, dtype=np.int64),
        terms=(inputs.term,),
        ddf=inputs.ddf,
    )


def _fit_block(
    inputs: Inputs, layout: _Layout, rows: Indices, result: MixedFit, allow_negative: bool
) -> None:
    """Fit the features `rows` and write them into `result`."""
    block = _prepare(inputs, layout, rows)
    k = len(inputs.contrasts)
    n_obs = block.observed.sum(axis=1)
    n_groups = np.logical_or.reduceat(block.observed, layout.starts, axis=1).sum(axis=1)
    enough = (n_obs > block.basis.kept.sum(axis=1)[block.pattern]) & (n_groups > 1)
    told = block.estimable[block.pattern] & enough[:, None]
    flat = np.abs(block.residual).max(axis=1) <= block.rounding
    status = np.select(
        [~enough, ~told[:, :k].any(axis=1), flat], ["too_few", "not_estimable", "constant"], "ok"
    )

    result.n_obs[rows] = n_obs
    result.n_groups[rows] = n_groups
    result.estimable[rows] = block.estimable[block.pattern][:, :k]
    result.status[rows] = status
    result.sigma2[rows[enough & flat]] = 0.0
    _store(result, rows, np.where(told, _offsets(block, layout), np.nan))
    result.se[rows] = np.where(told[:, :k] & flat[:, None], 0.0, np.nan)
    live = np.flatnonzero(enough & ~flat)
    if len(live):
        _fit_live(inputs, layout, rows[live], _take(block, live), result, allow_negative)


def _fit_live(
    inputs: Inputs, layout: _Layout, rows: Indices, block: _Block, result: MixedFit, allow_negative: bool
) -> None:
    """Fit features that have residual degrees of freedom and variation."""
    precision, norm = _precision(block)
    shared = len(block.basis.kept) == 1
    pick = slice(None) if shared else block.pattern
    kept = block.basis.kept[pick]
    design = GroupedDesign(block.basis.columns[pick], precision, layout.starts, kept)
    solution = solve(design, block.residual, allow_negative=allow_negative)
    table = infer(solution, block.coordinates[pick], inputs.ddf)

    exact = solution.converged & (solution.at_upper | (solution.s2 <= np.square(block.rounding)))
    edge = solution.at_zero | solution.at_lower
    fate = np.select([~solution.converged, exact, edge], ["not_converged", "constant", "singular"], "ok")
    named = result.status[rows] != "ok"
    result.status[rows] = np.where(named, result.status[rows], fate)

    size, failed = block.scale, ~solution.converged
    k = len(inputs.contrasts)
    told = block.estimable[block.pattern] & ~failed[:, None]
    _store(result, rows, np.where(told, _offsets(block, layout) + table.estimate * size[:, None], np.nan))
    told = told[:, :k]
    se = np.where(exact[:, None], 0.0, table.se[:, :k] * size[:, None])
    result.se[rows] = np.where(told, se, np.nan)
    tested = told & (result.se[rows] > 0)
    result.df[rows] = np.where(tested, table.df[:, :k], np.nan)
    t = np.divide(result.estimate[rows], result.se[rows], out=np.full(told.shape, np.nan), where=tested)
    result.t[rows] = t
    result.p[rows] = t_tail(t, result.df[rows])

    result.theta[rows, 0] = np.where(failed, np.nan, solution.theta / norm)
    with np.errstate(over="ignore", under="ignore"):
        variance = solution.s2 * size * size * norm
    result.sigma2[rows] = np.where(failed, np.nan, np.where(exact, 0.0, variance))
    pivots = np.abs(np.diagonal(block.basis.triangle, axis1=1, axis2=2))
    log_x = 2.0 * np.where(block.basis.kept, np.log(pivots), 0.0).sum(axis=1)[pick]
    log_w = np.log(np.where(precision > 0, precision, 1.0)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        deviance = solution.criterion + log_x - log_w
    deviance += solution.dof * (1.0 + np.log(2.0 * np.pi / solution.dof) + 2.0 * np.log(size))
    result.loglik[rows] = np.where(failed | exact, np.nan, -0.5 * deviance)


def _prepare(inputs: Inputs, layout: _Layout, rows: Indices) -> _Block:
    """Sort the observations by group, find the patterns of missing values, take off scale and location."""
    y = inputs.Y[rows][:, layout.rows]
    observed = ~np.isnan(y)
    w = None
    if inputs.weights is not None:
        w = inputs.weights[rows][:, layout.rows]
        observed &= w > 0
    patterns, which = _patterns(observed)
    basis = orthonormal_basis(layout.X, patterns)
    coordinates, estimable = contrast_coordinates(basis, layout.contrasts)

    y = np.where(observed, y, 0.0)
    peak = np.abs(y).max(axis=1, initial=0.0)
    first = _power_of_two(peak)
    y = y / first[:, None]
    constant = np.zeros(len(rows))
    if layout.unit is not None:
        # The middle of the range, not the mean: of equal values it is exactly their value.
        upper = np.where(observed, y, -np.inf).max(axis=1, initial=-np.inf)
        lower = np.where(observed, y, np.inf).min(axis=1, initial=np.inf)
        constant = np.where(observed.any(axis=1), 0.5 * (np.maximum(upper, lower) + lower), 0.0)
        y = np.where(observed, y - constant[:, None], 0.0)
    second = _power_of_two(np.abs(y).max(axis=1, initial=0.0))
    y = y / second[:, None]
    Q = basis.columns if len(patterns) == 1 else basis.columns[which]
    coefficients = np.zeros((len(rows), Q.shape[2]))
    for _ in range(2):
        share = y @ Q[0] if len(Q) == 1 else np.matmul(y[:, None, :], Q)[:, 0]
        y = y - (share @ Q[0].T if len(Q) == 1 else np.matmul(Q, share[..., None])[..., 0])
        coefficients += share
    return _Block(
        observed=observed,
        weights=w,
        pattern=which,
        basis=basis,
        coordinates=coordinates,
        estimable=estimable,
        residual=y,
        coefficients=coefficients,
        constant=constant / second,
        scale=first * second,
        rounding=ROUNDING * peak / (first * second),
    )


def _take(block: _Block, rows: Indices) -> _Block:
    """Those features of a block; the patterns stay."""
    return dataclasses.replace(
        block,
        observed=block.observed[rows],
        weights=None if block.weights is None else block.weights[rows],
        pattern=block.pattern[rows],
        residual=block.residual[rows],
        coefficients=block.coefficients[rows],
        constant=block.constant[rows],
        scale=block.scale[rows],
        rounding=block.rounding[rows],
    )


def _precision(block: _Block) -> tuple[Array, Array]:
    """Weights with mean 1 over the observed, (1 or G, n), and the mean taken off, (1 or G,)."""
    if block.weights is None:
        shared = len(block.basis.kept) == 1
        return (block.observed[:1] if shared else block.observed).astype(float), np.ones(1)
    precision = np.where(block.observed, block.weights, 0.0)
    norm = precision.sum(axis=1) / block.observed.sum(axis=1)
    return precision / norm[:, None], norm


def _patterns(observed: Flags) -> tuple[Flags, Indices]:
    """The different rows, and which of them each row is."""
    if (observed == observed[0]).all():
        return observed[:1], np.zeros(len(observed), dtype=np.intp)
    packed = np.packbits(observed, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return observed[first], which.reshape(-1)


def _power_of_two(size: Array) -> Array:
    """The power of two next above each size (1 for 0): dividing by it rounds nothing."""
    exponent = np.frexp(size)[1]
    return np.ldexp(1.0, np.where(size > 0, np.clip(exponent, -1000, 1000), 0))


def _offsets(block: _Block, layout: _Layout) -> Array:
    """Contrasts and coefficients of what was taken off the responses, (G, k + p)."""
    if len(block.coordinates) == 1:
        least = block.coefficients @ block.coordinates[0].T
    else:
        least = np.matmul(block.coordinates[block.pattern], block.coefficients[..., None])[..., 0]
    if layout.unit is not None:
        least = least + block.constant[:, None] * (layout.contrasts @ layout.unit)
    return np.asarray(least * block.scale[:, None])


def _store(result: MixedFit, rows: Indices, values: Array) -> None:
    """Write contrasts and coefficients, (G, k + p)."""
    k = result.estimate.shape[1]
    result.estimate[rows], result.coefficients[rows] = values[:, :k], values[:, k:]
