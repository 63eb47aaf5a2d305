"""Records of a dataset seen as a plain table will need them, and the list of what was not taken.

CDISC dates are text and may be partial: ``2014``, ``2014-02``. They are kept as they are, with a flag that
names what is missing (``D`` the day, ``M`` the month and the day), as ADaM's --DTF does; nothing is filled
in. A date that an analysis dataset imputed, as its flag says, is cut back to what was recorded.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.clinical.cdisc.dataset import Dataset
from pdbiomarker.errors import Problems, Severity
from pdbiomarker.tables import add_rows, is_number, parse_date

__all__ = ["NOT_TAKEN_COLUMNS", "Ledger", "Records", "date_flag", "date_text", "with_flags"]

#: Columns of the list of what was not taken.
NOT_TAKEN_COLUMNS: Final = ("dataset", "file", "record", "participant_id", "variable", "value", "reason")

_ISO = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?)?)?)?",
    re.ASCII,
)
_UNKNOWN_PARTS = re.compile(r"([0-9]{4})(?:-([0-9]{2}|-))?(?:-+(?:[0-9]{2})?)?(?:T.*)?", re.ASCII)
_SAS_DATE = re.compile(r"([0-9]{1,2})([A-Z]{3})([0-9]{4})", re.ASCII)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), start=1
    )
}
_CUT: Final = {"D": 7, "M": 4}


class Ledger:
    """What was not taken, and why; one row each, beside the problems that are told."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self._rows: list[dict[str, Any]] = []

    def leave(
        self,
        data: Dataset,
        reason: str,
        *,
        record: int | None = None,
        participant: str | None = None,
        variable: str = "",
        value: object = None,
    ) -> None:
        """Add one row: a record, a variable or a whole dataset that was not taken."""
        self._rows.append(
            {
                "dataset": data.name,
                "file": data.file,
                "record": record,
                "participant_id": participant,
                "variable": variable,
                "value": None if value is None else str(value),
                "reason": reason,
            }
        )

    @property
    def table(self) -> pd.DataFrame:
        """The list, columns :data:`NOT_TAKEN_COLUMNS`."""
        frame = pd.DataFrame(self._rows, columns=list(NOT_TAKEN_COLUMNS), dtype=object)
        return frame.astype({"record": "Int64"})


def date_text(value: object) -> str | None:
    """Give a date as ISO 8601 text, as complete as it was recorded; None where it cannot be read.

    Parameters
    ----------
    value : str, date, datetime or None

    Examples
    --------
    >>> date_text("2014-02"), date_text("02FEB2014"), date_text("2014---03"), date_text("soon")
    ('2014-02', '2014-02-02', '2014', None)
    """
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if not isinstance(value, str):
        return None
    text = value.strip()
    said = _ISO.fullmatch(text)
    if said is not None:
        return _checked(said)
    sas = _SAS_DATE.fullmatch(text.upper())
    if sas is not None and sas[2] in _MONTHS:
        text = f"{sas[3]}-{_MONTHS[sas[2]]:02d}-{int(sas[1]):02d}"
        return text if parse_date(text) is not None else None
    unknown = _UNKNOWN_PARTS.fullmatch(text)
    if unknown is None:
        return None
    month = unknown[2] if unknown[2] not in {None, "-"} else None
    return f"{unknown[1]}-{month}" if month and 1 <= int(month) <= 12 else (None if month else unknown[1])


def _checked(said: re.Match[str]) -> str | None:
    year, month, day, hour, minute, second, zone = said.groups()
    if day is not None:
        date = f"{year}-{month}-{day}"
        if minute is None:  # an hour alone tells no time
            return date if parse_date(date) is not None else None
        text = f"{date}T{hour}:{minute}" + (f":{second}" if second else "") + (zone or "")
        return text if parse_date(text) is not None else None
    if month is not None:
        return f"{year}-{month}" if 1 <= int(month) <= 12 else None
    return year


