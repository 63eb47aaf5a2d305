"""From the clinical sheets of a study to the tables that a pharmacokinetic analysis takes."""

from __future__ import annotations

import dataclasses
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
    """Give samples their hours from the first dose: time_h where the sheet has it, else from the clock."""
    first = (
        history[history["received"]].drop_duplicates("participant_id").set_index("participant_id")["start"]
    )
    origin = {str(person): parse_date(str(start)) for person, start in first.items()}
    size = len(concentrations)
    given = concentrations["time_h"].tolist() if "time_h" in concentrations else [math.nan] * size
    moments = concentrations["datetime"].tolist() if "datetime" in concentrations else [None] * size
    times = []
    for person, hours, text in zip(concentrations["participant_id"], given, moments, strict=True):
        moment = parse_date(text) if isinstance(text, str) else None
        times.append(hours if pd.notna(hours) else hours_between(origin.get(str(person)), moment))
    frame = concentrations.assign(time_h=times)
    unplaced = int(frame["time_h"].isna().sum())
    notes = (f"{unplaced} samples have no time from the first dose: left out",) if unplaced else ()
    return frame, notes


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
    said = f"{int(by_day.sum())} biopsies have no time of day: placed by their day"
    return frame, (said,) if by_day.any() else ()
