"""The schedule: study days, cycles, the doses a participant received, and the time since the last one.

Study days have no day 0 (day 1 is the day of the first dose). Day ``d`` of cycle ``n`` is study day
``length * (n - 1) + d``. A dose counts as received when its amount is above 0 and its status is neither
``held`` nor ``stopped``; the first dose is the earliest one received, or else `first_dose_datetime` of the
participant.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.study.people import day_of, first_doses, hours_between, study_day
from pdbiomarker.study.units import conversion, parse_unit
from pdbiomarker.tables import parse_date

__all__ = ["amounts_mg", "cycle_and_day", "day_of_cycle", "dose_history", "doses_before", "schedule_summary"]

_MG: Final = parse_unit("mg")
#: Columns of the table of :func:`schedule_summary`, in order.
SUMMARY_COLUMNS: Final = (
    "participant_id",
    "first_dose",
    "last_dose",
    "n_doses",
    "cumulative_mg",
    "planned_mg",
    "dose_intensity_pct",
    "n_cycles",
    "n_held",
    "n_reduced",
    "n_interrupted",
    "longest_gap_days",
    "interrupted",
    "interruptions",
)
_NOT_RECEIVED: Final = ("held", "stopped")
_LATE: Final = 1.5


def cycle_and_day(day: int, *, length: int = 28) -> tuple[int, int] | None:
    """Give the cycle and the day of the cycle of a study day.

    Parameters
    ----------
    day : int
        Study day; there is no day 0.
    length : int
        Days of a cycle.

    Returns
    -------
    (cycle, day) or None
        None before the first dose.

    Examples
    --------
    >>> cycle_and_day(1), cycle_and_day(29), cycle_and_day(-3)
    ((1, 1), (2, 1), None)
    """
    if day < 1:
        return None
    return (day - 1) // length + 1, (day - 1) % length + 1


def day_of_cycle(cycle: int, day: int, *, length: int = 28) -> int:
    """Give the study day of a day of a cycle.

    Examples
    --------
    >>> day_of_cycle(2, 15)
    43
    """
    return length * (cycle - 1) + day


def amounts_mg(
    doses: pd.DataFrame, participants: pd.DataFrame | None = None, *, column: str = "amount"
) -> pd.Series:
    """Give doses in mg.

    Parameters
    ----------
    doses : DataFrame
        participant_id, `column` and unit.
    participants : DataFrame, optional
        Index participant_id, with weight_kg: needed for doses per body weight.
    column : str
        ``amount`` or ``planned_amount``.

    Returns
    -------
    Series of float64
        mg; NaN where there is no amount.

    Raises
    ------
    InputError
        E-PK-005: a dose without a unit; E-PK-006: a unit that is not known or is no mass; E-PK-007: a dose
        per body weight of a participant whose weight is not known. All are told at once.
    """
    problems = Problems()
    weights = (
        {} if participants is None or "weight_kg" not in participants else participants["weight_kg"].to_dict()
    )
    made: list[float] = []
    lines = doses["line"].tolist() if "line" in doses else range(len(doses))
    for row, person, amount, text in zip(
        lines, doses["participant_id"].tolist(), doses[column].tolist(), _column(doses, "unit"), strict=True
    ):
        given = pd.notna(amount)
        factor = _to_mg(str(person), text, weights.get(person), row, problems) if given else math.nan
        made.append(float(amount) * factor if given else math.nan)
    problems.raise_if_any()
    return pd.Series(made, index=doses.index, name=f"{column}_mg", dtype="float64")


def _to_mg(person: str, text: object, weight: object, row: int, problems: Problems) -> float:
    place = {"file": "doses", "row": row, "column": "unit", "value": text if isinstance(text, str) else None}
    unit = parse_unit(text) if isinstance(text, str) else None
    if not isinstance(text, str) or not text.strip():
        problems.add(
            "E-PK-005",
            f"A dose of participant {person!r} has no unit.",
            remedy="Give the unit of every dose, such as mg or mg/kg.",
            **place,  # type: ignore[arg-type]
        )
        return math.nan
    factor = None if unit is None or _MG is None else conversion(unit, _MG)
    if factor is not None:
        return factor
    if unit is not None and unit.power("body weight") == -1 and unit.power("mass") == 1 and unit.is_amount:
        if isinstance(weight, int | float) and math.isfinite(weight) and weight > 0:
            return float(unit.size) * float(weight)
        problems.add(
            "E-PK-007",
            f"The dose of participant {person!r} is per body weight, and the weight is not known.",
            remedy="Add the column weight_kg to participants.csv, or give the dose in mg.",
            **place,  # type: ignore[arg-type]
        )
        return math.nan
    what = "is not known" if unit is None else "is not a mass"
    problems.add(
        "E-PK-006",
        f"The unit of a dose of participant {person!r} {what}, so the dose cannot be given in mg.",
        remedy="Give the dose as a mass (ug, mg, g) or per body weight (mg/kg).",
        **place,  # type: ignore[arg-type]
    )
    return math.nan


def _column(frame: pd.DataFrame, name: str) -> list[object]:
    return frame[name].tolist() if name in frame else [None] * len(frame)


def dose_history(
    doses: pd.DataFrame, participants: pd.DataFrame | None = None, *, cycle_days: int = 28
) -> pd.DataFrame:
    """Give every record of dosing its place in time, and what had been received by then.

    Parameters
    ----------
    doses : DataFrame
        As `Study.clinical["doses"]`: participant_id, start (ISO text), amount, unit; end, cycle, day, status,
        planned_amount where known.
    participants : DataFrame, optional
        Index participant_id: first_dose_datetime, weight_kg.
    cycle_days : int
        Days of a cycle, where the sheet does not give the cycle.

    Returns
    -------
    DataFrame
        participant_id, start, received (bool), number (of doses received, this one included), time_h (from
        the first dose; NaN where a time of day is not known), study_day, cycle, cycle_day, amount_mg,
        cumulative_mg, planned_mg, duration_h, status, gap_days (since the dose received before),
        interruption (text: what the status says, else ``""``), note. Sorted by participant and start;
        records whose start is partial come last with a note, and count for nothing.

    Raises
    ------
    InputError
        As :func:`amounts_mg`.
    """
    frame = doses.reset_index(drop=True)
    amounts = amounts_mg(frame, participants)
    planned = amounts_mg(frame, participants, column="planned_amount") if "planned_amount" in frame else None
    starts = [parse_date(text) if isinstance(text, str) else None for text in frame["start"].tolist()]
    ends = [parse_date(text) if isinstance(text, str) else None for text in _column(frame, "end")]
    status = [text if isinstance(text, str) else None for text in _column(frame, "status")]
    received = [
        start is not None and amount > 0 and state not in _NOT_RECEIVED
        for start, amount, state in zip(starts, amounts.tolist(), status, strict=True)
    ]
    firsts = _first_received(frame["participant_id"], starts, received, participants)
    rows: list[dict[str, object]] = []
    for i, start in enumerate(starts):
        first = firsts.get(str(frame["participant_id"][i]))
        rows.append(
            {
                "participant_id": str(frame["participant_id"][i]),
                "start": frame["start"][i],
                "received": received[i],
                "time_h": _hours_from_first(first, start),
                **_places(frame, i, start, first, cycle_days),
                "amount_mg": amounts[i],
                "planned_mg": math.nan if planned is None else planned[i],
                "duration_h": hours_between(start, ends[i]),
                "status": status[i],
                "interruption": status[i] if status[i] in {"held", "interrupted", "stopped"} else "",
                "note": "" if start is not None else "the start is not a whole date",
                "_day": None if start is None else day_of(start).toordinal(),
                "_order": (start is None, "" if start is None else start.isoformat()),
            }
        )
    return _counted(rows)


def _first_received(
    people: pd.Series,
    starts: list[dt.date | None],
    received: list[bool],
    participants: pd.DataFrame | None,
) -> dict[str, dt.date]:
    """The earliest dose received; where none is dated, what participants.csv says."""
    found: dict[str, dt.date] = {}
    for person, start, given in zip(map(str, people.tolist()), starts, received, strict=True):
        if (
            start is not None
            and given
            and (person not in found or start.isoformat() < found[person].isoformat())
        ):
            found[person] = start
    unique = pd.Series(list(dict.fromkeys(map(str, people.tolist()))), dtype=object)
    for person, first in zip(unique.tolist(), first_doses(unique, participants), strict=True):
        if first is not None:
            found.setdefault(person, first)
    return found


def _hours_from_first(first: dt.date | None, start: dt.date | None) -> float:
    """Hours from the first dose; the first dose itself is at 0 even where only its day is known."""
    if first is not None and start == first:
        return 0.0
    return hours_between(first, start)


def _places(
    frame: pd.DataFrame, i: int, start: dt.date | None, first: dt.date | None, cycle_days: int
) -> dict[str, object]:
    day = None if start is None or first is None else study_day(start, first)
    derived = None if day is None else cycle_and_day(day, length=cycle_days)
    given = [_column(frame, name)[i] for name in ("cycle", "day")]
    cycle, cycle_day = (derived or (None, None)) if not all(map(_is_number, given)) else given
    return {"study_day": day, "cycle": cycle, "cycle_day": cycle_day}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _counted(rows: list[dict[str, object]]) -> pd.DataFrame:
    rows = sorted(rows, key=lambda row: (row["participant_id"], row["_order"]))
    person, number, total, before = None, 0, 0.0, None
    for row in rows:
        if row["participant_id"] != person:
            person, number, total, before = row["participant_id"], 0, 0.0, None
        row["gap_days"] = math.nan
        if row["received"]:
            number, total = number + 1, total + float(str(row["amount_mg"]))
            day = int(str(row["_day"]))
            row["gap_days"] = math.nan if before is None else float(day - before)
            before = day
        row["number"], row["cumulative_mg"] = number, total
    columns = [
        "participant_id",
        "start",
        "received",
        "number",
        "time_h",
        "study_day",
        "cycle",
        "cycle_day",
        "amount_mg",
        "cumulative_mg",
        "planned_mg",
        "duration_h",
        "status",
        "gap_days",
        "interruption",
        "note",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    whole = {"study_day": "Int64", "cycle": "Int64", "cycle_day": "Int64", "number": "int64"}
    return frame.astype(whole) if len(frame) else frame


def schedule_summary(history: pd.DataFrame, *, interval_days: float | None = None) -> pd.DataFrame:
    """Sum up the doses of each participant.

    Parameters
    ----------
    history : DataFrame
        As from :func:`dose_history`.
    interval_days : float, optional
        Days planned between doses: a gap above 1.5 times that is an interruption too.

    Returns
    -------
    DataFrame
        participant_id, first_dose, last_dose, n_doses, cumulative_mg, planned_mg (NaN unless every record has
        one), dose_intensity_pct (received of planned), n_cycles, n_held, n_reduced, n_interrupted,
        longest_gap_days, interrupted (bool), interruptions (text: each with its date).
    """
    rows = []
    for person, part in history.groupby("participant_id", sort=True):
        got = part[part["received"]]
        told = [
            f"{state} {start}"
            for state, start in zip(part["interruption"].tolist(), part["start"].tolist(), strict=True)
            if state
        ]
        if interval_days is not None:
            late = got[got["gap_days"] > _LATE * interval_days]
            told += [
                f"gap of {gap:g} days before {start}"
                for gap, start in zip(late["gap_days"].tolist(), late["start"].tolist(), strict=True)
            ]
        planned = float(part["planned_mg"].sum()) if part["planned_mg"].notna().all() else math.nan
        total = float(got["amount_mg"].sum())
        states = part["status"].value_counts()
        rows.append(
            {
                "participant_id": person,
                "first_dose": got["start"].iloc[0] if len(got) else None,
                "last_dose": got["start"].iloc[-1] if len(got) else None,
                "n_doses": len(got),
                "cumulative_mg": total,
                "planned_mg": planned,
                "dose_intensity_pct": 100 * total / planned if planned > 0 else math.nan,
                "n_cycles": int(got["cycle"].nunique()),
                "n_held": int(states.get("held", 0)),
                "n_reduced": int(states.get("reduced", 0)),
                "n_interrupted": int(states.get("interrupted", 0)),
                "longest_gap_days": float(got["gap_days"].max()) if len(got) > 1 else math.nan,
                "interrupted": bool(told),
                "interruptions": "; ".join(told),
            }
        )
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def doses_before(dates: pd.DataFrame, history: pd.DataFrame, *, date: str = "date") -> pd.DataFrame:
    """Say what had been received by a date or time, such as that of a biopsy.

    Parameters
    ----------
    dates : DataFrame
        participant_id and the column `date` (ISO text, with or without a time of day). Index and other
        columns are kept out of it; the rows come back in their order, under the same index.
    history : DataFrame
        As from :func:`dose_history`.
    date : str
        Name of the column.

    Returns
    -------
    DataFrame
        participant_id, `date`, n_doses, cumulative_mg, last_dose, hours_since_last_dose (NaN unless both
        times of day are known), days_since_last_dose, cycle (of the last dose), interrupted_before (bool),
        flag. A dose of the same day counts only if both times are known and it began before; else the flag
        says so.
    """
    by_person = {str(person): part for person, part in history.groupby("participant_id", sort=False)}
    rows = []
    for person, text in zip(dates["participant_id"].tolist(), dates[date].tolist(), strict=True):
        moment = parse_date(text) if isinstance(text, str) else None
        part = by_person.get(str(person))
        rows.append({"participant_id": person, date: text, **_by_then(moment, part)})
    return pd.DataFrame(rows, index=dates.index)


def _by_then(moment: dt.date | None, part: pd.DataFrame | None) -> dict[str, object]:
    row: dict[str, object] = {
        "n_doses": 0,
        "cumulative_mg": 0.0,
        "last_dose": None,
        "hours_since_last_dose": math.nan,
        "days_since_last_dose": math.nan,
        "cycle": None,
        "interrupted_before": False,
        "flag": "",
    }
    if moment is None:
        missing = {"n_doses": None, "cumulative_mg": math.nan, "flag": "the date is missing or partial"}
        return {**row, **missing}
    if part is None:
        return {**row, "flag": "no doses recorded"}
    flags: list[str] = []
    for record in part.itertuples():
        start = parse_date(record.start) if isinstance(record.start, str) else None
        if start is None:
            flags.append("a dose has a partial date")
            continue
        hours, days = hours_between(start, moment), (day_of(moment) - day_of(start)).days
        if days == 0 and math.isnan(hours):
            flags.append("a dose on the same day: which came first is not known")
            continue
        if (hours < 0) if not math.isnan(hours) else (days < 0):
            continue
        row["interrupted_before"] = bool(row["interrupted_before"]) or bool(record.interruption)
        if not record.received:
            continue
        row["n_doses"], row["cumulative_mg"] = int(str(record.number)), record.cumulative_mg
        row["last_dose"], row["cycle"] = record.start, record.cycle
        row["hours_since_last_dose"], row["days_since_last_dose"] = hours, float(days)
    if not row["n_doses"] and not flags:
        flags.append("before the first dose")
    return {**row, "flag": "; ".join(dict.fromkeys(flags))}
