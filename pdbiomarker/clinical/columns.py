"""Columns of clinical tables: text or typed, checked with the row of every value refused."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.errors import Problems, Severity
from pdbiomarker.tables import (
    PartialDate,
    add_rows,
    nearest,
    parse_partial_date,
    to_number,
    to_partial_date,
)

__all__ = ["ClinicalTable", "line_of", "parse_cutoff", "read_dates", "text_of"]

_YES_NO: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


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
    return found.earliest


def text_of(value: object) -> str:
    """Give the text of a cell: what is missing is the empty text."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def line_of(label: object) -> int | None:
    """Give the line of a file that an index label stands for: whole numbers are lines."""
    return label if isinstance(label, int) else (int(str(label)) if str(label).isdigit() else None)


def read_dates(
    frame: pd.DataFrame, column: str, *, file: str, problems: Problems
) -> list[PartialDate | None]:
    """Read a column of dates, complete or partial; a column that the frame lacks is one of empty cells.

    See :func:`pdbiomarker.tables.to_partial_date`.
    """
    if column not in frame.columns:
        return [None] * len(frame)
    return to_partial_date(frame[column], file=file, problems=problems, name=column)


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

    def numbers(self, column: str, *, low: float | None = None) -> NDArray[np.float64]:
        """Give a column of numbers, NaN where empty; others are errors (E-SHEET-007, E-SHEET-008)."""
        if not self.has(column):
            return np.full(len(self), np.nan)
        texts = pd.Series(self.texts(column), index=self.lines, name=column, dtype=object)
        numbers = to_number(texts, file=self.file, problems=self.problems, name=column, low=low)
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
    ) -> list[str | None]:
        """Give a column of words, each turned into its name; None where empty or refused.

        Parameters
        ----------
        column : str
        known : mapping
            Word in lower case -> name.
        shown : str
            The words allowed, for the message.
        code : str
            Of the problem for another word.
        """
        found: list[str | None] = []
        wrong: list[tuple[int, str | None, str]] = []
        for line, text in zip(self.lines, self.texts(column), strict=True):
            name = None if text is None else known.get(text.casefold())
            if text is not None and name is None:
                wrong.append((line, text, f"The value is not {shown}."))
            found.append(name)
        self.tell(code, column, wrong, remedy=f"Write {shown}, or leave the cell empty.")
        return found

    def dates(self, column: str) -> list[PartialDate | None]:
        """Give a column of dates, whole or partial: see :func:`read_dates`."""
        return read_dates(self._frame, column, file=self.file, problems=self.problems)

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
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, pd.Timestamp) and value == value.normalize() and value.tzinfo is None:
        return value.date().isoformat()
    return text_of(value) or None
