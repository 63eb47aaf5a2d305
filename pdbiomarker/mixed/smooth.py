r"""Trends of log variances along a covariate: natural splines and local lines.

Natural cubic spline: linear beyond the outermost knots. With knots k_1 < ... < k_m and
d_j(x) = ((x - k_j)_+^3 - (x - k_m)_+^3) / (k_m - k_j), it is spanned by 1, x and d_j - d_{m-1} (j < m - 1).

Local line: at an anchor a, the weighted least-squares line through its neighbours, read at a; the weight of a
neighbour at distance D is (1 - (D/h)^3)^3 times its own. h reaches the share `span` of the points (or of
their total weight). Between anchors the curve is straight. The robust version repeats the fit with bisquare
weights of the residuals (Cleveland's lowess).

Sources: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 5.2.1; Cleveland 1979,
doi:10.1080/01621459.1979.10481038.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["local_trend", "lowess_trend", "natural_spline_basis"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Lowess: kernel and bisquare weights are 1 below the first share of their reach and 0 above the second.
CORE, EDGE = 0.001, 0.999
#: Lowess: points nearer than this share of the range to the last anchor are interpolated.
SKIP = 0.01
#: Lowess: a window whose standard deviation is below this share of the range is fitted by its mean.
FLAT = 0.001
ROBUST_STEPS = 3
#: Anchors of the weighted local line: every point up to the first number, else about the second.
ALL_ANCHORS, ANCHORS = 400, 200


def natural_spline_basis(x: Array, knots: Array) -> Array:
    """Functions that span the natural cubic splines with these knots.

    Parameters
    ----------
    x : (n,) array
        Where to evaluate.
    knots : (m,) array
        Ascending, m >= 2; the outermost are the limits beyond which the spline is straight.

    Returns
    -------
    (n, m) array
    """
    unit = knots[-1] - knots[0]
    at = (x - knots[0]) / unit
    inner = np.unique((knots - knots[0]) / unit)
    cubes = np.maximum(at[:, None] - inner[:-1], 0.0) ** 3 - np.maximum(at[:, None] - inner[-1], 0.0) ** 3
    ramps = cubes / (inner[-1] - inner[:-1])
    return np.column_stack([np.ones_like(at), at, ramps[:, :-1] - ramps[:, -1:]])


def lowess_trend(x: Array, y: Array, at: Array, *, span: float) -> Array:
    """Cleveland's robust local lines through (x, y), read at `at` (ends continue level).

    The window, the anchors and the steps are those of R's `lowess(f=span, iter=3)`.
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    n = len(x)
    reach = float(x[-1] - x[0])
    anchors = _skipping(x, SKIP * reach)
    distance = np.abs(x[anchors][:, None] - x)
    count = max(2, min(n, int(span * n + 1e-7)))
    h = np.partition(distance, count - 1, axis=1)[:, count - 1 : count]
    kernel = np.where(distance <= CORE * h, 1.0, _tricube(distance, h))
    kernel[distance > EDGE * h] = 0.0
    # An anchor whose whole window lies on it has the weight of its own ties.
    kernel = np.where((h == 0) & (distance == 0), 1.0, kernel)
    robustness = np.ones(n)
    heights = y[anchors]
    for step in range(ROBUST_STEPS + 1):
        heights = _lines(x, y, anchors, kernel * robustness, flat=FLAT * reach)
        size = np.abs(y - np.interp(x, x[anchors], heights))
        limit = 6.0 * float(np.median(size))
        if step == ROBUST_STEPS or limit <= 1e-7 * float(size.mean()):
            break
        bisquare = np.square(1.0 - np.square(size / limit))
        robustness = np.where(size <= CORE * limit, 1.0, np.where(size <= EDGE * limit, bisquare, 0.0))
    return np.interp(at, x[anchors], heights)


def local_trend(x: Array, y: Array, weights: Array, at: Array, *, span: float) -> Array:
    """Weighted local lines through (x, y), read at `at` (ends continue level).

    The neighbours of an anchor hold the share `span` of the total weight.
    """
    order = np.argsort(x, kind="stable")
    x, y, weights = x[order], y[order], weights[order]
    anchors = _spread(x)
    h = _weighted_reach(x, weights, anchors, span)[:, None]
    distance = np.abs(x[anchors][:, None] - x)
    kernel = np.where(distance < h, _tricube(distance, h), 0.0)
    kernel = np.where((h == 0) & (distance == 0), 1.0, kernel)
    heights = _lines(x, y, anchors, kernel * weights, flat=1e-10 * float(x[-1] - x[0]))
    return np.interp(at, x[anchors], heights)


def _weighted_reach(x: Array, weights: Array, anchors: Indices, span: float) -> Array:
    """Distance within which each anchor has the share `span` of the weight: that of a point."""
    gathered = np.concatenate([[0.0], np.cumsum(weights)])
    wanted = span * gathered[-1] * (1.0 - 1e-12)
    centre = x[anchors]
    short, enough = np.zeros(len(anchors)), np.full(len(anchors), float(x[-1] - x[0]))
    for _ in range(80):
        middle = 0.5 * (short + enough)
        first = np.searchsorted(x, centre - middle, side="left")
        beyond = np.searchsorted(x, centre + middle, side="right")
        reached = gathered[beyond] - gathered[first] >= wanted
        enough, short = np.where(reached, middle, enough), np.where(reached, short, middle)
    slack = 4.0 * np.spacing(np.abs(x).max())
    first = np.searchsorted(x, centre - enough - slack, side="left")
    beyond = np.searchsorted(x, centre + enough + slack, side="right")
    return np.asarray(np.maximum(centre - x[first], x[beyond - 1] - centre))


def _tricube(distance: Array, h: Array) -> Array:
    share = distance / np.where(h > 0, h, 1.0)
    return (1.0 - np.minimum(share, 1.0) ** 3) ** 3


def _lines(x: Array, y: Array, anchors: Indices, weights: Array, *, flat: float) -> Array:
    """Height at each anchor of the line through the points with its row of weights."""
    total = weights.sum(axis=1)
    empty = total <= 0
    share = weights / np.where(empty, 1.0, total)[:, None]
    centre = share @ x
    offset = x - centre[:, None]
    spread = (share * np.square(offset)).sum(axis=1)
    straight = np.sqrt(spread) > flat
    slope = (share * offset) @ y / np.where(straight, spread, 1.0)
    heights = share @ y + np.where(straight, (x[anchors] - centre) * slope, 0.0)
    return np.where(empty, y[anchors], heights)


def _skipping(x: Array, reach: float) -> Indices:
    """Anchors of lowess in ascending x: from each, the farthest point within `reach`, or the next one."""
    found = [0]
    while True:
        tied = int(np.searchsorted(x, x[found[-1]], side="right")) - 1
        if tied >= len(x) - 1:
            return np.asarray(found, dtype=np.intp)
        within = int(np.searchsorted(x, x[tied] + reach, side="right")) - 1
        found.append(max(tied + 1, within))


def _spread(x: Array) -> Indices:
    """Anchors among ascending x: half evenly by rank, half evenly along x; all distinct points if few."""
    distinct = np.unique(x, return_index=True)[1]
    if len(distinct) <= ALL_ANCHORS:
        return np.asarray(distinct, dtype=np.intp)
    by_rank = np.linspace(0, len(x) - 1, ANCHORS // 2).round().astype(np.intp)
    along = np.searchsorted(x, np.linspace(x[0], x[-1], ANCHORS // 2))
    chosen = np.unique(x[np.concatenate([by_rank, along])])
    return np.asarray(np.searchsorted(x, chosen), dtype=np.intp)
