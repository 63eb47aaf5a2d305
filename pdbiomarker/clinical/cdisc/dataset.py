"""One CDISC dataset: its records, and what is known of each variable.

A :class:`Dataset` is the same whether it came from XPT, sas7bdat, Dataset-JSON, Parquet or CSV: texts are
``str`` or None, numbers are float64, dates are ``datetime.date`` or ``datetime.datetime`` or None. A text is
never turned into a number: ``007`` and ``NA`` stay.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

__all__ = [
    "MAX_LABEL",
    "MAX_NAME",
    "MAX_TEXT",
    "SAS_EPOCH",
    "Dataset",
    "Variable",
    "dataset_of",
    "from_sas_numbers",
    "sas_days",
    "typed_columns",
]

Kind = Literal["text", "number", "date", "datetime", "time"]

#: Limits of SAS transport version 5, which submissions keep to.
MAX_NAME: Final = 8
MAX_LABEL: Final = 40
MAX_TEXT: Final = 200
SAS_EPOCH: Final = dt.date(1960, 1, 1)

_FORMAT = re.compile(r"(?:E8601|B8601|IS8601)?[A-Z]*", re.ASCII)
#: Families of display formats; a suffix says how dates are separated.
_SAS_FORMATS: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("datetime", re.compile(r"(?:E8601|B8601|IS8601)DT|DATETIME|DATEAMPM", re.ASCII)),
    ("time", re.compile(r"(?:E8601|B8601|IS8601)TM|TIME|TIMEAMPM|TOD|HHMM", re.ASCII)),
    (
        "date",
        re.compile(
            r"(?:E8601|B8601|IS8601)DA|DATE|(?:DDMMYY|MMDDYY|YYMMDD)[BCDNPS]?|JULIAN|WEEKDATE|WORDDATE",
            re.ASCII,
        ),
    ),
)
_DATE_NAME = re.compile(r"[A-Z0-9]{1,6}DT", re.ASCII)
_DATETIME_NAME = re.compile(r"[A-Z0-9]{1,5}DTM", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """What is known of a variable.

    Attributes
    ----------
    name : str
        At most eight characters, upper case, in a dataset that is to be written.
    label : str
        At most 40 characters; empty where the file has none.
    kind : {"text", "number", "date", "datetime", "time"}
    length : int or None
        Of a text: the width it is stored with.
    format : str
        The display format of the file, such as ``DATE9.``; empty where it has none.
    """

    name: str
    label: str = ""
    kind: Kind = "text"
    length: int | None = None
    format: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A CDISC dataset.

    Attributes
    ----------
    name : str
        Such as ``PC`` or ``ADPC``: the DOMAIN of an SDTM dataset, else the dataset's own name.
    label : str
    frame : DataFrame
        Index: number of the record, from 1 (in a CSV: its line). Texts ``str`` or None, numbers float64,
        dates ``datetime.date``, ``datetime.datetime`` or None.
    variables : tuple of Variable
        In the order of the columns.
    file : str
        Name of the file it was read from; empty where it was made here.
    """

    name: str
    label: str
    frame: pd.DataFrame
    variables: tuple[Variable, ...]
    file: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """Name of each variable to its label."""
        return {variable.name: variable.label for variable in self.variables}

    @property
    def is_adam(self) -> bool:
        """Tell whether it is an analysis dataset."""
        return self.name.startswith("AD")

    def __getitem__(self, name: str) -> pd.Series:
        """Give one variable's values."""
        return self.frame[name]

    def __contains__(self, name: object) -> bool:
        return name in self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        """Say what it is in one line."""
        source = f" from {self.file}" if self.file else ""
        return f"Dataset {self.name} ({self.label or 'no label'}): {len(self)} records, " + (
            f"{len(self.variables)} variables{source}"
        )


def dataset_of(
    name: str,
    frame: pd.DataFrame,
    *,
    label: str = "",
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, str] | None = None,
    file: str = "",
) -> Dataset:
    """Make a dataset of a frame: columns typed, kinds told.

    Parameters
    ----------
    name : str
    frame : DataFrame
        Any columns; see :func:`typed_columns`.
    label : str
    labels, formats : mapping of variable to text, optional
    file : str

    Returns
    -------
    Dataset
    """
    typed = typed_columns(frame)
    said, shown = dict(labels or {}), dict(formats or {})
    variables = tuple(
        Variable(
            str(column),
            said.get(str(column), "") or "",
            _kind(str(column), typed[column]),
            _width(typed[column]),
            shown.get(str(column), "") or "",
        )
        for column in typed.columns
    )
    return Dataset(name, label, typed, variables, file)


