r"""Library sizes that composition does not move (TMM), and counts per million.

For library :math:`k` against a reference library :math:`r`, with counts :math:`y` and totals :math:`N`,
every gene that both libraries hold has a log ratio, a mean log abundance and an approximate variance

.. math::

    M = \log_2 \frac{y_k / N_k}{y_r / N_r}, \qquad
    A = \tfrac12 \log_2 \Bigl(\frac{y_k}{N_k} \cdot \frac{y_r}{N_r}\Bigr), \qquad
    v = \frac{N_k - y_k}{N_k y_k} + \frac{N_r - y_r}{N_r y_r}.

The factor of the library is :math:`2^{\bar M}`, the mean of :math:`M` weighted by :math:`1/v` over the genes
that remain when the outer 30 % of :math:`M` and the outer 5 % of :math:`A` are trimmed from both ends. The
factors are scaled to a geometric mean of 1; `factor * N` is the effective library size.

The reference library is the one whose upper quartile, relative to its total, is nearest to the mean over
libraries. All choices (ties share their mean rank, quantiles interpolate linearly) are those of edgeR's
``calcNormFactors(method="TMM")``, whose numbers this module reproduces to 1e-9.

Source: Robinson MD, Oshlack A. Genome Biology 2010;11:R25, doi 10.1186/gb-2010-11-3-r25.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["cpm", "tmm_factors", "voom_log_cpm"]

FloatArray = npt.NDArray[np.float64]

#: Below this median of relative upper quartiles (nearly all counts are zero) the reference library is the
#: one with the largest sum of square roots.
_SPARSE_QUANTILE: Final = 1e-20
#: Log ratios all smaller than this: the libraries are proportional, the factor is 1.
_PROPORTIONAL: Final = 1e-6


def tmm_factors(
    counts: npt.ArrayLike,
    lib_size: npt.ArrayLike | None = None,
    *,
    ratio_trim: float = 0.3,
    sum_trim: float = 0.05,
    weighted: bool = True,
) -> FloatArray:
    """Scaling factors by the trimmed mean of M values.

    Parameters
    ----------
    counts : array, genes x libraries
        Counts >= 0, complete.
    lib_size : array, libraries, optional
        Total of each library; default the column sums.
    ratio_trim, sum_trim : float
        Share trimmed from each end of the log ratios and of the mean log abundances.
    weighted : bool
        Weight genes by the inverse of their asymptotic variance, as edgeR does. The weights depend on the
        depth of a library, so doubling one library moves the weighted factors a little; the unweighted
        ones do not move.

    Returns
    -------
    array, libraries
        Positive factors with geometric mean 1. With one library, or no gene that is counted, all 1.

    References
    ----------
    Robinson MD, Oshlack A. Genome Biology 2010;11:R25, doi 10.1186/gb-2010-11-3-r25.

    Examples
    --------
    >>> tmm_factors([[10, 20], [30, 60], [5, 10]]).tolist()
    [1.0, 1.0]
    """
    y, size = _arrays(counts, lib_size)
    y = y[(y > 0).any(axis=1)]
    n_libraries = y.shape[1]
    if y.shape[0] == 0 or n_libraries < 2:
        return np.ones(n_libraries)
    reference = _reference_library(y, size)
    factors = np.ones(n_libraries)
    for k in range(n_libraries):
        both = (y[:, k] > 0) & (y[:, reference] > 0)
        own, ref = y[both, k], y[both, reference]
        n_own, n_ref = size[k], size[reference]
        ratio = np.log2((own / n_own) / (ref / n_ref))
        if ratio.size == 0 or np.abs(ratio).max() < _PROPORTIONAL:
            continue
        abundance = (np.log2(own / n_own) + np.log2(ref / n_ref)) / 2
        kept = _inside(ratio, ratio_trim) & _inside(abundance, sum_trim)
        if kept.any():
            variance = (n_own - own) / n_own / own + (n_ref - ref) / n_ref / ref
            weight = 1 / variance[kept] if weighted else np.ones(int(kept.sum()))
            factors[k] = 2 ** (np.sum(weight * ratio[kept]) / np.sum(weight))
    scale = float(np.exp(np.mean(np.log(factors))))
    return factors / scale


def _arrays(counts: npt.ArrayLike, lib_size: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Counts and library sizes, by default the column sums."""
    y = np.asarray(counts, dtype=np.float64)
    return y, y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)


def _reference_library(y: FloatArray, size: FloatArray) -> int:
    """Column of the library whose relative upper quartile is nearest to the mean of all."""
    quartile = np.quantile(y, 0.75, axis=0) / size
    if np.median(quartile) < _SPARSE_QUANTILE:
        return int(np.argmax(np.sqrt(y).sum(axis=0)))
    return int(np.argmin(np.abs(quartile - quartile.mean())))


def _inside(values: FloatArray, trim: float) -> npt.NDArray[np.bool_]:
    """Whether the rank of each value (ties share the mean rank) is left after trimming both ends."""
    n = values.size
    low = np.floor(n * trim) + 1
    rank = stats.rankdata(values)
    return np.asarray((rank >= low) & (rank <= n + 1 - low))


def cpm(counts: npt.ArrayLike, lib_size: npt.ArrayLike | None = None) -> FloatArray:
    """Counts per million.

    Parameters
    ----------
    counts : array, genes x libraries
    lib_size : array, libraries, optional
        Effective library sizes (total times TMM factor); default the column sums.

    Returns
    -------
    array, genes x libraries
    """
    y, size = _arrays(counts, lib_size)
    return np.asarray(y / size * 1e6, dtype=np.float64)


def voom_log_cpm(counts: npt.ArrayLike, lib_size: npt.ArrayLike | None = None) -> FloatArray:
    """Log2 counts per million as voom defines them: ``log2((y + 1/2) / (N + 1) * 1e6)``.

    Parameters
    ----------
    counts : array, genes x libraries
    lib_size : array, libraries, optional
        Effective library sizes; default the column sums.

    Returns
    -------
    array, genes x libraries

    References
    ----------
    Law CW et al. Genome Biology 2014;15:R29, doi 10.1186/gb-2014-15-2-r29.
    """
    y, size = _arrays(counts, lib_size)
    return np.log2((y + 0.5) / (size + 1) * 1e6)
