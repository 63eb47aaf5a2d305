"""Which biopsy stands for which visit, which participants pair, and why the others do not.

The chain has four links, and every biopsy leaves a row at each of them:

1. :func:`assign_visits`: the visit of a biopsy, from the sheet's label, the study day, or both.
2. adequacy: the rules of ``study.yaml``, as minimum values of columns of ``biopsies.csv``.
3. :func:`usable`: among several usable biopsies of a participant at a visit, one is chosen by a stated rule.
4. :func:`pairs`: who pairs in which assay, and why the others do not;
   :func:`pdbiomarker.pairing.accountability` counts where they were lost.

Study days have no day 0: the day of the first dose is day 1, the day before is day -1.

The choice among several biopsies of one visit: adequate before inadequate, then the closest to the target day
of the visit, then the latest (before treatment) or the earliest (on treatment), then the smaller id. The rule
is written into the row of every biopsy that was not chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from pdbiomarker.errors import PlanError, Problems
from pdbiomarker.pairing.specimens import is_blood, own_samples, specimen_of
from pdbiomarker.study import Study, Visit

__all__ = [
    "SETS",
    "adequacy",
    "assign_visits",
    "is_baseline",
    "pair_table",
    "pairs",
    "usable",
]

AnalysisSet = Literal["strict", "strict_pairs", "all_biopsied"]

#: The analysis sets: what counts as usable.
SETS: Final[Mapping[str, str]] = {
    "strict": "adequate biopsies; a participant with only one of the two visits contributes to the model",
    "strict_pairs": "adequate biopsies; participants with both visits only",
    "all_biopsied": "every biopsy that was measured, adequate or not",
}


@dataclasses.dataclass(frozen=True)
class _Assigned:
    """The outcome of one biopsy's assignment."""

    visit: str | None
    source: str
    status: str = "ok"
    code: str = ""
    reason: str = ""


def is_baseline(visit: Visit, visits: Sequence[Visit]) -> bool:
    """Whether a visit lies before treatment.

    Its window starts before the first dose and ends on day 1 at the latest; without a window, it is the first
    visit of the study.
    """
    if visit.low is None or visit.high is None:
        return visit.name == visits[0].name
    return visit.low < 1 and visit.high <= 1


def _covers(visit: Visit, day: int, before_dose: bool | None, visits: Sequence[Visit]) -> bool:
    """Whether the window of `visit` holds a study day.

    A day-1 biopsy timed before the first dose counts as before treatment, one timed after it never does.
    """
    if visit.low is None or visit.high is None:
        return False
    if day == 1 and is_baseline(visit, visits):
        return bool(before_dose) and visit.high >= -1
    if day == 1 and before_dose:
        return False
    return visit.low <= day <= visit.high


def _window_text(visit: Visit) -> str:
    return f"days {visit.low} to {visit.high}"


def _assign(label: str | None, day: int | None, hours: float | None, visits: Sequence[Visit]) -> _Assigned:
    """Assign one biopsy; see :func:`assign_visits` for the rules."""
    by_name = {v.name: v for v in visits}
    named = by_name.get(label) if label is not None else None
    before_dose = None if hours is None else hours < 0
    on_treatment_label = named is not None and not is_baseline(named, visits)
    if on_treatment_label and (before_dose or (day is not None and day < 1)):
        when = f"study day {day}" if day is not None else f"{-(hours or 0):.1f} h before it"
        return _Assigned(
            None,
            "",
            "quarantined",
            "E-PAIR-001",
            f"Labelled {label!r} but taken before the first dose ({when}).",
        )
    if day is None:
        if named is None:
            return _Assigned(None, "", "excluded", "E-PAIR-009", "No visit, no study day and no date.")
        return _Assigned(named.name, "label")
    if day == 1 and before_dose is None:
        if named is None:
            reason = "Taken on day 1 and the time is not recorded: before or after the first dose is unknown."
            return _Assigned(None, "", "excluded", "E-PAIR-003", reason)
        reason = f"Query: taken on day 1 without a time; counted as {named.name!r} on the sheet's word."
        return _Assigned(named.name, "label", "ok", "E-PAIR-003", reason)
    if named is not None and named.low is None:
        if is_baseline(named, visits) and day >= 1 and not before_dose:
            reason = f"Labelled {label!r}, a visit before treatment, but taken on study day {day}."
            return _Assigned(None, "", "excluded", "E-PAIR-004", reason)
        return _Assigned(named.name, "label")
    within = [v for v in visits if _covers(v, day, before_dose, visits)]
    return _by_window(named, day, within, visits)


