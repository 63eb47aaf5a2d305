r"""Intraclass correlations of a complete table, by the forms of Shrout and Fleiss.

n subjects x k measurements; mean squares of a two-way layout without replication: BMS between subjects, JMS
between columns, EMS error, and WMS within subjects (one-way).

    ICC(1,1) = (BMS - WMS) / (BMS + (k - 1) WMS)                         columns are not matched
    ICC(2,1) = (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n)     columns are a sample: agreement
    ICC(3,1) = (BMS - EMS) / (BMS + (k - 1) EMS)                         these columns only: consistency

Limits: exact from F for (1,1) and (3,1); for (2,1) Satterthwaite's approximation.

Sources: Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420; McGraw and Wong 1996,
doi:10.1037/1082-989X.1.1.30.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pdbiomarker.errors import Problems

__all__ = ["Agreement", "IccForm", "icc"]

Array = NDArray[np.float64]
IccForm = Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)"]

_MEANING: Final = {
    "ICC(1,1)": "one-way random, single values: columns are not matched across subjects",
    "ICC(2,1)": "two-way random, single values, absolute agreement: columns are a sample of readers",
    "ICC(3,1)": "two-way mixed, single values, consistency: these readers only, their levels left out",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """An intraclass correlation with its form, limits and F test.

    Attributes
    ----------
    form : str
        ``ICC(1,1)``, ``ICC(2,1)`` or ``ICC(3,1)``.
    meaning : str
        The form in words.
    value, low, high : float
        May be below 0.
    level : float
        Of the limits.
    f, df1, df2, p : float
        Test of no differences between subjects.
    n_subjects, n_columns, n_left_out : int
        Used; and subjects with a missing value, which are left out.
    """

    form: str
    meaning: str
    value: float
    low: float
    high: float
    level: float
    f: float
    df1: float
    df2: float
    p: float
    n_subjects: int
    n_columns: int
    n_left_out: int


def icc(values: ArrayLike, form: IccForm = "ICC(2,1)", *, level: float = 0.95) -> Agreement:
    """Estimate an intraclass correlation.

    Parameters
    ----------
    values : (n, k) array
        Subjects x replicates, readers or sections. A subject with a missing value is left out and counted.
    form : {"ICC(1,1)", "ICC(2,1)", "ICC(3,1)"}
    level : float
        Of the confidence limits.

    Returns
    -------
    Agreement

    Raises
    ------
    InputError
        E-NOISE-001: an unknown form, fewer than two complete subjects or columns, no variance at all, or a
        level outside 0 to 1.

    Examples
    --------
    >>> ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> round(icc(ratings).value, 2)
    0.29
    """
    given = np.asarray(values, dtype=float)
    problems = Problems()
    if form not in get_args(IccForm):
        problems.add(
            "E-NOISE-001",
            "There is no such form of the intraclass correlation.",
            remedy=f"Use one of {', '.join(get_args(IccForm))}.",
            column="form",
            value=form,
        )
    if not 0 < level < 1:
        problems.add("E-NOISE-001", "A confidence level lies between 0 and 1.", column="level", value=level)
    table = given[np.isfinite(given).all(axis=1)] if given.ndim == 2 else np.zeros((0, 0))
    if min(table.shape) < 2:
        problems.add(
            "E-NOISE-001",
            "An intraclass correlation needs two complete subjects and two columns at least.",
            remedy="Give subjects x replicates.",
            column="values",
            value=given.shape,
        )
    elif np.ptp(table) == 0:
        problems.add("E-NOISE-001", "All values are equal.", remedy="Check the table.", column="values")
    problems.raise_if_any()
    squares = _mean_squares(table)
    value, low, high, f, df1, df2 = _FORMS[form](squares, level)
    p = float(stats.f.sf(f, df1, df2))
    n, k = table.shape
    return Agreement(
        form, _MEANING[form], value, low, high, level, f, df1, df2, p, n, k, len(given) - n
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class _Squares:
    n: int
    k: int
    between: float
    within: float
    columns: float
    error: float


def _mean_squares(table: Array) -> _Squares:
    n, k = table.shape
    mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    between = k * float(np.square(rows - mean).sum()) / (n - 1)
    judges = n * float(np.square(columns - mean).sum()) / (k - 1)
    within = float(np.square(table - rows[:, None]).sum()) / (n * (k - 1))
    left = table - rows[:, None] - columns[None, :] + mean
    return _Squares(n, k, between, within, judges, float(np.square(left).sum()) / ((n - 1) * (k - 1)))


_Found = tuple[float, float, float, float, float, float]


def _by_f(squares: _Squares, level: float, noise: float, df2: float) -> _Found:
    """One F decides: (BMS - noise) / (BMS + (k - 1) noise), with exact limits."""
    k, df1 = squares.k, float(squares.n - 1)
    f = squares.between / noise if noise > 0 else np.inf
    low = f / stats.f.ppf((1 + level) / 2, df1, df2)
    high = f * stats.f.ppf((1 + level) / 2, df2, df1)
    value, lower, upper = (1.0 if np.isinf(x) else float((x - 1) / (x + k - 1)) for x in (f, low, high))
    return value, lower, upper, float(f), df1, df2


def _one_way(squares: _Squares, level: float) -> _Found:
    return _by_f(squares, level, squares.within, float(squares.n * (squares.k - 1)))


def _consistency(squares: _Squares, level: float) -> _Found:
    return _by_f(squares, level, squares.error, float((squares.n - 1) * (squares.k - 1)))


def _agreement(squares: _Squares, level: float) -> _Found:
    n, k = squares.n, squares.k
    b, j, e = squares.between, squares.columns, squares.error
    value = (b - e) / (b + (k - 1) * e + k * (j - e) / n)
    df1, df2 = float(n - 1), float((n - 1) * (k - 1))
    f = b / e if e > 0 else np.inf
    if e <= 0 and j <= 0:
        return 1.0, 1.0, 1.0, float(f), df1, df2
    # McGraw and Wong, table 7: the df of the combination that stands for the noise.
    a = k * value / (n * (1 - value))
    c = 1 + k * value * (n - 1) / (n * (1 - value))
    v = (a * j + c * e) ** 2 / ((a * j) ** 2 / (k - 1) + (c * e) ** 2 / df2)
    tail = (1 + level) / 2
    f1, f2 = stats.f.ppf(tail, df1, v), stats.f.ppf(tail, v, df1)
    rest = k * j + (n * k - k - n) * e
    low = n * (b - f1 * e) / (f1 * rest + n * b)
    high = n * (f2 * b - e) / (rest + n * f2 * b)
    return float(value), float(low), float(high), float(f), df1, df2


_FORMS: Final = {"ICC(1,1)": _one_way, "ICC(2,1)": _agreement, "ICC(3,1)": _consistency}
