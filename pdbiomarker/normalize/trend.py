r"""The mean-variance trend of log counts as precision weights.

With counts :math:`y_{gi}` and effective library sizes :math:`N_i`,

.. math:: E_{gi} = \log_2 \frac{y_{gi} + 1/2}{N_i + 1} 10^6 .

A linear model on the design gives each gene a residual standard deviation :math:`s_g`. A lowess curve
:math:`f` of :math:`\sqrt{s_g}` on the gene's mean log2 count predicts, from the fitted log2 count of every
single observation, its standard deviation; its weight is :math:`f(\cdot)^{-4}`, the inverse variance.

The curve is Cleveland's robust, locally linear lowess with the window, the skipping of near neighbours
(1 % of the range) and the three robustness steps that R's ``lowess`` uses; numbers agree with limma's
``voom`` to 1e-9 (values) and 1e-7 (weights).

Sources: Law CW, Chen Y, Shi W, Smyth GK. Genome Biology 2014;15:R29, doi 10.1186/gb-2014-15-2-r29.
Cleveland WS. JASA 1979;74:829-836, doi 10.1080/01621459.1979.10481038.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from pdbiomarker.expression.library_size import FloatArray, voom_log_cpm
from pdbiomarker.normalize.linear import column_basis

__all__ = ["Trend", "Voom", "lowess", "voom"]

#: Kernel weights: 1 below this share of the window's half width, 0 above the second.
_CORE, _EDGE = 0.001, 0.999
#: A window narrower than this share of the range (as a standard deviation) is fitted by its mean.
_FLAT: Final = 0.001
#: Robustness stops when the median residual is below this share of the mean residual.
_EXACT_FIT: Final = 1e-7


class Trend(NamedTuple):
    """The lowess curve: mean log2 count of the genes (`x`, ascending) and sqrt standard deviation (`y`)."""

    x: FloatArray
    y: FloatArray


class Voom(NamedTuple):
    """Result of :func:`voom`: `E` and `weights` (genes x libraries), and the `trend` where there is one."""

    E: FloatArray
    weights: FloatArray
    trend: Trend | None


def voom(
    counts: npt.ArrayLike,
    design: FloatArray | None = None,
    lib_size: npt.ArrayLike | None = None,
    *,
    norm_factors: npt.ArrayLike | None = None,
    span: float = 0.5,
    covariance: FloatArray | None = None,
) -> Voom:
    """Log2 CPM and the precision weight of every observation, as limma's ``voom``.

    Parameters
    ----------
    counts : array, genes x libraries
        Counts >= 0, complete.
    design : array, libraries x coefficients, optional
        May be rank-deficient; default one mean.
    lib_size : array, libraries, optional
        Library sizes; default the column sums.
    norm_factors : array, libraries, optional
        TMM factors that scale the library sizes; default 1.
    span : float
        Share of the genes in each lowess window.
    covariance : array, libraries x libraries, optional
        Covariance of the libraries up to a factor, the same for all genes, for the linear fit behind the
        trend: ``diag(1 / quality)`` for libraries of unequal quality, or 1 on the diagonal and a consensus
        correlation between biopsies of one participant (limma's ``block`` and ``correlation``).

    Returns
    -------
    Voom
        `weights` are 1 and `trend` is None when fewer than two genes, or no residual degrees of freedom,
        are left to estimate a variance from.

    References
    ----------
    Law CW et al. Genome Biology 2014;15:R29, doi 10.1186/gb-2014-15-2-r29.
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    if norm_factors is not None:
        size = size * np.asarray(norm_factors, dtype=np.float64)
    E = voom_log_cpm(y, size)
    x = np.ones((y.shape[1], 1)) if design is None else np.asarray(design, dtype=np.float64)
    root = None if covariance is None else np.linalg.cholesky(covariance)
    basis = column_basis(x if root is None else linalg.solve_triangular(root, x, lower=True))
    residual_df = y.shape[1] - basis.shape[1]
    counted = y.sum(axis=1) > 0
    if residual_df < 1 or counted.sum() < 2:
        return Voom(E, np.ones_like(E), None)
    whitened = E if root is None else linalg.solve_triangular(root, E.T, lower=True).T
    explained = (whitened @ basis) @ basis.T
    sigma = np.sqrt(((whitened - explained) ** 2).sum(axis=1) / residual_df)
    fitted = explained if root is None else explained @ root.T
    mean_log_count = E.mean(axis=1) + np.mean(np.log2(size + 1)) - np.log2(1e6)
    trend = _curve(mean_log_count[counted], np.sqrt(sigma[counted]), span)
    fitted_log_count = np.log2(1e-6 * 2**fitted * (size + 1))
    predicted = np.interp(fitted_log_count, trend.x, trend.y)
    return Voom(E, predicted**-4.0, trend)


def _curve(x: FloatArray, y: FloatArray, span: float) -> Trend:
    """Lowess curve with one point per distinct x."""
    order = np.argsort(x, kind="stable")
    at, first = np.unique(x[order], return_index=True)
    smooth = lowess(x[order], y[order], span=span)
    lengths = np.diff(np.append(first, x.size))
    return Trend(at, np.add.reduceat(smooth, first) / lengths)


def lowess(
    x: FloatArray, y: FloatArray, *, span: float = 0.5, robust_steps: int = 3, skip: float = 0.01
) -> FloatArray:
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
    anchors = _anchors(x, skip * float(x[-1] - x[0]))
    windows = _windows(x, anchors, max(2, min(n, int(span * n + 1e-7))))
    robustness = np.ones(n)
    smooth = y
    for step in range(robust_steps + 1):
        at_anchors = np.array([_local_fit(x, y, robustness, w) for w in windows])
        smooth = np.interp(x, x[anchors], at_anchors)
        size = np.abs(y - smooth)
        scale = 6 * float(np.median(size))
        if step == robust_steps or scale <= _EXACT_FIT * float(size.mean()):
            break
        bisquare = (1 - (size / scale) ** 2) ** 2
        robustness = np.where(size <= _CORE * scale, 1.0, np.where(size <= _EDGE * scale, bisquare, 0.0))
    return smooth


def _anchors(x: FloatArray, reach: float) -> npt.NDArray[np.intp]:
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


@dataclass(frozen=True)
class _Window:
    """Points with weight in the fit at one anchor."""

    start: int
    stop: int
    anchor: int
    kernel: FloatArray


def _windows(x: FloatArray, anchors: npt.NDArray[np.intp], width: int) -> list[_Window]:
    """For each anchor the `width` nearest points, and the tricube weights of all within their reach."""
    n = x.size
    left = 0
    found: list[_Window] = []
    for i in anchors:
        # The window slides right while the point it would gain is nearer than the one it would lose.
        nearer = x[i] - x[left : n - width] > x[left + width :] - x[i]
        left += int(nearer.size if nearer.all() else np.argmin(nearer))
        reach = max(x[i] - x[left], x[left + width - 1] - x[i])
        stop = int(np.searchsorted(x, x[i] + _EDGE * reach, side="right"))
        stop = max(stop, int(i) + 1)
        distance = np.abs(x[left:stop] - x[i])
        with np.errstate(invalid="ignore", divide="ignore"):
            tricube = (1 - (distance / reach) ** 3) ** 3
        kernel = np.where(distance <= _CORE * reach, 1.0, np.where(distance <= _EDGE * reach, tricube, 0.0))
        found.append(_Window(left, stop, int(i), kernel))
    return found


def _local_fit(x: FloatArray, y: FloatArray, robustness: FloatArray, window: _Window) -> float:
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
    if np.sqrt(spread) > _FLAT * float(x[-1] - x[0]):
        weight = weight * (1 + (x[window.anchor] - centre) / spread * offset)
    return float(weight @ y[part])
