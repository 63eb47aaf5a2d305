"""From enrolment to an evaluable pair: who is left at each step, and where the others were lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.pairing.choice import usable
from pdbiomarker.pairing.events import CODE as EVENT_CODE
from pdbiomarker.study import Study

__all__ = ["accountability"]

_TOLD_LIMIT: Final = 8


def accountability(
    study: Study,
    contrasts: Mapping[str, Sequence[str]],
    *,
    sets: Sequence[str] = ("strict", "all_biopsied"),
    replicates: str = "select",
) -> pd.DataFrame:
    """Count participants from enrolment to an evaluable pair, with the reason of every loss.

    Parameters
    ----------
    study : Study
    contrasts : mapping of contrast name to its visits
        Such as the baseline and an on-treatment visit.
    sets : sequence of str
        Analysis sets.
    replicates : {"select", "all"}
        See :func:`usable`.

    Returns
    -------
    DataFrame, one row per set, assay, contrast and step
        ``set, assay, contrast, step, n_participants, n_lost, n_biopsies, reason``. A participant is counted
        at a step only if counted at every step before it; `n_lost` were lost at this step, `reason` says why;
        `n_biopsies` are the biopsies behind the step.
    """
    rows: list[dict[str, Any]] = []
    for set_ in sets:
        names: list[str | None] = [*study.assays] or [None]
        for assay in names:
            for contrast, visits in contrasts.items():
                biopsies = usable(study, assay, visits=visits, set_=set_, replicates=replicates)
                for step in _steps(study, biopsies, visits, strict=set_ != "all_biopsied"):
                    rows.append({"set": set_, "assay": assay or "", "contrast": contrast, **step})
    columns = ["set", "assay", "contrast", "step", "n_participants", "n_lost", "n_biopsies", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _steps(
    study: Study, biopsies: pd.DataFrame, visits: Sequence[str], *, strict: bool
) -> Iterable[dict[str, Any]]:
    remaining = [str(p) for p in study.participants.index]
    yield {
        "step": "enrolled",
        "n_participants": len(remaining),
        "n_lost": 0,
        "n_biopsies": len(biopsies),
        "reason": "",
    }
    for visit in visits:
        at_visit = biopsies[biopsies["visit"] == visit]
        tests = [(f"{visit} biopsy taken", at_visit)]
        if strict:
            tests.append((f"{visit} biopsy adequate", at_visit[at_visit["adequate"]]))
        if (biopsies["code"] == EVENT_CODE).any():
            tests.append((f"{visit} biopsy kept despite events", at_visit[at_visit["code"] != EVENT_CODE]))
        tests.append((f"{visit} biopsy measured", at_visit[at_visit["used"]]))
        for step, rows in tests:
            have = set(rows["participant_id"])
            lost = [p for p in remaining if p not in have]
            remaining = [p for p in remaining if p in have]
            counted = rows["participant_id"].isin(remaining)
            yield {
                "step": step,
                "n_participants": len(remaining),
                "n_lost": len(lost),
                "n_biopsies": int(counted.sum()),
                "reason": _losses(lost, biopsies, visit),
            }
    used = biopsies[biopsies["used"] & biopsies["participant_id"].isin(remaining)]
    yield {
        "step": "evaluable pair" if len(visits) > 1 else "evaluable",
        "n_participants": len(remaining),
        "n_lost": 0,
        "n_biopsies": len(used),
        "reason": "",
    }


def _losses(lost: Sequence[str], biopsies: pd.DataFrame, visit: str) -> str:
    """Why participants were lost at a visit: each participant with the reasons of their biopsies."""
    told = []
    for participant in lost:
        mine = biopsies[biopsies["participant_id"] == participant]
        tried = mine[((mine["visit"] == visit) | mine["visit"].isna()) & ~mine["used"]]
        reasons = [f"{b}: {r}" for b, r in zip(tried.index, tried["reason"], strict=True) if r]
        told.append(f"{participant} ({' '.join(reasons) if reasons else f'no {visit} biopsy'})")
    shown = told[:_TOLD_LIMIT]
    more = len(told) - len(shown)
    return "; ".join(shown) + (f"; and {more} more, all in pairs.csv of the results" if more > 0 else "")
