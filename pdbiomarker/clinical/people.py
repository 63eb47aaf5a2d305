"""What the clinical tables need of the participants: first dose, dose level, cohort."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pdbiomarker.clinical.columns import ClinicalTable, read_dates, text_of
from pdbiomarker.errors import InputError, Problems
from pdbiomarker.tables import PartialDate

__all__ = ["Person", "dose_label", "dose_order", "first_dose_days", "read_people", "with_ids"]


@dataclasses.dataclass(frozen=True)
class Person:
    """A participant.

    Attributes
    ----------
    first_dose : PartialDate or None
    dose_mg : float
        Dose level as assigned; NaN where it is not recorded.
    cohort : str or None
    """

    first_dose: PartialDate | None = None
    dose_mg: float = float("nan")
    cohort: str | None = None

    @property
    def first_day(self) -> dt.date | None:
        """Day of the first dose; None where it is not known to the day."""
        date = self.first_dose
        return date.earliest if date is not None and not date.missing else None


def read_people(participants: pd.DataFrame, problems: Problems) -> dict[str, Person]:
    """Read participants: ids, ``first_dose_datetime``, ``dose_mg`` and ``cohort`` where they are there."""
    table = ClinicalTable(participants, "participants.csv", problems, required=["participant_id"])
    ids = table.ids()
    first, cohorts = table.dates("first_dose_datetime"), table.texts("cohort")
    doses = table.numbers("dose_mg", low=0)
    rows = zip(ids, first, doses, cohorts, strict=True)
    return {i: Person(date, float(dose), cohort) for i, date, dose, cohort in rows if i}


def dose_order(people: Mapping[str, Person]) -> list[float]:
    """Give the dose levels, lowest first."""
    return sorted({person.dose_mg for person in people.values() if not np.isnan(person.dose_mg)})


def dose_label(dose_mg: float) -> str:
    """Write a dose level as tables do: ``30 mg``."""
    return "not recorded" if np.isnan(dose_mg) else f"{dose_mg:g} mg"


def with_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame whose column ``participant_id`` is text, whether it came as a column or as the index.

    Raises
    ------
    InputError
        E-SURV-001: it has neither.
    """
    if "participant_id" in frame.columns:
        out = frame.copy()
    elif frame.index.name == "participant_id":
        out = frame.reset_index()
    else:
        problems = Problems()
        remedy = f"It has: {', '.join(map(str, frame.columns))}."
        problems.add("E-SURV-001", "The table has no such column.", remedy=remedy, column="participant_id")
        raise InputError(problems)
    out["participant_id"] = [text_of(value) for value in out["participant_id"]]
    return out


def first_dose_days(participants: pd.DataFrame, problems: Problems) -> dict[str, dt.date | None]:
    """Give the day of the first dose of every participant, in the order of their ids.

    Parameters
    ----------
    participants : DataFrame
        With ``participant_id`` (or as index) and ``first_dose_datetime``.
    problems : Problems
        A date that is none, or that is partial (E-SURV-003), a participant who stands twice (E-SURV-009) and
        a missing column (E-SURV-001) are added.

    Returns
    -------
    dict
        None where a participant was never dosed.
    """
    people = with_ids(participants)
    if "first_dose_datetime" not in people.columns:
        problems.add(
            "E-SURV-001",
            "Without first doses no time can be counted.",
            remedy=f"The participants have: {', '.join(map(str, people.columns))}.",
            file="participants.csv",
            column="first_dose_datetime",
        )
    spans = read_dates(people, "first_dose_datetime", file="participants.csv", problems=problems)
    days: dict[str, dt.date | None] = {}
    for person, span in zip(people["participant_id"], spans, strict=True):
        if span is not None and span.missing:
            problems.add(
                "E-SURV-003",
                f"The first dose of {person!r} has no complete date, and every time is counted from it.",
                remedy="Give year, month and day.",
                file="participants.csv",
                column="first_dose_datetime",
                value=f"{span.earliest} to {span.latest}",
            )
        if person in days:
            problems.add(
                "E-SURV-009",
                f"Participant {person!r} stands twice.",
                remedy="Keep one row for each participant.",
                file="participants.csv",
                column="participant_id",
                value=person,
            )
        days[person] = None if span is None else span.earliest
    return dict(sorted(days.items()))