def date_flag(text: str | None) -> str | None:
    """Say what a partial date lacks: ``D`` the day, ``M`` month and day; None where it is whole or missing.

    Examples
    --------
    >>> date_flag("2014"), date_flag("2014-02"), date_flag("2014-02-01")
    ('M', 'D', None)
    """
    return None if text is None else {4: "M", 7: "D"}.get(len(text))


def with_flags(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Add ``<column>_flag`` behind each column that holds a partial date, see :func:`date_flag`."""
    out = table.copy()
    for column in columns:
        flags = [date_flag(value) if isinstance(value, str) else None for value in table[column].tolist()]
        if any(flags):
            place = list(map(str, out.columns)).index(column) + 1
            out.insert(place, f"{column}_flag", pd.Series(flags, index=out.index, dtype=object))
    return out


class Records:
    """One dataset, read by variable; remembers which variables were read.

    Parameters
    ----------
    data : Dataset
    ledger : Ledger
    """

    def __init__(self, data: Dataset, ledger: Ledger) -> None:
        self.data = data
        self.ledger = ledger
        self.read: set[str] = {"STUDYID", "DOMAIN", "USUBJID", f"{data.name}SEQ", "ASEQ"}

    def __len__(self) -> int:
        return len(self.data)

    def has(self, name: str) -> bool:
        """Tell whether the dataset has a variable with at least one value."""
        return name in self.data and bool(self.data[name].notna().any())

    def need(self, *names: str) -> bool:
        """Tell whether the variables are there; each that is missing is a problem (E-CDISC-004)."""
        missing = [name for name in names if name not in self.data]
        for name in missing:
            self.ledger.problems.add(
                "E-CDISC-004",
                f"{self.data.name} has no variable {name}.",
                remedy="Export it, or take the dataset out of the folder.",
                file=self.data.file,
                column=name,
            )
        return not missing

    def text(self, *names: str) -> list[str | None]:
        """Give the first of these variables that has a value, record by record, as text without blanks."""
        out: list[str | None] = [None] * len(self)
        for name in names:
            if name not in self.data:
                continue
            self.read.add(name)
            for place, value in enumerate(self.data[name].tolist()):
                if out[place] is None:
                    out[place] = _as_text(value)
        return out

    def upper(self, *names: str) -> list[str]:
        """Give texts in capitals, empty where missing: for controlled terms."""
        return [(value or "").upper() for value in self.text(*names)]

    def number(self, *names: str) -> NDArray[np.float64]:
        """Give numbers, NaN where missing; a text that is no number is a problem (E-CDISC-007)."""
        out = np.full(len(self), math.nan)
        for name in names:
            if name not in self.data:
                continue
            self.read.add(name)
            wrong: list[tuple[int, str | None, str]] = []
            for place, value in enumerate(self.data[name].tolist()):
                text = None if isinstance(value, float) else _as_text(value)
                number = float(value) if isinstance(value, float) else math.nan
                if text is not None and is_number(text):
                    number = float(text)
                elif text is not None:
                    wrong.append((self.line(place), text, "The value is not a number."))
                if math.isnan(out[place]):
                    out[place] = number
            self.tell("E-CDISC-007", name, wrong, remedy="Correct the value in the source.")
        return out

    def date(self, *names: str) -> list[str | None]:
        """Give the first of these dates that has a value as ISO text, partial ones as they are.

        ADaM dates are cut back where their flag (``ASTDTF`` of ``ASTDT``, ``ASTTMF`` of ``ASTDTM``) says that
        a part was imputed. What is not a date is a problem (E-CDISC-009).
        """
        out: list[str | None] = [None] * len(self)
        for name in names:
            if name not in self.data:
                continue
            self.read.add(name)
            wrong: list[tuple[int, str | None, str]] = []
            flags = self._flags(name)
            for place, value in enumerate(self.data[name].tolist()):
                if value is None or (isinstance(value, str) and not value.strip()) or out[place] is not None:
                    continue
                text = date_text(value)
                if text is None:
                    wrong.append((self.line(place), str(value), "The value is not a date of ISO 8601."))
                else:
                    out[place] = text[: flags[place]]
            self.tell(
                "E-CDISC-009", name, wrong, remedy="Write the date as YYYY-MM-DD, or as far as it is known."
            )
        return out

    def _flags(self, name: str) -> list[int | None]:
        """How many characters of each date were recorded, by the flags of imputation."""
        keep: list[int | None] = [None] * len(self)
        stem = name.removesuffix("M") if name.endswith("DTM") else name
        times = f"{name.removesuffix('DTM')}TMF" if name.endswith("DTM") else ""
        for flag, cut in ((times, lambda f: 10 if f else None), (f"{stem}F", _CUT.get)):
            if flag and flag in self.data and name.endswith(("DT", "DTM")):
                self.read.add(flag)
                for place, value in enumerate(self.data[flag].tolist()):
                    found = cut(value) if isinstance(value, str) else None
                    keep[place] = found if found is not None else keep[place]
        return keep

    @property
    def people(self) -> list[str | None]:
        """Participant of each record."""
        return self.text("USUBJID")

    def line(self, place: int) -> int:
        """Number of a record, as problems name it."""
        return int(self.data.frame.index[place])

    def tell(
        self,
        code: str,
        column: str,
        cells: Sequence[tuple[int, str | None, str]],
        *,
        remedy: str,
        severity: Severity = "error",
    ) -> None:
        """Report one fault of a variable at many records."""
        add_rows(
            self.ledger.problems,
            code,
            cells,
            remedy=remedy,
            file=self.data.file or self.data.name,
            column=column,
            severity=severity,
        )

    def leave(self, place: int, reason: str, *, variable: str = "", value: object = None) -> None:
        """Put a record on the list of what was not taken."""
        person = _as_text(self.data["USUBJID"].iloc[place]) if "USUBJID" in self.data else None
        self.ledger.leave(
            self.data, reason, record=self.line(place), participant=person, variable=variable, value=value
        )

    def keep(self, test: Callable[[int], str | None]) -> list[int]:
        """Give the records for which a test has no objection; the others are listed with it."""
        kept = []
        for place in range(len(self)):
            reason = test(place)
            if reason is None:
                kept.append(place)
            else:
                self.leave(place, reason)
        return kept

    def once(self, places: Sequence[int], *names: str) -> list[int]:
        """Give the records of each key once: a whole copy is left out, a contradiction is a problem."""
        columns = [self.data[n].tolist() for n in ("USUBJID", *names) if n in self.data]
        sequence = {f"{self.data.name}SEQ", "ASEQ"}
        rest = [self.data[n].tolist() for n in map(str, self.data.frame.columns) if n not in sequence]
        first: dict[tuple[Any, ...], int] = {}
        kept, wrong = [], []
        for place in places:
            key = tuple(_as_text(column[place]) for column in columns)
            other = first.setdefault(key, place)
            if other == place:
                kept.append(place)
            elif all(_same(column[place], column[other]) for column in rest):
                self.leave(place, f"The record repeats record {self.line(other)}.")
            else:
                shown = ", ".join(str(part) for part in key if part is not None)
                wrong.append(
                    (self.line(place), shown, f"The records {self.line(other)} and this one are of one key.")
                )
        remedy = "Keep one of them, or give what tells them apart."
        self.tell("E-CDISC-006", " + ".join(("USUBJID", *names)), wrong, remedy=remedy)
        return kept

    def leave_unread(self) -> None:
        """List the variables that nothing was read from."""
        for variable in self.data.variables:
            if variable.name not in self.read:
                self.ledger.leave(
                    self.data,
                    "The variable has no place in the plain tables."
                    + (f" ({variable.label})" if variable.label else ""),
                    variable=variable.name,
                )


def _as_text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip() or None


def _same(one: object, other: object) -> bool:
    return _as_text(one) == _as_text(other)
