"""What the clinical tables need of the participants: first dose, dose level, cohort."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pdbiomarker.clinical.columns import ClinicalTable, PartialDate
from pdbiomarker.errors import Problems

__all__ = ["Person", "dose_label", "dose_order", "read_people"]


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
        return date.first if date is not None and not date.missing else None


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
