"""Dose-limiting toxicities (DLT): who is evaluable and why not, the table by dose, the escalation."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from pdbiomarker.clinical.columns import ClinicalTable, parse_cutoff
from pdbiomarker.clinical.people import dose_label
from pdbiomarker.clinical.safety.events import SafetyData
from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.shares import clopper_pearson

__all__ = ["EscalationPath", "dlt_evaluable", "dlt_table", "outcomes_of"]

_COLUMNS: Final = (
    "participant_id", "dose_mg", "cohort", "first_dose", "dlt", "dlt_terms", "dlt_day", "window_end",
    "followed_days", "received_pct", "evaluable", "status", "reason", "flags",
)  # fmt: skip

_PATH_COLUMNS: Final = (
    "participant_id", "first_dose", "dose_mg", "level", "cohort_number", "outcome", "used", "in_escalation",
    "reason",
)  # fmt: skip


def dlt_evaluable(data: SafetyData, outcomes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Say of every participant whether they count for dose-limiting toxicities.

    Parameters
    ----------
    data : SafetyData
    outcomes : DataFrame, optional
        participant_id; last_contact_date, death_date, withdrawal_date: how long a participant was followed.

    Returns
    -------
    DataFrame
        One row for each participant, by first dose and id: participant_id, dose_mg, cohort, first_dose (ISO),
        dlt (bool: a dose-limiting event within the window), dlt_terms, dlt_day (study day), window_end (ISO),
        followed_days (days of the window followed, NaN where not known), received_pct (of the planned dose of
        the window), evaluable, status (``DLT``, ``no DLT``, ``pending``, ``not evaluable``), reason, flags.

    Notes
    -----
    Evaluable: a DLT within the window; or none, the window followed to its end and `least_dose_pct` of the
    planned dose received. A participant whose window the cut-off of the options cuts is pending. Without a
    known end of follow-up, the last dose given and the last date of an event are what is known. A DLT whose
    onset is imputed counts.
    """
    problems = Problems()
    followed = _followed(data, outcomes, problems)
    limit = parse_cutoff(data.options.cutoff, problems)
    problems.raise_if_any()
    rows = [_row(person, data, followed.get(person), limit) for person in data.people]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"dlt_day": "Int64"})
    frame["untreated"] = frame["first_dose"].isna()
    frame = frame.sort_values(["untreated", "first_dose", "participant_id"], kind="stable")
    return frame.drop(columns="untreated").reset_index(drop=True)


def _followed(
    data: SafetyData, outcomes: pd.DataFrame | None, problems: Problems
) -> dict[str, tuple[dt.date, str]]:
    """The last day each participant is known to have been followed, and by what it is known."""
    found: dict[str, tuple[dt.date, str]] = {}

    def see(person: str, day: dt.date, what: str) -> None:
        if person not in found or day > found[person][0]:
            found[person] = (day, what)

    for person, course in data.courses.items():
        if course.last is not None:
            see(person, course.last, "last dose")
    for person, start in zip(data.events["participant_id"], data.events["start"], strict=True):
        if isinstance(start, str) and len(start) >= len("2025-01-01"):
            see(person, dt.date.fromisoformat(start[:10]), "adverse event")
    if outcomes is not None:
        table = ClinicalTable(outcomes, "outcomes.csv", problems, required=["participant_id"])
        ids = table.ids()
        for column, what in (
            ("last_contact_date", "last contact"),
            ("death_date", "death"),
            ("withdrawal_date", "withdrawal"),
        ):
            for person, date in zip(ids, table.dates(column), strict=True):
                if date is not None:
                    see(person, date.earliest, what)  # of a partial date, the first possible day
    return found


