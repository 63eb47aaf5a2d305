r"""Search for the REML optimum of any random effects, many features at once.

The roots r of the covariances are searched without bounds (module `structure`), their columns scaled so that
r near 1 is where the data tell something. Each feature starts at the best point of a coarse grid, because f
may have several minima, and takes Newton steps

    r - sum_i v_i (v_i'f_r) / max(|e_i|, floor),        f_rr = V diag(e) V',

downhill whatever the signs of the curvatures e, shortened until f falls. At a variance of 0 the gradient by
its root is 0 as well, so a search that ends there is a minimum only where f rises with the variance itself;
where it does not, the search goes on from a positive value. A component that the data cannot tell from those
before it (its pivot in the scaled information vanishes) stays 0.

Source: derived for this module; Nocedal and Wright, Numerical Optimization, 2006, section 3.4, for the
treatment of negative curvature.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray

from .blocks import BlockedData, Point, criterion, evaluate
from .structure import ZERO_ROOT

__all__ = ["Optimum", "minimise", "root_derivatives"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: A component is not told by the data if its pivot falls below this share of its information.
IDENTIFIABLE = 1e-9
#: Variances (of columns of unit size, relative to s2) where the search may start: for 1, 2 and 3 of them.
LEVELS = ((0.03, 0.4, 4.0, 60.0), (0.03, 0.4, 4.0, 60.0), (0.05, 1.0, 20.0))
#: Correlations of the only slope with its intercept where the search may start.
CORRELATIONS = (-0.7, 0.0, 0.7)
#: Shares of the variance around the ordinary fit where s2 may start, if it is searched.
RESIDUAL_LEVELS = (0.05, 0.4, 1.0)
STEP_TOLERANCE = 1e-7
MAX_STEPS = 100
#: Root beyond which nothing is left around the terms: their limit is not sought.
FAR = 1e5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Optima of G features.

    Attributes
    ----------
    root : (G, K) array
    fixed, zero : (G, K) arrays of bool
        Components the data do not tell; diagonal roots that are 0 (with those of them that are fixed).
    converged, far : (G,) arrays of bool
        Whether a minimum was found; whether it lies at infinite variances.
    """

    root: Array
    fixed: Flags
    zero: Flags
    converged: Flags
    far: Flags


def minimise(data: BlockedData, spread: Array) -> Optimum:
    """Find the root with the smallest f for each feature.

    Parameters
    ----------
    data : BlockedData
        G features.
    spread : (G,) array
        Variance around the ordinary fit; the scale of the search where s2 is not profiled out.
    """
    effects = data.effects
    with np.errstate(all="ignore"):
        scale = np.ones(len(spread)) if data.profiled else np.sqrt(np.maximum(spread, 1e-300))
        root, second, exists = _starts(data, scale)
        fixed = _untold(data, root)
        root = np.where(fixed, 0.0, root)
        found = _descend(data, root, fixed, scale)
        _try_again(data, root, second, exists, fixed, found, scale)
        for _ in range(2):
            again = _leave_zero(data, root, fixed, found, scale)
            if not len(again):
                break
            values = root[again]
            found[again] = _descend(data.take(again), values, fixed[again], scale[again])
            root[again] = values
        zero = (np.abs(root) < ZERO_ROOT * scale[:, None]) & effects.diagonal
        root[zero] = 0.0
        far = ~found & (np.abs(root) > 0.5 * FAR * scale[:, None]).any(axis=1)
        for k in np.flatnonzero(effects.diagonal):
            column = effects.column(int(k))
            root[:, column] *= np.where(root[:, k] < 0, -1.0, 1.0)[:, None]
    return Optimum(root, fixed, zero, found | far, far)


def _try_again(
    data: BlockedData, root: Array, second: Array, exists: Flags, fixed: Flags, found: Flags, scale: Array
) -> None:
    """Search from the second start of those who have one, and keep what is lower."""
    rows = np.flatnonzero(exists)
    if not len(rows):
        return
    now = data.take(rows)
    values = np.where(fixed[rows], 0.0, second[rows])
    reached = _descend(now, values, fixed[rows], scale[rows])
    lower = reached & (~found[rows] | (criterion(now, values) < criterion(now, root[rows]) - 1e-9))
    root[rows[lower]], found[rows[lower]] = values[lower], True


