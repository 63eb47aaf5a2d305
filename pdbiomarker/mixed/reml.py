r"""REML for many features at once, with one intercept per group.

For one feature, y = X b + Z u + e with u ~ N(0, s2 theta I) and e ~ N(0, s2 W^-1): W holds known precision
weights (0 = not observed), Z tells the groups (participants). X is given by an orthonormal basis Q of its
columns (module `basis`), so b below is in the coordinates of that basis.

Within a group i with weights w the inverse covariance splits in two orthogonal parts,

    V_i^-1 = (W - w w' / a) + k w w' / a^2,    a = sum w,   k = a / (1 + theta a),

deviations from the weighted mean, which theta does not touch, and the mean, which has variance s2 / k. With
the weighted means m_i of the rows (x, y) and the matrix A_w of their weighted within-group products,

    A(theta) = A_w + sum_i k_i m_i m_i'        over the p columns of Q and the response,
    k' = -k^2,  k'' = 2 k^3   (derivatives by theta).

Columns that are constant within groups stay exact however large theta is, if they come first. With the
Cholesky factor L of A, whose last pivot squared is the residual sum of squares r2, minus twice the profiled
REML log-likelihood is, up to a constant,

    f(theta) = sum log(1 + theta a_i) + 2 sum_{j<=p} log L_jj + nu log r2,      nu = n - p,

and with E = L^-1 (sum k^2 m m') L^-T and F = L^-1 (sum k^3 m m') L^-T, partitioned into the columns x and y,

    f'  = sum k - tr E_xx - nu E_yy,
    f'' = -sum k^2 + 2 tr F_xx - |E_xx|^2 + nu (2 F_yy - 2 |E_xy|^2 - E_yy^2).

An evaluation for G features is one batched product of (k, k^2, k^3) with the precomputed m m', and a few p
x p steps. f is minimised over phi = log(1 + theta max a), in which it is convex for balanced data: first on
a grid, because f may have two minima, then by Newton steps from the vertex of a parabola through three of its
points, kept inside the bracket that they give. Every
grid point that is lower than its neighbours starts a search, and the lowest end counts. phi >= 0 unless a
negative intraclass correlation is allowed; then phi may fall until V is no longer positive definite.

Sources: Patterson and Thompson 1971, doi:10.1093/biomet/58.3.545; Bates, Machler, Bolker and Walker 2015,
doi:10.18637/jss.v067.i01 (definition of the criterion). The expressions above were derived for this module.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .triangles import cholesky, full, inverse_triangle, lower, lower_products

__all__ = ["GroupedDesign", "Moments", "Solution", "solve"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: theta is not identified if its expected information is below this share of its terms.
IDENTIFIABLE = 1e-9
#: Largest phi: of the first search, and beyond which nothing is left within the groups.
PHI_FAR, PHI_MAX = float(np.log(1e8)), float(np.log(1e22))
#: Smallest phi: with enough groups at the bound, and where single groups reach it alone.
PHI_MIN, PHI_MIN_ALONE = float(np.log(1e-12)), float(np.log(0.01))
GRID = np.array([0.0, 0.35, 0.8, 1.5, 2.5, 4.0, 6.0, 9.0])
GRID_NEGATIVE = np.array([-4.0, -2.0, -1.0, -0.4])
#: The same where there are few groups, whose criterion bends more and is cheap.
FEW_GROUPS = 30
GRID_FINE = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.8, 1, 1.25, 1.5, 1.8, 2.1, 2.5, 3, 3.5, 4, 5, 6, 7.5, 9])
GRID_NEGATIVE_FINE = -np.array([4.4, 4, 3.5, 3, 2.5, 2, 1.6, 1.3, 1, 0.8, 0.6, 0.4, 0.25, 0.1])
GRID_FAR = np.arange(PHI_FAR - 2.0, PHI_MAX, 4.0)
#: Step that ends the search, which is then within about its square of the minimum.
SEARCH_TOLERANCE = 1e-5
#: Of the polishing: steps below the first are rounding, after one below the second only rounding is left.
ROUNDING_STEP, LAST_STEP, MAX_POLISHING = 1e-12, 1e-7, 3
MAX_STEPS = 80
#: 1 + theta * max a this close to 1 is theta = 0.
ZERO = 1e-10


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What the likelihood of G features needs of their data; leading size 1 where all features share it.

    Attributes
    ----------
    outer_x : (1 or G, q, p (p + 1) / 2) array
        Lower triangles of the products of group means of Q.
    outer_y : (G, q, p + 1) array
        Products of the group mean of the response with those of Q and with itself.
    within : (G, (p + 1) (p + 2) / 2) array
        A_w, lower triangle row by row.
    total : (1 or G, q) array
        Sum of weights, a; 0 for a group without observations.
    dof : (G,) array
        nu.
    """

    outer_x: Array
    outer_y: Array
    within: Array
    total: Array
    dof: Array

    def take(self, rows: Indices) -> Moments:
        """Those of some features."""
        if len(rows) == len(self.dof) and (rows == np.arange(len(rows))).all():
            return self
        shared_x, shared_total = len(self.outer_x) == 1, len(self.total) == 1
        return Moments(
            self.outer_x if shared_x else self.outer_x[rows],
            self.outer_y[rows],
            self.within[rows],
            self.total if shared_total else self.total[rows],
            self.dof[rows],
        )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """REML fits of G features; p columns, P = p + 1.

    Attributes
    ----------
    theta, s2, criterion : (G,) arrays
        Variance ratio, residual variance, f(theta).
    coefficients : (G, p) array
        b in the coordinates of the basis.
    inverse_root : (G, P, P) array
        L^-1.
    second, third : (G, P, P) arrays
        E; and sum k^3 m m' itself.
    trace, expected, observed : (G,) arrays
        c = tr(P G); Delta from the expected and from the observed information.
    dof, largest : (G,) arrays
        nu; max a.
    identified, at_zero, at_lower, at_upper, converged : (G,) arrays of bool
        Whether the data tell theta; where the minimum lies on a bound; whether it was found.
    """

    theta: Array
    s2: Array
    criterion: Array
    coefficients: Array
    inverse_root: Array
    second: Array
    third: Array
    trace: Array
    expected: Array
    observed: Array
    dof: Array
    largest: Array
    identified: Flags
    at_zero: Flags
    at_lower: Flags
    at_upper: Flags
    converged: Flags


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """The criterion and its derivatives at one theta for each feature."""

    value: Array
    slope: Array
    curvature: Array
    expected: Array
    trace: Array
    squares: Array
    root_inverse: Array
    second: Array
    third: Array
    residual: Array