def _row(
    person: str, data: SafetyData, followed: tuple[dt.date, str] | None, cutoff: dt.date | None
) -> dict[str, object]:
    course, facts, days = data.courses[person], data.people[person], data.options.dlt_window_days
    row: dict[str, object] = dict.fromkeys(_COLUMNS)
    row |= {
        "participant_id": person,
        "dose_mg": facts.dose_mg,
        "cohort": facts.cohort,
        "dlt": False,
        "dlt_terms": "",
        "followed_days": math.nan,
        "received_pct": math.nan,
        "evaluable": False,
        "status": "not evaluable",
        "flags": "",
    }
    if course.first is None:
        return row | {"reason": "not treated"}
    end = course.first + dt.timedelta(days=days - 1)
    row |= {"first_dose": course.first.isoformat(), "window_end": end.isoformat()}
    received = course.share_received(days, data.options.planned_doses)
    row["received_pct"] = received
    events = data.events[(data.events["participant_id"] == person) & data.events["dose_limiting"]]
    inside = events[events["emergent"] & (events["study_day"] <= days).fillna(False)]
    outside = len(events) - len(inside)
    flags = [f"{outside} dose-limiting outside the window"] if outside else []
    if (inside["start_imputed"] != "").any():
        flags.append("onset imputed")
    seen = min(followed[0], cutoff) if followed and cutoff else followed[0] if followed else None
    if seen is not None:
        row["followed_days"] = float(min(max((seen - course.first).days + 1, 0), days))
    if len(inside):
        terms = "; ".join(dict.fromkeys(map(str, inside["term"])))
        day = int(inside["study_day"].min())
        row |= {"dlt": True, "dlt_terms": terms, "dlt_day": day, "evaluable": True, "status": "DLT"}
        return row | {"reason": f"DLT on day {day}", "flags": "; ".join(flags)}
    status, reason = _without(seen, followed, end, cutoff, received, data)
    if math.isnan(received) and status == "no DLT":
        flags.append("dose received not known")
    return row | {
        "status": status,
        "reason": reason,
        "evaluable": status == "no DLT",
        "flags": "; ".join(flags),
    }


def _without(
    seen: dt.date | None,
    followed: tuple[dt.date, str] | None,
    end: dt.date,
    cutoff: dt.date | None,
    received: float,
    data: SafetyData,
) -> tuple[str, str]:
    if cutoff is not None and cutoff < end:
        return "pending", f"the data cut-off lies before the end of the window, {end.isoformat()}"
    if seen is None or followed is None:
        return "not evaluable", "how long the participant was followed is not known"
    if seen < end:
        return (
            "not evaluable",
            f"followed to {seen.isoformat()} ({followed[1]}), the window ends {end.isoformat()}",
        )
    least = data.options.least_dose_pct
    if not math.isnan(received) and received < least:
        return "not evaluable", f"received {received:.0f} % of the planned dose, less than {least:g} %"
    return "no DLT", "window completed"


def dlt_table(evaluable: pd.DataFrame) -> pd.DataFrame:
    """Count dose-limiting toxicities by dose level.

    Parameters
    ----------
    evaluable : DataFrame
        As from :func:`dlt_evaluable`.

    Returns
    -------
    DataFrame
        One row for each dose level, lowest first, then ``all``: dose, n_treated, n_evaluable, n_dlt, pct (of
        the evaluable), pct_low, pct_high (Clopper-Pearson, 95 %), n_pending, n_not_evaluable, not_evaluable
        (who and why), dlt_terms.
    """
    treated = evaluable[evaluable["first_dose"].notna()]
    doses = sorted(set(treated["dose_mg"].dropna()))
    blocks = [(dose_label(float(dose)), treated[treated["dose_mg"] == dose]) for dose in doses]
    rest = treated[treated["dose_mg"].isna()]
    if len(rest):
        blocks.append((dose_label(float("nan")), rest))
    rows = [_dlt_row(dose, own) for dose, own in [*blocks, ("all", treated)]]
    frame = pd.DataFrame(rows)
    low, high = clopper_pearson(frame["n_dlt"], frame["n_evaluable"])
    at = int(frame.columns.get_indexer(pd.Index(["pct"]))[0]) + 1
    frame.insert(at, "pct_low", 100 * low)
    frame.insert(at + 1, "pct_high", 100 * high)
    return frame


def _dlt_row(dose: str, own: pd.DataFrame) -> dict[str, object]:
    out = own[own["status"] == "not evaluable"]
    n_evaluable, n_dlt = int(own["evaluable"].sum()), int(own["dlt"].sum())
    terms = own.loc[own["dlt"], ["participant_id", "dlt_terms"]]
    return {
        "dose": dose,
        "n_treated": len(own),
        "n_evaluable": n_evaluable,
        "n_dlt": n_dlt,
        "pct": 100 * n_dlt / n_evaluable if n_evaluable else math.nan,
        "n_pending": int((own["status"] == "pending").sum()),
        "n_not_evaluable": len(out),
        "not_evaluable": "; ".join(
            f"{p}: {why}" for p, why in zip(out["participant_id"], out["reason"], strict=True)
        ),
        "dlt_terms": "; ".join(f"{p}: {t}" for p, t in terms.itertuples(index=False)),
    }