def typed_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one of four types: text, number, dates, dates with a time.

    Missing values (None, NaN, NaT, NA) are None in texts and dates and NaN in numbers. A time zone is kept
    out of times: CDISC times are local. An index of numbers is kept, any other counts from 1.
    """
    index = frame.index
    if not pd.api.types.is_integer_dtype(index) or (len(index) and int(index[0]) == 0):
        index = pd.RangeIndex(1, len(frame) + 1)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"two variables are called {twice}")
    columns = {str(name): _column(frame[name]).set_axis(index) for name in frame.columns}
    return pd.DataFrame(columns, index=index, columns=[str(name) for name in frame.columns])


def _column(column: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(column):
        values = [None if pd.isna(v) else v.to_pydatetime().replace(tzinfo=None) for v in column]
        return pd.Series(values, dtype=object)
    if pd.api.types.is_bool_dtype(column) and not column.isna().any():
        return pd.Series(["Y" if v else "N" for v in column], dtype=object)
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(column.to_numpy(dtype=float, na_value=np.nan), dtype="float64")
    return pd.Series([_cell(value) for value in column.tolist()], dtype=object)


def _cell(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().replace(tzinfo=None)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str | dt.date | dt.time):
        return value
    return str(value)


def _kind(name: str, column: pd.Series) -> Kind:
    if column.dtype != object:
        return "number"
    given = [value for value in column.tolist() if value is not None]
    if given and all(isinstance(value, dt.datetime) for value in given):
        return "datetime"
    if given and all(isinstance(value, dt.date) for value in given):
        return "date"
    if given and all(isinstance(value, dt.time) for value in given):
        return "time"
    if not given and _DATETIME_NAME.fullmatch(name):
        return "datetime"
    return "date" if not given and _DATE_NAME.fullmatch(name) else "text"


def _width(column: pd.Series) -> int | None:
    texts = [value for value in column.tolist() if isinstance(value, str)] if column.dtype == object else []
    return max(map(len, texts), default=1) if column.dtype == object else None


def from_sas_numbers(frame: pd.DataFrame, formats: Mapping[str, str]) -> pd.DataFrame:
    """Turn columns of SAS numbers into the dates and times that their formats say they are.

    Parameters
    ----------
    frame : DataFrame
    formats : mapping of variable to display format
        A variable without one is a date, or a date with a time, where its name ends in DT or DTM.

    Returns
    -------
    DataFrame
        Dates from 1960-01-01 in days, times from midnight in seconds; fractions of a day are left out.
    """
    out = frame.copy()
    for name in map(str, frame.columns):
        kind = _format_kind(name, formats.get(name) or "")
        if kind is not None and pd.api.types.is_numeric_dtype(frame[name]):
            cells = [
                None if math.isnan(v) else _moment(v, kind) for v in frame[name].to_numpy(float).tolist()
            ]
            out[name] = pd.Series(cells, index=frame.index, dtype=object)
    return out


def _format_kind(name: str, shown: str) -> Kind | None:
    stem = _FORMAT.match(shown.upper())
    if stem is not None and stem[0]:
        return next((kind for kind, family in _SAS_FORMATS if family.fullmatch(stem[0])), None)
    if _DATETIME_NAME.fullmatch(name):
        return "datetime"
    return "date" if _DATE_NAME.fullmatch(name) else None


def _moment(number: float, kind: Kind) -> dt.date | dt.time | None:
    if kind == "time":
        return (dt.datetime.min + dt.timedelta(seconds=number)).time() if 0 <= number < 86400 else None
    step = dt.timedelta(days=math.floor(number)) if kind == "date" else dt.timedelta(seconds=number)
    try:
        moment = dt.datetime.combine(SAS_EPOCH, dt.time()) + step
    except OverflowError:
        return None
    return moment.date() if kind == "date" else moment


def sas_days(values: Iterable[dt.date | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Give dates as SAS counts them: days from 1960-01-01, negative before, NaN where missing."""
    return np.array(
        [
            math.nan
            if value is None
            else float(((value.date() if isinstance(value, dt.datetime) else value) - SAS_EPOCH).days)
            for value in values
        ],
        dtype=np.float64,
    )
