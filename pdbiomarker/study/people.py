"""participants.csv and biopsies.csv."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from pdbiomarker.study.sheets import (
    Sheet,
    by_id,
    check_known,
    check_unique,
    read_ids,
    read_names,
    read_others,
)
from pdbiomarker.study.spec import Visit
from pdbiomarker.tables import PartialDate, nearest, parse_date, parse_partial_date, to_date, to_number

_UNSCHEDULED = re.compile(r"uns|unsch(eduled)?( visit)?([ .]*[0-9.]+)?", re.IGNORECASE | re.ASCII)

PARTICIPANT_COLUMNS: Final = ("participant_id",)
BIOPSY_COLUMNS: Final = ("participant_id", "biopsy_id")

#: Facts of the participant: where biopsies.csv repeats them, they may not change.
FACTS: Final = ("cohort", "dose_mg", "sex", "age", "tumor_type", "first_dose_datetime")

_PARTICIPANT_RANGES: Final[Mapping[str, tuple[float, float | None]]] = {
    "age": (0, 130),
    "dose_mg": (0, None),
    "weight_kg": (0.3, 700),
}
_BIOPSY_RANGES: Final[Mapping[str, tuple[float, float | None]]] = {
    "tumor_content_pct": (0, 100),
    "viable_tumor_cells": (0, None),
    "tumor_area_mm2": (0, None),
    "necrosis_pct": (0, 100),
    "age": (0, 130),
    "dose_mg": (0, None),
}
#: Columns that say yes or no.
_PARTICIPANT_FLAGS: Final = ("biopsy_consent",)
_BIOPSY_FLAGS: Final = ("archival", "node", "regression_bed", "bed_reader_blinded")
_YES: Final = frozenset({"yes", "y", "true", "1"})
_NO: Final = frozenset({"no", "n", "false", "0"})
_FARTHEST_DAY: Final = 20_000
#: A specimen that agrees with another of its participant in all of these may be the same one entered twice.
_SPECIMEN: Final = ("participant_id", "visit", "collection_date", "study_day", "lesion_id", "site", "core")


def read_participants(sheet: Sheet, *, cutoff: str | None) -> pd.DataFrame:
    """Check participants.csv and give it typed.

    Parameters
    ----------
    sheet : Sheet
    cutoff : str or None
        Data cut-off, ISO date.

    Returns
    -------
    DataFrame
        Index participant_id; `line`, and the sheet's columns.
    """
    ids = read_ids(sheet, "participant_id")
    check_unique(sheet, ids)
    done = {"participant_id": ids}
    for column, (low, high) in _PARTICIPANT_RANGES.items():
        if sheet.has(column):
            done[column] = _number(sheet, column, low, high)
    if sheet.has("first_dose_datetime"):
        dates = read_dates(sheet, "first_dose_datetime")
        tell_after_cutoff(sheet, dates, cutoff)
        done["first_dose_datetime"] = dates_as_text(dates)
    done |= {column: _flag(sheet, column) for column in _PARTICIPANT_FLAGS if sheet.has(column)}
    return by_id({**done, **read_others(sheet, done)}, "participant_id")


def read_biopsies(
    sheet: Sheet,
    *,
    visits: Sequence[Visit] | None,
    participants: pd.DataFrame | None,
    cutoff: str | None,
) -> pd.DataFrame:
    """Check biopsies.csv and give it typed.

    Parameters
    ----------
    sheet : Sheet
    visits : sequence of Visit, or None
        None: labels are not checked.
    participants : DataFrame or None
        As from :func:`read_participants`; None: participants are not checked.
    cutoff : str or None
        Data cut-off, ISO date.

    Returns
    -------
    DataFrame
        Index biopsy_id; participant_id, visit, collection_date, study_day (Int64), hours_from_first_dose,
        line, then the sheet's other columns. Where a date is partial (``2025-02``), the date stays text,
        `collection_date_imputed` names what is not known (``day``, or ``month``: month and day), and
        `study_day_earliest` and `study_day_latest` are the study days that it allows. Where a date lies
        after the data cut-off, `after_cutoff` says ``yes``.
    """
    ids = read_ids(sheet, "biopsy_id")
    people = read_ids(sheet, "participant_id")
    check_unique(sheet, ids)
    if participants is not None:
        check_known(sheet, people, map(str, participants.index.dropna()), what="participants.csv")
    _check_placed(sheet)
    labels = _visits(sheet, visits)
    partial = _partial_dates(sheet)
    dates = read_dates(sheet, "collection_date", but=frozenset(partial))
    late = tell_after_cutoff(sheet, _earliest(dates, partial), cutoff)
    doses = first_doses(people, participants)
    days = study_days(sheet, dates, doses)
    texts = dates_as_text(dates)
    for line, date in partial.items():
        texts[line] = date.text
    done = {
        "participant_id": people,
        "biopsy_id": ids,
        "visit": labels,
        "collection_date": texts,
        "study_day": days,
        "hours_from_first_dose": _hours(dates, doses),
    }
    if late:
        values = ["yes" if int(line) in late else "no" for line in dates.index]
        done["after_cutoff"] = pd.Series(values, index=dates.index, dtype=object)
    if partial:
        done |= _partial_columns(sheet, partial, days, doses)
    done |= {column: _flag(sheet, column) for column in _BIOPSY_FLAGS if sheet.has(column)}
    for column, (low, high) in _BIOPSY_RANGES.items():
        if sheet.has(column):
            done[column] = _number(sheet, column, low, high)
    if participants is not None:
        _check_facts(sheet, people, participants)
    _tell_twins(sheet, ids)
    return by_id({**done, **read_others(sheet, done)}, "biopsy_id")


def _number(sheet: Sheet, column: str, low: float, high: float | None) -> pd.Series:
    return to_number(
        sheet.frame[column],
        file=sheet.file,
        problems=sheet.problems,
        name=sheet.label(column),
        low=low,
        high=high,
    )


def read_dates(sheet: Sheet, column: str, *, but: frozenset[int] = frozenset()) -> pd.Series:
    """Read dates; the lines of `but` have been read elsewhere."""
    texts = sheet.column(column)
    if but:
        kept = [None if line in but else text for line, text in zip(texts.index, texts.tolist(), strict=True)]
        texts = pd.Series(kept, index=texts.index, name=column, dtype=object)
    return to_date(texts, file=sheet.file, problems=sheet.problems, name=sheet.label(column))


#: Partial dates by their line.
_Partial = Mapping[int, PartialDate]


def _partial_dates(sheet: Sheet) -> _Partial:
    found: dict[int, PartialDate] = {}
    for line, raw in sheet.column("collection_date").items():
        text = "" if raw is None else str(raw).strip()
        read = parse_partial_date(text)
        if read is not None and read.missing:
            found[int(str(line))] = read
    sheet.tell(
        "E-STUDY-011",
        "collection_date",
        [(line, date.text, f"The date {date.text} is partial.") for line, date in found.items()],
        remedy="Find the day. Until then the date is kept as text, and places the biopsy at a visit only if "
        "every day that it allows does.",
        severity="warning",
    )
    return found


def _partial_columns(
    sheet: Sheet, partial: _Partial, days: pd.Series, doses: Sequence[dt.date | None]
) -> dict[str, pd.Series]:
    """What partial dates leave open; a study day that was typed must be one of those allowed."""
    flags: list[str | None] = []
    ranges: list[tuple[int | None, int | None]] = []
    clashes: list[tuple[int, str | None, str]] = []
    for line, day, dose in zip(days.index, days.tolist(), doses, strict=True):
        given = None if pd.isna(day) else int(day)
        if line not in partial:
            flags.append(None)
            ranges.append((given, given))
            continue
        date = partial[line]
        flags.append(date.missing)
        span = (
            (None, None) if dose is None else (study_day(date.earliest, dose), study_day(date.latest, dose))
        )
        if given is not None and span[0] is not None and span[1] is not None:
            if not span[0] <= given <= span[1]:
                said = f"The partial date {date.text} is study day {span[0]} to {span[1]}, "
                said += f"the one given is {given}."
                clashes.append((int(line), str(given), said))
            span = (given, given)
        ranges.append(span)
    sheet.tell(
        "E-SHEET-013", "study_day", clashes, remedy="Correct the date, the study day or the first dose."
    )
    columns = {"collection_date_imputed": pd.Series(flags, index=days.index, dtype=object)}
    for place, name in enumerate(("study_day_earliest", "study_day_latest")):
        values = pd.array([span[place] for span in ranges], dtype="Int64")
        columns[name] = pd.Series(values, index=days.index, name=name)
    return columns


def _flag(sheet: Sheet, column: str) -> pd.Series:
    """Read a column of yes and no."""
    values: list[str | None] = []
    wrong: list[tuple[int, str | None, str]] = []
    raw = sheet.frame[column]
    for line, cell in zip(raw.index, raw.tolist(), strict=True):
        word = "" if cell is None else str(cell).strip().casefold()
        values.append("yes" if word in _YES else "no" if word in _NO else None)
        if word and values[-1] is None:
            wrong.append((int(line), str(cell), "The value is neither yes nor no."))
    sheet.tell("E-SHEET-007", column, wrong, remedy="Write yes or no, or leave the cell empty.")
    return pd.Series(values, index=raw.index, name=column, dtype=object)


def _tell_twins(sheet: Sheet, ids: pd.Series) -> None:
    """Tell of specimens that may be one specimen entered twice under two ids."""
    kept = [column for column in _SPECIMEN if sheet.has(column)]
    if not {"participant_id", "core"} <= set(kept) or not {"collection_date", "study_day"} & set(kept):
        return  # without a core number, several cores of one procedure look alike
    first: dict[tuple[str, ...], tuple[int, str]] = {}
    twins: list[tuple[int, str | None, str]] = []
    for line, biopsy, *cells in zip(
        ids.index, ids.tolist(), *(sheet.frame[column].tolist() for column in kept), strict=True
    ):
        key = tuple("" if cell is None else str(cell).strip() for cell in cells)
        if biopsy is None or not key[kept.index("core")]:
            continue
        other = first.setdefault(key, (int(line), str(biopsy)))
        if other[1] != biopsy:
            said = (
                f"Biopsy {biopsy!r} has the participant, time, place and core of biopsy {other[1]!r} "
                f"(line {other[0]})."
            )
            twins.append((int(line), str(biopsy), said))
    sheet.tell(
        "E-STUDY-012",
        "biopsy_id",
        twins,
        remedy="If they are one specimen, remove a row; if not, correct the core.",
        severity="warning",
    )


def dates_as_text(dates: pd.Series) -> pd.Series:
    """Give dates as ISO text, None where missing."""
    texts = [None if date is None else date.isoformat() for date in dates.tolist()]
    return pd.Series(texts, index=dates.index, name=dates.name, dtype=object)


def day_of(date: dt.date) -> dt.date:
    """Give the day of a date or of a date and time, as its clock has it."""
    return date.date() if isinstance(date, dt.datetime) else date


def _earliest(dates: pd.Series, partial: _Partial) -> pd.Series:
    """Dates, and of partial ones the first day that they allow."""
    rows = zip(dates.index.tolist(), dates.tolist(), strict=True)
    values = [partial[line].earliest if line in partial else date for line, date in rows]
    return pd.Series(values, index=dates.index, name=dates.name, dtype=object)


def tell_after_cutoff(sheet: Sheet, dates: pd.Series, cutoff: str | None) -> frozenset[int]:
    """Tell of dates after the data cut-off, and give their lines."""
    limit = None if cutoff is None else parse_date(cutoff)
    if limit is None:
        return frozenset()
    late = [
        (int(line), date.isoformat(), f"The date lies after the data cut-off, {limit.isoformat()}.")
        for line, date in zip(dates.index, dates.tolist(), strict=True)
        if date is not None and day_of(date) > limit
    ]
    sheet.tell(
        "E-SHEET-014",
        str(dates.name),
        late,
        remedy="Check the date, or whether the row belongs to this data cut.",
        severity="warning",
    )
    return frozenset(line for line, *_ in late)


def _check_placed(sheet: Sheet) -> None:
    placing = ("visit", "study_day", "collection_date")
    if not any(sheet.has(column) for column in placing):
        sheet.problems.add(
            "E-SHEET-001",
            "The sheet has neither 'visit' nor 'study_day' nor 'collection_date'.",
            remedy="Add at least one of them: a biopsy needs its place in time.",
            file=sheet.file,
            row=1,
            column="visit",
        )


def _visits(sheet: Sheet, visits: Sequence[Visit] | None) -> pd.Series:
    named = sheet.has("visit")
    labels = read_names(sheet, "visit", alike=visits is None) if named else sheet.column("visit")
    if visits is None:
        return labels
    names = [visit.name for visit in visits]
    known = set(names)
    free = [bool(_UNSCHEDULED.fullmatch(v or "")) and v not in known for v in labels.tolist()]
    if any(free):
        sheet.tell(
            "E-STUDY-013",
            "visit",
            [
                (int(line), value, "The visit is unscheduled: the study day alone places the biopsy.")
                for line, value, one in zip(labels.index, labels.tolist(), free, strict=True)
                if one
            ],
            remedy="Nothing need be done where that is meant.",
            severity="warning",
        )
        kept = [None if one else value for value, one in zip(labels.tolist(), free, strict=True)]
        labels = pd.Series(kept, index=labels.index, name="visit", dtype=object)
    unknown = [
        (int(line), value, f"The visit {value!r} is not among those of study.yaml. {nearest(value, names)}")
        for line, value in zip(labels.index, labels.tolist(), strict=True)
        if value is not None and value not in known
    ]
    sheet.tell(
        "E-STUDY-004",
        "visit",
        unknown,
        remedy="Correct the label, or add the visit to study.yaml (as {} where it has no window).",
    )
    return labels


def first_doses(people: pd.Series, participants: pd.DataFrame | None) -> list[dt.date | None]:
    """Give each row the first dose of its participant, None where it is not known."""
    known: dict[str, dt.date] = {}
    if participants is not None and "first_dose_datetime" in participants:
        for participant, text in participants["first_dose_datetime"].items():
            date = parse_date(text) if isinstance(text, str) else None
            if date is not None:
                known.setdefault(str(participant), date)
    return [known.get(person) if isinstance(person, str) else None for person in people.tolist()]


def study_day(date: dt.date, first_dose: dt.date) -> int:
    """Give the study day of a date: the day of the first dose is day 1, the day before is day -1.

    Examples
    --------
    >>> first = dt.date(2025, 1, 10)
    >>> study_day(first, first), study_day(dt.date(2025, 1, 9), first)
    (1, -1)
    """
    days = (day_of(date) - day_of(first_dose)).days
    return days + 1 if days >= 0 else days


def study_days(
    sheet: Sheet, dates: pd.Series, doses: Sequence[dt.date | None], *, what: str = "collection date"
) -> pd.Series:
    """Give each row its study day: that of its date, or the one given (E-SHEET-013 where they contradict).

    Parameters
    ----------
    sheet : Sheet
        With or without a column study_day.
    dates : Series of date or None
    doses : sequence of date or None
        The first dose of each row's participant.
    what : str
        What the message calls the date.

    Returns
    -------
    Series of Int64
        There is no day 0.
    """
    given = to_number(
        sheet.column("study_day"),
        file=sheet.file,
        problems=sheet.problems,
        name=sheet.label("study_day"),
        low=-_FARTHEST_DAY,
        high=_FARTHEST_DAY,
        integer=True,
    )
    days: list[int | None] = []
    zeros: list[tuple[int, str | None, str]] = []
    clashes: list[tuple[int, str | None, str]] = []
    for line, day, date, dose in zip(given.index, given.tolist(), dates.tolist(), doses, strict=True):
        typed = None if math.isnan(day) else int(day)
        computed = None if date is None or dose is None else study_day(date, dose)
        if typed == 0:
            zeros.append((int(line), "0", "There is no study day 0: the day of the first dose is day 1."))
            typed = None
        elif typed is not None and computed is not None and typed != computed:
            said = (
                f"The {what} {day_of(date).isoformat()} is study day {computed} (first dose "
                f"{day_of(dose).isoformat() if dose is not None else ''}), but the study day given is {
                    typed
                }."
            )
            clashes.append((int(line), str(typed), said))
        days.append(computed if typed is None else typed)
    sheet.tell("E-SHEET-008", "study_day", zeros, remedy="The day before day 1 is day -1.")
    sheet.tell(
        "E-SHEET-013",
        "study_day",
        clashes,
        remedy="Correct the date, the study day or the first dose, or leave the study day empty.",
    )
    return pd.Series(pd.array(days, dtype="Int64"), index=given.index, name="study_day")


def hours_between(start: dt.date | None, end: dt.date | None) -> float:
    """Give the hours from one time to another; NaN unless both are times, with or without a zone alike.

    Examples
    --------
    >>> hours_between(dt.datetime(2025, 1, 10, 9), dt.datetime(2025, 1, 11, 10, 30))
    25.5
    >>> hours_between(dt.date(2025, 1, 10), dt.datetime(2025, 1, 11, 10, 30))
    nan
    """
    if (
        isinstance(start, dt.datetime)
        and isinstance(end, dt.datetime)
        and (start.tzinfo is None) == (end.tzinfo is None)
    ):
        return (end - start).total_seconds() / 3600
    return math.nan


def _hours(dates: pd.Series, doses: Sequence[dt.date | None]) -> pd.Series:
    """Hours from the first dose, where both times are known and both or neither name a time zone."""
    hours = [hours_between(dose, date) for date, dose in zip(dates.tolist(), doses, strict=True)]
    return pd.Series(hours, index=dates.index, name="hours_from_first_dose", dtype="float64")


def _check_facts(sheet: Sheet, people: pd.Series, participants: pd.DataFrame) -> None:
    """Facts of the participant that biopsies.csv repeats may not change, nor contradict participants.csv."""
    shared = [column for column in map(str, sheet.frame.columns) if column in participants]
    for column in [*FACTS, *(c for c in shared if c not in FACTS)]:
        if not sheet.has(column) or column in {"participant_id", "biopsy_id", "line"}:
            continue
        is_fact = column in FACTS
        known: dict[str, tuple[str, str]] = {}
        if column in participants:
            for participant, value in participants[column].items():
                if not pd.isna(value):
                    known.setdefault(str(participant), (_comparable(value), "participants.csv"))
        clashes: list[tuple[int, str | None, str]] = []
        for line, person, raw in zip(
            people.index, people.tolist(), sheet.frame[column].tolist(), strict=True
        ):
            if person is None or raw is None or not raw.strip():
                continue
            value = _comparable(raw)
            before, where = known.setdefault(person, (value, f"line {line}"))
            if value != before and (is_fact or where == "participants.csv"):
                said = f"The {sheet.label(column)} of participant {person!r} is {before!r} in {where}."
                clashes.append((int(line), raw, said))
        if is_fact:
            sheet.tell("E-SHEET-015", column, clashes, remedy="Correct it, or leave it to participants.csv.")
        elif clashes:
            line, shown, said = clashes[0]
            said += " The column stands in both sheets; a formula sees that of participants.csv."
            sheet.tell(
                "E-SHEET-015",
                column,
                [(line, shown, said)],
                remedy="Rename one of the two columns.",
                severity="warning",
            )


def _comparable(value: object) -> str:
    text = str(value).strip()
    date = parse_date(text)
    if date is not None:
        return date.isoformat()
    try:
        number = float(text)
    except ValueError:
        return text
    return repr(number) if math.isfinite(number) else text
