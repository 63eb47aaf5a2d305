"""Dates of which the day, or month and day, may be unknown: never one guessed silently.

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

from pdbiomarker.errors import Problems
from pdbiomarker.tables.columns import YEARS, add_rows, parse_date, why_not_a_date

__all__ = ["PartialDate", "parse_partial_date", "to_partial_date"]

# ISO 8601 leaves the end off; case report forms write UN for what is unknown; a hyphen may be left over.
_PARTIAL: Final = re.compile(r"([0-9]{4})(?:-UN(?:-UN)?|-([0-9]{2})(?:-UN)?)?-?", re.ASCII | re.IGNORECASE)
_REMEDY: Final = "Write YYYY-MM-DD; a partial date as YYYY-MM or YYYY; an unknown one as an empty cell."


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class PartialDate:
    """The days that a date can mean.

    Attributes
    ----------
    earliest, latest : date
        Equal when the date is complete.
    missing : {"", "day", "month"}
        What is unknown: nothing, the day, or month and day.
    text : str
        As it was typed; no part of what makes two dates equal.
    time : datetime or None
        Where a time of day is given; no part of what makes two dates equal.
    """

    earliest: dt.date
    latest: dt.date
    missing: str = ""
    text: str = dataclasses.field(default="", compare=False, repr=False)
    time: dt.datetime | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, day: dt.date) -> PartialDate:
        """Make a date of one known day, or day and time."""
        if isinstance(day, dt.datetime):
            return cls(day.date(), day.date(), text=day.isoformat(), time=day)
        return cls(day, day, text=day.isoformat())

    @property
    def whole(self) -> dt.date | None:
        """The date, or date and time, where nothing is missing."""
        return None if self.missing else self.time or self.earliest

    @property
    def iso(self) -> str:
        """What is known, as ISO 8601: ``2014-02-07T09:30``, ``2014-02-07``, ``2014-02`` or ``2014``."""
        if self.missing:
            return self.earliest.isoformat()[: 4 if self.missing == "month" else 7]
        return (self.time or self.earliest).isoformat()

    def not_before(self, day: dt.date | None) -> PartialDate:
        """Leave out the days before `day`, if any remain."""
        if day is None or not self.earliest < day <= self.latest:
            return self
        return dataclasses.replace(self, earliest=day)


def parse_partial_date(text: str) -> PartialDate | None:
    """Read an ISO 8601 date, with or without a time, or its year, or its year and month.

    Returns
    -------
    PartialDate or None
        None if it is none of them, or a partial date of a year that is no year of a trial.

    Examples
    --------
    >>> found = parse_partial_date("2014-02")
    >>> found.earliest.isoformat(), found.latest.isoformat(), found.missing
    ('2014-02-01', '2014-02-28', 'day')
    """
    whole = parse_date(text)
    if whole is not None:
        return dataclasses.replace(PartialDate.of(whole), text=text)
    match = _PARTIAL.fullmatch(text)
    if match is None or not YEARS[0] <= int(match[1]) <= YEARS[1]:
        return None
    year = int(match[1])
    if match[2] is None:
        return PartialDate(dt.date(year, 1, 1), dt.date(year, 12, 31), "month", text)
    month = int(match[2])
    if not 1 <= month <= 12:
        return None
    last = calendar.monthrange(year, month)[1]
    return PartialDate(dt.date(year, month, 1), dt.date(year, month, last), "day", text)


def to_partial_date(
    column: pd.Series, *, file: str, problems: Problems, name: str | None = None
) -> list[PartialDate | None]:
    """Turn a column of dates, complete or partial, into the days that they can mean.

    Parameters
    ----------
    column : Series of str, date, datetime or missing
        Index: lines of the file.
    file : str
        The sheet's name, for the problems.
    problems : Problems
        Values that are no dates (E-SHEET-012) or whose year is implausible (E-SHEET-008).
    name : str, optional
        The column's name as the file has it; default, the series' name.

    Returns
    -------
    list of PartialDate or None
        None where empty or refused.
    """
    label = str(column.name) if name is None else name
    values: list[PartialDate | None] = []
    wrong: list[tuple[int, str | None, str]] = []
    outside: list[tuple[int, str | None, str]] = []
    for place, (line, raw) in enumerate(zip(column.index, column.tolist(), strict=True)):
        text = _text(raw)
        value = parse_partial_date(text) if text else None
        row = int(line) if isinstance(line, int) or str(line).isdigit() else place
        match = _PARTIAL.fullmatch(text)
        year = value.earliest.year if value is not None else int(match[1]) if match is not None else None
        if year is not None and not YEARS[0] <= year <= YEARS[1]:
            outside.append((row, text, "The year of the date is implausible."))
            value = None
        elif text and value is None:
            wrong.append((row, text, f"The date {why_not_a_date(text)}."))
        values.append(value)
    add_rows(problems, "E-SHEET-012", wrong, remedy=_REMEDY, file=file, column=label)
    add_rows(problems, "E-SHEET-008", outside, remedy=_REMEDY, file=file, column=label)
    return values


def _text(value: object) -> str:
    """A cell as text; a time of midnight is what a date became on its way through a table."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, dt.datetime):
        plain = value.tzinfo is None and value.time() == dt.time()
        return value.date().isoformat() if plain else value.isoformat()
    return str(value).strip()
