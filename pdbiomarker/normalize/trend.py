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

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from pdbiomarker.expression.library_size import FloatArray, voom_log_cpm
from pdbiomarker.mixed.smooth import lowess
from pdbiomarker.normalize.linear import column_basis

__all__ = ["Trend", "Voom", "lowess", "voom"]


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