@dataclasses.dataclass(frozen=True)
class EscalationPath:
    """What a study's tables say of its escalation.

    Attributes
    ----------
    outcomes : str
        As :func:`pdbiomarker.clinical.escalation.next_dose` reads them.
    doses : tuple of float
        Dose in mg of level 1, 2, ...
    table : DataFrame
        One row for each participant in order of the first dose: participant_id, first_dose, dose_mg, level
        (Int64), cohort_number (Int64), outcome (``N``, ``T`` or empty), used (bool), in_escalation (bool),
        reason.
    """

    outcomes: str
    doses: tuple[float, ...]
    table: pd.DataFrame


def outcomes_of(
    evaluable: pd.DataFrame,
    *,
    doses: Sequence[float] | None = None,
    cohorts: Sequence[str] | None = None,
    cohort_size: int = 3,
) -> EscalationPath:
    """Build the outcome string of an escalation from the study's participants.

    Parameters
    ----------
    evaluable : DataFrame
        As from :func:`dlt_evaluable`.
    doses : sequence of float, optional
        Dose levels of the protocol in mg, lowest first; default: those that participants were assigned to.
    cohorts : sequence of str, optional
        Values of the column ``cohort`` that belong to the escalation. Default: all whose name does not hold
        "expansion": expansion cohorts do not take part in the decisions on the dose.
    cohort_size : int
        Participants of the same dose who follow each other form cohorts of this size.

    Returns
    -------
    EscalationPath
        Participants are taken in the order of their first dose, those of one day in that of their dose and
        id.

    Raises
    ------
    InputError
        E-DOSE-005: no dose level, or a dose that is not one of `doses`.
    """
    levels = _levels(evaluable, doses)
    rows, words = [], []
    current, size, number = 0, 0, 0
    order = evaluable.sort_values(["first_dose", "dose_mg", "participant_id"], kind="stable")
    for record in order.to_dict("records"):
        away = _not_of_escalation(record["cohort"], cohorts)
        why = away or ("" if record["evaluable"] else f"{record['status']}: {record['reason']}")
        level = levels.index(float(record["dose_mg"])) + 1 if not math.isnan(record["dose_mg"]) else None
        if not why and level is None:
            why = "dose level not recorded"
        letter = "" if why else "T" if record["dlt"] else "N"
        if letter and level is not None:
            if level != current or size == cohort_size:
                number, size, current = number + 1, 0, level
                words.append(str(level))
            words[-1] += letter
            size += 1
        rows.append(
            {
                "participant_id": record["participant_id"],
                "first_dose": record["first_dose"],
                "dose_mg": record["dose_mg"],
                "level": level,
                "cohort_number": number if letter else None,
                "outcome": letter,
                "used": bool(letter),
                "in_escalation": not away,
                "reason": why or record["reason"],
            }
        )
    table = pd.DataFrame(rows, columns=list(_PATH_COLUMNS)).astype(
        {"level": "Int64", "cohort_number": "Int64"}
    )
    return EscalationPath(" ".join(words), tuple(levels), table)


def _levels(evaluable: pd.DataFrame, doses: Sequence[float] | None) -> list[float]:
    used = sorted({float(dose) for dose in evaluable["dose_mg"].dropna()})
    levels = used if doses is None else [float(dose) for dose in doses]
    unknown = [dose for dose in used if dose not in levels]
    if levels and not unknown and levels == sorted(set(levels)):
        return levels
    said = (
        "No participant has a dose level."
        if not levels
        else f"The dose {unknown[0]:g} mg is not one of the dose levels."
        if unknown
        else "The dose levels do not rise."
    )
    remedy = "Give dose_mg in participants.csv, and the dose levels of the protocol, lowest first."
    raise InputError([Problem("E-DOSE-005", said, remedy, column="dose_mg")])


def _not_of_escalation(cohort: object, cohorts: Sequence[str] | None) -> str:
    if cohorts is None:
        return "expansion cohort" if isinstance(cohort, str) and "expansion" in cohort.casefold() else ""
    return "" if cohort in cohorts else f"cohort {cohort!r} is not of the escalation"
