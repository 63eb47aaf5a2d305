r"""One correlation within groups for all features, and least squares with it.

For one feature with weights w, the standardised errors sqrt(w) (y - X b) have variance s2 and, within a
group, correlation rho:

    sqrt(w) y = sqrt(w) X b + e,   Cov e = s2 (1 - rho) (I + lambda Z Z'),   lambda = rho / (1 - rho).

rho may be negative. Unlike in `pdbiomarker.mixed.reml`, where the group effect is on the scale of the data,
the weights do not touch it: the covariance of a group depends on its number of observations m only. With the
group sums s_i of the standardised rows (Q, y), Q an orthonormal basis of X, and their products summed over
groups of equal size,

    A(lambda) = A_w + sum_m S_m / (m (1 + lambda m)),   S_m = sum_{i: m_i = m} s_i s_i',   A_w = A(infinity),

so an evaluation needs a few small matrices a feature. Minus twice the profiled REML log-likelihood is

    f = sum_i log(1 + lambda m_i) + log |A_xx| + nu log r2
      = sum_i log(1 + lambda m_i) + log |A| - (nu - 1) log h,

with h the last diagonal element of A^-1, r2 = 1 / h the residual sum of squares and nu = n - p. With c the
last column of A^-1, D_1 = sum_m S_m / (1 + lambda m)^2 and D_2 = sum_m 2 m S_m / (1 + lambda m)^3,
derivatives by lambda are

    (log |A|)' = -tr A^-1 D_1,    (log |A|)'' = tr A^-1 D_2 - tr A^-1 D_1 A^-1 D_1,
    h' = c' D_1 c,                h'' = 2 c' D_1 A^-1 D_1 c - c' D_2 c.

f is minimised over z = atanh rho, in which 1 + 2 lambda = exp(2 z), between the bounds that limma uses: .01
above the smallest rho possible for the largest group, and .99. The consensus is tanh of the trimmed mean.

Sources: Smyth, Michaud and Scott 2005, doi:10.1093/bioinformatics/bti270; Patterson and Thompson 1971,
doi:10.1093/biomet/58.3.545. The expressions above were derived for this module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, FormulaError, Problem

from .basis import Basis, contrast_coordinates, orthonormal_basis
from .inputs import Options, check_inputs

__all__ = [
    "CorrelatedFit",
    "DuplicateCorrelation",
    "StandardErrors",
    "duplicate_correlation",
    "fit_correlated",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
StandardErrors = Literal["exact", "limma"]

#: Features per block of work.
BLOCK = 2000
#: Features that share their observations are a block of their own if they are so many.
COMMON = 50
#: Bounds of rho: the largest, and the distance to the smallest possible.
LARGEST, MARGIN = 0.99, 0.01
#: Share of the bounds' distance (in z) at which the search looks for the lowest point first.
GRID = np.linspace(0.0, 1.0, 9)
STEP_TOLERANCE = 1e-10
MAX_STEPS = 60
#: rho is not identified if its information is below this share of its terms.
IDENTIFIABLE = 1e-9
#: Nor if what X leaves of the responses is zero: smaller than this share of them.
ROUNDING = 1e-13


class DuplicateCorrelation(NamedTuple):
    """Correlation within groups.

    Attributes
    ----------
    consensus : float
        tanh of the trimmed mean of `atanh_correlations`.
    atanh_correlations : (G,) array
        atanh rho of each feature; NaN where its observations do not tell rho.
    """

    consensus: float
    atanh_correlations: Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CorrelatedFit:
    """Least squares with a known correlation within groups: G features, k contrasts.

    Attributes
    ----------
    estimate : (G, k) array
        Contrasts; NaN where the observations do not determine them.
    unscaled_sd : (G, k) array
        Their standard errors for sigma2 = 1.
    sigma2 : (G,) array
        Residual variance; NaN without residual degrees of freedom.
    df_residual : (G,) array
        Observations less coefficients.
    """

    estimate: Array
    unscaled_sd: Array
    sigma2: Array
    df_residual: Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """Checked arrays: Y (G, n), X (n, p), group codes (n,), weights (G, n) or None, contrasts (k, p)."""

    Y: Array
    X: Array
    codes: Indices
    weights: Array | None
    contrasts: Array
    term: str


class _Block(NamedTuple):
    """What a block of g features needs; size P = p + 1 of the matrices comes first, features last.

    Attributes
    ----------
    within : (P, P, g) array
        A_w, with a unit pivot at aliased columns.
    between : (K, P, P, g) array
        S_m.
    sizes : (K,) array
        The sizes m.
    counts : (K, g) array
        Groups of each size.
    dof : (g,) array
        nu.
    """

    within: Array
    between: Array
    sizes: Array
    counts: Array
    dof: Array

    def take(self, rows: Indices) -> _Block:
        return _Block(
            self.within[..., rows],
            self.between[..., rows],
            self.sizes,
            self.counts[:, rows],
            self.dof[rows],
        )


class _Part(NamedTuple):
    """Features `rows` with their bases (one if they share their observations).

    The responses are those less `offset` (coefficients in the basis), divided by `scale`.
    """

    rows: Indices
    basis: Basis
    block: _Block
    offset: Array
    scale: Array


def duplicate_correlation(
    Y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    weights: ArrayLike | None = None,
    trim: float = 0.15,
) -> DuplicateCorrelation:
    """Estimate one correlation within groups from all features, as limma's `duplicateCorrelation`.

    Parameters
    ----------
    Y : (G, n) array
        Responses (features in rows); NaN = missing.
    X : (n, p) array
        Design matrix without the groups.
    groups : (n,) array, or mapping of one name to it
        Group of each observation (participant).
    weights : (G, n) array, optional
        Precision weights; 0 = missing.
    trim : float
        Share of the features left out at each end of the mean, 0 to 0.5.

    Returns
    -------
    DuplicateCorrelation
        A feature counts if it has more than p + 2 observations, in more than one group and in fewer groups
        than observations less one, a residual, and rho is identified beside X.

    Raises
    ------
    AssayError
        As `fit`; E-MODEL-007 where no feature tells rho, or `trim` is not between 0 and 0.5.
    FormulaError
        More than one grouping term.

    Examples
    --------
    >>> pairs, values = [1, 1, 2, 2, 3, 3, 4, 4], [[1.0, 1.2, 3.0, 2.7, 2.0, 2.2, 4.1, 3.8]]
    >>> round(duplicate_correlation(values, [[1.0]] * 8, pairs).consensus, 3)
    0.978
    """
    if not 0.0 <= trim < 0.5:
        raise _refusal("trim must be at least 0 and below 0.5.", "trim", trim, "use 0.15, as limma does")
    data = _checked(Y, X, groups, weights, None)
    found = np.full(len(data.Y), np.nan)
    largest = int(np.bincount(data.codes, minlength=1).max())
    if largest > 1:
        low, high = np.arctanh([1.0 / (1 - largest) + MARGIN, LARGEST])
        for part in _parts(data):
            usable = np.flatnonzero(_usable(part.block))
            if len(usable):
                found[part.rows[usable]] = _optimum(part.block.take(usable), float(low), float(high))
    known = np.sort(found[np.isfinite(found)])
    if not len(known):
        raise _refusal(
            "No feature tells the correlation within groups.", "groups", data.term,
            "groups need several observations beside what X explains; without them rho is 0",
        )  # fmt: skip
    cut = int(len(known) * trim)
    return DuplicateCorrelation(float(np.tanh(known[cut : len(known) - cut].mean())), found)


def fit_correlated(
    Y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    rho: float,
    weights: ArrayLike | None = None,
    contrasts: ArrayLike | None = None,
    standard_errors: StandardErrors = "exact",
) -> CorrelatedFit:
    """Generalised least squares with correlation rho within groups, as limma's `lmFit(block, correlation)`.

    Parameters
    ----------
    Y, X, groups, weights
        As in `duplicate_correlation`.
    rho : float
        Correlation; 0 for ordinary (weighted) least squares.
    contrasts : (k, p) array, optional
        Contrasts of the coefficients; the coefficients themselves if None.
    standard_errors : {"exact", "limma"}
        "limma": of contrasts as its `contrasts.fit` gives them, from the feature's own standard errors of the
        coefficients and their correlations in the fit without weights; approximate where there are weights.

    Returns
    -------
    CorrelatedFit

    Raises
    ------
    AssayError
        As `fit`; E-MODEL-007 where rho is impossible for groups of this size, or `standard_errors` unknown.
    FormulaError
        More than one grouping term.
    """
    data = _checked(Y, X, groups, weights, contrasts)
    if standard_errors not in get_args(StandardErrors):
        raise _refusal(
            "These standard errors do not exist.", "standard_errors", standard_errors, "exact or limma"
        )
    largest = max(int(np.bincount(data.codes, minlength=1).max()), 2)
    if not 1.0 / (1 - largest) < rho < 1.0:
        raise _refusal(
            f"With groups of {largest} the correlation lies above {1.0 / (1 - largest):.4g} and below 1.",
            "rho", rho, "give the consensus of duplicate_correlation",
        )  # fmt: skip
    if standard_errors == "exact":
        return _fitted(data, rho, data.contrasts)
    p = data.X.shape[1]
    fit = _fitted(data, rho, np.eye(p))
    even = dataclasses.replace(data, Y=np.zeros((1, len(data.X))), weights=None)
    correlation = _correlation(even, rho)
    part = data.contrasts[None] * fit.unscaled_sd[:, None, :]
    part = np.where(data.contrasts == 0, 0.0, part)
    sd = np.sqrt(np.einsum("gkp,pq,gkq->gk", part, correlation, part))
    terms = np.where(data.contrasts == 0, 0.0, data.contrasts[None] * fit.estimate[:, None, :])
    return dataclasses.replace(fit, estimate=terms.sum(axis=2), unscaled_sd=sd)


def _checked(
    Y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    weights: ArrayLike | None,
    contrasts: ArrayLike | None,
) -> _Data:
    """Arrays of one grouping term, or every problem found."""
    if isinstance(groups, Mapping) and len(groups) != 1:
        raise FormulaError(
            [
                Problem(
                    "E-FORMULA-006",
                    "One correlation within groups has exactly one grouping term.",
                    "keep one term, such as (1|participant)",
                    column="groups",
                    value=", ".join(map(str, groups)) or "none",
                )
            ]
        )
    options = Options(
        weights=weights,
        known_variance=None,
        slopes=None,
        contrasts=contrasts,
        ddf="residual",
        allow_negative_icc=False,
        compat=None,
    )
    found = check_inputs(Y, X, groups, options)
    term = found.terms[0]
    return _Data(found.Y, found.X, term.codes, found.weights, found.contrasts, term.name)


def _refusal(message: str, column: str, value: float | str, remedy: str) -> AssayError:
    return AssayError([Problem("E-MODEL-007", message, remedy, column=column, value=str(value))])


def _parts(data: _Data) -> Iterator[_Part]:
    """Blocks of features that were observed together, each with its basis and products."""
    order = np.argsort(data.codes, kind="stable")
    codes, X = data.codes[order], data.X[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    Y = data.Y[:, order]
    weights = None if data.weights is None else data.weights[:, order]
    observed = ~np.isnan(Y) if weights is None else ~np.isnan(Y) & (np.nan_to_num(weights) > 0)
    patterns, which, sharing = np.unique(observed, axis=0, return_inverse=True, return_counts=True)
    common = np.flatnonzero(sharing >= COMMON)
    sets = [np.flatnonzero(which == index) for index in common]
    sets.append(np.flatnonzero(~np.isin(which, common)))
    for members in sets:
        for first in range(0, len(members), BLOCK):
            rows = members[first : first + BLOCK]
            seen, own = np.unique(which[rows], return_inverse=True)
            basis = orthonormal_basis(X, patterns[seen])
            if len(seen) > 1:
                basis = Basis(basis.columns[own], basis.triangle[own], basis.kept[own])
            used = observed[rows]
            root = used.astype(float) if weights is None else np.sqrt(np.where(used, weights[rows], 0.0))
            yield _part(rows, basis, np.where(used, Y[rows], 0.0), root, starts)


def _part(rows: Indices, basis: Basis, response: Array, root: Array, starts: Indices) -> _Part:
    """Products of the standardised rows, within groups and between groups of each size."""
    Q = basis.columns
    offset, rest = np.zeros((len(rows), Q.shape[2])), response
    for _ in range(2):
        step = _times(rest, Q)
        offset, rest = offset + step, rest - _times(step, Q.transpose(0, 2, 1))
    scale = np.sqrt(np.square(rest).mean(axis=1))
    nothing = scale <= ROUNDING * np.sqrt(np.square(response).mean(axis=1))
    rest[nothing], scale[nothing] = 0.0, 1.0
    g, (n, p) = len(rows), Q.shape[1:]
    standard = np.empty((g, n, p + 1))
    np.multiply(root[..., None], Q, out=standard[..., :p])
    np.multiply(root, rest / scale[:, None], out=standard[..., p])
    within = np.ascontiguousarray(np.matmul(standard.transpose(0, 2, 1), standard).transpose(1, 2, 0))
    sums = np.add.reduceat(standard, starts, axis=1)
    members = np.add.reduceat((root > 0).astype(np.intp), starts, axis=1)
    sizes = np.unique(members[members > 0])
    between = np.empty((len(sizes), p + 1, p + 1, g))
    for k, size in enumerate(sizes):
        there = members == size
        some = there.any(axis=0)
        those = sums[:, some] * there[:, some, None]
        between[k] = np.matmul(those.transpose(0, 2, 1), those).transpose(1, 2, 0)
        within -= between[k] / size
    diagonal = np.arange(p)
    within[diagonal, diagonal] += ~basis.kept.T
    counts = (members == sizes[:, None, None]).sum(axis=2).astype(float)
    dof = (members.sum(axis=1) - basis.kept.sum(axis=1)).astype(float)
    return _Part(rows, basis, _Block(within, between, sizes.astype(float), counts, dof), offset, scale)


def _times(rows: Array, blocks: Array) -> Array:
    """rows[g] @ blocks[g]; blocks of leading size 1 are shared."""
    if len(blocks) == 1:
        return np.asarray(rows @ blocks[0])
    return np.asarray(np.matmul(rows[:, None, :], blocks)[:, 0])


def _usable(block: _Block) -> Flags:
    """Which features tell rho: enough observations, a residual, and information on rho beside X."""
    observed = (block.counts * block.sizes[:, None]).sum(axis=0)
    groups = block.counts.sum(axis=0)
    p = observed - block.dof
    enough = (observed > p + 2) & (groups > 1) & (groups < observed - 1)
    size = len(block.within) - 1
    swept = _swept(_at(block, np.zeros(len(block.dof))), size)[0]
    xx = swept[:size, :size]
    shared = block.between[:, :size, :size]
    once = np.einsum("ijg,kjig->kg", xx, shared)
    product = np.einsum("ijg,jlg->ilg", xx, shared.sum(axis=0))
    squares = (block.counts * block.sizes[:, None] ** 2).sum(axis=0)
    lost = (block.sizes[:, None] * once).sum(axis=0)
    trace = observed - once.sum(axis=0)
    information = (
        squares - 2.0 * lost + np.einsum("ijg,jig->g", product, product) - trace**2 / np.maximum(block.dof, 1)
    )
    residual = swept[size, size] > 0
    return np.asarray(enough & residual & (information > IDENTIFIABLE * squares))


def _at(block: _Block, lam: Array) -> Array:
    """A(lambda), (P, P, g)."""
    share = 1.0 / (block.sizes[:, None] * (1.0 + lam * block.sizes[:, None]))
    matrix = block.within.copy()
    for k in range(len(block.sizes)):
        matrix += block.between[k] * share[k]
    return matrix


def _swept(matrix: Array, columns: int) -> tuple[Array, Array]:
    """Sweep the first columns of symmetric matrices (P, P, g): Gauss-Jordan steps in place.

    All columns give the inverse. All but the last give (A_xx)^-1, the coefficients of the last column on the
    others (above the corner), and the residual sum of squares (in the corner). Also the pivots, (columns, g).
    """
    a = matrix.copy()
    pivots = np.empty((columns, a.shape[2]))
    for k in range(columns):
        pivot = a[k, k].copy()
        pivots[k] = pivot
        row = a[k] / pivot
        column = a[:, k].copy()
        column[k] = 0.0
        a -= column[:, None] * row[None]
        a[:, k] = -column / pivot
        a[k] = row
        a[k, k] = 1.0 / pivot
    return a, pivots


def _criterion(block: _Block, z: Array) -> Array:
    """Evaluate f at one z for each feature."""
    lam = 0.5 * np.expm1(2.0 * z)
    pivots = _swept(_at(block, lam), len(block.within))[1]
    logs = np.log(pivots)
    spread = (block.counts * np.log1p(lam * block.sizes[:, None])).sum(axis=0)
    return np.asarray(spread + logs[:-1].sum(axis=0) + block.dof * logs[-1])


def _derivatives(block: _Block, z: Array) -> tuple[Array, Array]:
    """First and second derivative of f by z."""
    lam = 0.5 * np.expm1(2.0 * z)
    inverse, pivots = _swept(_at(block, lam), len(block.within))
    sizes = block.sizes[:, None]
    spread = 1.0 + lam * sizes
    first = np.einsum("kijg,kg->ijg", block.between, spread**-2.0)
    second = np.einsum("kijg,kg->ijg", block.between, 2.0 * sizes * spread**-3.0)
    column = inverse[:, -1]
    product = np.einsum("ijg,jkg->ikg", inverse, first)
    moved = np.einsum("ijg,jg->ig", first, column)
    h = 1.0 / pivots[-1]
    h1 = (column * moved).sum(axis=0)
    h2 = 2.0 * (moved * np.einsum("ijg,jg->ig", inverse, moved)).sum(axis=0)
    h2 -= (column * np.einsum("ijg,jg->ig", second, column)).sum(axis=0)
    log_det1 = -np.einsum("iig->g", product)
    log_det2 = (inverse * second).sum(axis=(0, 1)) - (product * product.transpose(1, 0, 2)).sum(axis=(0, 1))
    share = sizes / spread
    rest = block.dof - 1.0
    by_lam = (block.counts * share).sum(axis=0) + log_det1 - rest * h1 / h
    twice = -(block.counts * share**2).sum(axis=0) + log_det2 - rest * (h2 / h - np.square(h1 / h))
    scale = 1.0 + 2.0 * lam
    slope = by_lam * scale
    return slope, twice * scale**2 + 2.0 * slope


def _optimum(block: _Block, low: float, high: float) -> Array:
    """Find z of the lowest f between the bounds, for each feature."""
    g = len(block.dof)
    points = low + GRID * (high - low)
    best = np.stack([_criterion(block, np.full(g, z)) for z in points]).argmin(axis=0)
    z = points[best]
    left, right = points[np.maximum(best - 1, 0)], points[np.minimum(best + 1, len(points) - 1)]
    active = np.arange(g)
    for _ in range(MAX_STEPS):
        if not len(active):
            break
        now = z[active]
        slope, curvature = _derivatives(block.take(active), now)
        right[active] = np.where(slope > 0, now, right[active])
        left[active] = np.where(slope > 0, left[active], now)
        a, b = left[active], right[active]
        newton = now - slope / np.where(curvature > 0, curvature, 1.0)
        inside = (curvature > 0) & (newton > a) & (newton < b)
        following = np.where(inside, newton, 0.5 * (a + b))
        outward = ((now <= low) & (slope >= 0)) | ((now >= high) & (slope <= 0))
        following = np.where(outward, now, following)
        z[active] = following
        active = active[~(outward | (np.abs(following - now) <= STEP_TOLERANCE))]
    return z


def _fitted(data: _Data, rho: float, contrasts: Array) -> CorrelatedFit:
    """Estimates and unscaled standard errors of contrasts."""
    g, k = len(data.Y), len(contrasts)
    estimate, sd = np.full((g, k), np.nan), np.full((g, k), np.nan)
    sigma2, df = np.full(g, np.nan), np.zeros(g)
    for part in _parts(data):
        coordinates, estimable = contrast_coordinates(part.basis, contrasts)
        rows, block, size = part.rows, part.block, contrasts.shape[1]
        swept = _swept(_at(block, np.full(len(rows), rho / (1.0 - rho))), size)[0]
        xx = swept[:size, :size]
        coefficients = swept[:size, size].T * part.scale[:, None] + part.offset
        each = np.broadcast_to(coordinates, (len(rows), k, size))
        estimate[rows] = np.where(estimable, np.einsum("gkp,gp->gk", each, coefficients), np.nan)
        unscaled = (1.0 - rho) * (np.einsum("gkp,pqg->gkq", each, xx) * each).sum(axis=2)
        sd[rows] = np.where(estimable, np.sqrt(np.maximum(unscaled, 0.0)), np.nan)
        df[rows] = np.maximum(block.dof, 0.0)
        positive = np.where(block.dof > 0, block.dof, np.nan)
        sigma2[rows] = np.maximum(swept[size, size], 0.0) * part.scale**2 / ((1.0 - rho) * positive)
    return CorrelatedFit(estimate, sd, sigma2, df)


def _correlation(data: _Data, rho: float) -> Array:
    """Correlations (p, p) of the coefficients in the fit without weights; NaN for aliased ones."""
    p = data.X.shape[1]
    part = next(_parts(data))
    coordinates, estimable = contrast_coordinates(part.basis, np.eye(p))
    swept = _swept(_at(part.block, np.full(1, rho / (1.0 - rho))), p)[0]
    xx = swept[:p, :p, 0]
    covariance = coordinates[0] @ xx @ coordinates[0].T
    sd = np.sqrt(np.diag(covariance))
    known = estimable[0][:, None] & estimable[0]
    return np.where(known, covariance / np.where(known, np.outer(sd, sd), 1.0), 0.0)