class GroupedDesign:
    """The basis rows and weights of a block of features, sorted by group.

    Parameters
    ----------
    columns : (1 or G, n, p) array
        Q.
    weights : (1 or G, n) array
        Precision weights, 0 = not observed.
    starts : (q,) array
        First row of each group.
    kept : (1 or G, p) array of bool
        Columns that are not aliased.
    """

    def __init__(self, columns: Array, weights: Array, starts: Indices, kept: Flags) -> None:
        self.columns, self.weights, self.starts, self.kept = columns, weights, starts, kept
        n = weights.shape[1]
        self.group = np.repeat(np.arange(len(starts)), np.diff(starts, append=n))
        self.total = np.add.reduceat(weights, starts, axis=1)
        self._per_total = np.where(self.total > 0, 1.0 / np.where(self.total > 0, self.total, 1.0), 0.0)
        self._root_weights = np.sqrt(weights)
        means = np.add.reduceat(weights[..., None] * columns, starts, axis=1) * self._per_total[..., None]
        deviations = columns - np.take(means, self.group, axis=1)
        deviations *= self._root_weights[..., None]
        self.means, self.deviations = means, deviations
        self.outer, self.within = (
            lower_products(means),
            lower(np.matmul(deviations.transpose(0, 2, 1), deviations)),
        )
        # An aliased column is zero everywhere: a unit pivot keeps it out of every sum.
        p = columns.shape[2]
        diagonal = np.cumsum(np.arange(1, p + 1)) - 1
        self.within[:, diagonal] += ~kept

    def moments(self, response: Array) -> Moments:
        """Moments with a response, (G, n), zero where not observed."""
        mean = np.add.reduceat(self.weights * response, self.starts, axis=1) * self._per_total
        deviation = (response - mean[:, self.group]) * self._root_weights
        cross = _rows_times(deviation, self.deviations)
        square = np.square(deviation).sum(axis=1)
        g, q, p = len(response), len(self.starts), self.columns.shape[2]
        outer_y = np.empty((g, q, p + 1))
        np.multiply(mean[..., None], self.means, out=outer_y[..., :p])
        np.square(mean, out=outer_y[..., p])
        within_x = np.broadcast_to(self.within, (g, self.within.shape[1]))
        within = np.concatenate([within_x, cross, square[:, None]], axis=1)
        observed = np.count_nonzero(self.weights, axis=1)
        dof = np.broadcast_to((observed - self.kept.sum(axis=1)).astype(float), (g,))
        return Moments(self.outer, outer_y, within, self.total, dof)

    def fitted(self, coefficients: Array) -> Array:
        """Q b for coefficients (G, p); zero where not observed."""
        if len(self.columns) == 1:
            return np.asarray(coefficients @ self.columns[0].T)
        return np.asarray(np.matmul(self.columns, coefficients[..., None])[..., 0])