def _by_window(named: Visit | None, day: int, within: Sequence[Visit], visits: Sequence[Visit]) -> _Assigned:
    if named is None:
        if within:
            return _Assigned(within[0].name, "window")
        known = "; ".join(f"{v.name}: {_window_text(v)}" for v in visits if v.low is not None)
        return _Assigned(
            None, "", "excluded", "E-PAIR-002", f"Study day {day} is in no visit window ({known})."
        )
    if any(v.name == named.name for v in within):
        return _Assigned(named.name, "both")
    if within:
        reason = f"Labelled {named.name!r} but study day {day} is in the window of {within[0].name!r}."
        return _Assigned(None, "", "excluded", "E-PAIR-004", reason)
    reason = f"Labelled {named.name!r} but study day {day} is outside its window ({_window_text(named)})."
    return _Assigned(None, "", "excluded", "E-PAIR-002", reason)


def assign_visits(study: Study) -> pd.DataFrame:
    """Give every biopsy its visit, or the reason why it has none.

    Parameters
    ----------
    study : Study
        `biopsies` with `visit` (label or missing), `study_day` and, where times are known,
        `hours_from_first_dose`.

    Returns
    -------
    DataFrame, indexed by biopsy_id, one row per biopsy of the study
        ``participant_id``, ``visit`` (None if none), ``visit_source`` (``label``, ``window``, ``both`` or
        empty), ``study_day``, ``lag`` (days from the target day), ``status`` (``ok``, ``excluded`` or
        ``quarantined``: an on-treatment biopsy dated before the first dose), ``code`` and ``reason``.

    Notes
    -----
    A label and a day that contradict each other exclude the biopsy: neither is believed over the other.
    A day-1 biopsy timed before the first dose counts as the visit whose window ends on day -1.
    """
    visits = study.spec.visits
    target = {v.name: v.target for v in visits}
    biopsies = study.biopsies
    rows: list[dict[str, Any]] = []
    hours_known = "hours_from_first_dose" in biopsies.columns
    for biopsy_id, row in biopsies.iterrows():
        day = None if pd.isna(row["study_day"]) else int(row["study_day"])
        hours = None
        if hours_known and not pd.isna(row["hours_from_first_dose"]):
            hours = float(row["hours_from_first_dose"])
        label = None if pd.isna(row["visit"]) else str(row["visit"])
        found = _assign(label, day, hours, visits)
        aim = target.get(found.visit) if found.visit is not None else None
        rows.append(
            {
                "biopsy_id": str(biopsy_id),
                "participant_id": str(row["participant_id"]),
                "visit": found.visit,
                "visit_source": found.source,
                "study_day": day,
                "lag": None if aim is None or day is None else day - aim,
                "status": found.status,
                "code": found.code,
                "reason": found.reason,
            }
        )
    columns = ["participant_id", "visit", "visit_source", "study_day", "lag", "status", "code", "reason"]
    frame = pd.DataFrame(rows, columns=["biopsy_id", *columns]).set_index("biopsy_id")
    return frame.astype({"study_day": "Int64", "lag": "Int64", "visit": object})


def adequacy(study: Study) -> pd.DataFrame:
    """Apply the adequacy rules of ``study.yaml`` to every biopsy.

    Returns
    -------
    DataFrame, indexed by biopsy_id
        ``adequate`` (bool) and ``reason``: every rule that the biopsy fails, or that cannot be judged because
        the value was not recorded. The rules are about tissue: blood samples pass.
    """
    reasons: list[str] = []
    blood = is_blood(study.biopsies).tolist()
    for bloody, (_, row) in zip(blood, study.biopsies.iterrows(), strict=True):
        failed = []
        for column, minimum in () if bloody else study.spec.adequacy.items():
            value = row.get(column)
            if value is None or pd.isna(value):
                failed.append(f"{column} not recorded, at least {minimum:g} needed")
            elif float(value) < minimum:
                failed.append(f"{column} {float(value):g}, at least {minimum:g} needed")
        reasons.append("; ".join(failed))
    index = study.biopsies.index
    return pd.DataFrame({"adequate": [r == "" for r in reasons], "reason": reasons}, index=index)


def _measured(study: Study, assay: str | None) -> tuple[set[str], dict[str, str]]:
    """Biopsies with at least one value in the assay, and what was told of its slides or libraries."""
    if assay is None:
        return set(study.biopsies.index), {}
    adata = study.assays[assay]
    x = np.asarray(adata.X, dtype=float)
    has_value = np.isfinite(x).any(axis=1) if x.size else np.zeros(adata.n_obs, dtype=bool)
    areas = ("E-SLIDE", "E-REGION", "E-FILE") if _is_ihc(study, assay) else ("E-COUNT",)
    reasons = {
        str(p.item): f"{p.code} {p.message}"
        for p in study.problems
        if p.severity == "quarantine" and p.item and p.code.startswith(areas)
    }
    return {str(b) for b, ok in zip(adata.obs_names, has_value, strict=True) if ok}, reasons


