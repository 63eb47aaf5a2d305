"""What was given: first and last dose, and how much of the planned dose within the window for DLTs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from typing import Final

import pandas as pd

from pdbiomarker.clinical.columns import ClinicalTable
from pdbiomarker.clinical.people import Person
from pdbiomarker.errors import Problems

__all__ = ["Course", "read_courses"]

FILE: Final = "doses.csv"
_NOT_GIVEN: Final = {"held", "stopped", "not given", "missed"}


@dataclasses.dataclass(frozen=True)
class Dose:
    """One administration, given or not; an interval of dosing lasts to its last day."""

    day: dt.date
    last: dt.date
    amount: float
    planned: float
    given: bool


@dataclasses.dataclass(frozen=True)
class Course:
    """Doses of one participant.

    Attributes
    ----------
    first, last : date or None
        Days of the first and last dose that was given.
    doses : tuple of Dose
    """

    first: dt.date | None = None
    last: dt.date | None = None
    doses: tuple[Dose, ...] = ()

    def share_received(self, days: int, planned_doses: int | None = None) -> float:
        """Share of the planned dose of the first `days` days that was given, in %; NaN where it is not known.

        Without planned amounts, the number of doses given is compared with the number planned. Doses that are
        planned and have no row count as not given.
        """
        if self.first is None:
            return math.nan
        inside = [dose for dose in self.doses if (dose.day - self.first).days < days]
        if not inside:
            return math.nan if planned_doses is None else 0.0
        missed = max((planned_doses or 0) / len(inside), 1.0)
        planned = sum(dose.planned for dose in inside)
        if math.isnan(planned) or planned == 0:
            return 100.0 * sum(dose.given for dose in inside) / (len(inside) * missed)
        return 100.0 * sum(dose.amount for dose in inside if dose.given) / (planned * missed)


def read_courses(
    doses: pd.DataFrame | None,
    people: Mapping[str, Person],
    problems: Problems,
    *,
    cutoff: dt.date | None = None,
) -> dict[str, Course]:
    """Read the doses of every participant.

    Participants without rows there, or all of them without a table, have the first dose of participants.csv
    and no last dose. Where both name a first dose, that of participants.csv stands for the participant and a
    contradiction is told (E-AE-004, a warning).
    """
    rows: dict[str, list[Dose]] = {}
    if doses is not None:
        table = ClinicalTable(doses, FILE, problems, required=["participant_id", "start"])
        amounts, planned = table.numbers("amount", low=0), table.numbers("planned_amount", low=0)
        starts, ends, states = table.dates("start"), table.dates("end"), table.texts("status")
        partial: list[tuple[int, str | None, str]] = []
        late: list[tuple[int, str | None, str]] = []
        for i, person in enumerate(table.ids()):
            start, end = starts[i], ends[i]
            if start is None or start.missing:
                text = None if start is None else start.text
                partial.append((table.lines[i], text, "The start of the dose is not known to the day."))
                continue
            if cutoff is not None and start.earliest > cutoff:
                late.append((table.lines[i], start.text, "The dose lies after the data cut-off."))
                continue
            state = (states[i] or "").casefold()
            given = state not in _NOT_GIVEN and amounts[i] != 0
            last = end.latest if given and end is not None and not end.missing else start.earliest
            dose = Dose(start.earliest, last, float(amounts[i]), float(planned[i]), given)
            rows.setdefault(person, []).append(dose)
        table.tell(
            "E-AE-004",
            "start",
            partial,
            remedy="Give the whole date; the row is left out.",
            severity="quarantine",
        )
        table.tell("E-SHEET-014", "start", late, remedy="It is left out.", severity="warning")
    return {
        person: _course(person, facts, rows.get(person, []), problems) for person, facts in people.items()
    }


def _course(name: str, person: Person, rows: list[Dose], problems: Problems) -> Course:
    doses = tuple(sorted(rows, key=lambda dose: dose.day))
    given = [dose.day for dose in doses if dose.given]
    last = [dose.last for dose in doses if dose.given]
    first = person.first_day
    if first is not None and given and given[0] != first:
        problems.add(
            "E-AE-004",
            f"The first dose of participant {name!r} is {given[0].isoformat()} in {FILE} and "
            f"{first.isoformat()} in participants.csv, which is used.",
            remedy="Correct one of the two.",
            file=FILE,
            column="start",
            value=given[0].isoformat(),
            severity="warning",
            item=name,
        )
    return Course(first or (given[0] if given else None), max(last, default=None), doses)
