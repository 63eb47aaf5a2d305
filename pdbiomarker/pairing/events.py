"""Which biopsies an intercurrent event affects, and what the declared strategy makes of them.

An event affects a biopsy of a visit on treatment where it happened between the participant's baseline biopsy
(the latest one of a visit before treatment) and that biopsy, both days included, and no longer before it than
the declared washout. ``yes`` without a day affects every biopsy on treatment that the cell stands for: an
unknown day is no reason to keep a value. Biopsies before treatment are never affected.

:func:`with_events` writes what follows into two columns of the biopsies of a new study; :func:`usable
<pdbiomarker.pairing.choice.usable>` reads them. So accountability, pairs and models leave out the same
biopsies for the same reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.plan import Event, Happened, read_event
from pdbiomarker.study import Study

__all__ = ["EVENT_COLUMNS", "LEFT_OUT", "WHOLE", "affected_biopsies", "leave_out_people", "with_events"]

#: Columns of :func:`affected_biopsies`, in order.
EVENT_COLUMNS: Final = (
    *("event", "strategy", "participant_id", "biopsy_id", "visit", "study_day", "event_day", "affected"),
    "reason",
)
#: Why a biopsy is left out, as a column of biopsies; and whether its participant is left out with it.
LEFT_OUT: Final = "left_out_for_event"
WHOLE: Final = "left_out_with_participant"
CODE: Final = "E-PLAN-014"

_DONE: Final[Mapping[str, str]] = {
    "treatment_policy": "counts all the same",
    "hypothetical": "the value is taken for missing",
    "exclude": "the participant is left out of the contrast",
}


def affected_biopsies(
    study: Study, events: Sequence[Event], visits: pd.DataFrame, before: Sequence[str]
) -> pd.DataFrame:
    """Say of every biopsy on treatment which declared events happened, and whether they affect it.

    Parameters
    ----------
    study : Study
    events : sequence of Event
    visits : DataFrame
        See :func:`pdbiomarker.pairing.assign_visits`.
    before : sequence of str
        Visits before treatment.

    Returns
    -------
    DataFrame
        Columns :data:`EVENT_COLUMNS`; a row for each event that happened and each biopsy on treatment.
        `reason` says when it happened and what follows.
    """
    baseline = _baseline_days(visits, before)
    rows: list[dict[str, Any]] = []
    for event in events:
        read = read_event(study, event)
        for biopsy, row in visits.iterrows():
            happened = read.get(str(biopsy))
            visit = row["visit"]
            if happened is None or not happened.yes or row["status"] != "ok" or visit in before:
                continue
            day = None if pd.isna(row["study_day"]) else int(row["study_day"])
            start = baseline.get(str(row["participant_id"]))
            on, why = _affects(happened, event, day, start)
            done = _DONE[event.strategy] if on is not None or not happened.days else "not affected"
            affected = on is not None or not happened.days
            rows.append(
                {
                    "event": event.name,
                    "strategy": event.strategy,
                    "participant_id": str(row["participant_id"]),
                    "biopsy_id": str(biopsy),
                    "visit": visit,
                    "study_day": day,
                    "event_day": on if on is not None else (happened.days[-1] if happened.days else None),
                    "affected": affected,
                    "reason": f"{event.words}: {why}; {done}",
                }
            )
    frame = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    return frame.astype({"study_day": "Int64", "event_day": "Int64", "affected": bool, "visit": object})


def _baseline_days(visits: pd.DataFrame, before: Sequence[str]) -> dict[str, int]:
    """Study day of each participant's latest biopsy before treatment; who has none is not in it."""
    rows = visits[visits["visit"].isin(before) & (visits["status"] == "ok") & visits["study_day"].notna()]
    days = rows.groupby("participant_id")["study_day"].max()
    return {str(person): int(day) for person, day in days.items()}


def _affects(happened: Happened, event: Event, day: int | None, start: int | None) -> tuple[int | None, str]:
    """The latest day of the event that affects a biopsy (None: none, or not known), and the words for it."""
    if not happened.days:
        return None, "recorded without a day"
    if day is None:
        return happened.days[-1], f"on study day {happened.days[-1]}, the day of the biopsy is not known"
    inside = [d for d in happened.days if d <= day and (start is None or d >= start)]
    if not inside:
        told = ", ".join(map(str, happened.days))
        where = "after the biopsy" if happened.days[0] > day else "before the baseline biopsy"
        return None, f"on study day {told}, {where}"
    latest = inside[-1]
    gap = _days_between(latest, day)
    said = f"on study day {latest}, {gap} {'day' if gap == 1 else 'days'} before the biopsy"
    if event.washout_days is not None and gap > event.washout_days:
        return None, f"{said}, longer than the washout of {event.washout_days} days"
    return latest, said


def _days_between(first: int, second: int) -> int:
    """Days from one study day to another; there is no day 0."""
    return (second - (second > 0)) - (first - (first > 0))


def with_events(study: Study, affected: pd.DataFrame) -> Study:
    """Give a study whose biopsies say that they are left out for an event.

    Parameters
    ----------
    study : Study
    affected : DataFrame
        From :func:`affected_biopsies`.

    Returns
    -------
    Study
        The same one where no strategy leaves anything out.
    """
    rows = affected[affected["affected"] & (affected["strategy"] != "treatment_policy")]
    if rows.empty:
        return study
    reasons = rows.groupby("biopsy_id", sort=False)["reason"].agg("; ".join)
    whole = set(rows.loc[rows["strategy"] == "exclude", "biopsy_id"])
    biopsies = study.biopsies.copy()
    biopsies[LEFT_OUT] = [reasons.get(str(b)) for b in biopsies.index]
    biopsies[WHOLE] = [str(b) in whole for b in biopsies.index]
    return dataclasses.replace(study, biopsies=biopsies)


def leave_out_people(
    rows: Mapping[str, Mapping[str, Any]], study: Study, visits: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Find the biopsies that go with their participant: those of whom an event left out a whole visit.

    Parameters
    ----------
    rows : mapping of biopsy id to mapping
        With `participant_id`, `visit` and `used`, affected biopsies not used any more.
    study : Study
    visits : sequence of str
        Those of the contrast.

    Yields
    ------
    biopsy id, reason
    """
    if WHOLE not in study.biopsies:
        return
    marked = study.biopsies[study.biopsies[WHOLE].astype(bool)]
    used = {biopsy: row for biopsy, row in rows.items() if row["used"]}
    kept = {(row["participant_id"], row["visit"]) for row in used.values()}
    for biopsy, row in marked.iterrows():
        person, visit = str(row["participant_id"]), rows[str(biopsy)]["visit"]
        if visit not in visits or (person, visit) in kept:
            continue
        for other in (b for b, mine in used.items() if mine["participant_id"] == person):
            yield other, f"The participant is left out for an event at {visit!r} ({row[LEFT_OUT]})."
