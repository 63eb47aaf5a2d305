"""Participants, outcomes and adverse events: DM and ADSL, DS and DD, AE and ADAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.cdisc.records import Records, with_flags

__all__ = ["adverse_events", "outcomes", "participants"]

_WITHDRAWN: Final = (
    "WITHDRAWAL BY SUBJECT",
    "WITHDRAWAL OF CONSENT",
    "CONSENT WITHDRAWN",
    "LOST TO FOLLOW-UP",
)
_YES_NO: Final = {"Y": "yes", "N": "no"}
_RELATED: Final[Mapping[str, str]] = {
    "Y": "yes",
    "YES": "yes",
    "RELATED": "yes",
    "DEFINITE": "yes",
    "PROBABLE": "yes",
    "POSSIBLE": "yes",
    "POSSIBLY RELATED": "yes",
    "PROBABLY RELATED": "yes",
    "DEFINITELY RELATED": "yes",
    "N": "no",
    "NO": "no",
    "NONE": "no",
    "NOT RELATED": "no",
    "UNRELATED": "no",
    "UNLIKELY": "no",
    "UNLIKELY RELATED": "no",
    "REMOTE": "no",
}
_SEVERITY: Final = {"MILD": 1, "MODERATE": 2, "SEVERE": 3, "LIFE THREATENING": 4, "FATAL": 5}
#: What makes two records one event.
_EVENT: Final = ("participant_id", "term", "start", "grade")
_FIRST_DOSE: Final = ("RFXSTDTC", "RFSTDTC")


def participants(
    dm: Records | None, adsl: Records | None, first_doses: Mapping[str, float]
) -> pd.DataFrame | None:
    """Give participants.csv.

    Parameters
    ----------
    dm, adsl : Records or None
        What ADSL says comes before what DM says.
    first_doses : mapping of participant to mg
        First amount of the dosing records, where ADSL has no dose.

    Returns
    -------
    DataFrame or None
        participant_id, then what is known of site_id, cohort, arm, dose_mg, sex, age, tumor_type,
        first_dose_datetime (with its time, where the time was recorded). None without DM and ADSL.
    """
    parts = [part for part in (_one_each(adsl), _one_each(dm)) if part is not None]
    if not parts:
        return None
    table = parts[0]
    for other in parts[1:]:
        table = table.combine_first(other)
    table = table.sort_index()
    dose = table["dose_mg"] if "dose_mg" in table else pd.Series(math.nan, index=table.index, dtype=float)
    from_records = pd.Series([first_doses.get(str(p), math.nan) for p in table.index], index=table.index)
    table["dose_mg"] = dose.astype(float).fillna(from_records.astype(float))
    order = ["site_id", "cohort", "arm", "dose_mg", "sex", "age", "tumor_type", "first_dose_datetime"]
    kept = [c for c in order if c in table and table[c].notna().any()]
    return with_flags(table[kept].reset_index(), [c for c in kept if c == "first_dose_datetime"])


def _one_each(records: Records | None) -> pd.DataFrame | None:
    """One row for each participant of DM or ADSL, index participant_id."""
    if records is None or not records.need("USUBJID"):
        return None
    people = records.people
    kept = records.once(records.keep(lambda i: None if people[i] else "No participant is named."))
    ages = records.number("AGE")
    in_years = [unit in {"", "YEARS"} for unit in records.upper("AGEU")]
    doses = records.number("DOSE", "DOSEA", "TRT01DOS")
    columns: dict[str, Any] = {
        "participant_id": records.people,
        "site_id": records.text("SITEID"),
        "cohort": records.text("COHORT", "COHORTC"),
        "arm": records.text("TRT01A", "ACTARM", "ARM"),
        "dose_mg": doses,
        "sex": [sex if sex in {"F", "M"} else None for sex in records.text("SEX")],
        "age": [age if years else math.nan for age, years in zip(ages, in_years, strict=True)],
        "tumor_type": records.text("TUMTYPE"),
        "first_dose_datetime": records.date("TRTSDTM", "TRTSDT", *_FIRST_DOSE),
    }
    # The end of treatment and death are for the outcomes; they are read there.
    table = pd.DataFrame(columns).iloc[kept]
    return table.set_index("participant_id")


def outcomes(
    sources: Mapping[str, Records], *, measurable: Mapping[str, str] | None = None
) -> pd.DataFrame | None:
    """Give outcomes.csv: one row for each participant of DM or ADSL.

    Parameters
    ----------
    sources : mapping of dataset name to Records
        ADSL, DM, DS, DD, those that there are.
    measurable : mapping of participant to "yes" or "no", optional
        Measurable disease at baseline, as ADRS says.

    Returns
    -------
    DataFrame or None
        participant_id, death_date, last_contact_date, treatment_end_date, withdrawal_date, withdrawal_reason,
        measurable_disease: those with a value. A death without any date is told (E-CDISC-009, warning).
    """
    people: dict[str, dict[str, Any]] = {}
    for name in ("ADSL", "DM"):
        if name in sources:
            _ends(sources[name], people)
    if not people:
        return None
    if "DD" in sources:
        _deaths(sources["DD"], people)
    if "DS" in sources:
        _dispositions(sources["DS"], people)
    for person, facts in people.items():
        facts["measurable_disease"] = (measurable or {}).get(person)
    table = pd.DataFrame.from_dict(people, orient="index").sort_index()
    dates = ["death_date", "last_contact_date", "treatment_end_date", "withdrawal_date"]
    order = [*dates, "withdrawal_reason", "measurable_disease"]
    kept = [c for c in order if c in table and table[c].notna().any()]
    table = table[kept].rename_axis("participant_id").reset_index()
    return with_flags(table, [c for c in dates if c in kept])


def _put(people: dict[str, dict[str, Any]], person: str | None, column: str, value: str | None) -> None:
    """Give a participant a fact that is not known yet."""
    if person is not None and person in people and value is not None:
        people[person][column] = people[person].get(column) or value


def _ends(records: Records, people: dict[str, dict[str, Any]]) -> None:
    owners = records.people
    for person in owners:
        if person is not None:
            people.setdefault(person, {})
    columns = {
        "death_date": records.date("DTHDT", "DTHDTC"),
        "last_contact_date": records.date("LSTALVDT"),
        "treatment_end_date": records.date("TRTEDTM", "TRTEDT", "RFXENDTC"),
    }
    for column, values in columns.items():
        for person, value in zip(owners, values, strict=True):
            day = value[:10] if value is not None else None
            _put(people, person, column, day)
    dateless = [
        (records.line(i), "Y", "The participant died and the date of death is missing.")
        for i, (flag, date) in enumerate(zip(records.upper("DTHFL"), columns["death_date"], strict=True))
        if flag == "Y" and date is None
    ]
    remedy = "Without a date the death does not count in a time to event: add it."
    records.tell("E-CDISC-009", "DTHDTC", dateless, remedy=remedy, severity="warning")


def _deaths(records: Records, people: dict[str, dict[str, Any]]) -> None:
    if not records.need("USUBJID", "DDDTC"):
        return
    for person, date in zip(records.people, records.date("DDDTC"), strict=True):
        _put(people, person, "death_date", None if date is None else date[:10])


def _dispositions(records: Records, people: dict[str, dict[str, Any]]) -> None:
    if not records.need("USUBJID", "DSDECOD"):
        return
    owners, dates = records.people, records.date("DSSTDTC", "DSDTC")
    latest: dict[str, str] = {}
    for place, (person, what) in enumerate(zip(owners, records.upper("DSDECOD"), strict=True)):
        date = None if dates[place] is None else str(dates[place])[:10]
        if person is None or person not in people:
            records.leave(place, "The participant is not in DM or ADSL.")
            continue
        if what == "DEATH":
            _put(people, person, "death_date", date)
        elif any(word in what for word in _WITHDRAWN):
            _put(people, person, "withdrawal_date", date)
            _put(people, person, "withdrawal_reason", what.lower())
        if date is not None and len(date) == 10:
            latest[person] = max(latest.get(person, ""), date)
    for person, date in latest.items():
        _put(people, person, "last_contact_date", date)


def adverse_events(records: Records, *, severity_as_grade: bool = False) -> pd.DataFrame | None:
    """Give adverse_events.csv of AE or ADAE.

    Parameters
    ----------
    records : Records
    severity_as_grade : bool
        Where there is no toxicity grade, take mild, moderate and severe as 1, 2 and 3. They are not CTCAE
        grades: without this the grade stays empty, and that is told.

    Returns
    -------
    DataFrame or None
        participant_id, term, system_organ_class, grade, severity, start, end, serious, related,
        dose_limiting.
    """
    if not records.need("USUBJID") or not (records.has("AEDECOD") or records.need("AETERM")):
        return None
    grades, severity = records.number("AETOXGR", "ATOXGRN"), records.upper("AESEV", "ASEV")
    graded = not all(math.isnan(g) for g in grades)
    wrong = [
        (records.line(i), f"{g:g}", "A grade is 1, 2, 3, 4 or 5.")
        for i, g in enumerate(grades.tolist())
        if not math.isnan(g) and g not in {1, 2, 3, 4, 5}
    ]
    records.tell("E-CDISC-007", "AETOXGR", wrong, remedy="Correct the grade.")
    if not graded and severity_as_grade:
        grades = np.array([_SEVERITY.get(s, math.nan) for s in severity], dtype=np.float64)
    elif not graded:
        records.ledger.problems.add(
            "E-CDISC-004",
            f"{records.data.name} has no toxicity grades (AETOXGR); grades stay empty.",
            remedy="Export AETOXGR, or give --severity-as-grade (in Python severity_as_grade=True): mild, "
            "moderate and severe then stand for 1, 2 and 3.",
            file=records.data.file,
            column="AETOXGR",
            severity="warning",
        )
    columns: dict[str, Any] = {
        "participant_id": records.people,
        "term": records.text("AEDECOD", "AETERM"),
        "system_organ_class": records.text("AEBODSYS", "AESOC"),
        "grade": pd.array([pd.NA if math.isnan(g) else int(g) for g in grades.tolist()], dtype="Int64"),
        "severity": [s.lower() or None for s in severity],
        "start": records.date("AESTDTC", "ASTDTM", "ASTDT"),
        "end": records.date("AEENDTC", "AENDTM", "AENDT"),
        "serious": [_YES_NO.get(v) for v in records.upper("AESER")],
        "related": _related(records),
        "dose_limiting": [_YES_NO.get(v) for v in records.upper("DLTFL", "AEDLTFL", "AEDLT")],
    }
    kept = records.keep(
        lambda i: (
            None if columns["participant_id"][i] and columns["term"][i] else "No participant or no term."
        )
    )
    table = _merged(pd.DataFrame(columns).iloc[kept], records)
    table = table.sort_values(["participant_id", "start", "term"], kind="stable", ignore_index=True)
    optional = ("severity", "related", "serious", "dose_limiting", "end")
    table = table.drop(columns=[c for c in optional if not table[c].notna().any()])
    return with_flags(table, [c for c in ("start", "end") if c in table])


def _merged(events: pd.DataFrame, records: Records) -> pd.DataFrame:
    """One row for each participant, term, start and grade: the gravest of what the records say.

    Serious, related and dose-limiting is what any of them is; an event lasts as long as the longest.
    """
    key = [events[c].astype(object).where(events[c].notna(), "").astype(str) for c in _EVENT]
    names = list(zip(*key, strict=True))
    first: dict[tuple[str, ...], int] = {}
    rows = events.astype(object).where(events.notna(), None).to_dict("index")
    for place, name in zip(map(int, events.index), names, strict=True):
        other = first.setdefault(name, place)
        if other == place:
            continue
        one, two = rows[other], rows[place]
        for flag in ("serious", "related", "dose_limiting"):
            one[flag] = "yes" if "yes" in (one[flag], two[flag]) else (one[flag] or two[flag])
        one["severity"] = max(one["severity"], two["severity"], key=_gravity)
        one["end"] = None if None in (one["end"], two["end"]) else max(one["end"], two["end"])
        said = f"Merged with record {records.line(other)}: same participant, term, start and grade."
        records.leave(place, said)
    kept = pd.DataFrame([rows[place] for place in first.values()], columns=events.columns)
    return kept.astype({"grade": "Int64"})


def _gravity(severity: object) -> int:
    return _SEVERITY.get(str(severity).upper(), 0)


def _related(records: Records) -> list[str | None]:
    said = records.upper("AREL", "AEREL")
    unknown = [
        (records.line(i), value, "The relation to treatment is not one that is known; it stays empty.")
        for i, value in enumerate(said)
        if value and value not in _RELATED
    ]
    remedy = f"Known are {', '.join(_RELATED)}."
    records.tell("E-CDISC-007", "AEREL", unknown, remedy=remedy, severity="warning")
    return [_RELATED.get(value) for value in said]
