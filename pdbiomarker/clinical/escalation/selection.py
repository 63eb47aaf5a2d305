"""The maximum tolerated dose (MTD) from what happened, and the maximum administered dose (MAD)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from pdbiomarker.clinical.escalation.intervals import decide, excluded
from pdbiomarker.clinical.escalation.options import EscalationOptions, design_name, read_options
from pdbiomarker.clinical.escalation.outcomes import Tally, parse_outcomes, tally
from pdbiomarker.clinical.escalation.path import check_followed, recommend
from pdbiomarker.shares import clopper_pearson

__all__ = ["Selection", "select_mtd"]

_FULL = 6
_PRIOR = 0.05
#: Distances from the target that are equal on paper are equal within this.
_TIE = 1e-9


@dataclasses.dataclass(frozen=True)
class Selection:
    """The maximum tolerated dose so far.

    Attributes
    ----------
    mtd : int or None
        Dose level, from 1; None when no dose can be named.
    mad : int or None
        The highest dose level administered; None when nobody was treated.
    reached : bool
        Whether toxicity set the MTD: a higher dose was excluded or is farther from the target, or the design
        would not go higher. False: the MTD was not reached, and the maximum administered dose is what can be
        reported.
    note : str
        Why, in one sentence.
    table : DataFrame
        One row for each dose level: dose, n_treated, n_dlt, observed (n_dlt / n_treated), isotonic (estimate
        of the toxicity, NaN where nobody was treated and in the 3+3), interval_low, interval_high (95 %
        Clopper-Pearson limits), excluded, is_mtd.
    """

    mtd: int | None
    mad: int | None
    reached: bool
    note: str
    table: pd.DataFrame


def select_mtd(
    design: str,
    outcomes: str | float | None,
    n_doses: int,
    *,
    target: float = 0.30,
    options: Mapping[str, object] | EscalationOptions | None = None,
) -> Selection:
    """Choose the maximum tolerated dose.

    Parameters
    ----------
    design, outcomes, n_doses, target, options
        As in :func:`pdbiomarker.clinical.escalation.next_dose`.

    Returns
    -------
    Selection

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.escalation.next_dose`.

    Notes
    -----
    BOIN, mTPI, mTPI-2: the toxicities (y + 0.05) / (n + 0.1) of the doses that were tried and not excluded
    are made non-decreasing by isotonic regression, weighted by the inverse of their variance under a
    Beta(0.05, 0.05) prior; the MTD is the dose nearest to the target, among equal ones the higher when they
    lie below the target and the lower when they lie above it. A dose is excluded by the rule of its design;
    for BOIN that is the elimination rule also when ``use_stopping_rule`` is False.
    3+3: the dose that the design recommends when it stops; while it goes on, the highest dose with six or
    more treated, at most one toxicity, and no dose of two or more toxicities at or below it.

    Examples
    --------
    >>> select_mtd("boin", "1NNN 2NNN 3NTT 2NNT", 5).mtd
    2
    """
    key = design_name(design)
    chosen = read_options(key, target, options)
    cohorts = parse_outcomes(outcomes, n_doses)
    if key == "3+3" and chosen.strict_mode:
        check_followed(cohorts, n_doses, chosen)
    return select(key, tally(cohorts, n_doses), target, chosen)


def select(design: str, counts: Tally, target: float, options: EscalationOptions) -> Selection:
    """Choose from counts; `design`, `target` and `options` are checked."""
    tried = np.flatnonzero(counts.n > 0)
    mad = int(tried[-1]) + 1 if tried.size else None
    if design == "3+3":
        isotonic = np.full(counts.n_doses, np.nan)
        closed = np.logical_or.accumulate(counts.n_dlt >= 2)
        mtd = _of_three_plus_three(counts, closed, options)
    else:
        out = excluded(design, counts.n, counts.n_dlt, target, options)
        closed = np.logical_or.accumulate(out)
        isotonic = isotonic_rates(counts, ~closed)
        mtd = nearest_dose(isotonic, target)
    reached = bool(closed[mtd:].any()) if mtd is not None else bool(closed[0])
    if design != "3+3" and mtd is not None and mad is not None:
        # A higher dose was tried and is farther from the target, or the design would not go higher.
        n, dlt = int(counts.n[mtd - 1]), int(counts.n_dlt[mtd - 1])
        reached |= mad > mtd or decide(design, n, dlt, target, options) != "escalate"
    table = _table(counts, isotonic, closed, mtd)
    return Selection(mtd, mad, reached, _note(mtd, mad, reached), table)


def _of_three_plus_three(counts: Tally, closed: NDArray[np.bool_], options: EscalationOptions) -> int | None:
    dose, go_on = recommend("3+3", counts, 0.0, options)
    if not go_on:
        return dose
    fit = np.flatnonzero((counts.n >= _FULL) & ~closed)
    return int(fit[-1]) + 1 if fit.size else None


def isotonic_rates(counts: Tally, use: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Estimate non-decreasing toxicities of the doses that were tried and may be used; NaN elsewhere."""
    rates = np.full(counts.n_doses, np.nan)
    at = np.flatnonzero((counts.n > 0) & use)
    if at.size:
        a, b = counts.n_dlt[at] + _PRIOR, counts.n[at] - counts.n_dlt[at] + _PRIOR
        variance = a * b / ((a + b) ** 2 * (a + b + 1))
        rates[at] = optimize.isotonic_regression(a / (a + b), weights=1 / variance).x
    return rates


def nearest_dose(rates: NDArray[np.float64], target: float) -> int | None:
    """Give the dose whose toxicity is nearest to the target; ties below it go up, ties above it go down."""
    known = np.flatnonzero(~np.isnan(rates))
    if not known.size:
        return None
    distance = np.abs(rates[known] - target)
    tied = known[distance <= distance.min() + _TIE]
    # Equal on both sides of the target: the lower dose is the safer one.
    above = tied[rates[tied] > target + _TIE]
    below = tied[rates[tied] <= target + _TIE]
    return int(below[-1]) + 1 if below.size else int(above[0]) + 1


def _table(
    counts: Tally, isotonic: NDArray[np.float64], closed: NDArray[np.bool_], mtd: int | None
) -> pd.DataFrame:
    n, y = counts.n, counts.n_dlt
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.where(n > 0, y / np.maximum(n, 1), np.nan)
    low, high = clopper_pearson(y, n)
    doses = np.arange(1, counts.n_doses + 1)
    return pd.DataFrame(
        {
            "dose": doses,
            "n_treated": n,
            "n_dlt": y,
            "observed": observed,
            "isotonic": isotonic,
            "interval_low": low,
            "interval_high": high,
            "excluded": closed,
            "is_mtd": doses == (mtd or 0),
        }
    )


def _note(mtd: int | None, mad: int | None, reached: bool) -> str:
    if mad is None:
        return "Nobody was treated yet."
    if mtd is None:
        if reached:
            return "Every dose level is too toxic: the MTD lies below dose level 1."
        return f"No MTD can be named yet; the highest dose level administered is {mad}."
    if not reached:
        return f"The MTD was not reached; the highest dose level administered is {mad}."
    return f"By these data the MTD is dose level {mtd}; the highest dose level administered is {mad}."
