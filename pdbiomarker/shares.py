"""Shares of participants with exact limits.

Plain arrays in and out, on the lowest floor: the clinic (rates of response, toxicity and antibodies) and the
noise (rates of responders) are on floors that may not import each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["clopper_pearson"]


def clopper_pearson(
    count: ArrayLike, n: ArrayLike, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the exact limits of a share.

    Parameters
    ----------
    count, n : int, or arrays of one shape
        Participants with it, and participants.
    level : float

    Returns
    -------
    low, high : ndarray of float64, of that shape
        From 0 to 1; both NaN where `n` is 0.

    Notes
    -----
    Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> [round(float(limit), 4) for limit in clopper_pearson(0, 10)]
    [0.0, 0.3085]
    """
    k, total = np.asarray(count, dtype=float), np.asarray(n, dtype=float)
    tail = (1 - level) / 2
    low = np.where(k > 0, stats.beta.ppf(tail, np.maximum(k, 1), total - k + 1), 0.0)
    high = np.where(k < total, stats.beta.isf(tail, k + 1, np.maximum(total - k, 1)), 1.0)
    return np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)
