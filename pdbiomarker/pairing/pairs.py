"""Who pairs: the biopsies of two visits, participant by participant, and why the others have no pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from pdbiomarker.errors import PlanError, Problems
from pdbiomarker.pairing.choice import Chooser
from pdbiomarker.study import Study, days_between

__all__ = ["pair_table", "pairs"]


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
        ``participant_id, assay, baseline_biopsy, on_biopsy, evaluable, code, reason, days_between``,
        ``same_lesion`` (``yes``, ``no``, ``unknown``), ``node`` (``both``, ``one``, ``none``, ``unknown``),
        ``archival_baseline`` (bool) and ``rule`` (by what the baseline was chosen).

    Raises
    ------
    PlanError
        A visit that the study does not have.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> study = pb.read_study("trial")
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz", study=study)
    >>> found = pb.pairs(study.with_assay("rna", counts), "screening", "C2D1")
    >>> found["evaluable"].value_counts().to_dict()
    {True: 5, False: 1}
    >>> found.loc[~found["evaluable"], "reason"].item()
    "no usable biopsy at C2D1 (101-002-T1: Not measured in 'rna'.)"
    """
    return pair_table(Chooser(study), (baseline, on), assay=assay, set_=set_)


def pair_table(
    chooser: Chooser, visits: Sequence[str], *, assay: str | None = None, set_: str = "strict"
) -> pd.DataFrame:
    """As :func:`pairs`, of the visits of any contrast: evaluable is who has a usable biopsy at each of them.

    Parameters
    ----------
    chooser : Chooser
        Of all replicates, ids of several biopsies of a visit are joined by semicolons.
    visits : sequence of str
        Two or more. `baseline_biopsy` is of the first, `on_biopsy` of the last.
    assay, set_
        As in :func:`pairs`.

    Returns
    -------
    DataFrame

    Raises
    ------
    PlanError
        A visit that the study does not have.
    """
    study = chooser.study
    _check_visits(study, visits)
    names: Sequence[str | None] = [assay] if assay is not None else (list(study.assays) or [None])
    rows = []
    for name in names:
        biopsies = chooser.usable(name, visits=visits, set_=set_)
        of_person = dict(list(biopsies.groupby("participant_id", sort=False)))
        for participant in study.participants.index:
            mine = of_person.get(participant, biopsies.iloc[:0])
            rows.append(_pair_row(str(participant), name or "", mine, visits))
    columns = [
        *("participant_id", "assay", "baseline_biopsy", "on_biopsy"),
        *("evaluable", "code", "reason", "days_between", "same_lesion", "node", "archival_baseline", "rule"),
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
            gap = days_between(int(days.iloc[0]), int(days.iloc[1]))
    return {
        "participant_id": participant,
        "assay": assay,
        "baseline_biopsy": ";".join(first) or None,
        "on_biopsy": ";".join(second) or None,
        "evaluable": not codes,
        "code": codes[0] if codes else "",
        "reason": "; ".join(reasons),
        "days_between": gap,
        **_places(mine.loc[[*first, *second]], complete=not codes),
        "archival_baseline": bool(mine.loc[first, "archival"].any()),
        "rule": "; ".join(dict.fromkeys(mine.loc[first, "rule"])),
    }


def _places(pair: pd.DataFrame, *, complete: bool) -> dict[str, str]:
    """Whether the biopsies of a pair are of one lesion, and of lymph nodes; empty where there is no pair."""
    if not complete:
        return {"same_lesion": "", "node": ""}
    lesions, nodes = pair["lesion"].tolist(), pair["node"].tolist()
    known = all(isinstance(lesion, str) for lesion in lesions)
    one = "unknown" if not known else "yes" if len(set(lesions)) == 1 else "no"
    if "" in nodes:
        node = "unknown" if "yes" not in nodes else "one"
    else:
        node = {0: "none", len(nodes): "both"}.get(nodes.count("yes"), "one")
    return {"same_lesion": one, "node": node}