def _leave_zero(data: BlockedData, root: Array, fixed: Flags, found: Flags, scale: Array) -> Indices:
    """Set roots that ended at 0 to it; features where f falls with the variance start anew from above it."""
    effects = data.effects
    zero = (np.abs(root) < ZERO_ROOT * scale[:, None]) & effects.diagonal
    root[zero] = 0.0
    rows = np.flatnonzero((zero & ~fixed).any(axis=1) & found)
    if not len(rows):
        return rows
    there = root[rows]
    slope = evaluate(data.take(rows), effects.components(there), root=there).slope
    size = np.maximum(scale[rows], np.abs(there).max(axis=1, initial=0.0))[:, None]
    falling = (zero & ~fixed)[rows] & (np.square(size) * slope < -1e-6)
    root[rows] = np.where(falling, 0.3 * size, there)
    return np.asarray(rows[falling.any(axis=1)])


def _starts(data: BlockedData, scale: Array) -> tuple[Array, Array, Flags]:
    """The lowest point of the grid, its lowest other local minimum, each (G, K), and who has one."""
    points, shape = _grid(data)
    values = np.array([criterion(data, scale[:, None] * point) for point in points])
    cube = values.reshape(*shape, len(scale))
    local = np.isfinite(cube)
    for axis, size in enumerate(shape):
        before = np.take(cube, np.maximum(np.arange(size) - 1, 0), axis=axis)
        after = np.take(cube, np.minimum(np.arange(size) + 1, size - 1), axis=axis)
        local &= (cube <= before) & (cube <= after)
    best = np.nan_to_num(values, nan=np.inf).argmin(axis=0)
    other = np.where(local.reshape(values.shape), values, np.inf)
    other[best, np.arange(len(scale))] = np.inf
    second = other.argmin(axis=0)
    exists = np.isfinite(other[second, np.arange(len(scale))])
    return scale[:, None] * points[best], scale[:, None] * points[second], exists


def _grid(data: BlockedData) -> tuple[Array, tuple[int, ...]]:
    """Roots where a search may start, (points, K), and the shape of the grid they form."""
    effects = data.effects
    variances = np.flatnonzero(effects.diagonal)
    searched = variances if data.profiled else variances[:-1]
    count = len(searched)
    if count > len(LEVELS):
        sizes = np.full((count + 2, count), 0.1) + 4.9 * np.eye(count + 2, count)
        sizes[-2:] = [[0.3], [3.0]]
        axes = [sizes]
    else:
        levels = LEVELS[count - 1]
        axes = [np.array(list(itertools.product(levels, repeat=count)))]
    covariances = np.flatnonzero(~effects.diagonal)
    correlations = CORRELATIONS if len(covariances) == 1 else (0.0,)
    residuals = (1.0,) if data.profiled else RESIDUAL_LEVELS
    points = []
    for variance, correlation, residual in itertools.product(axes[0], correlations, residuals):
        point = np.zeros(len(effects.pair))
        point[searched] = np.sqrt(variance * residual)
        if correlation:
            # The covariance stands before the variance whose root it shares.
            k = covariances[0]
            point[k] = correlation * point[k + 1]
            point[k + 1] *= np.sqrt(1.0 - correlation**2)
        if not data.profiled:
            point[-1] = np.sqrt(residual)
        points.append(point)
    each = (len(axes[0]),) if count > len(LEVELS) else (len(LEVELS[count - 1]),) * count
    return np.array(points), (*each, len(correlations), len(residuals))


def _untold(data: BlockedData, root: Array) -> Flags:
    """Components that the data cannot tell from s2 and those before them, (G, K)."""
    point = evaluate(data, data.effects.components(root), root=root)
    count = root.shape[1]
    information = point.information
    if data.profiled:
        information = (
            information - point.trace[:, :, None] * point.trace[:, None, :] / data.dof[:, None, None]
        )
    size = np.diagonal(point.information, axis1=1, axis2=2)
    rest = information.copy()
    untold = np.zeros((len(root), count), dtype=bool)
    # s2 comes first where it is searched: it is never the one that is given up.
    for k in [*([] if data.profiled else [count - 1]), *range(count if data.profiled else count - 1)]:
        pivot = rest[:, k, k]
        told = (pivot > IDENTIFIABLE * size[:, k]) & (size[:, k] > 0)
        untold[:, k] = ~told
        column = np.where(told[:, None], rest[:, :, k], 0.0)
        rest = rest - column[:, :, None] * column[:, None, :] / np.where(told, pivot, 1.0)[:, None, None]
    for k in np.flatnonzero(data.effects.diagonal):
        owner, (a, _) = data.effects.owner[k], data.effects.pair[k]
        for i, pair in enumerate(data.effects.pair):
            if data.effects.owner[i] == owner and a in pair:
                untold[:, i] |= untold[:, k]
    return untold


