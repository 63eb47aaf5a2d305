r"""Survival by a change that is known only on treatment: from a fixed landmark day on.

Who has a second biopsy has lived without progression until it. Time counted from the first dose credits that
immortal time to whoever shows a change, the more so where late biopsies show larger changes or where those
without a biopsy count as "no change": the hazard ratio falls below 1 without any relation. From a fixed day L
at or after the end of the biopsy's window, with those who had an event or were censored by then left out and
counted and time restarted at L, nobody has time to his credit.

Cox's partial likelihood for one covariate (ties by Efron); limits by the profile likelihood, p by the
likelihood ratio, because Wald's are poor with few events.

Source: Anderson, Cain and Gelber 1983, doi:10.1200/JCO.1983.1.11.710.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.duration.hazard_regression import PHReg

from pdbiomarker.link.association import Association

__all__ = ["MIN_EVENTS", "hazard_ratio", "kaplan_meier"]

Floats = NDArray[np.float64]

#: With fewer events no hazard ratio is given.
MIN_EVENTS = 5
#: A hazard ratio of e^20 is called infinite.
_FARTHEST = 20.0


def hazard_ratio(time: ArrayLike, event: ArrayLike, x: ArrayLike) -> Association:
    """Fit Cox's model with one covariate.

    Parameters
    ----------
    time : (n,) array
        Above 0, from one origin for all.
    event : (n,) array of bool
        False: censored.
    x : (n,) array

    Returns
    -------
    Association
        The hazard ratio per unit of `x`; a limit of 0 or infinity where the likelihood does not turn.
    """
    t, d, v = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(x, dtype=float)
    n, events = len(t), int(d.sum())
    nothing = Association(np.nan, np.nan, np.nan, np.nan, "", n)
    if events < MIN_EVENTS:
        return _because(nothing, f"{events} events: at least {MIN_EVENTS} are needed")
    spread = float(v.std())
    if spread == 0:
        return _because(nothing, "the change does not vary")
    model = PHReg(t, ((v - v.mean()) / spread)[:, None], status=d.astype(int), ties="efron")

    def loss(beta: float) -> float:
        return -float(model.loglike(np.array([beta])))

    best = optimize.minimize_scalar(
        loss, bounds=(-_FARTHEST, _FARTHEST), method="bounded", options={"xatol": 1e-10}
    )
    beta, least = float(best.x), float(best.fun)
    p = float(stats.chi2.sf(max(0.0, 2 * (loss(0.0) - least)), 1))
    rise = least + stats.chi2.ppf(0.95, 1) / 2

    def limit(end: float) -> float:
        if loss(end) < rise:
            return float(np.copysign(np.inf, end))
        first, last = sorted((beta, end))
        return float(optimize.brentq(lambda b: loss(b) - rise, first, last, xtol=1e-8))

    ends = [limit(-_FARTHEST), limit(_FARTHEST)]
    value, low, high = (float(np.exp(b / spread)) for b in (beta, *ends))
    note = f"{events} events"
    if abs(beta) > _FARTHEST - 1:
        return Association(np.nan, low, high, p, "likelihood ratio", n, f"{note}; separated completely")
    return Association(value, low, high, p, "likelihood ratio", n, note)


def _because(nothing: Association, why: str) -> Association:
    return Association(nothing.value, nothing.low, nothing.high, nothing.p, "", nothing.n, why)


def kaplan_meier(time: ArrayLike, event: ArrayLike) -> tuple[Floats, Floats]:
    """Give the Kaplan-Meier curve as steps.

    Parameters
    ----------
    time : (n,) array
    event : (n,) array of bool

    Returns
    -------
    times, survival : arrays
        From time 0 and survival 1; the last time is the last follow-up.
    """
    t, d = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    times, survival = [0.0], [1.0]
    for when in np.unique(t[d]).tolist():
        at_risk, failed = int((t >= when).sum()), int((d & (t == when)).sum())
        times.append(when)
        survival.append(survival[-1] * (1 - failed / at_risk))
    if len(t) and t.max() > times[-1]:
        times.append(float(t.max()))
        survival.append(survival[-1])
    return np.array(times), np.array(survival)
