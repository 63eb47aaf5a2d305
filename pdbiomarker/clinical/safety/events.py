"""Adverse events: treatment-emergent or not and why, with partial dates and missing grades made visible."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from typing import Final

import pandas as pd

from pdbiomarker.clinical.columns import ClinicalTable, parse_cutoff
from pdbiomarker.clinical.people import Person, read_people
from pdbiomarker.clinical.safety.dosing import Course, read_courses
from pdbiomarker.clinical.safety.options import SafetyOptions
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.tables import PartialDate

__all__ = ["EVENT_COLUMNS", "SafetyData", "read_events"]

FILE: Final = "adverse_events.csv"
EVENT_COLUMNS: Final = (
    "participant_id", "dose_mg", "system_organ_class", "term", "grade", "grade_imputed", "start",
    "start_date", "start_imputed", "study_day", "end", "serious", "related", "dose_limiting", "emergent",
    "emergent_why", "flags",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SafetyData:
    """Adverse events beside the participants and their doses.

    Attributes
    ----------
    events : DataFrame
        One row for each event, in the order of the table: participant_id, dose_mg, system_organ_class, term,
        grade (1 to 5; NaN without one), grade_imputed (bool), start (as typed), start_date (ISO text, imputed
        where partial), start_imputed (empty, ``day``, ``month`` or ``date``: what was imputed), study_day,
        end (as typed), serious, related, dose_limiting (bool), emergent (bool), emergent_why, flags.
    people, courses : mapping
        Participants, and their doses.
    options : SafetyOptions
    problems : tuple of Problem
        Warnings and what was left out.
    """

    events: pd.DataFrame
    people: dict[str, Person]
    courses: dict[str, Course]
    options: SafetyOptions
    problems: tuple[Problem, ...]

    @property
    def treated(self) -> list[str]:
        """Participants with a first dose, by id: the denominator of the safety tables."""
        return sorted(p for p, course in self.courses.items() if course.first is not None)


def read_events(
    adverse_events: pd.DataFrame,
    participants: pd.DataFrame,
    doses: pd.DataFrame | None = None,
    *,
    options: SafetyOptions | None = None,
) -> SafetyData:
    """Read adverse events and say which are treatment-emergent.

    Parameters
    ----------
    adverse_events : DataFrame
        participant_id, term; optional system_organ_class, grade (CTCAE 1 to 5), start, end (ISO dates, may be
        partial), serious, related, dose_limiting (yes or no).
    participants : DataFrame
        participant_id; optional first_dose_datetime, dose_mg, cohort.
    doses : DataFrame, optional
        participant_id, start; optional end, amount, planned_amount, status. Without it the last dose is not
        known, and every event from the first dose on is treatment-emergent.
    options : SafetyOptions, optional

    Returns
    -------
    SafetyData

    Raises
    ------
    InputError
        E-SHEET: a missing column, an unknown participant, a value of another type; E-AE-001: a grade other
        than 1 to 5; E-AE-002: an end before the start.

    Notes
    -----
    Treatment-emergent: onset, or worsening of what was there before, from the day of the first dose to
    `days_after_last` days after the last. What cannot be told counts as emergent, and the row says so: a
    partial or missing onset that may lie in that time (imputed as its first possible day of that time), a
    missing grade. Every row with an onset in that time counts; where the participant had the same term before
    the first dose, the row says whether its grade is higher (worsened). A missing answer counts as not
    serious, as not dose-limiting, and as related; each is flagged.
    """
    chosen, problems = options or SafetyOptions(), Problems()
    table = ClinicalTable(adverse_events, FILE, problems, required=["participant_id", "term"])
    people = read_people(participants, problems)
    cutoff = parse_cutoff(chosen.cutoff, problems)
    courses = read_courses(doses, people, problems, cutoff=cutoff)
    ids, terms, classes = table.ids(), table.texts("term"), table.texts("system_organ_class")
    _check(table, ids, terms, people)
    grades, starts, ends = _grades(table), table.dates("start"), table.dates("end")
    serious, related, limiting = (table.flags(c) for c in ("serious", "related", "dose_limiting"))
    _check_order(table, starts, ends)
    problems.raise_if_any()
    raw = [
        _Event(
            ids[i],
            str(terms[i]),
            classes[i],
            grades[i],
            starts[i],
            ends[i],
            serious[i],
            related[i],
            limiting[i],
        )
        for i in range(len(table))
    ]
    _tell_late(table, starts, cutoff)
    before = _at_baseline(raw, courses)
    rows = [_row(event, people, courses, before, chosen) for event in raw]
    events = pd.DataFrame(rows, columns=list(EVENT_COLUMNS)).astype(
        {
            **dict.fromkeys(("serious", "related", "dose_limiting", "emergent", "grade_imputed"), bool),
            **{"grade": float, "study_day": "Int64"},
        }
    )
    return SafetyData(events, people, courses, chosen, tuple(problems))


@dataclasses.dataclass(frozen=True)
class _Event:
    person: str
    term: str
    system: str | None
    grade: float
    start: PartialDate | None
    end: PartialDate | None
    serious: bool | None
    related: bool | None
    limiting: bool | None

    @property
    def key(self) -> tuple[str, str]:
        return self.person, self.term.casefold()


def _check(table: ClinicalTable, ids: list[str], terms: list[str | None], people: dict[str, Person]) -> None:
    lines = table.lines
    unknown = [
        (line, i, f"The participant {i!r} is not in participants.csv.")
        for line, i in zip(lines, ids, strict=True)
        if i and i not in people
    ]
    table.tell("E-SHEET-006", "participant_id", unknown, remedy="Correct the id, or add the participant.")
    empty = [
        (line, None, "The event has no term.") for line, t in zip(lines, terms, strict=True) if t is None
    ]
    if table.has("term"):
        table.tell("E-SHEET-017", "term", empty, remedy="Give the preferred term.")


def _grades(table: ClinicalTable) -> list[float]:
    numbers = table.numbers("grade")
    wrong = [
        (line, f"{number:g}", "The grade is not one of 1, 2, 3, 4 and 5.")
        for line, number in zip(table.lines, numbers, strict=True)
        if not math.isnan(number) and number not in {1, 2, 3, 4, 5}
    ]
    table.tell("E-AE-001", "grade", wrong, remedy="CTCAE grades run from 1 to 5; leave an unknown one empty.")
    return [float(number) for number in numbers]


def _check_order(
    table: ClinicalTable, starts: list[PartialDate | None], ends: list[PartialDate | None]
) -> None:
    wrong = [
        (line, end.text, f"The event ends before it starts ({start.text}).")
        for line, start, end in zip(table.lines, starts, ends, strict=True)
        if start is not None and end is not None and end.latest < start.earliest
    ]
    table.tell("E-AE-002", "end", wrong, remedy="Correct one of the two dates.")


def _tell_late(table: ClinicalTable, starts: list[PartialDate | None], cutoff: dt.date | None) -> None:
    late = [
        (line, start.text, "The event starts after the data cut-off.")
        for line, start in zip(table.lines, starts, strict=True)
        if cutoff is not None and start is not None and start.earliest > cutoff
    ]
    table.tell("E-SHEET-014", "start", late, remedy="It does not count.", severity="warning")


def _at_baseline(events: list[_Event], courses: dict[str, Course]) -> dict[tuple[str, str], list[_Event]]:
    """Events known to have started before the first dose, by participant and term."""
    found: dict[tuple[str, str], list[_Event]] = {}
    for event in events:
        first = courses[event.person].first
        if first is not None and event.start is not None and event.start.latest < first:
            found.setdefault(event.key, []).append(event)
    return found


def _row(
    event: _Event,
    people: dict[str, Person],
    courses: dict[str, Course],
    before: dict[tuple[str, str], list[_Event]],
    options: SafetyOptions,
) -> dict[str, object]:
    course = courses[event.person]
    date, imputed = _onset(event, course)
    emergent, why = _emergent(event, course, before.get(event.key, []), options)
    flags = [f"onset {imputed} imputed"] if imputed else []
    grade, no_grade = event.grade, math.isnan(event.grade)
    if no_grade:
        grade = math.nan if options.missing_grade is None else float(options.missing_grade)
        flags.append("grade missing" if math.isnan(grade) else f"grade missing, taken as {grade:g}")
    for name, value in (("serious", event.serious), ("dose_limiting", event.limiting)):
        if value is None:
            flags.append(f"{name} missing, taken as no")
    if event.related is None:
        flags.append("related missing, taken as yes")
    day = None if date is None or course.first is None else (date - course.first).days
    return {
        "participant_id": event.person,
        "dose_mg": people[event.person].dose_mg,
        "system_organ_class": event.system or "not recorded",
        "term": event.term,
        "grade": grade,
        "grade_imputed": no_grade and not math.isnan(grade),
        "start": None if event.start is None else event.start.text,
        "start_date": None if date is None else date.isoformat(),
        "start_imputed": imputed,
        "study_day": None if day is None else day + 1 if day >= 0 else day,
        "end": None if event.end is None else event.end.text,
        "serious": event.serious is True,
        "related": event.related is not False,
        "dose_limiting": event.limiting is True,
        "emergent": emergent,
        "emergent_why": why,
        "flags": "; ".join(flags),
    }


def _onset(event: _Event, course: Course) -> tuple[dt.date | None, str]:
    """Onset, and what of it is imputed: the first possible day, not before the first dose if it may be."""
    start, first = event.start, course.first
    if start is None:
        over = first is not None and event.end is not None and event.end.latest < first
        return (None, "") if over else (first, "date" if first is not None else "")
    if start.missing and first is not None and start.earliest <= first <= start.latest:
        over = event.end is not None and event.end.latest < first
        return (start.earliest if over else first), start.missing
    return start.earliest, start.missing


def _emergent(
    event: _Event, course: Course, before: list[_Event], options: SafetyOptions
) -> tuple[bool, str]:
    first, start, end = course.first, event.start, event.end
    if first is None:
        return False, "not treated"
    if end is not None and end.latest < first:
        return False, "ended before the first dose"
    if start is None:
        return True, "onset not recorded: taken as treatment-emergent"
    if start.latest < first:
        return False, "onset before the first dose"
    if options.cutoff is not None and start.earliest.isoformat() > options.cutoff[:10]:
        return False, "onset after the data cut-off"
    if course.last is not None:
        limit = course.last + dt.timedelta(days=options.days_after_last)
        if start.earliest > limit:
            return False, f"onset more than {options.days_after_last} days after the last dose"
    if start.missing and start.earliest < first:
        return True, "onset may lie after the first dose: taken as treatment-emergent"
    open_end = "; the last dose is not known" if course.last is None else ""
    return True, _how(event, before) + open_end


def _how(event: _Event, before: list[_Event]) -> str:
    grades = [old.grade for old in before if not math.isnan(old.grade)]
    if not grades or math.isnan(event.grade):
        return "onset after the first dose"
    if event.grade > max(grades):
        return f"worsened after the first dose, from grade {max(grades):g}"
    return f"onset after the first dose; the term was there before it at grade {max(grades):g}"