def _is_ihc(study: Study, assay: str) -> bool:
    return any(spec.name == assay and spec.kind == "ihc" for spec in study.spec.assays)


def _items_of(study: Study, assay: str | None) -> dict[str, list[str]]:
    """Biopsy id to the ids of its libraries or slides."""
    if assay is None:
        return {}
    table = study.slides if _is_ihc(study, assay) else study.libraries
    items: dict[str, list[str]] = {}
    for item, biopsy in zip(table.index, table["biopsy_id"] if len(table) else [], strict=True):
        items.setdefault(str(biopsy), []).append(str(item))
    return items


def usable(
    study: Study,
    assay: str | None,
    *,
    visits: Sequence[str],
    set_: str = "strict",
    replicates: str = "select",
) -> pd.DataFrame:
    """Say of every biopsy of the study whether it is used in an assay at the given visits, and if not, why.

    Parameters
    ----------
    study : Study
    assay : str or None
        None: whatever assay; only visit, adequacy and the choice of one per visit are judged.
    visits : sequence of str
        The visits that the analysis looks at, the reference first.
    set_ : {"strict", "strict_pairs", "all_biopsied"}
        See :data:`SETS`.
    replicates : {"select", "all"}
        Keep one biopsy per participant and visit, or all of them.

    Returns
    -------
    DataFrame, indexed by biopsy_id, one row per biopsy of the study
        ``participant_id, visit, visit_source, study_day, lag, adequate, measured, used, code, reason``. Blood
        samples have a row in assays of blood only, see :mod:`pdbiomarker.pairing.specimens`.
    """
    if set_ not in SETS:
        raise ValueError(f"set_ must be one of {', '.join(SETS)}; got {set_!r}")
    frame = assign_visits(study)
    adequate = adequacy(study)
    measured, told = _measured(study, assay)
    items = _items_of(study, assay)
    frame["adequate"] = adequate["adequate"].to_numpy()
    frame["measured"] = [b in measured for b in frame.index]
    frame["used"] = False
    frame = frame[own_samples(study, assay).to_numpy()].copy()
    strict = set_ != "all_biopsied" and (assay is None or specimen_of(study, assay) == "tumor")
    for biopsy in frame.index:
        if frame.at[biopsy, "status"] != "ok":
            continue
        visit = frame.at[biopsy, "visit"]
        if visit not in visits:
            _set(frame, biopsy, "E-PAIR-002", f"Visit {visit!r} is not part of this analysis.")
        elif biopsy not in measured:
            why = "; ".join(told[i] for i in dict.fromkeys([biopsy, *items.get(biopsy, [])]) if i in told)
            _set(
                frame,
                biopsy,
                "E-PAIR-008",
                f"Not measured in {assay!r}{': ' + why.rstrip('.') if why else ''}.",
            )
        elif strict and not frame.at[biopsy, "adequate"]:
            _set(frame, biopsy, "E-PAIR-005", f"Not adequate: {adequate.at[biopsy, 'reason']!s}.")
        else:
            frame.at[biopsy, "used"] = True
    if replicates == "select":
        _select(frame, study)
    if set_ == "strict_pairs":
        _drop_unpaired(frame, visits)
    columns = ["participant_id", "visit", "visit_source", "study_day", "lag", "adequate", "measured", "used"]
    return frame[[*columns, "code", "reason"]]


def _set(frame: pd.DataFrame, biopsy: str, code: str, reason: str) -> None:
    frame.at[biopsy, "used"] = False
    frame.at[biopsy, "code"] = code
    frame.at[biopsy, "reason"] = reason


def _select(frame: pd.DataFrame, study: Study) -> None:
    """Keep one used biopsy per participant and visit, by the rule in the module's docstring."""
    by_name = {v.name: v for v in study.spec.visits}

    def rank(biopsy: str) -> tuple[bool, float, float, str]:
        row: Mapping[Hashable, Any] = frame.loc[biopsy].to_dict()
        day = math.nan if pd.isna(row["study_day"]) else float(row["study_day"])
        lag = math.inf if pd.isna(row["lag"]) else abs(float(row["lag"]))
        before = is_baseline(by_name[str(row["visit"])], study.spec.visits)
        order = math.inf if math.isnan(day) else (-day if before else day)
        return (not bool(row["adequate"]), lag, order, biopsy)

    used = frame.index[frame["used"]]
    for (_, visit), group in frame.loc[used].groupby(["participant_id", "visit"], sort=True):
        if len(group) < 2:
            continue
        ranked = sorted((str(b) for b in group.index), key=rank)
        before = is_baseline(by_name[str(visit)], study.spec.visits)
        rule = f"adequate, then closest to the target day, then {'latest' if before else 'earliest'}, then id"
        for biopsy in ranked[1:]:
            reason = f"Biopsy {ranked[0]!r} was chosen for {visit!r} (rule: {rule})."
            _set(frame, biopsy, "E-PAIR-006", reason)


