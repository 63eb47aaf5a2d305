"""The terminal slope: which samples it rests on, and how well they lie on a line.

Candidates are the last k >= 3 samples above the limit that lie after Tmax and not before the end of the
infusion. ln(c) is regressed on time; of all candidates within 1e-4 of the best adjusted r2, the one of most
samples with a falling line is taken. adj r2 = 1 - (1 - r2) (k - 1) / (k - 2); span = time covered /
half-life.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Terminal", "terminal_slope"]

#: Samples that a terminal slope needs.
FEWEST: Final = 3
_AS_GOOD: Final = 1e-4


@dataclasses.dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal slope.

    Attributes
    ----------
    lambda_z : float
        1/h; NaN where there is none.
    n : int
        Samples used; of a slope that there is not, the samples that could have been used.
    adj_r2, span_ratio : float
    """

    lambda_z: float = math.nan
    n: int = 0
    adj_r2: float = math.nan
    span_ratio: float = math.nan

    @property
    def half_life(self) -> float:
        """Ln 2 / lambda_z, in h."""
        return math.log(2) / self.lambda_z


def terminal_slope(
    t: NDArray[np.float64], c: NDArray[np.float64], *, tmax: float, infusion_end: float = 0.0
) -> Terminal:
    """Find the terminal slope.

    Parameters
    ----------
    t, c : array, shape (n,)
        Times (h) and concentrations above the limit.
    tmax : float
        The time of the largest concentration; it is left out itself.
    infusion_end : float
        Earlier samples are left out.
    """
    usable = (t > tmax) & (t >= infusion_end) & (c > 0)
    t, y = t[usable], np.log(c[usable])
    if len(t) < FEWEST:
        return Terminal(n=len(t))
    found = [_line(t[-k:], y[-k:]) for k in range(FEWEST, len(t) + 1)]
    best = max(fit.adj_r2 for fit in found)
    good = [fit for fit in found if fit.lambda_z > 0 and fit.adj_r2 > best - _AS_GOOD]
    return max(good, key=lambda fit: fit.n) if good else Terminal(n=len(t))


def _line(t: NDArray[np.float64], y: NDArray[np.float64]) -> Terminal:
    n = len(t)
    dt, dy = t - t.mean(), y - y.mean()
    sxx, sxy, syy = float(dt @ dt), float(dt @ dy), float(dy @ dy)
    if np.ptp(y) == 0:  # all the same: no slope, and none from rounding
        return Terminal(0.0, n, 0.0, 0.0)
    slope = sxy / sxx
    r2 = min(sxy**2 / (sxx * syy), 1.0)  # points on a line: rounding alone can pass 1
    return Terminal(-slope, n, 1 - (1 - r2) * (n - 1) / (n - 2), float(t[-1] - t[0]) * -slope / math.log(2))
