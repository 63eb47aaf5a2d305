"""Shares of participants with exact limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["exact_limits"]


def exact_limits(
    count: ArrayLike, n: ArrayLike, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give Clopper-Pearson limits of `count` in `n`; NaN where `n` is 0.

    Examples
    --------
    >>> low, high = exact_limits(0, 10)
    >>> float(low), round(float(high), 4)
    (0.0, 0.3085)
    """
    k, total = np.asarray(count, dtype=float), np.asarray(n, dtype=float)
    tail = (1 - level) / 2
    low = np.where(k > 0, stats.beta.ppf(tail, np.maximum(k, 1), total - k + 1), 0.0)
    high = np.where(k < total, stats.beta.ppf(1 - tail, k + 1, np.maximum(total - k, 1)), 1.0)
    return np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)
