"""Intercurrent events: what may happen between baseline and a biopsy on treatment, and what is done about it.

A plan declares for each event the column that records it and one of the strategies of ICH E9(R1):

``treatment_policy``
    The value counts whatever happened: the question is about treatment as it was given.
``hypothetical``
    The value on treatment is taken for missing, and the participant's baseline stays in the model: what the
    change would have been without the event, if values are missing at random given what is observed.
``exclude``
    The participant is left out of every contrast that touches the affected visit: a question about those
    without the event, who need not be like the others.

A cell is empty or ``no`` (it did not happen), ``yes`` (it did, the day is not known), a study day, an ISO
date (turned into a study day with the first dose), or several of them with ``;`` between.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from pdbiomarker.errors import Problem, Problems
from pdbiomarker.study import Study, study_day
from pdbiomarker.tables import nearest, parse_date

__all__ = [
    "STRATEGIES",
    "Event",
    "EventKeys",
    "Happened",
    "check_event",
    "check_events",
    "read_event",
    "undeclared_events",
    "whole_events",
]

Strategy = Literal["treatment_policy", "hypothetical", "exclude"]
#: The strategies, in words.
STRATEGIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "treatment_policy": "values count whether or not it happened",
        "hypothetical": "affected values on treatment are taken for missing at random, baselines are kept",
        "exclude": "participants with an affected value are left out of the contrast",
    }
)

_FILE: Final = "plan.yaml"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,39}", re.ASCII)
#: How many participants a message names.
_NAMED: Final = 5
_YES_NO: Final[Mapping[str, bool]] = {"yes": True, "no": False, "true": True, "false": False}
_DAY: Final = re.compile(r"-?[1-9][0-9]{0,4}(?:\.0+)?", re.ASCII)
_ZERO: Final = re.compile(r"-?0+(?:\.0+)?", re.ASCII)
#: Columns that look like events that change what a biopsy shows. Facts from before treatment are not among
#: them.
_LIKE: Final = re.compile(
    r"(^|_)((cortico)?steroids?|prednis\w*|dexameth\w*|tocilizumab|anakinra|radiotherapy|irradiat\w*|irradfl"
    r"|rt|xrt|(dose_?)?(hold|held|interruption|interrupted))(_|$)",
    re.IGNORECASE,
)
_BEFORE: Final = re.compile(r"^(prior|previous|baseline|history|pre)(_|$)", re.IGNORECASE)


class EventKeys(BaseModel):
    """An entry of the key ``intercurrent`` of plan.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    column: str = Field(min_length=1)
    strategy: Strategy
    washout_days: int | None = Field(default=None, ge=0, le=1_000)


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One declared intercurrent event.

    Attributes
    ----------
    name, column : str
    strategy : {"treatment_policy", "hypothetical", "exclude"}
    washout_days : int or None
        An event longer ago than this no longer affects a biopsy; None: it always does.
    """

    name: str
    column: str
    strategy: str
    washout_days: int | None = None

    @property
    def words(self) -> str:
        """The name as people read it."""
        return self.name.replace("_", " ")


class Happened(NamedTuple):
    """What a cell says: whether the event happened, and on which study days (empty: not known)."""

    yes: bool
    days: tuple[int, ...]


def whole_events(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Fill in what was not said of declared events."""
    return {name: {"washout_days": None, **keys} for name, keys in given.items()}


def check_events(events: Mapping[str, Mapping[str, Any]], problems: Problems) -> None:
    """Refuse names and keys of events that do not fit together (E-PLAN-013)."""
    known = {field.name for field in dataclasses.fields(Event)} - {"name"}
    for name, keys in events.items():
        washout = keys.get("washout_days")
        if not _NAME.fullmatch(name):
            said, value = (
                "The name of an event starts with a letter and holds letters, digits, _ and -.",
                name,
            )
        elif unknown := sorted(set(keys) - known):
            said, value = f"An event has no key {unknown[0]!r}.", unknown[0]
        elif not keys.get("column"):
            said, value = "An event needs the column that records it.", ""
        elif keys.get("strategy") not in get_args(Strategy):
            said, value = "An event needs a strategy.", str(keys.get("strategy"))
        elif washout is not None and (
            isinstance(washout, bool) or not isinstance(washout, int) or washout < 0
        ):
            said, value = "'washout_days' is not a number of days.", str(washout)
        else:
            continue
        problems.add(
            "E-PLAN-013",
            said,
            remedy="Write for instance steroids: {column: steroids_day, strategy: treatment_policy}; "
            f"strategies: {', '.join(STRATEGIES)}.",
            file=_FILE,
            column=f"intercurrent.{name}",
            value=value,
        )


def _place(study: Study, column: str) -> tuple[str, pd.DataFrame] | None:
    """The sheet that holds a column; that of the participants first."""
    for file, frame in (("participants.csv", study.participants), ("biopsies.csv", study.biopsies)):
        if column in frame:
            return file, frame
    return None


