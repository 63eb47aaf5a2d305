"""Columns of clinical tables: text or typed, checked with the row of every value refused; partial dates."""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.errors import Problems, Severity
from pdbiomarker.tables import add_rows, nearest, parse_date, to_number

__all__ = ["ClinicalTable", "PartialDate", "parse_cutoff", "parse_partial_date"]

_PARTIAL: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?(?:-(?:UN|un|--)?)?(?:T.*)?", re.ASCII)
_YES_NO: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


@dataclasses.dataclass(frozen=True)
class PartialDate:
    """A date, of which the day or the month may be unknown.

    Attributes
    ----------
    text : str
        As it was typed.
    first, last : date
        The days between which it lies; the same day when it is complete.
    time : datetime or None
        Where a time is given.
    missing : {"", "day", "month"}
        What is unknown: the day, or month and day.
    """

    text: str
    first: dt.date
    last: dt.date
    time: dt.datetime | None = None
    missing: str = ""


def parse_partial_date(text: str) -> PartialDate | None:
    """Read an ISO 8601 date, or its year, or its year and month; None if it is none of them.

    Examples
    --------
    >>> found = parse_partial_date("2014-02")
    >>> found.first.isoformat(), found.last.isoformat(), found.missing
    ('2014-02-01', '2014-02-28', 'day')
    """
    whole = parse_date(text)
    if isinstance(whole, dt.datetime):
        return PartialDate(text, whole.date(), whole.date(), whole)
    if whole is not None:
        return PartialDate(text, whole, whole)
    match = _PARTIAL.fullmatch(text)
    if match is None or not 1900 <= int(match[1]) <= 2100:
        return None
    year = int(match[1])
    if match[2] is None:
        return PartialDate(text, dt.date(year, 1, 1), dt.date(year, 12, 31), missing="month")
    month = int(match[2])
    if not 1 <= month <= 12:
        return None
    last = calendar.monthrange(year, month)[1]
    return PartialDate(text, dt.date(year, month, 1), dt.date(year, month, last), missing="day")


def parse_cutoff(cutoff: str | None, problems: Problems) -> dt.date | None:
    """Read a data cut-off; None without one; another text than an ISO date is an error (E-SHEET-012)."""
    if cutoff is None:
        return None
    found = parse_partial_date(cutoff)
    if found is None or found.missing:
        problems.add(
            "E-SHEET-012",
            "The data cut-off is not an ISO 8601 date.",
            remedy="Write it as YYYY-MM-DD.",
            column="cutoff",
            value=cutoff,
        )
        return None
    return found.first


