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

import dataclasses

import numpy as np
from numpy.typing import NDArray

__all__ = ["local_trend", "lowess", "lowess_trend", "natural_spline_basis"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Lowess: kernel and bisquare weights are 1 below the first share of their reach and 0 above the second.
CORE, EDGE = 0.001, 0.999
#: Lowess: a window whose standard deviation is below this share of the range is fitted by its mean.
FLAT = 0.001
#: Lowess: robustness stops when the median residual is below this share of the mean residual.
EXACT_FIT = 1e-7
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


def lowess(x: Array, y: Array, *, span: float = 0.5, robust_steps: int = 3, skip: float = 0.01) -> Array:
    """Cleveland's robust locally linear smoother, as R's ``lowess``.

    Parameters
    ----------
    x : array, n
        Ascending.
    y : array, n
    span : float
        Share of the points in each window.
    robust_steps : int
        Reweighting steps by the bisquare of the residuals.
    skip : float
        Points nearer than this share of the range to the last fitted one are interpolated.

    Returns
    -------
    array, n
        Smoothed values at `x`.

    References
    ----------
    Cleveland WS. JASA 1979;74:829-836, doi 10.1080/01621459.1979.10481038.
    """
    n = x.size
    if n < 2:
        return y.astype(np.float64)
    anchors = _skipping(x, skip * float(x[-1] - x[0]))
    windows = _windows(x, anchors, max(2, min(n, int(span * n + 1e-7))))
    robustness = np.ones(n)
    smooth = y
    for step in range(robust_steps + 1):
        at_anchors = np.array([_local_fit(x, y, robustness, w) for w in windows])
        smooth = np.interp(x, x[anchors], at_anchors)
        size = np.abs(y - smooth)
        scale = 6 * float(np.median(size))
        if step == robust_steps or scale <= EXACT_FIT * float(size.mean()):
            break
        bisquare = (1 - (size / scale) ** 2) ** 2
        robustness = np.where(size <= CORE * scale, 1.0, np.where(size <= EDGE * scale, bisquare, 0.0))
    return smooth


def lowess_trend(x: Array, y: Array, at: Array, *, span: float) -> Array:
    """Robust local lines through (x, y) in any order, read at `at` (ends continue level)."""
    order = np.argsort(x, kind="stable")
    return np.interp(at, x[order], lowess(x[order], y[order], span=span))


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
    """Points that are fitted: from each, the farthest one within `reach`, or the next beyond it."""
    n = x.size
    found = [0]
    while True:
        # Points tied with the last anchor have its value; the search goes on from the last of them.
        last = int(np.searchsorted(x, x[found[-1]], side="right")) - 1
        if last >= n - 1:
            return np.asarray(found, dtype=np.intp)
        beyond = int(np.searchsorted(x, x[last] + reach, side="right"))
        found.append(max(last + 1, min(beyond, n) - 1))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Points with weight in the fit at one anchor."""

    start: int
    stop: int
    anchor: int
    kernel: Array


def _windows(x: Array, anchors: Indices, width: int) -> list[_Window]:
    """For each anchor the `width` nearest points, and the tricube weights of all within their reach."""
    n = x.size
    left = 0
    found: list[_Window] = []
    for i in anchors:
        # The window slides right while the point it would gain is nearer than the one it would lose.
        nearer = x[i] - x[left : n - width] > x[left + width :] - x[i]
        left += int(nearer.size if nearer.all() else np.argmin(nearer))
        reach = max(x[i] - x[left], x[left + width - 1] - x[i])
        stop = int(np.searchsorted(x, x[i] + EDGE * reach, side="right"))
        stop = max(stop, int(i) + 1)
        distance = np.abs(x[left:stop] - x[i])
        with np.errstate(invalid="ignore", divide="ignore"):
            tricube = (1 - (distance / reach) ** 3) ** 3
        kernel = np.where(distance <= CORE * reach, 1.0, np.where(distance <= EDGE * reach, tricube, 0.0))
        found.append(_Window(left, stop, int(i), kernel))
    return found


def _local_fit(x: Array, y: Array, robustness: Array, window: _Window) -> float:
    """Weighted straight line through the window, at its anchor; the point itself where no weight is left."""
    part = slice(window.start, window.stop)
    weight = window.kernel * robustness[part]
    total = float(weight.sum())
    if total <= 0:
        return float(y[window.anchor])
    weight = weight / total
    centre = float(weight @ x[part])
    offset = x[part] - centre
    spread = float(weight @ offset**2)
    if np.sqrt(spread) > FLAT * float(x[-1] - x[0]):
        weight = weight * (1 + (x[window.anchor] - centre) / spread * offset)
    return float(weight @ y[part])


def _spread(x: Array) -> Indices:
    """Anchors among ascending x: half evenly by rank, half evenly along x; all distinct points if few."""
    distinct = np.unique(x, return_index=True)[1]
    if len(distinct) <= ALL_ANCHORS:
        return np.asarray(distinct, dtype=np.intp)
    by_rank = np.linspace(0, len(x) - 1, ANCHORS // 2).round().astype(np.intp)
    along = np.searchsorted(x, np.linspace(x[0], x[-1], ANCHORS // 2))
    chosen = np.unique(x[np.concatenate([by_rank, along])])
    return np.asarray(np.searchsorted(x, chosen), dtype=np.intp)
