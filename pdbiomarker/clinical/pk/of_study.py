"""From the clinical sheets of a study to the tables that a pharmacokinetic analysis takes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math

import pandas as pd

from pdbiomarker.clinical.schedule import dose_history
from pdbiomarker.errors import Problems, StudyError
from pdbiomarker.study import Study
from pdbiomarker.study.people import hours_between
from pdbiomarker.tables import parse_date

__all__ = ["PkTables", "pk_tables", "timed_doses", "timed_samples"]


@dataclasses.dataclass(frozen=True, slots=True)
class PkTables:
    """What an analysis takes; times in h from the first dose received.

    Attributes
    ----------
    concentrations : DataFrame
        participant_id, time_h, concentration, blq, lloq, unit; nominal_time_h, analyte, specimen where given.
    doses : DataFrame
        participant_id, time_h, amount (mg), duration_h, unit.
    biopsies : DataFrame
        biopsy_id, participant_id, time_h.
    dose : mapping of participant to dose level
        participants.dose_mg, or else the first dose received, in mg.
    history : DataFrame
        As from :func:`pdbiomarker.clinical.schedule.dose_history`.
    notes : tuple of str
        What had to be assumed about times.
    """

    concentrations: pd.DataFrame
    doses: pd.DataFrame
    biopsies: pd.DataFrame
    dose: dict[str, float]
    history: pd.DataFrame
    notes: tuple[str, ...]


def pk_tables(study: Study) -> PkTables:
    """Give a study's concentrations, doses and biopsies with their times from the first dose.

    Raises
    ------
    StudyError
        E-FILE-001: the study has no doses or no concentrations; and what `dose_history` refuses.
    """
    problems = Problems()
    for name in ("doses", "concentrations"):
        if name not in study.clinical:
            problems.add(
                "E-FILE-001",
                f"The study has no {name}.",
                remedy=f"Add clinical/{name}.csv.",
                file=f"clinical/{name}.csv",
            )
    problems.raise_if_any(StudyError)
    history = dose_history(study.clinical["doses"], study.participants)
    doses, notes = timed_doses(history)
    samples, more = timed_samples(study.clinical["concentrations"], history)
    biopsies, rest = _timed_biopsies(study.biopsies)
    levels = study.participants.get("dose_mg")
    dose = {str(person): float(amount) for person, amount in _first_amounts(doses).items()}
    if levels is not None:
        dose |= {str(person): float(level) for person, level in levels.items() if pd.notna(level)}
    return PkTables(samples, doses, biopsies, dose, history, (*notes, *more, *rest))


def _first_amounts(doses: pd.DataFrame) -> pd.Series:
    return (
        doses.sort_values("time_h", kind="stable")
        .drop_duplicates("participant_id")
        .set_index("participant_id")["amount"]
    )


def timed_doses(history: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give the doses received with their hours from the first; a day without a time counts as whole days."""
    got = history[history["received"]]
    by_day = got["time_h"].isna()
    days = got["study_day"].astype("Float64").astype(float)
    times = got["time_h"].where(~by_day, 24 * (days - 1))
    doses = pd.DataFrame(
        {
            "participant_id": got["participant_id"].tolist(),
            "time_h": times.tolist(),
            "amount": got["amount_mg"].tolist(),
            "duration_h": got["duration_h"].fillna(0.0).tolist(),
            "unit": "mg",
        }
    )
    notes = (f"{int(by_day.sum())} doses have no time of day: placed by their day",) if by_day.any() else ()
    return doses, notes


def timed_samples(
    concentrations: pd.DataFrame, history: pd.DataFrame
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give samples their hours from the first dose: time_h where the sheet has it, else from the clock.

    Whoever has records of dosing and received nothing (placebo, every dose held) has no first dose to count
    from: the samples stay without a time and the note names the participants. Where the dose or the sample
    has a day and no time of day, nominal_time_h stands in if the days allow it.
    """
    first = (
        history[history["received"]].drop_duplicates("participant_id").set_index("participant_id")["start"]
    )
    origin = {str(person): parse_date(str(start)) for person, start in first.items()}
    size = len(concentrations)
    given = concentrations["time_h"].tolist() if "time_h" in concentrations else [math.nan] * size
    moments = concentrations["datetime"].tolist() if "datetime" in concentrations else [None] * size
    planned = (
        concentrations["nominal_time_h"].tolist() if "nominal_time_h" in concentrations else [None] * size
    )
    never = set(history["participant_id"].astype(str)) - set(origin)
    times: list[float] = []
    by_plan = 0
    for person, hours, text, plan in zip(
        concentrations["participant_id"].astype(str), given, moments, planned, strict=True
    ):
        moment, start = parse_date(text) if isinstance(text, str) else None, origin.get(person)
        time = math.nan if person in never else hours if pd.notna(hours) else hours_between(start, moment)
        if math.isnan(time) and person not in never and _days_allow(start, moment, plan):
            time, by_plan = float(str(plan)), by_plan + 1
        times.append(time)
    frame = concentrations.assign(time_h=times)
    unplaced = int(frame["time_h"].isna().sum())
    notes = [f"{unplaced} samples have no time from the first dose: left out"] if unplaced else []
    if by_plan:
        notes.append(
            f"{by_plan} samples have no time of day, or their dose has none: placed by nominal_time_h"
        )
    if undosed := sorted(never & set(frame["participant_id"].astype(str))):
        notes.append(f"no dose received, samples not analysed: {', '.join(undosed)}")
    return frame, tuple(notes)


def _days_allow(start: dt.date | None, moment: dt.date | None, plan: object) -> bool:
    """Whether a sample drawn `plan` hours after the first dose could bear these dates."""
    if start is None or moment is None or not isinstance(plan, int | float) or pd.isna(plan):
        return False
    dosed, drawn = _span_of_day(start), _span_of_day(moment)
    low, high = drawn[0] - dosed[1], drawn[1] - dosed[0]
    return low <= dt.timedelta(hours=float(plan)) <= high


def _span_of_day(date: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """The first and the last moment that a date allows, by its own clock."""
    if isinstance(date, dt.datetime):
        clock = date.replace(tzinfo=None)
        return clock, clock
    midnight = dt.datetime.combine(date, dt.time())
    return midnight, midnight + dt.timedelta(days=1)


def _timed_biopsies(biopsies: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    hours = biopsies["hours_from_first_dose"].astype(float)
    days = biopsies["study_day"].astype("Float64").astype(float)
    by_day = hours.isna() & days.notna()
    linear = days.where(days < 0, days - 1)
    frame = pd.DataFrame(
        {
            "biopsy_id": biopsies.index.to_numpy(dtype=object),
            "participant_id": biopsies["participant_id"].tolist(),
            "time_h": hours.where(~by_day, 24 * linear).tolist(),
        }
    )
    # By id, not by line: the order of the sheet changes no byte of what is written.
    frame = frame.sort_values(["participant_id", "biopsy_id"], ignore_index=True)
    said = f"{int(by_day.sum())} biopsies have no time of day: placed by their day"
    return frame, (said,) if by_day.any() else ()