class ClinicalTable:
    """A clinical table whose columns are asked for one by one; faults are collected.

    Parameters
    ----------
    frame : DataFrame
        Text as from :func:`pdbiomarker.tables.read_table`, or typed. An index named as a column that is asked
        for stands for that column. The row of a problem is the column ``line`` where there is one, else the
        index where it is numeric, else the position from 1.
    file : str
        What problems call it.
    problems : Problems
        Where faults are added.
    required : sequence of str
        Columns that must exist (E-SHEET-001).
    """

    def __init__(
        self, frame: pd.DataFrame, file: str, problems: Problems, *, required: Sequence[str] = ()
    ) -> None:
        name = frame.index.name
        table = frame.reset_index() if isinstance(name, str) and name not in frame.columns else frame
        self.file = file
        self.problems = problems
        self.lines = _lines(frame)
        self._frame = table.set_axis(self.lines, axis="index")
        for column in required:
            if column not in table.columns:
                problems.add(
                    "E-SHEET-001",
                    f"The column {column!r} is missing. {nearest(column, map(str, table.columns))}",
                    remedy="Add it, or rename the column that holds it.",
                    file=file,
                    row=1,
                    column=column,
                )

    def __len__(self) -> int:
        return len(self._frame)

    def has(self, column: str) -> bool:
        """Tell whether a column is there."""
        return column in self._frame.columns

    def texts(self, column: str) -> list[str | None]:
        """Give a column as text without spaces at the ends; None where empty or without the column."""
        if not self.has(column):
            return [None] * len(self)
        return [_text(value) for value in self._frame[column].tolist()]

    def ids(self, column: str = "participant_id") -> list[str]:
        """Give a column of ids; a missing one is an error (E-SHEET-004) and becomes an empty text."""
        values = self.texts(column)
        if self.has(column):
            empty = [
                (line, None, "The id is missing.")
                for line, v in zip(self.lines, values, strict=True)
                if not v
            ]
            self.tell("E-SHEET-004", column, empty, remedy="Give every row its id.")
        return [value or "" for value in values]

    def numbers(
        self, column: str, *, low: float | None = None, high: float | None = None
    ) -> NDArray[np.float64]:
        """Give a column of numbers, NaN where empty; others are errors (E-SHEET-007, E-SHEET-008)."""
        if not self.has(column):
            return np.full(len(self), np.nan)
        texts = pd.Series(self.texts(column), index=self.lines, name=column, dtype=object)
        numbers = to_number(texts, file=self.file, problems=self.problems, name=column, low=low, high=high)
        return numbers.to_numpy(dtype=float)

    def flags(self, column: str) -> list[bool | None]:
        """Give a column of yes and no; None where empty."""
        found = self.choices(
            column, {**{key: key for key in _YES_NO}, "1": "yes", "0": "no"}, shown="yes or no"
        )
        return [None if value is None else _YES_NO[value] for value in found]

    def choices(
        self,
        column: str,
        known: Mapping[str, str],
        *,
        shown: str,
        code: str = "E-SHEET-007",
        severity: Severity = "error",
    ) -> list[str | None]:
        """Give a column of words, each turned into its name; None where empty or refused.

        Parameters
        ----------
        column : str
        known : mapping
            Word in lower case -> name.
        shown : str
            The words allowed, for the message.
        code, severity
            Of the problem for another word.
        """
        found: list[str | None] = []
        wrong: list[tuple[int, str | None, str]] = []
        for line, text in zip(self.lines, self.texts(column), strict=True):
            name = None if text is None else known.get(text.casefold())
            if text is not None and name is None:
                wrong.append((line, text, f"The value is not {shown}."))
            found.append(name)
        self.tell(code, column, wrong, remedy=f"Write {shown}, or leave the cell empty.", severity=severity)
        return found

    def dates(self, column: str) -> list[PartialDate | None]:
        """Give a column of dates, whole or partial; None where empty; others are errors (E-SHEET-012)."""
        found: list[PartialDate | None] = []
        wrong: list[tuple[int, str | None, str]] = []
        for line, text in zip(self.lines, self.texts(column), strict=True):
            date = None if text is None else parse_partial_date(text)
            if text is not None and date is None:
                wrong.append((line, text, "The date is not an ISO 8601 date, year-month or year."))
            found.append(date)
        self.tell("E-SHEET-012", column, wrong, remedy="Write YYYY-MM-DD; an unknown day as YYYY-MM.")
        return found

    def tell(
        self,
        code: str,
        column: str,
        cells: Sequence[tuple[int, str | None, str]],
        *,
        remedy: str,
        severity: Severity = "error",
    ) -> None:
        """Report one fault at many rows."""
        add_rows(self.problems, code, cells, remedy=remedy, file=self.file, column=column, severity=severity)


def _lines(frame: pd.DataFrame) -> list[int]:
    if "line" in frame.columns and pd.api.types.is_numeric_dtype(frame["line"]):
        return [int(line) for line in frame["line"].tolist()]
    if pd.api.types.is_integer_dtype(frame.index):
        return [int(line) for line in frame.index.tolist()]
    return list(range(1, len(frame) + 1))


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, pd.Timestamp) and value == value.normalize() and value.tzinfo is None:
        return value.date().isoformat()
    return str(value).strip() or None
