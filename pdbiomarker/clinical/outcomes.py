"""The sheet of outcomes: death, last contact, new therapy, end of treatment, withdrawal."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

import pandas as pd

from pdbiomarker.clinical.columns import line_of, read_dates, text_of
from pdbiomarker.clinical.people import with_ids
from pdbiomarker.errors import Problems
from pdbiomarker.tables import PartialDate, nearest

__all__ = ["Outcome", "read_outcomes"]

_FILE: Final = "outcomes.csv"
_DATES: Final = {
    "death": "death_date",
    "last_contact": "last_contact_date",
    "new_therapy": "new_therapy_date",
    "treatment_end": "treatment_end_date",
    "withdrawal": "withdrawal_date",
}
_MEASURABLE: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False, "": None}


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one participant; None = not recorded, or only after the data cut-off.

    Attributes
    ----------
    death, last_contact, new_therapy, treatment_end, withdrawal : PartialDate or None
    measurable : bool or None
        Measurable disease at baseline.
    note : str
        What was left out because it lies after the data cut-off.
    """

    death: PartialDate | None = None
    last_contact: PartialDate | None = None
    new_therapy: PartialDate | None = None
    treatment_end: PartialDate | None = None
    withdrawal: PartialDate | None = None
    measurable: bool | None = None
    note: str = ""


def read_outcomes(
    outcomes: pd.DataFrame | None,
    starts: Mapping[str, dt.date | None],
    *,
    cutoff: dt.date | None,
    problems: Problems,
) -> dict[str, Outcome]:
    """Read the outcomes of every participant in `starts`; without a row nothing is recorded.

    Parameters
    ----------
    outcomes : DataFrame, optional
        ``participant_id`` and, all optional, ``death_date, last_contact_date, new_therapy_date,
        treatment_end_date, withdrawal_date, measurable_disease``.
    starts : mapping
        First dose of every participant.
    cutoff : date, optional
        What lies after it has not happened; a last contact after it is one on it.
    problems : Problems
        E-SURV-004 (death before the first dose), E-SURV-008 (warning), E-SURV-009, E-RESP-002, E-SHEET-012.
    """
    found = dict.fromkeys(starts, Outcome())
    if outcomes is None or outcomes.empty:
        return found
    frame = with_ids(outcomes)
    columns = {
        name: read_dates(frame, column, file=_FILE, problems=problems) for name, column in _DATES.items()
    }
    texts = frame["measurable_disease"].tolist() if "measurable_disease" in frame.columns else []
    seen: set[str] = set()
    for place, (label, person) in enumerate(zip(frame.index, frame["participant_id"], strict=True)):
        if person in seen or person not in starts:
            known = "stands twice." if person in seen else "is not among the participants."
            problems.add(
                "E-SURV-009",
                f"Participant {person!r} {known}",
                remedy="Keep one row for each participant." if person in seen else nearest(person, starts),
                file=_FILE,
                row=line_of(label),
                column="participant_id",
                value=person,
            )
            continue
        seen.add(person)
        days = {name: spans[place] for name, spans in columns.items()}
        measurable = _yes_or_no(texts[place] if texts else "", line_of(label), problems)
        found[person] = _outcome(person, days, measurable, starts[person], cutoff, problems)
    return found


def _yes_or_no(value: object, row: int | None, problems: Problems) -> bool | None:
    text = text_of(value).casefold()
    if text not in _MEASURABLE:
        problems.add(
            "E-RESP-002",
            "The value is neither yes nor no.",
            remedy="Write yes or no, or leave the cell empty.",
            file=_FILE,
            row=row,
            column="measurable_disease",
            value=text,
        )
    return _MEASURABLE.get(text)


def _outcome(
    person: str,
    days: dict[str, PartialDate | None],
    measurable: bool | None,
    start: dt.date | None,
    cutoff: dt.date | None,
    problems: Problems,
) -> Outcome:
    death = days["death"]
    if death is not None and start is not None and death.latest < start:
        problems.add(
            "E-SURV-004",
            f"{person!r} died before the first dose ({start}).",
            remedy="Correct the date of death or of the first dose.",
            file=_FILE,
            column="death_date",
            value=death.latest,
        )
    kept: dict[str, PartialDate | None] = {}
    notes = []
    for name, span in days.items():
        late = span is not None and cutoff is not None and span.earliest > cutoff
        kept[name] = None if late else (None if span is None else span.not_before(start))
        if late and name == "last_contact" and cutoff is not None:
            kept[name] = PartialDate.of(cutoff)
        elif late and span is not None:
            notes.append(f"{name.replace('_', ' ')} after the data cut-off")
            problems.add(
                "E-SURV-008",
                f"The {name.replace('_', ' ')} of {person!r} lies after the data cut-off ({cutoff}); "
                "it has not happened yet.",
                remedy="Correct the date, or move the cut-off.",
                file=_FILE,
                column=_DATES[name],
                value=span.earliest,
                severity="warning",
            )
    return Outcome(**kept, measurable=measurable, note="; ".join(notes))
