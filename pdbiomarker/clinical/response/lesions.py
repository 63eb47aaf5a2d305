"""From rows of lesions to assessments: which is the baseline, and the sum of the target diameters.

The baseline of a lesion is its last measurement up to the day of the first dose, so that screening scans of
several days are one baseline. The sum S of a later assessment counts when every target lesion of the baseline
was evaluated. Its nadir N is the smallest earlier sum, the baseline's B among them:

    change from baseline 100 (S - B) / B,    change from nadir 100 (S - N) / N.

A node counts with its short axis, also below 10 mm; a lesion too small to measure counts 5 mm.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.people import first_dose_days
from pdbiomarker.clinical.response.inputs import Lesion, day_text, is_gone, read_lesions
from pdbiomarker.clinical.response.rules import ResponseRules
from pdbiomarker.errors import Problems
from pdbiomarker.tables import PartialDate

__all__ = ["SUM_COLUMNS", "Course", "TimePoint", "courses", "sum_of_diameters"]

#: The columns of :func:`sum_of_diameters`, in order.
SUM_COLUMNS: Final = (
    "participant_id",
    "reader",
    "timepoint",
    "date",
    "date_latest",
    "date_imputed",
    "study_day",
    "is_baseline",
    "n_target",
    "n_target_evaluable",
    "sum_mm",
    "baseline_mm",
    "change_mm",
    "change_pct",
    "nadir_mm",
    "change_nadir_mm",
    "change_nadir_pct",
    "note",
)
_LEAST_NODE_MM: Final = 15.0
_LEAST_LESION_MM: Final = 10.0
_FILE: Final = "lesions.csv"


@dataclasses.dataclass(frozen=True, slots=True)
class TimePoint:
    """One assessment after the baseline, or the baseline itself (number 0).

    Attributes
    ----------
    number : int
    first, last : PartialDate
        The first and the last day of its scans.
    lesions : dict
        By id.
    values : dict
        Diameter in mm of every target lesion of the baseline; NaN = not evaluable.
    nadir : float
        The smallest sum before this assessment, mm; NaN at baseline.
    """

    number: int
    first: PartialDate
    last: PartialDate
    lesions: dict[str, Lesion]
    values: dict[str, float]
    nadir: float

    @property
    def sum(self) -> float:
        """The sum of the target diameters, mm; NaN unless every one was evaluated."""
        return float(np.sum(list(self.values.values()))) if self.values else float("nan")

    @property
    def sum_evaluated(self) -> float:
        """The sum of those that were evaluated: what is missing can only add to it."""
        return float(np.nansum(list(self.values.values())))

    @property
    def n_evaluated(self) -> int:
        """How many target lesions were evaluated."""
        return int(np.isfinite(list(self.values.values())).sum()) if self.values else 0


@dataclasses.dataclass(frozen=True, slots=True)
class Course:
    """All assessments of a participant by one reader.

    Attributes
    ----------
    participant, reader : str
    start : date or None
        First dose.
    targets, non_targets : tuple of Lesion
        As they were at baseline.
    points : tuple of TimePoint
        In time; the baseline first, if there is one.
    has_baseline : bool
    """

    participant: str
    reader: str
    start: dt.date | None
    targets: tuple[Lesion, ...]
    non_targets: tuple[Lesion, ...]
    points: tuple[TimePoint, ...]
    has_baseline: bool

    @property
    def baseline_sum(self) -> float:
        """The sum at baseline, mm; NaN without target lesions."""
        return self.points[0].sum if self.has_baseline else float("nan")


def sum_of_diameters(
    lesions: pd.DataFrame,
    participants: pd.DataFrame | None = None,
    *,
    reader: str | None = None,
    rules: ResponseRules | None = None,
) -> pd.DataFrame:
    """Add up the target lesions of every assessment and compare them with baseline and nadir.

    Parameters
    ----------
    lesions : DataFrame
        One row a lesion and assessment: ``participant_id, date, lesion_id, role`` (target, non-target, new),
        ``diameter_mm`` (mm; of a node its short axis), ``node`` (yes, no), ``state`` (optional: measured,
        absent, too small, not evaluable), ``visit`` (optional: joins scans of several days to one
        assessment) and ``reader``.
    participants : DataFrame, optional
        With ``participant_id`` and ``first_dose_datetime``: what lies up to the day of the first dose is
        baseline. Without it the first assessment is.
    reader : str, optional
        Needed where there are several.
    rules : ResponseRules, optional

    Returns
    -------
    DataFrame
        One row an assessment, with :data:`SUM_COLUMNS`: sums and changes in mm and percent; NaN with a note
        where a target lesion was not evaluated or a baseline is missing. `nadir_mm` is the smallest sum
        before the row, baseline included. No lesions: no rows.

    Raises
    ------
    InputError
        E-RESP-001 to -005 and -011, E-SHEET-012.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("01", "2024-01-02", 30), ("01", "2024-03-01", 18), ("01", "2024-05-01", 24)]
    >>> scans = pd.DataFrame(rows, columns=["participant_id", "date", "diameter_mm"])
    >>> sums = sum_of_diameters(scans.assign(lesion_id="T1", role="target", node="no"))
    >>> sums["change_pct"].tolist(), sums["change_nadir_mm"].tolist()[1:]
    ([0.0, -40.0, -20.0], [-12.0, 6.0])
    """
    rules = rules or ResponseRules()
    found = courses(lesions, participants, reader=reader, rules=rules, problems=Problems())
    rows = [sum_row(course, point) for course in found for point in course.points]
    return pd.DataFrame(rows, columns=list(SUM_COLUMNS))


def courses(
    lesions: pd.DataFrame,
    participants: pd.DataFrame | None,
    *,
    reader: str | None,
    rules: ResponseRules,
    problems: Problems,
) -> list[Course]:
    """Arrange the rows of one reader by participant and assessment; raises what makes that impossible."""
    rows, chosen = read_lesions(lesions, reader=reader, problems=problems)
    starts = {} if participants is None else first_dose_days(participants, problems)
    found = []
    for person, group in itertools.groupby(rows, key=lambda one: one.participant):
        own = list(group)
        if participants is not None and person not in starts:
            problems.add(
                "E-RESP-009",
                f"Participant {person!r} has lesions and is not among the participants.",
                remedy="Correct the id, or add the participant.",
                file=_FILE,
                row=own[0].row,
                column="participant_id",
                value=person,
            )
            continue
        found.append(_course(person, chosen, own, starts.get(person), rules, problems))
    problems.raise_if_any()
    return found


def _course(
    person: str,
    reader: str,
    rows: list[Lesion],
    start: dt.date | None,
    rules: ResponseRules,
    problems: Problems,
) -> Course:
    visits: dict[str, list[Lesion]] = {}
    for one in rows:
        visits.setdefault(one.visit, []).append(one)
    groups = sorted(visits.values(), key=lambda own: (own[0].days, own[0].visit))
    before, after = _at_baseline(groups, start)
    base: dict[str, Lesion] = {}
    for own in before:
        base.update({one.lesion: one for one in own if one.role != "new"})
    targets = tuple(sorted((o for o in base.values() if o.role == "target"), key=lambda o: o.lesion))
    others = tuple(sorted((o for o in base.values() if o.role == "non-target"), key=lambda o: o.lesion))
    _check_baseline(person, targets, after, problems, has_baseline=bool(base))
    points: list[TimePoint] = []
    if base:
        days = [one.days for one in base.values()]
        values = {one.lesion: _value(one, rules) for one in targets}
        points.append(TimePoint(0, max(days), max(days), dict(base), values, float("nan")))
    sums = [points[0].sum] if base and targets else []
    for number, own in enumerate(after, start=1):
        seen = {one.lesion: one for one in own}
        values = {o.lesion: _value(seen[o.lesion], rules) if o.lesion in seen else np.nan for o in targets}
        nadir = min(sums) if sums else float("nan")
        days = [one.days.not_before(start) for one in own]
        point = TimePoint(number, min(days), max(days), seen, values, nadir)
        points.append(point)
        if np.isfinite(point.sum):
            sums.append(point.sum)
    return Course(person, reader, start, targets, others, tuple(points), bool(base))


def _at_baseline(
    groups: list[list[Lesion]], start: dt.date | None
) -> tuple[list[list[Lesion]], list[list[Lesion]]]:
    """Split assessments at the first dose; without its date the first one is the baseline."""
    if start is None:
        return groups[:1], groups[1:]
    before = [own for own in groups if max(one.days.latest for one in own) <= start]
    known = {one.lesion for own in before for one in own}
    for own in groups:
        # A partial date that may lie before the first dose is the baseline of lesions that have no other.
        perhaps = own not in before and own[0].days.earliest <= start
        if perhaps and any(one.lesion not in known for one in own if one.role != "new"):
            before.append(own)
            known.update(one.lesion for one in own)
    return before, [own for own in groups if own not in before]


def _value(one: Lesion, rules: ResponseRules) -> float:
    if one.state == "not evaluable":
        return float("nan")
    if np.isfinite(one.diameter):
        return one.diameter
    if one.state == "too small":
        return rules.too_small_mm
    return 0.0 if is_gone(one) else float("nan")


def _check_baseline(
    person: str,
    targets: tuple[Lesion, ...],
    after: list[list[Lesion]],
    problems: Problems,
    *,
    has_baseline: bool,
) -> None:
    if not has_baseline:
        problems.add(
            "E-RESP-010",
            f"Participant {person!r} has lesions, and none up to the first dose.",
            remedy="Give the baseline scan; without it only new lesions tell a response.",
            file=_FILE,
            row=after[0][0].row if after else None,
            column="date",
            severity="warning",
        )
        return
    known = {one.lesion for one in targets}
    late = [one for own in after for one in own if one.role == "target" and one.lesion not in known]
    for one in {one.lesion: one for one in reversed(late)}.values():
        problems.add(
            "E-RESP-011",
            f"Target lesion {one.lesion!r} of {person!r} was not measured at baseline.",
            remedy="Give its baseline row, or its role: non-target or new.",
            file=_FILE,
            row=one.row,
            column="lesion_id",
            value=one.lesion,
        )
    for one in targets:
        least = _LEAST_NODE_MM if one.node else _LEAST_LESION_MM
        if not np.isfinite(one.diameter) or one.state == "not evaluable":
            problems.add(
                "E-RESP-003",
                f"Target lesion {one.lesion!r} of {person!r} has no diameter at baseline.",
                remedy="Measure it, or make it a non-target lesion.",
                file=_FILE,
                row=one.row,
                column="diameter_mm",
            )
        elif one.diameter < least:
            problems.add(
                "E-RESP-014",
                f"Target lesion {one.lesion!r} of {person!r} is below {least:g} mm, the least of RECIST 1.1.",
                remedy="Check the diameter, and whether it is a node.",
                file=_FILE,
                row=one.row,
                column="diameter_mm",
                value=f"{one.diameter:g}",
                severity="warning",
            )


def study_day(day: dt.date, start: dt.date | None) -> float:
    """Give the study day: the first dose is day 1, the day before it day -1; NaN without a first dose."""
    if start is None:
        return float("nan")
    between = (day - start).days
    return float(between + 1 if between >= 0 else between)


def sum_row(course: Course, point: TimePoint) -> tuple[object, ...]:
    """One row of :func:`sum_of_diameters`; of scans on several days the last one dates the sum."""
    total, base, nadir = point.sum, course.baseline_sum, point.nadir
    lost = sorted(name for name, value in point.values.items() if not np.isfinite(value))
    note = f"not evaluable: {', '.join(lost)}" if lost else ""
    if not course.has_baseline:
        note = "no baseline"
    elif not course.targets:
        note = "no target lesion at baseline"
    return (
        course.participant,
        course.reader,
        point.number,
        day_text(point.last.earliest),
        day_text(point.last.latest),
        point.last.missing,
        study_day(point.last.earliest, course.start),
        course.has_baseline and point.number == 0,
        len(course.targets),
        point.n_evaluated,
        total,
        base,
        total - base,
        _percent(total - base, base),
        nadir,
        total - nadir,
        _percent(total - nadir, nadir),
        note,
    )


def _percent(change: float, of: float) -> float:
    return 100 * change / of if of > 0 else float("nan")