def _rows_times(rows: Array, blocks: Array) -> Array:
    """rows[g] @ blocks[g], with blocks of leading size 1 shared."""
    if len(blocks) == 1:
        return np.asarray(rows.reshape(-1, rows.shape[-1]) @ blocks[0]).reshape(*rows.shape[:-1], -1)
    if rows.ndim == 2:
        return np.asarray(np.matmul(rows[:, None, :], blocks)[:, 0])
    return np.asarray(np.matmul(rows, blocks))


def _columns(data: Moments) -> int:
    return int(data.outer_y.shape[2])


def _sums(data: Moments, powers: Array) -> Array:
    """Sums of powers (G, m, q) over m m': lower triangles, (G, m, V)."""
    return np.concatenate([_rows_times(powers, data.outer_x), np.matmul(powers, data.outer_y)], axis=2)


def _values(data: Moments, thetas: Array) -> Array:
    """Criterion f at several thetas, (G, m), for each feature; infinite where A is not positive definite."""
    g, m = thetas.shape
    spread = 1.0 + thetas[..., None] * data.total[:, None, :]
    triangles = _sums(data, data.total[:, None, :] / spread) + data.within[:, None, :]
    size = _columns(data)
    factor = cholesky(np.ascontiguousarray(triangles.reshape(g * m, -1).T), size)
    logs = np.log(np.diagonal(factor).reshape(g, m, size))
    value = np.log(spread).sum(axis=2) + 2.0 * (
        logs[..., :-1].sum(axis=2) + data.dof[:, None] * logs[..., -1]
    )
    return np.where(np.isfinite(value), value, np.inf)


def _evaluate(data: Moments, theta: Array) -> _Point:
    """Compute f, its derivatives and what inference needs, at one theta for each feature."""
    size = _columns(data)
    p, nu = size - 1, data.dof
    spread = 1.0 + theta[:, None] * data.total
    powers = np.empty((len(theta), 3, spread.shape[1]))
    np.divide(data.total, spread, out=powers[:, 0])
    np.multiply(powers[:, 0], powers[:, 0], out=powers[:, 1])
    np.multiply(powers[:, 0], powers[:, 1], out=powers[:, 2])
    sums = _sums(data, powers)
    factor = cholesky(np.ascontiguousarray((sums[:, 0] + data.within).T), size)
    pivots = np.diagonal(factor)
    logs = np.log(pivots)
    value = np.log(spread).sum(axis=1) + 2.0 * (logs[:, :p].sum(axis=1) + nu * logs[:, p])
    inverse = np.ascontiguousarray(inverse_triangle(factor).transpose(2, 0, 1))
    second = np.matmul(np.matmul(inverse, full(sums[:, 1], size)), inverse.transpose(0, 2, 1))
    third = full(sums[:, 2], size)
    cubes = (np.matmul(inverse, third) * inverse).sum(axis=2)

    diagonal = np.diagonal(second, axis1=1, axis2=2)
    k, squares = powers[:, 0].sum(axis=1), powers[:, 1].sum(axis=1)
    frobenius = np.square(second[:, :p, :p]).sum(axis=(1, 2))
    trace = k - diagonal[:, :p].sum(axis=1)
    lost = cubes[:, :p].sum(axis=1)
    ratio = diagonal[:, p]
    bend = 2.0 * cubes[:, p] - 2.0 * np.square(second[:, p, :p]).sum(axis=1)
    return _Point(
        value=value,
        slope=trace - nu * ratio,
        curvature=-squares + 2.0 * lost - frobenius + nu * (bend - ratio * ratio),
        expected=squares - 2.0 * lost + frobenius - trace * trace / nu,
        trace=trace,
        squares=squares,
        root_inverse=inverse,
        second=second,
        third=third,
        residual=np.square(pivots[:, p]),
    )