def root_derivatives(data: BlockedData, point: Point, root: Array) -> tuple[Array, Array]:
    """First and second derivatives of f by the roots, (G, K) and (G, K, K)."""
    J = data.effects.jacobian(root)
    gradient = np.einsum("gk,gkc->gc", point.slope, J)
    hessian = np.matmul(J.transpose(0, 2, 1), np.matmul(point.curvature(data.profiled, data.dof), J))
    return gradient, hessian + np.einsum("gk,kcd->gcd", point.slope, data.effects.form)


def _descend(data: BlockedData, root: Array, fixed: Flags, scale: Array) -> Flags:
    """Newton steps from `root`, which is moved to the minimum; whether it was reached."""
    value = np.full(len(root), np.inf)
    step, slope = np.zeros_like(root), np.zeros(len(root))
    found = np.zeros(len(root), dtype=bool)
    active = np.arange(len(root))
    for _ in range(MAX_STEPS):
        trial = root[active] + step[active]
        now = data.take(active)
        point = evaluate(now, data.effects.components(trial), root=trial)
        limit = value[active] + 1e-4 * slope[active] + 1e-9
        lower = point.value <= limit
        step[active[~lower]] *= 0.25
        stuck = ~lower & (np.abs(step[active]).max(axis=1) < 1e-9 * scale[active])
        rows = active[lower]
        if len(rows):
            gradient, hessian = root_derivatives(now, point, trial)
            newton = _newton(gradient[lower], hessian[lower], fixed[rows], scale[rows], trial[lower])
            root[rows], value[rows] = trial[lower], point.value[lower]
            slope[rows] = (gradient[lower] * newton).sum(axis=1)
            step[rows] = newton
            size = np.abs(root[rows]) + scale[rows, None]
            done = (np.abs(newton) <= STEP_TOLERANCE * size).all(axis=1)
            out = np.abs(root[rows]).max(axis=1) > FAR * scale[rows]
            root[rows[done]] += newton[done]
            found[rows[done]] = True
            stuck[np.flatnonzero(lower)[done | out]] = True
        lost = ~np.isfinite(value[active])
        active = active[~(stuck | lost)]
        if not len(active):
            break
    return found


def _newton(gradient: Array, hessian: Array, fixed: Flags, scale: Array, root: Array) -> Array:
    """Steps downhill along the free roots, at most .7 of each root's size."""
    free = ~fixed
    unit = scale[:, None] + np.abs(root)
    g = np.where(free, gradient, 0.0) * unit
    H = np.where(free[:, :, None] & free[:, None, :], hessian, 0.0) * unit[:, :, None] * unit[:, None, :]
    good = np.isfinite(H).all(axis=(1, 2)) & np.isfinite(g).all(axis=1)
    H[~good], g[~good] = 0.0, 0.0
    diagonal = np.arange(g.shape[1])
    # What is fixed takes no part: its step is 0 whatever the curvature.
    H[:, diagonal, diagonal] += fixed * np.abs(H[:, diagonal, diagonal]).max(axis=1)[:, None]
    values, vectors = np.linalg.eigh(H)
    size = np.abs(values)
    floor = np.maximum(1e-7 * size.max(axis=1), 1e-12)[:, None]
    along = np.einsum("gij,gi->gj", vectors, g) / np.maximum(size, floor)
    step = -np.einsum("gij,gj->gi", vectors, along)
    longest = np.abs(step).max(axis=1, initial=0.0)
    step *= np.minimum(1.0, 0.7 / np.maximum(longest, 1e-300))[:, None]
    return np.asarray(step * unit)
