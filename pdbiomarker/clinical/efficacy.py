"""Response and survival of a trial in one step: every table that a review needs, from the clinical sheets."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.efficacy_rules import EfficacyRules
from pdbiomarker.clinical.outcomes import read_outcomes
from pdbiomarker.clinical.people import first_dose_days, with_ids
from pdbiomarker.clinical.response import (
    BestResponse,
    best_overall_response,
    populations,
    response_rates,
    spider_data,
    timepoint_response,
    waterfall_data,
)
from pdbiomarker.clinical.response.assessments import assessments_of
from pdbiomarker.clinical.response.inputs import choose_reader
from pdbiomarker.clinical.response.lesions import study_day
from pdbiomarker.clinical.survival import (
    KaplanMeier,
    TimeToEvent,
    duration_of_response,
    kaplan_meier,
    overall_survival,
    progression_free_survival,
    side_by_side,
)
from pdbiomarker.errors import Problem, Problems

__all__ = [
    "RESPONSE_COLUMNS",
    "Efficacy",
    "compare_responses",
    "efficacy",
    "pfs_table",
    "response_columns",
    "swimmer_data",
]

#: The columns of :func:`response_columns` and what they mean.
RESPONSE_COLUMNS: Final[Mapping[str, str]] = {
    "best_response": "confirmed best overall response, RECIST 1.1",
    "best_response_unconfirmed": "best overall response, confirmation not asked for",
    "responder": "confirmed CR or PR",
    "best_size_change_pct": "lowest change of the sum of diameters from baseline, %; assessments that count",
    "pfs_days": "days from first dose to progression, death or censoring",
    "pfs_event": "whether pfs_days ends with progression or death",
    "dor_days": "days from first confirmed response to progression, death or censoring",
    "dor_event": "whether dor_days ends with progression or death",
    "os_days": "days from first dose to death or to when last known alive",
    "os_event": "whether os_days ends with death",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Efficacy:
    """Response and survival of every participant, and of all together.

    Attributes
    ----------
    timepoints : DataFrame
        Assessments with their rules (from lesions), or the responses as recorded.
    best : BestResponse
    populations, rates : DataFrame
        Who is in which denominator; ORR and DCR with Clopper-Pearson limits.
    waterfall, spider : DataFrame
        Empty where no lesions were given.
    pfs, pfs_sensitivity, dor, os : TimeToEvent
        ``os`` is None without outcomes.
    curves : dict of str to KaplanMeier
        ``pfs``, ``dor``, ``os`` and, by group, ``pfs_by_<column>``.
    differences : DataFrame
        Responses recorded and computed that are not the same, where both were given.
    rules : EfficacyRules
    problems : tuple of Problem
        Every warning.
    """

    timepoints: pd.DataFrame
    best: BestResponse
    populations: pd.DataFrame
    rates: pd.DataFrame
    waterfall: pd.DataFrame
    spider: pd.DataFrame
    pfs: TimeToEvent
    pfs_sensitivity: TimeToEvent
    dor: TimeToEvent
    os: TimeToEvent | None
    curves: dict[str, KaplanMeier]
    differences: pd.DataFrame
    rules: EfficacyRules
    problems: tuple[Problem, ...]


def efficacy(
    participants: pd.DataFrame,
    clinical: Mapping[str, pd.DataFrame],
    *,
    rules: EfficacyRules | None = None,
) -> Efficacy:
    """Derive everything about response and survival.

    Parameters
    ----------
    participants : DataFrame
        ``participant_id`` (or as index), ``first_dose_datetime`` and columns for groups, such as ``dose_mg``.
    clinical : mapping of str to DataFrame
        ``lesions`` or ``responses`` (or both: then responses are computed from the lesions and compared with
        those recorded), and ``outcomes``: the sheets of a study's folder ``clinical/``.
    rules : EfficacyRules, optional

    Returns
    -------
    Efficacy

    Raises
    ------
    InputError
        E-SURV-010: neither lesions nor responses; and what the functions of ``response`` and ``survival``
        refuse.
    """
    rules = rules or EfficacyRules()
    problems = Problems()
    lesions, responses, outcomes = (clinical.get(name) for name in ("lesions", "responses", "outcomes"))
    if lesions is None and responses is None:
        problems.add(
            "E-SURV-010",
            "Neither lesions nor responses were given.",
            remedy="Give lesions.csv (sizes) or responses.csv (responses).",
        )
    problems.raise_if_any()
    differences = pd.DataFrame(columns=list(_DIFFERENCES))
    if lesions is not None:
        timepoints = timepoint_response(
            lesions, participants, reader=rules.reader, rules=rules.response, problems=problems
        )
        if responses is not None:
            differences = compare_responses(
                timepoints, responses, participants, reader=rules.reader, problems=problems
            )
    elif responses is not None:
        own = with_ids(responses)
        timepoints, _ = choose_reader(own, rules.reader, file="responses.csv", problems=problems)
    else:
        timepoints = pd.DataFrame()
    made = _derive(timepoints, participants, outcomes, rules, has_lesions=lesions is not None)
    told = [*problems, *made.problems]
    unique = tuple(dict.fromkeys(told))
    return dataclasses.replace(made, differences=differences, problems=unique)


def _derive(
    timepoints: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame | None,
    rules: EfficacyRules,
    *,
    has_lesions: bool,
) -> Efficacy:
    cut, schedule = rules.cutoff, rules.schedule
    best = best_overall_response(timepoints, participants, outcomes, rules=rules.response, cutoff=cut)
    sizes = timepoints if has_lesions else None
    pfs, sensitive = (
        progression_free_survival(
            timepoints, participants, outcomes, rules=one, schedule=schedule, cutoff=cut
        )
        for one in (rules.primary, rules.sensitivity)
    )
    dor = duration_of_response(
        best, timepoints, participants, outcomes=outcomes, rules=rules.primary, schedule=schedule, cutoff=cut
    )
    os_ = (
        None
        if outcomes is None
        else overall_survival(participants, outcomes, rules=rules.primary, cutoff=cut)
    )
    people = with_ids(participants)
    by = rules.by if rules.by in people.columns else None
    curves = {"pfs": kaplan_meier(pfs.table), "dor": kaplan_meier(dor.table)}
    if os_ is not None:
        curves["os"] = kaplan_meier(os_.table)
    if by is not None:
        grouped = pfs.table.merge(people[["participant_id", by]], on="participant_id", how="left")
        curves[f"pfs_by_{by}"] = kaplan_meier(grouped, by=by)
    found = [one.problems for one in (best, pfs, sensitive, dor, os_) if one is not None]
    return Efficacy(
        timepoints=timepoints,
        best=best,
        populations=populations(best, participants, outcomes, timepoints=sizes),
        rates=response_rates(best, participants, outcomes, timepoints=sizes, by=by),
        waterfall=waterfall_data(timepoints, best) if has_lesions else pd.DataFrame(),
        spider=spider_data(timepoints, best) if has_lesions else pd.DataFrame(),
        pfs=pfs,
        pfs_sensitivity=sensitive,
        dor=dor,
        os=os_,
        curves=curves,
        differences=pd.DataFrame(),
        rules=rules,
        problems=tuple(problem for own in found for problem in own),
    )


def pfs_table(made: Efficacy) -> pd.DataFrame:
    """Give progression-free survival by the primary rules, with the sensitivity analysis beside it."""
    other = side_by_side(made.pfs, made.pfs_sensitivity)
    names = [f"{made.rules.sensitivity.name}_{column}" for column in ("days", "event", "rule")]
    return made.pfs.table.merge(other[["participant_id", *names, "differs"]], on="participant_id")


def response_columns(made: Efficacy) -> pd.DataFrame:
    """Give what is joined to each participant's pharmacodynamic change.

    Parameters
    ----------
    made : Efficacy

    Returns
    -------
    DataFrame
        ``participant_id`` and the keys of :data:`RESPONSE_COLUMNS`, one row for everyone in the
        participants; NaN (of events: missing) where an endpoint does not apply.
    """
    table = made.best.table[
        ["participant_id", "best_response", "best_response_unconfirmed", "responder"]
    ].copy()
    if len(made.waterfall):
        sizes = made.waterfall[["participant_id", "best_size_change_pct"]]
        table = table.merge(sizes, on="participant_id", how="left")
    else:
        table["best_size_change_pct"] = np.nan
    for name, one in (("pfs", made.pfs), ("dor", made.dor), ("os", made.os)):
        if one is None:
            table[f"{name}_days"], table[f"{name}_event"] = np.nan, pd.array([pd.NA] * len(table), "boolean")
            continue
        own = one.table[["participant_id", "days", "event", "in_analysis"]]
        own = table[["participant_id"]].merge(own, on="participant_id", how="left")
        inside = own["in_analysis"].fillna(value=False).astype(bool)
        table[f"{name}_days"] = own["days"].to_numpy(dtype=float)
        events = [bool(e) if i else pd.NA for e, i in zip(own["event"], inside, strict=True)]
        table[f"{name}_event"] = pd.array(events, "boolean")
    return table[["participant_id", *RESPONSE_COLUMNS]]


_DIFFERENCES: Final = ("participant_id", "date", "computed", "recorded")


def compare_responses(
    timepoints: pd.DataFrame,
    responses: pd.DataFrame,
    participants: pd.DataFrame,
    *,
    reader: str | None = None,
    problems: Problems | None = None,
) -> pd.DataFrame:
    """Compare responses computed from lesions with those recorded, on the same days.

    Parameters
    ----------
    timepoints : DataFrame
        From :func:`pdbiomarker.clinical.response.timepoint_response`.
    responses : DataFrame
        ``participant_id, date, response`` (``reader``).
    participants : DataFrame
    reader : str, optional
    problems : Problems, optional
        A warning for each difference (E-RESP-015).

    Returns
    -------
    DataFrame
        ``participant_id, date, computed, recorded``, only the assessments that differ or that one side lacks
        (empty text there).
    """
    told = Problems() if problems is None else problems
    starts = first_dose_days(participants, told)
    ours = _by_day(timepoints, starts, None)
    theirs = _by_day(responses, starts, reader)
    rows = []
    for person, day in sorted({*ours, *theirs}):
        computed, recorded = ours.get((person, day), ""), theirs.get((person, day), "")
        if computed != recorded:
            rows.append((person, day, computed, recorded))
            told.add(
                "E-RESP-015",
                f"{person!r} on {day}: {computed or 'nothing'} from lesions, {recorded or 'nothing'} "
                "recorded. The one from lesions is used.",
                remedy="Correct one of them, or leave one sheet out.",
                file="responses.csv",
                column="response",
                value=recorded,
                severity="warning",
            )
    return pd.DataFrame(rows, columns=list(_DIFFERENCES))


def _by_day(
    frame: pd.DataFrame, starts: dict[str, dt.date | None], reader: str | None
) -> dict[tuple[str, str], str]:
    found = assessments_of(frame, starts, reader=reader, cutoff=None, problems=Problems())
    return {
        (person, one.days.earliest.isoformat()): one.response
        for person, own in found.items()
        for one in own
        if not one.is_baseline
    }


def swimmer_data(
    made: Efficacy, participants: pd.DataFrame, outcomes: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the bars and the marks of a swimmer plot, in study days.

    Parameters
    ----------
    made : Efficacy
    participants, outcomes : DataFrame
        As for :func:`efficacy`.

    Returns
    -------
    treatment : DataFrame
        ``participant_id, end_day, ongoing, basis``: to the end of treatment where it is recorded, else to
        when the participant was last seen, and then ``ongoing`` unless they died, progressed or left.
    events : DataFrame
        ``participant_id, study_day, kind``: first CR, PR and PD that count, new therapy, death.
    """
    starts = first_dose_days(participants, Problems())
    cutoff = made.rules.cutoff
    known = read_outcomes(outcomes, starts, cutoff=cutoff, problems=Problems())
    used = made.best.assessments[made.best.assessments["used"].astype(bool)]
    bars, marks = [], []
    for person, start in starts.items():
        if start is None:
            continue
        own, facts = used[used["participant_id"] == person], known[person]
        for kind in ("CR", "PR", "PD"):
            days = own.loc[own["response"] == kind, "study_day"]
            if len(days):
                marks.append((person, float(days.min()), kind))
        for kind, span in (("new therapy", facts.new_therapy), ("death", facts.death)):
            if span is not None:
                marks.append((person, study_day(span.earliest, start), kind))
        spans = [facts.treatment_end, facts.death, facts.withdrawal, facts.new_therapy, facts.last_contact]
        last = max(
            [study_day(s.earliest, start) for s in spans if s is not None] + own["study_day"].tolist() + [1.0]
        )
        ended = facts.treatment_end is not None
        left = any(s is not None for s in (facts.death, facts.withdrawal, facts.new_therapy))
        ongoing = not ended and not left and not bool((own["response"] == "PD").any())
        end = study_day(facts.treatment_end.earliest, start) if facts.treatment_end else last
        bars.append((person, end, ongoing, "end of treatment" if ended else "last seen"))
    treatment = pd.DataFrame(bars, columns=["participant_id", "end_day", "ongoing", "basis"])
    return treatment, pd.DataFrame(marks, columns=["participant_id", "study_day", "kind"])