def _minimise(
    data: Moments, largest: Array, grid: Array, floor: Array, ceiling: float
) -> tuple[Array, Flags]:
    """Find phi at the minimum of f between floor and ceiling, and whether it was found.

    The grid lies between both. A minimum on the floor or the ceiling is found by sliding into it. Every grid
    point that is lower than its neighbours starts a search of its own, and the lowest end counts.
    """
    g = len(data.dof)
    ends = np.full((g, 1), ceiling)
    points = np.concatenate([floor[:, None], np.broadcast_to(grid, (g, len(grid))), ends], axis=1)
    values = _values(data, np.expm1(grid)[None, :] / largest[:, None])
    best, every = values.argmin(axis=1), np.arange(g)
    starts = points[every, best + 1] + _vertex(grid, values, best)
    phi, value, found = _descend(data, largest, points, (every, best + 1), starts)
    beyond = np.full((g, 1), np.inf)
    others = (values < np.concatenate([beyond, values[:, :-1]], axis=1)) & (
        values <= np.concatenate([values[:, 1:], beyond], axis=1)
    )
    others[every, best] = False
    rows, places = np.nonzero(others)
    if len(rows):
        from_there = points[rows, places + 1]
        other_phi, other_value, other_found = _descend(data, largest, points, (rows, places + 1), from_there)
        for i in np.flatnonzero(other_found):
            if other_value[i] < value[rows[i]] or not found[rows[i]]:
                phi[rows[i]], value[rows[i]], found[rows[i]] = other_phi[i], other_value[i], True
    return phi, found


def _vertex(grid: Array, values: Array, best: Indices) -> Array:
    """From the lowest grid point to the vertex of a parabola through it and its neighbours; 0 at an end."""
    every = np.arange(len(best))
    middle = np.clip(best, 1, len(grid) - 2)
    left, right = grid[middle] - grid[middle - 1], grid[middle + 1] - grid[middle]
    centre = values[every, middle]
    down = (centre - values[every, middle - 1]) / left
    up = (values[every, middle + 1] - centre) / right
    step = -(down * right + up * left) / (2.0 * (up - down))
    return np.where(np.isfinite(step) & (best == middle), np.clip(step, -0.5 * left, 0.5 * right), 0.0)


def _descend(
    data: Moments, largest: Array, points: Array, places: tuple[Indices, Indices], starts: Array
) -> tuple[Array, Array, Flags]:
    """Newton steps for some features, from `starts`: phi, f there, whether it was found.

    `points` (all features, grid with both ends); `places` are the features and the grid points whose
    neighbours bracket the minimum.
    """
    rows, at = places
    phi, low, high = starts.copy(), points[rows, at - 1], points[rows, at + 1]
    floor, ceiling = points[rows, 0], points[rows, -1]
    value, found = np.full(len(rows), np.inf), np.zeros(len(rows), dtype=bool)
    untried, active = np.ones(len(rows), dtype=bool), np.arange(len(rows))
    for _ in range(MAX_STEPS):
        if not len(active):
            break
        now, unit = phi[active], largest[rows[active]]
        point = _evaluate(data.take(rows[active]), np.expm1(now) / unit)
        slope, curvature = _by_phi(point, now, unit)
        high[active] = np.where(slope > 0, now, high[active])
        low[active] = np.where(slope > 0, low[active], now)
        following = _safe_step(now, slope, curvature, low[active], high[active])
        # What runs downhill to the floor of its range is looked at there, once, before it halves its way.
        falls = untried[active] & (low[active] == floor[active]) & (slope > 0)
        falls &= ~(now - slope / curvature > floor[active])
        following, untried[active[falls]] = np.where(falls, floor[active], following), False
        outward = ((now <= floor[active]) & (slope >= 0)) | ((now >= ceiling[active]) & (slope <= 0))
        following = np.where(outward, now, np.clip(following, floor[active], ceiling[active]))
        finite = np.isfinite(slope)
        done = (np.abs(following - now) <= SEARCH_TOLERANCE) | ~finite
        phi[active] = np.where(finite, following, now)
        value[active], found[active[done]] = point.value, finite[done]
        active = active[~done]
    return phi, value, found


