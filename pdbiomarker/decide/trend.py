r"""The change over dose levels: what a dose-finding trial can say of a biologically effective dose.

Three participants at a dose carry no verdict. What the levels say together is a trend: Spearman's rank
correlation of a participant's change with the dose, its p by permutation of the doses, and the slope of the
change per doubling of the dose by least squares. A trend is no shape: a drug that binds its own target can
have a bell-shaped relation, and a rank correlation near 0 does not exclude one.

Source: Spearman 1904, doi:10.2307/1412159.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["LEVEL_COLUMNS", "TREND_COLUMNS", "dose_levels", "dose_trend"]

Array = NDArray[np.float64]

LEVEL_COLUMNS: Final = ("dose", "n_participants", "n_evaluable", "change", "low", "high")
TREND_COLUMNS: Final = (
    *("n_evaluable", "n_levels", "rho", "p", "method", "slope", "slope_low", "slope_high", "verdict"),
)
_DRAWS: Final = 9_999
_FEW: Final = 5
_ALPHA: Final = 0.05
#: Pearson correlations of ranks closer than this are the same.
_TIE: Final = 1e-10


def dose_levels(change: ArrayLike, dose: ArrayLike) -> pd.DataFrame:
    """Mean change of each dose level with its 95 % t interval, in the order of the doses.

    Parameters
    ----------
    change, dose : (n,) arrays
        One a participant, model scale; NaN = not evaluable, or no dose recorded.

    Returns
    -------
    DataFrame
        :data:`LEVEL_COLUMNS`; limits are NaN with fewer than two changes. Participants without a dose are a
        last row whose dose is NaN.
    """
    d, x = np.asarray(change, dtype=float), np.asarray(dose, dtype=float)
    rows = []
    for level in [*np.unique(x[np.isfinite(x)]), np.nan]:
        members = np.isnan(x) if np.isnan(level) else x == level
        if not members.any():
            continue
        own = d[members & np.isfinite(d)]
        half = np.nan
        if len(own) > 1:
            half = float(stats.t.isf(_ALPHA / 2, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own)))
        mean = float(own.mean()) if len(own) else np.nan
        rows.append((level, int(members.sum()), len(own), mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=list(LEVEL_COLUMNS))


def dose_trend(change: ArrayLike, dose: ArrayLike, *, seed: int = 1) -> pd.DataFrame:
    """One row: whether the change goes with the dose.

    Parameters
    ----------
    change, dose : (n,) arrays
        One a participant, model scale and the dose in any one unit; pairs with a missing value are left out.
    seed : int
        Of the permutations where there are too many to list.

    Returns
    -------
    DataFrame
        :data:`TREND_COLUMNS`. `slope` is the change per doubling of the dose (NaN beside a dose of 0). Where
        fewer than two levels or five participants are evaluable, or nothing varies, `verdict` says so and the
        numbers are NaN.
    """
    d, x = np.asarray(change, dtype=float), np.asarray(dose, dtype=float)
    told = np.isfinite(d) & np.isfinite(x)
    d, x = d[told], x[told]
    order = np.lexsort((d, x))  # permutations drawn by a seed must not hang on the order of the participants
    d, x = d[order], x[order]
    n, levels = len(d), len(np.unique(x))
    none = (n, levels, np.nan, np.nan, "", np.nan, np.nan, np.nan)
    if levels < 2 or n < _FEW or np.ptp(d) == 0:
        said = f"{n} evaluable participants at {levels} dose level{'' if levels == 1 else 's'} tell no trend."
        return pd.DataFrame([(*none, said)], columns=list(TREND_COLUMNS))
    rho, p, method = _spearman(d, x, seed)
    slope = half = np.nan
    if (x > 0).all():
        fit = stats.linregress(np.log2(x), d)
        slope, half = float(fit.slope), float(stats.t.isf(_ALPHA / 2, n - 2) * fit.stderr)
    verdict = _verdict(rho, p, n, levels)
    row = (n, levels, rho, p, method, slope, slope - half, slope + half, verdict)
    return pd.DataFrame([row], columns=list(TREND_COLUMNS))


def _verdict(rho: float, p: float, n: int, levels: int) -> str:
    basis = f"(rank correlation {rho:.2f}, p {p:.2g}, {n} participants at {levels} dose levels)"
    if p > _ALPHA:
        return f"No trend with dose is shown {basis}; that is no proof that the doses do the same."
    way = "rises" if rho > 0 else "falls"
    return f"The change {way} with dose {basis}."


def _spearman(d: Array, x: Array, seed: int) -> tuple[float, float, str]:
    """Rank correlation with its two-sided permutation p: all orders of few, seeded draws of many."""
    a, b = (_standard(stats.rankdata(v)) for v in (d, x))
    rho = float(a @ b)
    n = len(a)
    if math.factorial(n) <= _DRAWS:
        orders = _orders(n)
        shares = np.abs(b[orders] @ a) >= abs(rho) - _TIE
        return rho, float(shares.mean()), f"all {math.factorial(n):,} permutations"
    random = np.random.default_rng(seed)
    drawn = random.permuted(np.broadcast_to(b, (_DRAWS, n)), axis=1) @ a
    hits = int((np.abs(drawn) >= abs(rho) - _TIE).sum())
    return rho, (hits + 1) / (_DRAWS + 1), f"{_DRAWS:,} permutations"


def _orders(n: int) -> NDArray[np.int64]:
    orders = np.zeros((1, 0), dtype=np.int64)
    for k in range(n):
        orders = np.concatenate([np.insert(orders, at, k, axis=1) for at in range(k + 1)])
    return orders


def _standard(ranks: Array) -> Array:
    centred = ranks - ranks.mean()
    return np.asarray(centred / np.sqrt(centred @ centred))
