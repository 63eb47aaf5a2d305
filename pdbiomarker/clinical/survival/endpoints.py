"""Progression-free survival, duration of response, overall survival: one row a participant, with its reasons.

Progression-free survival starts with the first dose; duration of response with the first response that was
confirmed, not with its confirmation. The first progression or death ends it. What happened before that may
end observation earlier: the rules say, and each row says which rule decided.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Final

import pandas as pd

from pdbiomarker.clinical.outcomes import Outcome, read_outcomes
from pdbiomarker.clinical.people import first_dose_days
from pdbiomarker.clinical.response.assessments import Assessment, assessments_of, day_of
from pdbiomarker.clinical.response.best import BestResponse
from pdbiomarker.clinical.response.inputs import day_text
from pdbiomarker.clinical.survival.rules import PRIMARY, AssessmentSchedule, CensoringRules
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.tables import PartialDate, parse_partial_date

__all__ = [
    "DAYS_PER_MONTH",
    "ENDPOINT_COLUMNS",
    "TimeToEvent",
    "duration_of_response",
    "overall_survival",
    "progression_free_survival",
    "side_by_side",
]

#: Times are kept in days; months are for reading only.
DAYS_PER_MONTH: Final = 30.4375

#: The columns of ``TimeToEvent.table``, in order.
ENDPOINT_COLUMNS: Final = (
    "participant_id",
    "endpoint",
    "rules",
    "start_date",
    "end_date",
    "days",
    "event",
    "in_analysis",
    "event_description",
    "censoring_description",
    "rule",
    "date_imputed",
    "last_adequate_date",
    "n_missed",
    "note",
)


@dataclasses.dataclass(frozen=True, eq=False)
class TimeToEvent:
    """One endpoint of every participant.

    Attributes
    ----------
    table : DataFrame
        :data:`ENDPOINT_COLUMNS`, one row a participant. ``days`` to event or censoring (NaN where the
        participant is not in the analysis, with the reason in ``note``); ``event`` true or false; the two
        descriptions say what ended it, ``rule`` which rule decided; ``date_imputed`` what was not known of
        the end date; ``n_missed`` scheduled assessments missed in a row before the event (NaN without a
        schedule).
    rules : CensoringRules
    problems : tuple of Problem
        Warnings: assessments after death, dates after the cut-off, no schedule.
    """

    table: pd.DataFrame
    rules: CensoringRules
    problems: tuple[Problem, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    days: PartialDate
    event: bool
    what: str
    rule: str
    missed: float = float("nan")


@dataclasses.dataclass(frozen=True, slots=True)
class _Person:
    participant: str
    first_dose: dt.date
    start: dt.date
    assessments: tuple[Assessment, ...]
    outcome: Outcome
    no_baseline: bool


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Inputs:
    starts: dict[str, dt.date | None]
    assessments: dict[str, list[Assessment]]
    outcomes: dict[str, Outcome]
    with_baseline: frozenset[str]


def progression_free_survival(
    timepoints: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame | None = None,
    *,
    rules: CensoringRules = PRIMARY,
    schedule: AssessmentSchedule | None = None,
    reader: str | None = None,
    cutoff: dt.date | str | None = None,
) -> TimeToEvent:
    """Derive the time from first dose to progression or death.

    Parameters
    ----------
    timepoints : DataFrame
        ``participant_id, date, response`` (``reader, is_baseline``): responses.csv, or what
        :func:`pdbiomarker.clinical.response.timepoint_response` gives.
    participants : DataFrame
        ``participant_id, first_dose_datetime``.
    outcomes : DataFrame, optional
        ``death_date, new_therapy_date, withdrawal_date, last_contact_date``.
    rules : CensoringRules
    schedule : AssessmentSchedule, optional
        Without it, missed assessments are not looked for; a warning says so.
    reader : str, optional
        Needed where there are several.
    cutoff : date or ISO text, optional
        The data cut-off: what lies after it has not happened.

    Returns
    -------
    TimeToEvent

    Raises
    ------
    InputError
        E-RESP-001, -002, -004, -005, -009, E-SURV-003, -004, -009, E-SHEET-012.

    Notes
    -----
    A partial date of progression, of death or of a new therapy is taken as its earliest day, death not
    before the participant was last seen: shorter times are the cautious side. Last adequate assessments are
    taken at their earliest day too.

    Examples
    --------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"participant_id": ["01"], "first_dose_datetime": ["2024-01-01"]})
    >>> scans = pd.DataFrame({"participant_id": ["01"], "date": ["2024-02-26"], "response": ["PD"]})
    >>> progression_free_survival(scans, people).table[["days", "event"]].to_numpy().tolist()
    [[57.0, True]]
    """
    problems = Problems()
    given = _read(timepoints, participants, outcomes, reader=reader, cutoff=cutoff, problems=problems)
    _tell_no_schedule(schedule, rules, problems)
    rows = []
    for person, first in given.starts.items():
        if first is None:
            rows.append(_absent(person, "PFS", rules, "no first dose"))
            continue
        facts = _person(given, person, first, first)
        rows.append(_row(facts, "PFS", rules, schedule, problems))
    return TimeToEvent(pd.DataFrame(rows, columns=list(ENDPOINT_COLUMNS)), rules, tuple(problems))


def duration_of_response(
    best: BestResponse,
    timepoints: pd.DataFrame,
    participants: pd.DataFrame,
    *,
    outcomes: pd.DataFrame | None = None,
    rules: CensoringRules = PRIMARY,
    schedule: AssessmentSchedule | None = None,
    cutoff: dt.date | str | None = None,
) -> TimeToEvent:
    """Derive the time from first response to progression or death, of those whose response was confirmed.

    Parameters
    ----------
    best : BestResponse
        Says who responded, when first, and by which reader.
    timepoints, participants, outcomes, rules, schedule, cutoff
        As for :func:`progression_free_survival`; the same assessments that `best` rests on.

    Returns
    -------
    TimeToEvent
        Participants without a confirmed response have a row that is not in the analysis.

    Notes
    -----
    A first response with a partial date starts at its latest possible day, the cautious side.
    """
    problems = Problems()
    readers = sorted(set(best.assessments["reader"])) if len(best.assessments) else [""]
    reader = readers[0] or None
    given = _read(timepoints, participants, outcomes, reader=reader, cutoff=cutoff, problems=problems)
    _tell_no_schedule(schedule, rules, problems)
    chosen = best.table.set_index("participant_id")
    rows = []
    for person, first in given.starts.items():
        if first is None or person not in chosen.index or not bool(chosen.at[person, "responder"]):
            why = "no first dose" if first is None else "no confirmed response"
            rows.append(_absent(person, "DoR", rules, why))
            continue
        span = parse_partial_date(str(chosen.at[person, "first_response_date_latest"]))
        start = first if span is None else _capped(span.latest, given.assessments[person], chosen, person)
        rows.append(_row(_person(given, person, first, start), "DoR", rules, schedule, problems))
    return TimeToEvent(pd.DataFrame(rows, columns=list(ENDPOINT_COLUMNS)), rules, tuple(problems))


def _capped(latest: dt.date, own: Sequence[Assessment], best: pd.DataFrame, person: str) -> dt.date:
    """Keep the latest day of a partial date before the assessment that followed."""
    first = parse_partial_date(str(best.at[person, "first_response_date"]))
    later = [one.days.earliest for one in own if first is not None and one.days.earliest > first.earliest]
    return min([latest, *later])


def overall_survival(
    participants: pd.DataFrame,
    outcomes: pd.DataFrame,
    *,
    rules: CensoringRules = PRIMARY,
    cutoff: dt.date | str | None = None,
) -> TimeToEvent:
    """Derive the time from first dose to death; the living are censored when last known to be alive.

    Parameters
    ----------
    participants : DataFrame
        ``participant_id, first_dose_datetime``.
    outcomes : DataFrame
        ``death_date, last_contact_date, withdrawal_date, treatment_end_date``.
    rules : CensoringRules
        Only whether the first day counts.
    cutoff : date or ISO text, optional

    Returns
    -------
    TimeToEvent
    """
    problems = Problems()
    starts = first_dose_days(participants, problems)
    known = read_outcomes(outcomes, starts, cutoff=day_of(cutoff), problems=problems)
    problems.raise_if_any()
    rows = []
    for person, first in starts.items():
        if first is None:
            rows.append(_absent(person, "OS", rules, "no first dose"))
            continue
        own = known[person]
        facts = _Person(person, first, first, (), own, no_baseline=False)
        if own.death is not None:
            end = _End(own.death.not_before(_last_seen(facts)), event=True, what="death", rule="death")
        else:
            seen = _last_seen(facts)
            what = "alive when last known" if seen > first else "no contact after the first dose"
            end = _End(PartialDate.of(seen), event=False, what=what, rule="no event")
        rows.append(_cells(facts, "OS", rules, end))
    return TimeToEvent(pd.DataFrame(rows, columns=list(ENDPOINT_COLUMNS)), rules, tuple(problems))


def side_by_side(*endpoints: TimeToEvent) -> pd.DataFrame:
    """Put the results of several sets of rules beside each other.

    Returns
    -------
    DataFrame
        ``participant_id, endpoint`` and, for each set of rules, ``<rules>_days, <rules>_event,
        <rules>_rule``; ``differs`` says whether they agree.
    """
    table: pd.DataFrame | None = None
    names = []
    for one in endpoints:
        name = one.rules.name
        names.append(name)
        part = one.table[["participant_id", "endpoint", "days", "event", "rule"]].rename(
            columns={column: f"{name}_{column}" for column in ("days", "event", "rule")}
        )
        table = part if table is None else table.merge(part, on=["participant_id", "endpoint"], how="outer")
    if table is None:
        return pd.DataFrame({"participant_id": [], "endpoint": [], "differs": []})
    days = table[[f"{name}_days" for name in names]].fillna(-1)
    events = table[[f"{name}_event" for name in names]].astype(str)
    return table.assign(differs=(days.nunique(axis=1) > 1) | (events.nunique(axis=1) > 1))


def _read(
    timepoints: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame | None,
    *,
    reader: str | None,
    cutoff: dt.date | str | None,
    problems: Problems,
) -> _Inputs:
    starts = first_dose_days(participants, problems)
    limit = day_of(cutoff)
    known = read_outcomes(outcomes, starts, cutoff=limit, problems=problems)
    problems.raise_if_any()
    found = assessments_of(timepoints, starts, reader=reader, cutoff=limit, problems=problems)
    baselines = frozenset(p for p, rows in found.items() if any(one.is_baseline for one in rows))
    return _Inputs(starts, found, known, baselines)


def _person(given: _Inputs, person: str, first: dt.date, start: dt.date) -> _Person:
    own = given.assessments[person]
    # Lesions say where the baseline is; a sheet of responses does not, and then it is taken to exist.
    no_baseline = bool(given.with_baseline) and person not in given.with_baseline
    kept = tuple(one for one in own if not one.why_not and one.days.latest >= start)
    return _Person(person, first, start, kept, given.outcomes[person], no_baseline)


def _tell_no_schedule(schedule: AssessmentSchedule | None, rules: CensoringRules, problems: Problems) -> None:
    if schedule is None and rules.missed_assessments == "censor":
        problems.add(
            "E-SURV-011",
            "Without a schedule of assessments nobody is censored for those that were missed.",
            remedy="Say how often tumours are assessed in clinical/rules.yaml of the study folder, or in the "
            "file of --rules: schedule: {every_days: 56}.",
            column="schedule",
            severity="warning",
        )


def _last_seen(facts: _Person) -> dt.date:
    """The last day on which the participant is known to have been alive."""
    own = facts.outcome
    spans = [own.last_contact, own.treatment_end, own.withdrawal, own.new_therapy]
    days = [span.earliest for span in spans if span is not None]
    days += [one.days.earliest for one in facts.assessments]
    limit = own.death.latest if own.death is not None else dt.date.max
    return max([day for day in days if facts.first_dose <= day <= limit], default=facts.first_dose)


def _row(
    facts: _Person,
    endpoint: str,
    rules: CensoringRules,
    schedule: AssessmentSchedule | None,
    problems: Problems,
) -> tuple[object, ...]:
    _tell_after_death(facts, problems)
    return _cells(facts, endpoint, rules, _end(facts, rules, schedule))


def _tell_after_death(facts: _Person, problems: Problems) -> None:
    death = facts.outcome.death
    late = [one for one in facts.assessments if death is not None and one.days.earliest > death.latest]
    contact = facts.outcome.last_contact
    after = contact is not None and death is not None and contact.earliest > death.latest
    if death is not None and (late or after):
        what = f"an assessment ({late[0].response}) on {late[0].days.earliest}" if late else "a contact"
        problems.add(
            "E-SURV-005",
            f"{facts.participant!r} has {what} after death on {death.latest}; death ends the time.",
            remedy="Correct one of the dates.",
            file="outcomes.csv",
            column="death_date",
            value=death.latest,
            severity="warning",
        )


def _end(facts: _Person, rules: CensoringRules, schedule: AssessmentSchedule | None) -> _End:
    """Apply the rules in the order in which they can end the time."""
    death = facts.outcome.death
    alive = [one for one in facts.assessments if death is None or one.days.earliest <= death.latest]
    event = _event(facts, alive)
    therapy = facts.outcome.new_therapy
    leaves = facts.outcome.withdrawal
    if facts.no_baseline and rules.no_baseline == "censor":
        return _End(
            PartialDate.of(facts.start),
            event=False,
            what="no baseline assessment",
            rule="no_baseline: censor",
        )
    first = facts.start if event is None else event.days.earliest
    before = therapy is not None and (event is None or therapy.earliest < first)
    if therapy is not None and before and rules.new_therapy == "event":
        what = "new anticancer therapy"
        event = _End(therapy.not_before(facts.start), event=True, what=what, rule="new_therapy: event")
    elif therapy is not None and before and rules.new_therapy == "censor":
        return _censored(facts, alive, therapy.earliest, "new anticancer therapy", "new_therapy: censor")
    if leaves is not None and rules.withdrawal == "event" and (event is None or leaves < event.days):
        event = _End(leaves, event=True, what="withdrawal", rule="withdrawal: event")
    if event is None:
        what = "withdrew or lost to follow-up" if leaves is not None else "no progression or death"
        return _censored(facts, alive, None, what, "no event")
    return _after_gap(facts, alive, event, rules, schedule)


def _event(facts: _Person, alive: Sequence[Assessment]) -> _End | None:
    """The first progression or death, whichever comes first; progression on the day of death."""
    found = []
    worse = [one for one in alive if one.response == "PD"]
    if worse:
        found.append(
            _End(worse[0].days.not_before(facts.start), event=True, what="progression", rule="progression")
        )
    if facts.outcome.death is not None:
        days = facts.outcome.death.not_before(_last_seen(facts))
        found.append(_End(days, event=True, what="death", rule="death"))
    return min(found, key=lambda end: end.days.earliest, default=None)


def _adequate(alive: Sequence[Assessment], until: dt.date | None) -> list[Assessment]:
    return [one for one in alive if one.adequate and (until is None or one.days.earliest <= until)]


def _censored(
    facts: _Person, alive: Sequence[Assessment], until: dt.date | None, what: str, rule: str
) -> _End:
    seen = _adequate(alive, until)
    if seen:
        return _End(
            seen[-1].days.not_before(facts.start),
            event=False,
            what=f"{what}: last adequate assessment",
            rule=rule,
        )
    return _End(
        PartialDate.of(facts.start), event=False, what=f"{what}: no adequate assessment, day 1", rule=rule
    )


def _after_gap(
    facts: _Person,
    alive: Sequence[Assessment],
    event: _End,
    rules: CensoringRules,
    schedule: AssessmentSchedule | None,
) -> _End:
    """Censor an event that came after too many missed assessments, where the rules say so."""
    if schedule is None or event.what not in {"progression", "death"}:
        return event
    seen = [one for one in _adequate(alive, event.days.earliest) if one.days.earliest < event.days.earliest]
    last = seen[-1].days.earliest if seen else facts.start
    missed = schedule.missed(last, event.days.earliest, facts.first_dose)
    if missed >= rules.max_missed and rules.missed_assessments == "censor":
        what = f"{event.what} after {missed} missed assessments"
        rule = f"missed_assessments: censor from {rules.max_missed}"
        end = _censored(facts, seen, None, what, rule)
        return dataclasses.replace(end, missed=float(missed))
    return dataclasses.replace(event, missed=float(missed))


def _cells(facts: _Person, endpoint: str, rules: CensoringRules, end: _End) -> tuple[object, ...]:
    day = max(end.days.earliest, facts.start)
    seen = _adequate(facts.assessments, day)
    return (
        facts.participant,
        endpoint,
        rules.name,
        day_text(facts.start),
        day_text(day),
        float((day - facts.start).days + int(rules.count_first_day)),
        end.event,
        True,
        end.what if end.event else "",
        "" if end.event else end.what,
        end.rule,
        end.days.missing,
        day_text(seen[-1].days.earliest if seen else None),
        end.missed,
        facts.outcome.note,
    )


def _absent(person: str, endpoint: str, rules: CensoringRules, why: str) -> tuple[object, ...]:
    nothing = float("nan")
    return (person, endpoint, rules.name, "", "", nothing, False, False, "", "", "", "", "", nothing, why)
