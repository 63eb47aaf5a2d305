"""Areas under a concentration-time curve, on plain arrays.

Between two samples (t1, c1) and (t2, c2), dt = t2 - t1::

    linear        AUC = dt (c1 + c2) / 2              AUMC = dt (t1 c1 + t2 c2) / 2
    log           AUC = dt (c2 - c1) / L              AUMC = dt (t2 c2 - t1 c1) / L - dt^2 (c2 - c1) / L^2
                  with L = ln(c2 / c1)

``linear`` uses the first everywhere; ``linear_up_log_down`` uses the second where the concentration falls
and stays above 0. Interpolation between two samples follows the same rule, so that areas add up.

Gabrielsson J, Weiner D. Pharmacokinetic and Pharmacodynamic Data Analysis. Rowland M, Tozer TN. Clinical
Pharmacokinetics and Pharmacodynamics.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "area_between", "areas", "concentration_at"]

METHODS: Final = ("linear_up_log_down", "linear")

Array = NDArray[np.float64]


def _falls(c1: Array, c2: Array, method: str) -> NDArray[np.bool_]:
    if method == "linear":
        return np.zeros(len(c1), dtype=bool)
    return (c2 < c1) & (c2 > 0)


def areas(t: Array, c: Array, *, method: str) -> tuple[float, float]:
    """Give AUC and AUMC over all samples.

    Parameters
    ----------
    t : array, shape (n,)
        Times in h, rising.
    c : array, shape (n,)
        Concentrations, none missing.
    method : {"linear_up_log_down", "linear"}

    Returns
    -------
    (auc, aumc) : float
        0 for fewer than two samples.
    """
    if len(t) < 2:
        return 0.0, 0.0
    t1, t2, c1, c2 = t[:-1], t[1:], c[:-1], c[1:]
    dt, log = t2 - t1, _falls(c1, c2, method)
    auc = dt * (c1 + c2) / 2
    aumc = dt * (t1 * c1 + t2 * c2) / 2
    ratio = np.log(c2[log] / c1[log])
    rise = c2[log] - c1[log]
    auc[log] = dt[log] * rise / ratio
    aumc[log] = dt[log] * (t2[log] * c2[log] - t1[log] * c1[log]) / ratio - dt[log] ** 2 * rise / ratio**2
    return math.fsum(auc.tolist()), math.fsum(aumc.tolist())


def concentration_at(t: Array, c: Array, time: float, *, method: str, lambda_z: float = math.nan) -> float:
    """Give the concentration at a time: measured, interpolated by the method, or extrapolated by lambda_z.

    Returns
    -------
    float
        NaN before the first sample, and after the last one where lambda_z is not known.
    """
    if len(t) == 0 or time < t[0]:
        return math.nan
    place = int(np.searchsorted(t, time, side="left"))
    if place < len(t) and t[place] == time:
        return float(c[place])
    if place == len(t):
        if c[-1] == 0:  # below the limit, and no dose since
            return 0.0
        return float(c[-1] * math.exp(-lambda_z * (time - t[-1])))
    t1, t2, c1, c2 = (float(x) for x in (t[place - 1], t[place], c[place - 1], c[place]))
    part = (time - t1) / (t2 - t1)
    if method != "linear" and 0 < c2 < c1:
        return float(c1 * (c2 / c1) ** part)
    return c1 + (c2 - c1) * part


def area_between(
    t: Array, c: Array, start: float, end: float, *, method: str, lambda_z: float = math.nan
) -> float:
    """Give the AUC from one time to another, with the ends interpolated as the method interpolates.

    Parameters
    ----------
    t, c : array, shape (n,)
    start, end : float
        h, start <= end.
    method : {"linear_up_log_down", "linear"}
    lambda_z : float
        1/h; what lies after the last sample is extrapolated with it.

    Returns
    -------
    float
        NaN where an end lies before the first sample, or after the last one without lambda_z.
    """
    if start == end:
        return 0.0
    ends = [concentration_at(t, c, time, method=method, lambda_z=lambda_z) for time in (start, end)]
    if len(t) == 0 or any(math.isnan(value) for value in ends):
        return math.nan
    last = float(t[-1])
    beyond = 0.0
    if end > last:
        begin = max(start, last)
        top = concentration_at(t, c, begin, method=method, lambda_z=lambda_z)
        beyond = 0.0 if top == 0 else top * -math.expm1(-lambda_z * (end - begin)) / lambda_z
        if start >= last:
            return beyond
        end, ends[1] = last, float(c[-1])
    inside = (t > start) & (t < end)
    times = np.concatenate([[start], t[inside], [end]])
    values = np.concatenate([[ends[0]], c[inside], [ends[1]]])
    return areas(times, values, method=method)[0] + beyond