def _by_phi(point: _Point, phi: Array, unit: Array) -> tuple[Array, Array]:
    """First and second derivative of f by phi = log(1 + theta unit)."""
    scale = np.exp(phi) / unit
    slope = point.slope * scale
    return slope, point.curvature * scale * scale + slope


def _safe_step(now: Array, slope: Array, curvature: Array, low: Array, high: Array) -> Array:
    """Newton's next phi, at most 3 away; the middle of the bracket where that leaves it or is uphill."""
    convex = curvature > 0
    newton = now - np.clip(slope / np.where(convex, curvature, 1.0), -3.0, 3.0)
    middle = np.clip(0.5 * (low + high), now - 3.0, now + 3.0)
    inside = convex & (newton > low) & (newton < high)
    return np.where(inside, newton, middle)


def _lower_bound(data: Moments, largest: Array) -> Array:
    """Smallest phi where theta may be negative.

    Where the groups that reach the bound together, as complete pairs do, have means that X cannot fit
    exactly, the criterion grows without limit there, and phi may come as close as it likes. Where X can
    (one participant alone has the most biopsies or the largest weights) the criterion stays finite, those
    means are fitted exactly at the bound, and the derivatives lose their digits; so phi stops at log .01.
    Error rates on null data do not depend on that number (1e-5 to .3 were tried).
    """
    top = np.broadcast_to(data.total, (len(largest), data.total.shape[1])) >= largest[:, None] * (1.0 - 1e-11)
    count, p = top.sum(axis=1), _columns(data) - 1
    enough = count > p
    unsure = np.flatnonzero((count > 1) & ~enough)
    if len(unsure):
        products = _rows_times(top[unsure, None, :].astype(float), data.take(unsure).outer_x)[:, 0]
        rank = np.linalg.matrix_rank(full(products, p), rtol=1e-12, hermitian=True)
        enough[unsure] = count[unsure] > rank
    return np.where(enough, PHI_MIN, PHI_MIN_ALONE)


def solve(
    design: GroupedDesign, response: Array, *, allow_negative: bool, told: Flags | None = None
) -> Solution:
    """Fit G features by REML.

    Parameters
    ----------
    design : GroupedDesign
        Basis, weights and groups of the features.
    response : (G, n) array
        Responses, 0 where not observed; scaled to about 1.
    allow_negative : bool
        Whether theta may be negative, down to the bound where V is positive definite.
    told : (G,) array of bool, optional
        Whether there are degrees of freedom within the groups. Without them f tends to a constant for large
        theta: its minimum may be at infinity, which is then taken as phi = log(1e8).

    Returns
    -------
    Solution
        One fit for each feature; `converged` is False where none was found.
    """
    with np.errstate(all="ignore"):
        data = design.moments(response)
        largest = np.broadcast_to(data.total.max(axis=1), data.dof.shape)
        phi, found, identified, at_zero, floor = _first_pass(data, largest, allow_negative)

        # The residual of a fit carries more digits than the response: go on with what is left.
        offset = _least_squares(data, np.expm1(phi) / largest)
        data = design.moments(response - design.fitted(offset))
        told = np.ones(len(phi), dtype=bool) if told is None else told
        unbounded = found & ~told & (phi >= PHI_FAR - 1.0)
        far = np.flatnonzero(found & told & (phi >= PHI_FAR - 1.0))
        if len(far):
            phi[far], found[far] = _minimise(
                data.take(far), largest[far], GRID_FAR, np.full(len(far), GRID_FAR[0] - 1.0), PHI_MAX
            )
        at_lower, at_upper = phi <= floor + 1e-3, unbounded | (phi >= PHI_MAX - 1.0)
        phi, point = _finish(data, largest, phi, movable=found & ~(at_zero | at_lower | at_upper))
        # X may use up all that varies within the groups: f is then flat for large theta, its minimum far out.
        empty = identified & (unbounded | ~(point.expected > IDENTIFIABLE * point.squares))
        at_upper |= empty & (phi > 0)
        identified &= ~empty
    return Solution(
        theta=np.expm1(phi) / largest,
        s2=point.residual / data.dof,
        criterion=point.value,
        coefficients=offset + _coefficients(point),
        inverse_root=point.root_inverse,
        second=point.second,
        third=point.third,
        trace=point.trace,
        expected=point.expected,
        observed=point.curvature,
        dof=data.dof,
        largest=largest,
        identified=identified,
        at_zero=at_zero,
        at_lower=at_lower,
        at_upper=at_upper,
        converged=found & np.isfinite(point.value) & ~(at_lower & (floor < PHI_MIN_ALONE)),
    )


