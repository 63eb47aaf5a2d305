"""Rates of response with their denominators, and the data of the waterfall and the spider."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.columns import text_of
from pdbiomarker.clinical.outcomes import read_outcomes
from pdbiomarker.clinical.people import first_dose_days, with_ids
from pdbiomarker.clinical.response.best import BestResponse
from pdbiomarker.clinical.response.inputs import refuse_missing_columns
from pdbiomarker.errors import Problems
from pdbiomarker.shares import clopper_pearson

__all__ = [
    "POPULATION_COLUMNS",
    "RATE_COLUMNS",
    "populations",
    "response_rates",
    "spider_data",
    "waterfall_data",
]

#: The columns of :func:`populations`, in order.
POPULATION_COLUMNS: Final = ("participant_id", "treated", "measurable", "response_evaluable", "why_not")
#: The columns of :func:`response_rates`, in order.
RATE_COLUMNS: Final = (
    "endpoint",
    "population",
    "by",
    "group",
    "n_with",
    "n",
    "rate",
    "ci_low",
    "ci_high",
    "level",
    "method",
    "denominator",
)
_ALL: Final = "all"
_CONTROL: Final = frozenset({"CR", "PR", "SD", "NON-CR/NON-PD"})


def populations(
    best: BestResponse,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame | None = None,
    *,
    timepoints: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Say of every participant in which denominator they are, and why not in the others.

    Parameters
    ----------
    best : BestResponse
    participants : DataFrame
        ``participant_id, first_dose_datetime``.
    outcomes : DataFrame, optional
        ``measurable_disease`` (yes, no) and ``death_date``.
    timepoints : DataFrame, optional
        From :func:`timepoint_response`: a participant with a target lesion at baseline has measurable
        disease, where the outcomes do not say.

    Returns
    -------
    DataFrame
        :data:`POPULATION_COLUMNS`. ``measurable``: treated, with measurable disease at baseline; where
        neither table tells anything of anyone it is empty. ``response_evaluable``: of those, at least one
        evaluable assessment after baseline, or death.
    """
    problems = Problems()
    starts = first_dose_days(participants, problems)
    known = read_outcomes(outcomes, starts, cutoff=best.cutoff, problems=problems)
    problems.raise_if_any()
    targets = _targets_at_baseline(timepoints)
    recorded = bool(targets) or any(one.measurable is not None for one in known.values())
    evaluable = best.table.set_index("participant_id")["n_evaluable"]
    rows = []
    for person, start in starts.items():
        given = known[person].measurable
        has = given if given is not None else (targets.get(person, 0) > 0 if recorded else None)
        seen = int(evaluable.get(person, 0)) > 0 or known[person].death is not None
        treated = start is not None
        why = "" if treated else "not treated"
        if treated and has is False:
            why = (
                "no measurable disease at baseline" if given is False or targets else "measurability unknown"
            )
        if not why and not seen:
            why = "no evaluable assessment after baseline"
        measurable = None if has is None else treated and has
        inside = treated and has is not False and seen
        rows.append((person, treated, measurable, inside, why))
    return pd.DataFrame(rows, columns=list(POPULATION_COLUMNS))


def _targets_at_baseline(timepoints: pd.DataFrame | None) -> dict[str, int]:
    if timepoints is None or "n_target" not in timepoints.columns:
        return {}
    base = timepoints[timepoints["is_baseline"].astype(bool)]
    ids = [text_of(value) for value in base["participant_id"]]
    return dict(zip(ids, base["n_target"].astype(int), strict=True))


