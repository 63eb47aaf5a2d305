"""RECIST 1.1 at each assessment: target, non-target and new lesions, and what they say together.

Progression of any part is progression. Else, with target lesions: not all evaluated -> NE; complete response
of target and non-target -> CR; complete response of the targets with anything left -> PR; partial -> PR; else
SD. Without target lesions the non-target lesions decide. (Eisenhauer et al. 2009, tables 1 and 2.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.response.inputs import Lesion, day_text, is_gone
from pdbiomarker.clinical.response.lesions import (
    SUM_COLUMNS,
    Course,
    TimePoint,
    courses,
    study_day,
    sum_row,
)
from pdbiomarker.clinical.response.rules import ResponseRules
from pdbiomarker.errors import Problems

__all__ = ["TIMEPOINT_COLUMNS", "timepoint_response"]

#: The columns of :func:`timepoint_response`, in order.
TIMEPOINT_COLUMNS: Final = (
    *SUM_COLUMNS[:-1],
    "target",
    "non_target",
    "new_lesions",
    "response",
    "target_rule",
    "non_target_rule",
    "new_rule",
    "response_rule",
    "note",
)
#: Sums are decimal numbers of millimetres: a fall of exactly 30 % stays one in binary arithmetic.
_ROUNDING: Final = 1e-9
_Verdict = tuple[str, str]


def timepoint_response(
    lesions: pd.DataFrame,
    participants: pd.DataFrame | None = None,
    *,
    reader: str | None = None,
    rules: ResponseRules | None = None,
    problems: Problems | None = None,
) -> pd.DataFrame:
    """Call the response of every assessment from its lesions, with the rule that decided.

    Parameters
    ----------
    lesions, participants, reader, rules
        As for :func:`sum_of_diameters`. `state` of a non-target lesion: absent, present, progression, not
        evaluable; of a new lesion: empty, or equivocal, which is noted and is no progression.
    problems : Problems, optional
        Warnings are added: no baseline, small targets, rows given twice.

    Returns
    -------
    DataFrame
        :data:`TIMEPOINT_COLUMNS`, one row an assessment; the baseline's responses are empty. `target` is CR,
        PR, SD, PD, NE or ``none`` (no target lesions); `non_target` CR, NON-CR/NON-PD, PD, NE or ``none``;
        `new_lesions` yes, no or equivocal; `response` is the overall one. Progression is dated by the first
        scan of its assessment, everything else by the last.

    Raises
    ------
    InputError
        As :func:`sum_of_diameters`.

    Notes
    -----
    Not done: lesions that split or merge, and dating progression back to an equivocal new lesion that a later
    scan confirms. Where a target lesion is not evaluated, those that are may still show progression: what is
    missing can only add to their sum.
    """
    rules = rules or ResponseRules()
    told = Problems() if problems is None else problems
    found = courses(lesions, participants, reader=reader, rules=rules, problems=told)
    rows = [row for course in found for row in _rows(course, rules)]
    return pd.DataFrame(rows, columns=list(TIMEPOINT_COLUMNS))


def _rows(course: Course, rules: ResponseRules) -> list[tuple[object, ...]]:
    rows, complete = [], False
    for point in course.points:
        known = list(sum_row(course, point))
        if course.has_baseline and point.number == 0:
            rows.append((*known[:-1], *[""] * 8, known[-1]))
            continue
        target = _target(course, point, rules, complete=complete)
        complete = complete or target[0] == "CR"
        other = _non_target(course, point, rules)
        new = _new(point)
        overall = _overall(target[0], other[0], new[0], has_baseline=course.has_baseline)
        if overall[0] == "PD":
            known[3:7] = [
                day_text(point.first.earliest),
                day_text(point.first.latest),
                point.first.missing,
                study_day(point.first.earliest, course.start),
            ]
        verdicts = (target[0], other[0], new[0], overall[0], target[1], other[1], new[1], overall[1])
        rows.append((*known[:-1], *verdicts, known[-1]))
    return rows


def _target(course: Course, point: TimePoint, rules: ResponseRules, *, complete: bool) -> _Verdict:
    if not course.targets:
        return ("none", "no target lesion at baseline" if course.has_baseline else "no baseline")
    nodes = {one.lesion for one in course.targets if one.node}
    back = sorted(name for name, mm in point.values.items() if name not in nodes and mm > 0)
    if complete and back:
        return "PD", f"{', '.join(back)} reappeared after a complete response"
    total, nadir, base = point.sum_evaluated, point.nadir, course.baseline_sum
    whole = np.isfinite(point.sum)
    rise = total - nadir
    enough = rise >= nadir * rules.progression_rise_pct / 100 - _ROUNDING
    if rise >= rules.progression_rise_mm - _ROUNDING and enough:
        percent = f" ({100 * rise / nadir:.1f} %)" if nadir > 0 else ""
        part = "" if whole else " of those evaluated"
        return "PD", f"sum{part} {total:g} mm, {rise:g} mm{percent} above the nadir of {nadir:g} mm"
    if not whole:
        lost = sorted(name for name, mm in point.values.items() if not np.isfinite(mm))
        return "NE", f"not evaluated: {', '.join(lost)}"
    if all(mm < rules.node_normal_mm if name in nodes else mm == 0 for name, mm in point.values.items()):
        return "CR", f"all gone, nodes below {rules.node_normal_mm:g} mm" if nodes else "all gone"
    fall = 100 * (base - total) / base
    if fall >= rules.partial_fall_pct - _ROUNDING:
        return "PR", f"sum {total:g} mm, {fall:.1f} % below the baseline of {base:g} mm"
    return "SD", f"sum {total:g} mm, baseline {base:g} mm, nadir {nadir:g} mm: neither PR nor PD"


def _non_target(course: Course, point: TimePoint, rules: ResponseRules) -> _Verdict:
    seen = [one for one in point.lesions.values() if one.role == "non-target"]
    worse = sorted(one.lesion for one in seen if one.state == "progression")
    if worse:
        return "PD", f"unequivocal progression of {', '.join(worse)}"
    if not course.non_targets:
        return "none", "no non-target lesion at baseline" if course.has_baseline else "no baseline"
    lost = [o.lesion for o in course.non_targets if _state(point.lesions.get(o.lesion)) == "not evaluable"]
    if lost:
        return "NE", f"not evaluated: {', '.join(lost)}"
    left = [
        o.lesion for o in course.non_targets if not _normal(point.lesions[o.lesion], rules, is_node=o.node)
    ]
    if left:
        return "NON-CR/NON-PD", f"present, no unequivocal progression: {', '.join(left)}"
    return "CR", "all absent"


def _state(one: Lesion | None) -> str:
    if one is None or (not one.state and not np.isfinite(one.diameter)):
        return "not evaluable"
    return one.state


def _normal(one: Lesion, rules: ResponseRules, *, is_node: bool) -> bool:
    small = np.isfinite(one.diameter) and one.diameter < rules.node_normal_mm
    return is_gone(one) or bool(is_node and small)


def _new(point: TimePoint) -> _Verdict:
    new = [one for one in point.lesions.values() if one.role == "new" and not is_gone(one)]
    sure = sorted(one.lesion for one in new if one.state not in {"equivocal", "not evaluable"})
    if sure:
        return "yes", f"new: {', '.join(sure)}"
    if new:
        return "equivocal", f"not sure to be new: {', '.join(sorted(one.lesion for one in new))}"
    return "no", ""


def _overall(target: str, other: str, new: str, *, has_baseline: bool) -> _Verdict:
    parts = [name for name, bad in (("target", target == "PD"), ("non-target", other == "PD")) if bad] + [
        "new lesions"
    ] * (new == "yes")
    if parts:
        return "PD", f"progression: {', '.join(parts)}"
    if not has_baseline:
        return "NE", "no baseline to compare with"
    if target == "none":
        if other == "none":
            return "NE", "no lesion at baseline, none new"
        return other, "no target lesions: as the non-target lesions"
    if target == "CR":
        done = other in {"CR", "none"}
        rest = "targets and non-targets complete" if done else f"targets CR, non-targets {other}"
        return ("CR" if done else "PR"), rest
    if target == "NE":
        return "NE", "targets not all evaluated"
    return target, "as the target lesions"