def _first_pass(
    data: Moments, largest: Array, allow_negative: bool
) -> tuple[Array, Flags, Flags, Flags, Array]:
    """Find phi; tell whether it was found, theta identified, theta 0, and the lower bound of phi."""
    g = len(data.dof)
    origin = _evaluate(data, np.zeros(g))
    identified = origin.expected > IDENTIFIABLE * origin.squares
    floor = _lower_bound(data, largest) if allow_negative else np.full(g, -np.inf)
    few = data.total.shape[1] <= FEW_GROUPS
    grid, below = (GRID_FINE, GRID_NEGATIVE_FINE) if few else (GRID, GRID_NEGATIVE)
    grid = np.concatenate([below, grid]) if allow_negative else grid
    phi, found = np.zeros(g), ~identified
    search = np.flatnonzero(identified)
    if len(search):
        lowest = np.maximum(floor[search], -np.inf if allow_negative else 0.0)
        phi[search], found[search] = _minimise(data.take(search), largest[search], grid, lowest, PHI_FAR)
    at_zero = ~identified | ((np.abs(phi) <= ZERO) & (not allow_negative))
    phi[at_zero] = 0.0
    return phi, found, identified, at_zero, floor


def _finish(data: Moments, largest: Array, phi: Array, *, movable: Flags) -> tuple[Array, _Point]:
    """Polish phi where it is movable, until the step is rounding, and evaluate there."""
    point = _evaluate(data, np.expm1(phi) / largest)
    phi, unsettled = phi.copy(), movable.copy()
    for _ in range(MAX_POLISHING):
        slope, curvature = _by_phi(point, phi, largest)
        step = -slope / curvature
        size = np.abs(step)
        rows = np.flatnonzero(unsettled & (size < 0.5) & (size > ROUNDING_STEP))
        if not len(rows):
            break
        phi[rows] += step[rows]
        point = _renewed(point, rows, _evaluate(data.take(rows), np.expm1(phi[rows]) / largest[rows]))
        # Newton's steps square: what would follow a small one is rounding.
        unsettled &= size > LAST_STEP
    return phi, point


def _renewed(point: _Point, rows: Indices, part: _Point) -> _Point:
    """The point with some rows anew."""
    if len(rows) == len(point.value):
        return part
    for field in dataclasses.fields(_Point):
        getattr(point, field.name)[rows] = getattr(part, field.name)
    return point


def _coefficients(point: _Point) -> Array:
    """Coefficients from the last row of L^-1, which is (-b', 1) / sqrt(r2)."""
    row = point.root_inverse[:, -1]
    return np.asarray(-row[:, :-1] / row[:, -1:])


def _least_squares(data: Moments, theta: Array) -> Array:
    """Coefficients at one theta for each feature, without the rest of an evaluation: L_xx' b = L_yx."""
    size = _columns(data)
    power = (data.total / (1.0 + theta[:, None] * data.total))[:, None]
    factor = cholesky(np.ascontiguousarray((_sums(data, power)[:, 0] + data.within).T), size)
    b = factor[-1, :-1].copy()
    for j in range(size - 2, -1, -1):
        b[j] = (b[j] - (factor[j + 1 : -1, j] * b[j + 1 :]).sum(axis=0)) / factor[j, j]
    return np.asarray(b.T)
