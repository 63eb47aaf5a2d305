"""Columns of text turned into numbers and dates, strictly, with the line of every value refused."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.errors import Problems, Severity

#: At most this many lines are named for one fault of one column; the rest is counted.
MAX_SHOWN: Final = 20

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]", re.ASCII)
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ISO_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}"
    r"(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_PARTIAL_DATE = re.compile(r"[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?(?:-)?", re.ASCII)
_NO_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}-?", re.ASCII)
_NUMERIC_DATE = re.compile(r"([0-9]{1,4})[/.\-]([0-9]{1,2})[/.\-]([0-9]{1,4})", re.ASCII)
_EXCEL_EPOCH: Final = dt.date(1899, 12, 30)
_EXCEL_SERIALS: Final = (20_000, 80_000)  # 1954 to 2119
#: The years that a date of a trial can lie in.
YEARS: Final = (1900, 2100)


def is_number(text: str) -> bool:
    """Tell whether a text is one finite decimal number, such as ``-1.5e3``.

    Examples
    --------
    >>> is_number("1E5"), is_number("1,5"), is_number("inf"), is_number("1e400")
    (True, False, False, False)
    """
    return _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def nearest(value: str, options: Iterable[str]) -> str:
    """Say which of the options are nearest to a value that is not among them.

    Parameters
    ----------
    value : str
        What was typed.
    options : iterable of str
        What exists.

    Returns
    -------
    str
        A sentence, such as ``"Nearest: 'C2D1'."``, or the first of what exists when nothing is near.

    Examples
    --------
    >>> nearest("c2d1", ["screening", "C2D1"])
    "Nearest: 'C2D1'."
    """
    known = list(dict.fromkeys(options))
    if not known:
        return "None exist."
    folded: dict[str, str] = {}
    for option in known:
        folded.setdefault(option.casefold(), option)
    close = difflib.get_close_matches(value.casefold(), list(folded), n=3, cutoff=0.6)
    if close:
        return f"Nearest: {', '.join(repr(folded[key]) for key in close)}."
    shown = ", ".join(repr(option) for option in known[:10])
    return f"There are: {shown}{', ...' if len(known) > 10 else ''}."


def add_rows(
    problems: Problems,
    code: str,
    cells: Iterable[tuple[int, str | None, str]],
    *,
    remedy: str,
    file: str,
    column: str | None = None,
    severity: Severity = "error",
) -> None:
    """Report one fault at many lines: the first 20 by line, the rest counted.

    Parameters
    ----------
    problems : Problems
        Where they are added.
    code : str
        The problem's code.
    cells : iterable of (line, value, message)
        One entry for each line.
    remedy, file, column, severity
        As in :class:`pdbiomarker.errors.Problem`.
    """
    found = list(cells)
    for line, value, message in found[:MAX_SHOWN]:
        problems.add(
            code, message, remedy=remedy, file=file, row=line, column=column, value=value, severity=severity
        )
    more = found[MAX_SHOWN:]
    if more:
        problems.add(
            code,
            f"The same at {len(more)} more line{'s' if len(more) > 1 else ''}, from line {more[0][0]} "
            f"to line {more[-1][0]}.",
            remedy=remedy,
            file=file,
            row=more[0][0],
            column=column,
            severity=severity,
        )


def _cell(raw: object) -> str:
    return "" if raw is None or raw is pd.NA or (isinstance(raw, float) and math.isnan(raw)) else str(raw)


def _why_not_a_number(text: str) -> str:
    if re.fullmatch(r"[+-]?[0-9]{1,3}(?:[,.' \u00a0\u202f][0-9]{3})+[,.][0-9]+", text):
        return "has a thousands separator, so it is not read as a number"
    if re.fullmatch(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+", text):
        return "is not a number: the comma may be a thousands separator or a decimal comma"
    if re.fullmatch(r"[+-]?[0-9]{1,3}(?:[' \u00a0\u202f_][0-9]{3})+", text):
        return "has a thousands separator, so it is not read as a number"
    if re.fullmatch(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?", text):
        return "has a decimal comma"
    if text.endswith("%"):
        return "has a percent sign"
    if text[:1] in "<>≤≥~":
        return "is a limit, not a number"
    if text.casefold().lstrip("+-") in {
        "inf",
        "infinity",
        "nan",
        "na",
        "n/a",
        "null",
        "none",
        "nd",
        "-",
        ".",
    }:
        return "is not a number; a missing value is an empty cell"
    if _NUMBER.fullmatch(text):
        return "is too large for a number"
    if any(character.isdigit() and not character.isascii() for character in text):
        return "is written with digits other than 0-9"
    return "is not a number"


def to_number(
    column: pd.Series,
    *,
    file: str,
    problems: Problems,
    name: str | None = None,
    low: float | None = None,
    high: float | None = None,
    integer: bool = False,
) -> pd.Series:
    """Turn a column of text into numbers.

    Parameters
    ----------
    column : Series of str or None
        Index: lines of the file, as from :func:`read_table`.
    file : str
        The sheet's name, for the problems.
    problems : Problems
        Values that are not numbers (E-SHEET-007) or lie out of range (E-SHEET-008) are added.
    name : str, optional
        The column's name as the file has it; default, the series' name.
    low, high : float, optional
        The closed range allowed.
    integer : bool
        Refuse fractions.

    Returns
    -------
    Series of float64
        Same index; NaN where the cell is empty or refused.
    """
    label = str(column.name) if name is None else name
    values = np.full(len(column), np.nan)
    wrong: list[tuple[int, str | None, str]] = []
    outside: list[tuple[int, str | None, str]] = []
    bounds = f"from {'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
    for place, (line, raw) in enumerate(zip(column.index, column.tolist(), strict=True)):
        text = _cell(raw).strip()
        if not text:
            continue
        if not is_number(text):
            wrong.append((int(line), str(raw), f"The value {_why_not_a_number(text)}."))
            continue
        number = float(text)
        if integer and not number.is_integer():
            wrong.append((int(line), str(raw), "The value must be a whole number."))
        elif (low is not None and number < low) or (high is not None and number > high):
            outside.append((int(line), str(raw), f"The value is outside the range {bounds}."))
        else:
            values[place] = number
    remedy = "Write a plain number with a decimal point, such as 12.5, or leave the cell empty."
    add_rows(problems, "E-SHEET-007", wrong, remedy=remedy, file=file, column=label)
    add_rows(problems, "E-SHEET-008", outside, remedy=f"Give a value {bounds}.", file=file, column=label)
    return pd.Series(values, index=column.index, name=column.name, dtype="float64")


def why_not_a_date(text: str) -> str:
    """Say what a text is that is not a date, as the end of a sentence."""
    if _PARTIAL_DATE.fullmatch(text):
        return "is a partial date: year, month and day are needed"
    if _ISO_DATE.fullmatch(text) or _ISO_TIME.fullmatch(text) or _NO_MONTH.fullmatch(text):
        return "is not a day or time of the calendar"
    written = _NUMERIC_DATE.fullmatch(text)
    if written is not None:
        first, second = int(written[1]), int(written[2])
        if len(written[1]) <= 2 and first <= 12 and second <= 12:
            return "is ambiguous: it may be day/month or month/day"
        return "is not an ISO 8601 date"
    if is_number(text) and _EXCEL_SERIALS[0] <= float(text) <= _EXCEL_SERIALS[1]:
        day = _EXCEL_EPOCH + dt.timedelta(days=int(float(text)))
        return f"is a spreadsheet's serial number (it would be {day.isoformat()})"
    return "is not an ISO 8601 date"


def parse_date(text: str) -> dt.date | None:
    """Read one ISO 8601 date or date and time.

    Returns
    -------
    datetime, date or None
        A ``datetime`` when a time is given, else a ``date``; None if it is neither.

    Examples
    --------
    >>> parse_date("2025-06-30"), parse_date("30/06/2025")
    (datetime.date(2025, 6, 30), None)
    """
    try:
        if _ISO_DATE.fullmatch(text):
            return dt.date.fromisoformat(text)
        if _ISO_TIME.fullmatch(text):
            return dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return None


def to_date(column: pd.Series, *, file: str, problems: Problems, name: str | None = None) -> pd.Series:
    """Turn a column of ISO 8601 text into dates.

    Parameters
    ----------
    column : Series of str or None
        Index: lines of the file.
    file : str
        The sheet's name, for the problems.
    problems : Problems
        Values that are not ISO 8601 dates (E-SHEET-012) or whose year is implausible (E-SHEET-008).
    name : str, optional
        The column's name as the file has it; default, the series' name.

    Returns
    -------
    Series of object
        ``datetime.datetime`` where a time is given, else ``datetime.date``; None where empty or refused.
    """
    label = str(column.name) if name is None else name
    values: list[dt.date | None] = []
    wrong: list[tuple[int, str | None, str]] = []
    outside: list[tuple[int, str | None, str]] = []
    for line, raw in zip(column.index, column.tolist(), strict=True):
        text = _cell(raw).strip()
        value = parse_date(text) if text else None
        if text and value is None:
            wrong.append((int(line), str(raw), f"The date {why_not_a_date(text)}."))
        elif value is not None and not YEARS[0] <= value.year <= YEARS[1]:
            outside.append((int(line), str(raw), "The year of the date is implausible."))
            value = None
        values.append(value)
    remedy = "Write the date as YYYY-MM-DD, or with a time as YYYY-MM-DDTHH:MM."
    add_rows(problems, "E-SHEET-012", wrong, remedy=remedy, file=file, column=label)
    add_rows(problems, "E-SHEET-008", outside, remedy=remedy, file=file, column=label)
    return pd.Series(values, index=column.index, name=column.name, dtype=object)


def to_typed(column: pd.Series) -> pd.Series:
    """Make a column numeric if all its values are numbers, else leave it as text.

    Texts with a leading zero such as ``007``, and columns whose name ends in ``_id``, stay text: they are
    names. A column without any value stays text.
    """
    texts = [_cell(raw).strip() for raw in column.tolist()]
    given = [text for text in texts if text]
    is_text = (
        not given
        or str(column.name).endswith("_id")
        or any(_LEADING_ZERO.match(text) or not is_number(text) for text in given)
    )
    if is_text:
        return column.astype(object)
    numbers = [float(text) if text else math.nan for text in texts]
    return pd.Series(numbers, index=column.index, name=column.name, dtype="float64")