def response_rates(
    best: BestResponse,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame | None = None,
    *,
    timepoints: pd.DataFrame | None = None,
    by: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Estimate objective response and disease control, each with its denominator and exact interval.

    Parameters
    ----------
    best : BestResponse
    participants, outcomes, timepoints
        As for :func:`populations`.
    by : str, optional
        A column of the participants, such as ``dose_mg``: also one row each for its levels, in order.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        :data:`RATE_COLUMNS`. Endpoints: ``ORR confirmed`` (CR + PR), ``ORR unconfirmed``, ``DCR`` (confirmed
        best response of CR, PR, SD or NON-CR/NON-PD). Populations: ``measurable`` (treated, measurable
        disease at baseline; ``treated`` where measurability was not recorded) and ``response_evaluable``.
        Limits are Clopper-Pearson's; a group without anyone has NaN.

    Raises
    ------
    InputError
        E-RESP-001: `by` is not a column of the participants.
    """
    who = populations(best, participants, outcomes, timepoints=timepoints)
    recorded = who["measurable"].notna().any()
    main, main_text = (
        ("measurable", "treated, measurable disease at baseline")
        if recorded
        else ("treated", "treated (measurable disease not recorded)")
    )
    second = "response-evaluable: an evaluable assessment after baseline, or death"
    table = who.merge(best.table, on="participant_id")
    groups: list[tuple[str, str, pd.Series]] = [("", _ALL, pd.Series(data=True, index=table.index))]
    if by is not None:
        groups += _groups(table, with_ids(participants), by)
    endpoints = {
        "ORR confirmed": table["responder"],
        "ORR unconfirmed": table["responder_unconfirmed"],
        "DCR": table["best_response"].isin(_CONTROL),
    }
    rows: list[tuple[object, ...]] = []
    for name, has in endpoints.items():
        for population, text in ((main, main_text), ("response_evaluable", second)):
            inside = table[population].fillna(value=False).astype(bool)
            for column, group, member in groups:
                n, k = int((inside & member).sum()), int((inside & member & has).sum())
                low, high = map(float, clopper_pearson(k, n, level=level))
                rate = k / n if n else float("nan")
                told = (k, n, rate, low, high, level, "Clopper-Pearson", text)
                rows.append((name, population, column, group, *told))
    return pd.DataFrame(rows, columns=list(RATE_COLUMNS))


def _groups(table: pd.DataFrame, people: pd.DataFrame, by: str) -> list[tuple[str, str, pd.Series]]:
    refuse_missing_columns(people, (by,), code="E-RESP-001", file="participants.csv", problems=Problems())
    values = people.set_index("participant_id")[by].reindex(table["participant_id"])
    numbers = pd.to_numeric(values, errors="coerce")
    if bool((numbers.notna() | values.isna()).all()):
        texts = ["not recorded" if np.isnan(v) else f"{v:g}" for v in numbers.astype(float)]
        order = [f"{v:g}" for v in sorted(set(numbers.dropna().astype(float)))]
    else:
        texts = [text_of(v) or "not recorded" for v in values]
        order = sorted(set(texts) - {"not recorded"})
    order += ["not recorded"] * ("not recorded" in texts)
    return [(by, level, pd.Series([t == level for t in texts], index=table.index)) for level in order]


def spider_data(timepoints: pd.DataFrame, best: BestResponse | None = None) -> pd.DataFrame:
    """Give the change of the sum by study day, one line a participant.

    Parameters
    ----------
    timepoints : DataFrame
        From :func:`timepoint_response`, with study days.
    best : BestResponse, optional
        Marks which assessments count; by default all.

    Returns
    -------
    DataFrame
        ``participant_id, study_day, change_pct, response, is_baseline, counted`` and, with `best`,
        ``best_response``; assessments without a
        change are left out here and stand in `timepoints` with their note.
    """
    columns = ["participant_id", "study_day", "change_pct", "response", "is_baseline"]
    rows = timepoints[timepoints["change_pct"].notna()][columns].reset_index(drop=True)
    rows = rows.assign(counted=_counted(timepoints, best)[timepoints["change_pct"].notna().to_numpy()])
    if best is None:
        return rows
    of = best.table.set_index("participant_id")["best_response"]
    return rows.assign(best_response=rows["participant_id"].map(of))


def _counted(timepoints: pd.DataFrame, best: BestResponse | None) -> np.ndarray:
    base = timepoints["is_baseline"].astype(bool).to_numpy()
    if best is None:
        return np.ones(len(timepoints), dtype=bool)
    used = best.assessments[best.assessments["used"].astype(bool)]
    known = set(zip(used["participant_id"], used["date"], strict=True))
    own = zip(timepoints["participant_id"], timepoints["date"], strict=True)
    return np.array([key in known for key in own], dtype=bool) | base


def waterfall_data(timepoints: pd.DataFrame, best: BestResponse) -> pd.DataFrame:
    """Give the best change of the sum of every participant.

    Parameters
    ----------
    timepoints : DataFrame
        From :func:`timepoint_response`.
    best : BestResponse
        Of the same assessments: only those that count (up to progression, before a new therapy) are looked
        at.

    Returns
    -------
    DataFrame
        ``participant_id, best_size_change_pct`` (the lowest change from baseline after it),
        ``best_size_date``, ``best_response, responder`` and ``why_not``: the reason where there is no
        change. Everyone of `best` has a row; largest growth first, then those without a change.
    """
    use = timepoints["change_pct"].notna() & ~timepoints["is_baseline"].astype(bool)
    rows = timepoints[use.to_numpy() & _counted(timepoints, best)]
    lowest = rows.sort_values(["change_pct", "timepoint"], kind="stable").groupby("participant_id").first()
    has_target = set(timepoints.loc[timepoints["n_target"].astype(int) > 0, "participant_id"])
    known = set(timepoints["participant_id"])
    out = []
    for person, response, responder in zip(
        best.table["participant_id"], best.table["best_response"], best.table["responder"], strict=True
    ):
        found = person in lowest.index
        change = float(lowest.at[person, "change_pct"]) if found else float("nan")
        date = str(lowest.at[person, "date"]) if found else ""
        why = "no sum of diameters after baseline" if person in has_target else "no target lesion at baseline"
        why = "" if found else (why if person in known else "no lesions recorded")
        out.append((person, change, date, response, responder, why))
    columns = [
        "participant_id",
        "best_size_change_pct",
        "best_size_date",
        "best_response",
        "responder",
        "why_not",
    ]
    frame = pd.DataFrame(out, columns=columns)
    order = ["best_size_change_pct", "participant_id"]
    return frame.sort_values(order, ascending=[False, True], kind="stable", ignore_index=True)
