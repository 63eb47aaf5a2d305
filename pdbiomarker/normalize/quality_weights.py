r"""Weights for whole libraries, beside those of single observations.

A library of poor quality has larger residuals in all genes. With :math:`v_k = e^{(Z\gamma)_k}` the variance
factor of library k (Z: sum-to-zero columns), the log-variances :math:`\gamma` are found by one pass of
approximate scoring over the genes: each gene adds its information to a prior of `prior_genes` times Z'Z, and
moves :math:`\gamma` by its standardised squared residuals :math:`d_k/s^2 - (1 - h_k)`,
:math:`d_k = w_k r_k^2`, h the leverages. The weights of the libraries are :math:`1/v_k`.

`voom_quality_weights` takes turns, as limma's ``voomWithQualityWeights``: voom, weights of the libraries,
voom with these, weights of the libraries again; the two kinds of weights are multiplied. The pass is in the
order of the rows, so the numbers of the last digits follow the order of the genes, as in limma. Agreement
with limma 3.54: 1e-7.

Sources: Ritchie et al. 2006, doi 10.1186/1471-2105-7-261; Liu et al. 2015, doi 10.1093/nar/gkv412.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.normalize.linear import column_basis
from pdbiomarker.normalize.trend import Trend, voom

__all__ = ["QualityVoom", "library_weights", "voom_quality_weights"]

#: Residual variances below this tell nothing.
_NO_VARIANCE: Final = 1e-15
#: One gene tells nothing of a library.
_FEWEST_GENES: Final = 2


class QualityVoom(NamedTuple):
    """`E` and `weights` (genes x libraries, both kinds multiplied), `sample_weights`, and the voom trend."""

    E: FloatArray
    weights: FloatArray
    sample_weights: FloatArray
    trend: Trend | None


def library_weights(
    y: npt.ArrayLike, design: FloatArray, weights: npt.ArrayLike | None = None, *, prior_genes: float = 10
) -> FloatArray:
    """Relative precision of each library.

    Parameters
    ----------
    y : array, genes x libraries
        Log values, complete.
    design : array, libraries x coefficients
        May be rank-deficient.
    weights : array, genes x libraries, optional
        Precision weights of the observations.
    prior_genes : float
        Weight of the prior that all libraries are alike.

    Returns
    -------
    array, libraries
        Geometric mean 1.

    References
    ----------
    Ritchie ME et al. BMC Bioinformatics 2006;7:261, doi 10.1186/1471-2105-7-261.
    """
    values = np.asarray(y, dtype=np.float64)
    precision = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    n = values.shape[1]
    independent = column_basis(np.asarray(design, dtype=np.float64))
    p = independent.shape[1]
    if n - p < 1 or values.shape[0] < _FEWEST_GENES:
        return np.ones(n)
    z = np.vstack([np.eye(n - 1), -np.ones(n - 1)])
    information = prior_genes * (z.T @ z)
    gamma = np.zeros(n - 1)
    for row, own in zip(values, precision, strict=True):
        w = own * np.exp(-(z @ gamma))
        root = np.sqrt(w)
        q = np.linalg.qr(independent * root[:, None])[0]
        effect = row * root
        residual = effect - q @ (q.T @ effect)
        d = residual**2
        s2 = float(d.sum()) / (n - p)
        if s2 < _NO_VARIANCE:
            continue
        rest = 1 - (q**2).sum(axis=1)
        weighted = z * rest[:, None]
        total = float(rest.sum())
        cross = weighted.sum(axis=0)
        information = information + z.T @ weighted - np.outer(cross, cross) / total
        gamma = gamma + linalg.solve(information, z.T @ (d / s2 - rest), assume_a="pos")
    return np.asarray(np.exp(-(z @ gamma)))


def voom_quality_weights(
    counts: npt.ArrayLike, design: FloatArray | None = None, lib_size: npt.ArrayLike | None = None
) -> QualityVoom:
    """Voom with weights for whole libraries, as limma's ``voomWithQualityWeights``.

    Parameters
    ----------
    counts : array, genes x libraries
    design : array, libraries x coefficients, optional
        Default one mean.
    lib_size : array, libraries, optional
        Effective library sizes; default the column sums.

    Returns
    -------
    QualityVoom
    """
    y = np.asarray(counts, dtype=np.float64)
    x = np.ones((y.shape[1], 1)) if design is None else np.asarray(design, dtype=np.float64)
    first = voom(y, x, lib_size)
    quality = library_weights(first.E, x, first.weights)
    second = voom(y, x, lib_size, covariance=np.diag(1 / quality))
    quality = library_weights(second.E, x, second.weights)
    return QualityVoom(second.E, second.weights * quality, quality, second.trend)