def _drop_unpaired(frame: pd.DataFrame, visits: Sequence[str]) -> None:
    used = frame[frame["used"]]
    seen = used.groupby("participant_id")["visit"].agg(set)
    for biopsy, row in used.iterrows():
        missing = [v for v in visits if v not in seen[row["participant_id"]]]
        if missing:
            _set(frame, str(biopsy), "E-PAIR-007", f"The participant has no usable biopsy at {missing[0]!r}.")


def _check_visits(study: Study, names: Iterable[str]) -> None:
    known = [v.name for v in study.spec.visits]
    problems = Problems()
    for name in names:
        if name not in known:
            problems.add(
                "E-PLAN-002",
                f"{name!r} is not a visit of the study.",
                remedy=f"Use one of {', '.join(known)}.",
                file="study.yaml",
                column="visits",
                value=name,
            )
    problems.raise_if_any(PlanError)


def pairs(
    study: Study, baseline: str, on: str, *, assay: str | None = None, set_: str = "strict"
) -> pd.DataFrame:
    """Pair the biopsies of two visits, participant by participant.

    Parameters
    ----------
    study : Study
    baseline, on : str
        Names of two visits of ``study.yaml``.
    assay : str, optional
        One assay; by default all of the study, or, in a study without assays, the biopsies themselves.
    set_ : str
        The analysis set, see :data:`SETS`.

    Returns
    -------
    DataFrame, one row per participant and assay, in the order of ``participants.csv``
        ``participant_id, assay, baseline_biopsy, on_biopsy, evaluable, code, reason, days_between``.

    Raises
    ------
    PlanError
        A visit that the study does not have.
    """
    return pair_table(study, (baseline, on), assay=assay, set_=set_)


def pair_table(
    study: Study,
    visits: Sequence[str],
    *,
    assay: str | None = None,
    set_: str = "strict",
    replicates: str = "select",
) -> pd.DataFrame:
    """As :func:`pairs`, of the visits of any contrast: evaluable is who has a usable biopsy at each of them.

    Parameters
    ----------
    study : Study
    visits : sequence of str
        Two or more. `baseline_biopsy` is of the first, `on_biopsy` of the last.
    assay, set_
        As in :func:`pairs`.
    replicates : {"select", "all"}
        With ``all``, ids of several biopsies of a visit are joined by semicolons.

    Returns
    -------
    DataFrame

    Raises
    ------
    PlanError
        A visit that the study does not have.
    """
    _check_visits(study, visits)
    names: Sequence[str | None] = [assay] if assay is not None else (list(study.assays) or [None])
    rows = []
    for name in names:
        biopsies = usable(study, name, visits=visits, set_=set_, replicates=replicates)
        for participant in study.participants.index:
            mine = biopsies[biopsies["participant_id"] == participant]
            rows.append(_pair_row(str(participant), name or "", mine, visits))
    columns = [
        *("participant_id", "assay", "baseline_biopsy", "on_biopsy"),
        *("evaluable", "code", "reason", "days_between"),
    ]
    return pd.DataFrame(rows, columns=columns).astype({"days_between": "Int64"})


def _pair_row(participant: str, assay: str, mine: pd.DataFrame, visits: Sequence[str]) -> dict[str, Any]:
    chosen: list[list[str]] = []
    codes: list[str] = []
    reasons: list[str] = []
    for visit in visits:
        used = mine[mine["used"] & (mine["visit"] == visit)]
        if len(used):
            chosen.append([str(b) for b in used.index])
            continue
        chosen.append([])
        tried = mine[(mine["visit"] == visit) & ~mine["used"]]
        lost = mine[mine["visit"].isna()]
        told = [f"{b}: {r}" for b, r in zip(tried.index, tried["reason"], strict=True)]
        told += [f"{b}: {r}" for b, r in zip(lost.index, lost["reason"], strict=True)]
        codes.append(str(tried["code"].iloc[0]) if len(tried) else "E-PAIR-007")
        reasons.append(f"no usable biopsy at {visit}" + (f" ({' '.join(told)})" if told else ""))
    first, second = chosen[0], chosen[-1]
    gap = None
    if len(first) == len(second) == 1:
        days = mine.loc[[*first, *second], "study_day"]
        if days.notna().all():
            gap = _days_between(int(days.iloc[0]), int(days.iloc[1]))
    return {
        "participant_id": participant,
        "assay": assay,
        "baseline_biopsy": ";".join(first) or None,
        "on_biopsy": ";".join(second) or None,
        "evaluable": not codes,
        "code": codes[0] if codes else "",
        "reason": "; ".join(reasons),
        "days_between": gap,
    }


def _days_between(first: int, second: int) -> int:
    """Days from one study day to another; there is no day 0."""
    return (second - (second > 0)) - (first - (first > 0))
