"""The next dose: from what has happened so far to one dose level, and whether the trial goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pdbiomarker.clinical.escalation.intervals import decide, excluded
from pdbiomarker.clinical.escalation.options import EscalationOptions, design_name, read_options
from pdbiomarker.clinical.escalation.outcomes import Cohort, Tally, parse_outcomes, tally
from pdbiomarker.errors import InputError, Problem

__all__ = ["next_dose", "recommend"]

_STEP = 3
_FULL = 6
_MOST_DLT = 1


def next_dose(
    design: str,
    outcomes: str | float | None,
    n_doses: int,
    *,
    target: float = 0.30,
    options: Mapping[str, object] | EscalationOptions | None = None,
) -> tuple[int | None, bool]:
    """Recommend the dose level of the next cohort.

    Parameters
    ----------
    design : {"3+3", "boin", "mtpi", "mtpi2"}
    outcomes : str
        What happened so far, such as ``"1NNN 2NTN"``: cohorts in order of time, each a dose level and ``T``
        (a dose-limiting toxicity) or ``N`` for each evaluable participant. Empty: nobody was treated yet.
    n_doses : int
        Dose levels of the trial.
    target : float
        Toxicity aimed at; the 3+3 has none.
    options : mapping or EscalationOptions, optional
        See :class:`EscalationOptions`.

    Returns
    -------
    dose : int or None
        Dose level, from 1. When the trial stops: the recommended dose, None when no dose is safe.
    go_on : bool
        Whether another cohort is to be treated. The interval designs go on until all doses are too toxic; the
        planned number of participants ends them, which is not part of `outcomes`.

    Raises
    ------
    InputError
        E-DOSE-001 and E-DOSE-002: the outcomes, with position; E-DOSE-003: design, target or options;
        E-DOSE-004: a 3+3 that did not follow its rules, unless ``strict_mode`` is False.

    Notes
    -----
    3+3 as in Korn et al. 1994 (doi 10.1002/sim.4780131802). The sources of the interval designs are named in
    :func:`decision_table`'s module.

    Examples
    --------
    >>> next_dose("boin", "1NNN 2NTN", 5)
    (2, True)
    >>> next_dose("3+3", "1NNN 2NTT", 5)
    (1, False)
    """
    key = design_name(design)
    chosen = read_options(key, target, options)
    cohorts = parse_outcomes(outcomes, n_doses)
    if key == "3+3" and chosen.strict_mode:
        check_followed(cohorts, n_doses, chosen)
    return recommend(key, tally(cohorts, n_doses), target, chosen)


def recommend(
    design: str, counts: Tally, target: float, options: EscalationOptions
) -> tuple[int | None, bool]:
    """Recommend from counts; `design`, `target` and `options` are checked."""
    if counts.current == 0:
        return 1, True
    if design == "3+3":
        return _three_plus_three(counts, options)
    return _interval(design, counts, target, options)


def _interval(
    design: str, counts: Tally, target: float, options: EscalationOptions
) -> tuple[int | None, bool]:
    out = excluded(design, counts.n, counts.n_dlt, target, options)
    highest = int(np.argmax(out)) if out.any() else counts.n_doses
    if highest == 0:
        stops = design != "boin" or options.use_stopping_rule
        return (None, False) if stops else (1, True)
    here = counts.current - 1
    decision = decide(design, int(counts.n[here]), int(counts.n_dlt[here]), target, options)
    move = {"escalate": 1, "stay": 0, "de-escalate": -1}[decision]
    return min(max(counts.current + move, 1), highest), True


def _three_plus_three(counts: Tally, options: EscalationOptions) -> tuple[int | None, bool]:
    here = counts.current - 1
    n, dlt = int(counts.n[here]), int(counts.n_dlt[here])
    if n != _STEP and n < _FULL:  # a cohort of three is not complete
        return counts.current, True
    if dlt > _MOST_DLT:
        return _step_down(counts, options)
    if n == _STEP and dlt == _MOST_DLT:
        return counts.current, True
    above = here + 1
    if above < counts.n_doses and counts.n_dlt[above:].max() <= _MOST_DLT:
        return counts.current + 1, True
    # The highest dose, or the one below a dose that was too toxic: six participants show it.
    return counts.current, n < _FULL


def _step_down(counts: Tally, options: EscalationOptions) -> tuple[int | None, bool]:
    below = counts.current - 1
    if not options.allow_deescalate:
        return (below or None), False
    while below > 0:
        n, dlt = int(counts.n[below - 1]), int(counts.n_dlt[below - 1])
        if dlt <= _MOST_DLT:
            return below, n < _FULL
        below -= 1
    return None, False


def check_followed(cohorts: tuple[Cohort, ...], n_doses: int, options: EscalationOptions) -> None:
    """Refuse a 3+3 that left its rules, at the first cohort that did.

    Raises
    ------
    InputError
        E-DOSE-004.
    """
    n = np.zeros(n_doses, dtype=np.int64)
    dlt = np.zeros(n_doses, dtype=np.int64)
    current, remedy = 0, "Correct the outcomes, or set strict_mode to False to judge the counts alone."
    for cohort in cohorts:
        for offset, outcome in enumerate(cohort.outcomes):
            dose, go_on = _three_plus_three(Tally(n, dlt, current), options) if current else (1, True)
            if not go_on or dose != cohort.dose:
                wanted = f"treat at dose level {dose}" if go_on else "stop"
                said = (
                    f"The 3+3 would {wanted} here; the participant was treated at dose level {cohort.dose}."
                )
                place = f"outcomes, position {cohort.position + len(str(cohort.dose)) + offset}"
                value = f"{cohort.dose}{cohort.outcomes}"
                raise InputError([Problem("E-DOSE-004", said, remedy, column=place, value=value)])
            n[cohort.dose - 1] += 1
            dlt[cohort.dose - 1] += outcome == "T"
            current = cohort.dose
