"""When a biopsy was taken, counted from the doses before it.

The clinical sheet of doses (``Study.clinical["doses"]``) has a row for each dose: participant_id, start (ISO
date or datetime) and, where known, amount, unit and status. A dose that was held, or whose amount is 0, was
not received. Hours are from the start of the dose. Where a time of day is not known, whole days are counted,
and the column `timing` says ``date``; a dose of the day of the biopsy is then not counted as before it,
because biopsies of a dosing day are usually taken before the dose, and the column says so.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.study import Study, days_between
from pdbiomarker.study.people import study_day
from pdbiomarker.tables import parse_date

__all__ = ["TIMING_COLUMNS", "dose_days", "dose_timing"]

#: Columns of :func:`dose_timing`, in order.
TIMING_COLUMNS: Final = (
    *("hours_since_first_dose", "hours_since_last_dose", "n_doses_before", "cumulative_dose"),
    *("dose_unit", "dose_modified", "timing"),
)
_NOT_RECEIVED: Final = frozenset({"held", "missed", "not given", "stopped"})
_MODIFIED: Final = frozenset({"held", "missed", "reduced", "interrupted", "not given"})
_DAY_H: Final = 24.0


@dataclasses.dataclass(frozen=True)
class _Dose:
    start: dt.date
    amount: float
    unit: str
    received: bool
    modified: bool


def _date(value: object) -> dt.date | None:
    if isinstance(value, dt.date):
        return value
    return parse_date(value.strip()) if isinstance(value, str) else None


def _day(moment: dt.date) -> dt.date:
    return moment.date() if isinstance(moment, dt.datetime) else moment


def _doses(study: Study) -> dict[str, list[_Dose]]:
    """Doses with a known day, by participant, in time."""
    table = study.clinical.get("doses")
    found: dict[str, list[_Dose]] = {}
    if table is None or not {"participant_id", "start"} <= set(table.columns):
        return found
    amounts = pd.to_numeric(table["amount"], errors="coerce") if "amount" in table else [np.nan] * len(table)
    for row, amount in zip(table.to_dict("records"), amounts, strict=True):
        start = _date(row["start"])
        if start is None:
            continue
        status = str(row.get("status") or "").strip().casefold()
        unit = row.get("unit")
        found.setdefault(str(row["participant_id"]), []).append(
            _Dose(
                start,
                float(amount),
                unit if isinstance(unit, str) else "",
                received=status not in _NOT_RECEIVED and amount != 0,
                modified=status in _MODIFIED,
            )
        )
    return {person: sorted(doses, key=lambda d: d.start.isoformat()) for person, doses in found.items()}


def _first_doses(study: Study) -> dict[str, dt.date]:
    if "first_dose_datetime" not in study.participants:
        return {}
    given = {str(p): _date(text) for p, text in study.participants["first_dose_datetime"].items()}
    return {person: date for person, date in given.items() if date is not None}


def dose_days(study: Study) -> dict[str, list[int]]:
    """Study days of the doses that each participant received."""
    first = _first_doses(study)
    return {
        person: [study_day(dose.start, first[person]) for dose in doses if dose.received]
        for person, doses in _doses(study).items()
        if person in first
    }


def dose_timing(study: Study) -> pd.DataFrame:
    """Say of every biopsy how long after the first and the last dose it was taken, and after how much drug.

    Parameters
    ----------
    study : Study
        With ``clinical["doses"]``; without it only the time since the first dose may be known.

    Returns
    -------
    DataFrame, indexed by biopsy_id
        ``hours_since_first_dose`` (negative before it), ``hours_since_last_dose`` (of the doses received
        before the biopsy), ``n_doses_before`` (Int64), ``cumulative_dose`` (in ``dose_unit``; NaN where an
        amount is not recorded or units differ), ``dose_modified`` (``yes`` where a dose before was held,
        reduced or interrupted), ``timing`` (``time``, ``date``, or empty where the biopsy's day is not
        known).
    """
    first, doses = _first_doses(study), _doses(study)
    has_doses = "doses" in study.clinical
    rows = []
    for _, row in study.biopsies.iterrows():
        person = str(row["participant_id"])
        moment = _moment(row, first.get(person))
        start = first.get(person)
        if start is None and doses.get(person):
            start = next((dose.start for dose in doses[person] if dose.received), None)
        rows.append(_timed(moment, start, doses.get(person, []) if has_doses else None))
    frame = pd.DataFrame(rows, index=study.biopsies.index, columns=list(TIMING_COLUMNS))
    numbers = ["hours_since_first_dose", "hours_since_last_dose", "cumulative_dose"]
    return frame.astype({**dict.fromkeys(numbers, "float64"), "n_doses_before": "Int64"})


def _moment(row: pd.Series, first: dt.date | None) -> dt.date | None:
    """When the biopsy was taken: its date, else the day that its study day is."""
    date = _date(row.get("collection_date"))
    day = row.get("study_day")
    if date is None and first is not None and day is not None and not pd.isna(day):
        date = _day(first) + dt.timedelta(days=days_between(1, int(day)))
    return date


def _hours(later: dt.date, earlier: dt.date) -> tuple[float, bool]:
    """Hours between two moments, and whether both have a time of day."""
    if (
        isinstance(later, dt.datetime)
        and isinstance(earlier, dt.datetime)
        and (later.tzinfo is None) == (earlier.tzinfo is None)
    ):
        return (later - earlier).total_seconds() / 3600, True
    return (_day(later) - _day(earlier)).days * _DAY_H, False


def _timed(moment: dt.date | None, first: dt.date | None, doses: list[_Dose] | None) -> dict[str, Any]:
    out: dict[str, Any] = dict.fromkeys(TIMING_COLUMNS, "")
    out |= {"hours_since_first_dose": np.nan, "hours_since_last_dose": np.nan, "cumulative_dose": np.nan}
    out["n_doses_before"] = pd.NA
    if moment is None:
        return out
    exact = True
    if first is not None:
        out["hours_since_first_dose"], exact = _hours(moment, first)
    out["timing"] = "time" if exact and isinstance(moment, dt.datetime) else "date"
    if doses is None:
        return out
    gaps = [(dose, *_hours(moment, dose.start)) for dose in doses]
    before = [(dose, hours) for dose, hours, _ in gaps if hours > 0]
    received = [(dose, hours) for dose, hours in before if dose.received]
    if any(dose.received and not timed and hours == 0 for dose, hours, timed in gaps):
        out["timing"] = "date; a dose of the same day is not counted"
    units = {dose.unit for dose, _ in received}
    out["n_doses_before"] = len(received)
    out["dose_modified"] = "yes" if any(dose.modified for dose, _ in before) else "no"
    if received:
        out["hours_since_last_dose"] = min(hours for _, hours in received)
    if len(units) <= 1:
        out["cumulative_dose"] = float(sum(dose.amount for dose, _ in received))
        out["dose_unit"] = next(iter(units), "")
    return out