def read_event(study: Study, event: Event, problems: Problems | None = None) -> dict[str, Happened]:
    """Read the column of an event.

    Parameters
    ----------
    study : Study
    event : Event
    problems : Problems, optional
        Gets every cell that cannot be read (E-PLAN-011); without it such a cell is passed over.

    Returns
    -------
    dict of biopsy id to Happened
        For every biopsy whose cell, or whose participant's cell, is not empty.
    """
    place = _place(study, event.column)
    if place is None:
        return {}
    file, frame = place
    of_participants = file == "participants.csv"
    found: dict[str, Happened] = {}
    for row, (key, value) in enumerate(frame[event.column].items()):
        person = str(key) if of_participants else str(frame["participant_id"].iloc[row])
        told = _read_cell(value, _first_dose(study, person))
        if isinstance(told, Happened):
            found[str(key)] = told
        elif told is not None and problems is not None:
            line = frame["line"].iloc[row] if "line" in frame else None
            problems.add(
                "E-PLAN-011",
                f"The value cannot be read as {event.words}: {told}.",
                remedy="Write yes, no, a study day, or an ISO date (2025-02-07); several with ; between.",
                file=file,
                row=None if line is None else int(line),
                column=event.column,
                value=f"{value:g}" if isinstance(value, float) else value,
            )
    if not of_participants:
        return found
    owners = study.biopsies["participant_id"].astype(str)
    return {str(b): found[p] for b, p in owners.items() if p in found}


def _first_dose(study: Study, person: str) -> str | None:
    people = study.participants
    if "first_dose_datetime" not in people or person not in people.index:
        return None
    value = people.at[person, "first_dose_datetime"]
    return value if isinstance(value, str) else None


def _read_cell(value: object, first_dose: str | None) -> Happened | str | None:
    """What a cell says; a text says why it cannot be read; None: it is empty."""
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 - NaN
        return None
    text = str(value).strip()
    if text.lower() in _YES_NO:
        return Happened(_YES_NO[text.lower()], ())
    days = []
    for part in (piece.strip() for piece in text.split(";")):
        if _ZERO.fullmatch(part):
            return "there is no study day 0, and 0 is not 'no'"
        date = parse_date(part)
        if _DAY.fullmatch(part):
            days.append(int(float(part)))
        elif date is None:
            return f"{part!r} is no day and no date"
        elif (first := parse_date(first_dose) if first_dose else None) is None:
            return "a date needs the participant's first dose"
        else:
            days.append(study_day(date, first))
    return Happened(yes=True, days=tuple(sorted(set(days))))


def check_event(study: Study, event: Event, problems: Problems) -> None:
    """Hold a declared event against the sheets (E-PLAN-010, E-PLAN-011, E-PLAN-013)."""
    place = _place(study, event.column)
    if place is None:
        known = [str(c) for frame in (study.participants, study.biopsies) for c in frame.columns]
        problems.add(
            "E-PLAN-010",
            f"The event {event.name!r} names a column that neither participants.csv nor biopsies.csv has.",
            remedy=nearest(event.column, [c for c in known if c != "line"]),
            file=_FILE,
            column=f"intercurrent.{event.name}.column",
            value=event.column,
        )
        return
    read = read_event(study, event, problems)
    undated = [biopsy for biopsy, happened in read.items() if happened.yes and not happened.days]
    if event.washout_days is not None and undated:
        problems.add(
            "E-PLAN-013",
            f"A washout needs days, and {event.column!r} says only that the event happened, of "
            f"{_of_whom(study, undated)}.",
            remedy="Record the study day there, or leave 'washout_days' out.",
            file=_FILE,
            column=f"intercurrent.{event.name}.washout_days",
            value=event.washout_days,
        )


def _of_whom(study: Study, biopsies: Sequence[str]) -> str:
    people = sorted(set(study.biopsies.loc[list(biopsies), "participant_id"].astype(str)))
    more = f" and {len(people) - _NAMED} more" if len(people) > _NAMED else ""
    return ", ".join(people[:_NAMED]) + more


def undeclared_events(study: Study, declared: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Tell of columns that look like intercurrent events and have no strategy (E-PLAN-012, warnings).

    Parameters
    ----------
    study : Study
    declared : mapping
        ``Plan.intercurrent``.
    """
    columns = {keys["column"] for keys in declared.values()}
    for file, frame in (("participants.csv", study.participants), ("biopsies.csv", study.biopsies)):
        for column in map(str, frame.columns):
            if column in columns or _BEFORE.match(column) or not _LIKE.search(column):
                continue
            yield Problem(
                "E-PLAN-012",
                f"The column {column!r} looks like an intercurrent event, and the plan has no strategy for "
                "it: its values have no part in the analysis.",
                f"Declare it under 'intercurrent' of plan.yaml, with one of {', '.join(STRATEGIES)}.",
                file,
                column=column,
                severity="warning",
            )
