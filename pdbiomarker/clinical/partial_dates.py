"""Dates that may be partial: the days they can mean, never one guessed silently.

``2014-02`` is every day of that month. Whoever needs one day takes the earliest or the latest of them, clips
it by what else is known of the participant, and says which part was imputed.
"""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import math
import re
from typing import Final

import pandas as pd

from pdbiomarker.errors import InputError, Problems
from pdbiomarker.tables import add_rows, parse_date

__all__ = ["DaySpan", "first_dose_days", "line_of", "read_span", "read_spans", "text_of", "with_ids"]

_PARTIAL: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?", re.ASCII)
_REMEDY: Final = "Write YYYY-MM-DD; a partial date as YYYY-MM or YYYY; an unknown one as an empty cell."


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class DaySpan:
    """The days that a date can mean.

    Attributes
    ----------
    earliest, latest : date
        Equal when the date is complete.
    imputed : str
        What is not known: ``""``, ``"day"`` or ``"month and day"``.
    """

    earliest: dt.date
    latest: dt.date
    imputed: str = ""

    @classmethod
    def of(cls, day: dt.date) -> DaySpan:
        """Make the span of one known day."""
        return cls(day, day)

    def not_before(self, day: dt.date | None) -> DaySpan:
        """Leave out the days before `day`, if any of the span remain."""
        if day is None or not self.earliest < day <= self.latest:
            return self
        return dataclasses.replace(self, earliest=day)

    def not_after(self, day: dt.date | None) -> DaySpan:
        """Leave out the days after `day`, if any of the span remain."""
        if day is None or not self.earliest <= day < self.latest:
            return self
        return dataclasses.replace(self, latest=day)


def text_of(value: object) -> str:
    """Give the text of a cell: what is missing is the empty text."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def line_of(label: object) -> int | None:
    """Give the line of a file that an index label stands for: whole numbers are lines."""
    return label if isinstance(label, int) else (int(str(label)) if str(label).isdigit() else None)


def read_span(value: object) -> DaySpan | None:
    """Read one date, complete or partial.

    Parameters
    ----------
    value : text, date, datetime or missing
        A time of day is dropped.

    Returns
    -------
    DaySpan or None
        None for an empty cell.

    Raises
    ------
    ValueError
        The text is neither an ISO 8601 date nor its beginning.

    Examples
    --------
    >>> read_span("2014-02").latest
    datetime.date(2014, 2, 28)
    """
    text = text_of(value)
    if not text:
        return None
    if isinstance(value, dt.datetime):
        return DaySpan.of(value.date())
    if isinstance(value, dt.date):
        return DaySpan.of(value)
    whole = parse_date(text)
    if whole is not None:
        return DaySpan.of(whole.date() if isinstance(whole, dt.datetime) else whole)
    found = _PARTIAL.fullmatch(text)
    if found is None:
        raise ValueError("is not an ISO 8601 date, nor the beginning of one")
    year = int(found[1])
    if found[2] is None:
        return DaySpan(dt.date(year, 1, 1), dt.date(year, 12, 31), "month and day")
    month = int(found[2])
    last = calendar.monthrange(year, month)[1]
    return DaySpan(dt.date(year, month, 1), dt.date(year, month, last), "day")


def read_spans(frame: pd.DataFrame, column: str, *, file: str, problems: Problems) -> list[DaySpan | None]:
    """Read a column of dates; those that are none are told (E-SHEET-012) and become None.

    A column that the frame lacks is a column of empty cells.
    """
    if column not in frame.columns:
        return [None] * len(frame)
    spans: list[DaySpan | None] = []
    wrong: list[tuple[int, str | None, str]] = []
    for place, (label, value) in enumerate(zip(frame.index, frame[column].tolist(), strict=True)):
        try:
            spans.append(read_span(value))
        except ValueError:
            line = line_of(label)
            wrong.append((place if line is None else line, text_of(value), "The date cannot be read."))
            spans.append(None)
    add_rows(problems, "E-SHEET-012", wrong, remedy=_REMEDY, file=file, column=column)
    return spans


def with_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame whose column ``participant_id`` is text, whether it came as a column or as the index.

    Raises
    ------
    InputError
        E-SURV-001: it has neither.
    """
    if "participant_id" in frame.columns:
        out = frame.copy()
    elif frame.index.name == "participant_id":
        out = frame.reset_index()
    else:
        problems = Problems()
        remedy = f"It has: {', '.join(map(str, frame.columns))}."
        problems.add("E-SURV-001", "The table has no such column.", remedy=remedy, column="participant_id")
        raise InputError(problems)
    out["participant_id"] = [text_of(value) for value in out["participant_id"]]
    return out


def first_dose_days(participants: pd.DataFrame, problems: Problems) -> dict[str, dt.date | None]:
    """Give the day of the first dose of every participant, in the order of their ids.

    Parameters
    ----------
    participants : DataFrame
        With ``participant_id`` (or as index) and ``first_dose_datetime``.
    problems : Problems
        A date that is none, or that is partial (E-SURV-003), a participant who stands twice (E-SURV-009) and
        a missing column (E-SURV-001) are added.

    Returns
    -------
    dict
        None where a participant was never dosed.
    """
    people = with_ids(participants)
    if "first_dose_datetime" not in people.columns:
        problems.add(
            "E-SURV-001",
            "Without first doses no time can be counted.",
            remedy=f"The participants have: {', '.join(map(str, people.columns))}.",
            file="participants.csv",
            column="first_dose_datetime",
        )
    spans = read_spans(people, "first_dose_datetime", file="participants.csv", problems=problems)
    days: dict[str, dt.date | None] = {}
    for person, span in zip(people["participant_id"], spans, strict=True):
        if span is not None and span.imputed:
            problems.add(
                "E-SURV-003",
                f"The first dose of {person!r} has no complete date, and every time is counted from it.",
                remedy="Give year, month and day.",
                file="participants.csv",
                column="first_dose_datetime",
                value=f"{span.earliest} to {span.latest}",
            )
        if person in days:
            problems.add(
                "E-SURV-009",
                f"Participant {person!r} stands twice.",
                remedy="Keep one row for each participant.",
                file="participants.csv",
                column="participant_id",
                value=person,
            )
        days[person] = None if span is None else span.earliest
    return dict(sorted(days.items()))
