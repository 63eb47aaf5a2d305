"""Faults of when a biopsy was taken, planted in a simulated biopsy sheet with the truth beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.simulate.design import BASELINE, ON_TREATMENT, SCREENING_WINDOW
from pdbiomarker.simulate.trial import study_date

#: Faults of when a biopsy was taken, each with the code by which it must be found.
VISIT_FAULTS: Final[Mapping[str, str]] = {
    "wrong_window": "E-PAIR-002",
    "wrong_visit": "E-PAIR-004",
    "before_first_dose": "E-PAIR-001",
    "after_cutoff": "E-PAIR-014",
    "partial_date": "E-PAIR-012",
    "day_1_without_time": "E-PAIR-003",
    "archival": "E-PAIR-010",
    "two_in_window": "E-PAIR-006",
    "entered_twice": "E-STUDY-012",
}


def plant_visit_faults(
    sheet: pd.DataFrame, participants: pd.DataFrame, cutoff: dt.date, *, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Plant one fault of each kind of :data:`VISIT_FAULTS`, each at a participant of its own.

    Parameters
    ----------
    sheet : DataFrame
        biopsies.csv, without faults: one biopsy for each participant and visit.
    participants : DataFrame
        With participant_id and first_dose_datetime; at least as many with both visits as there are faults.
    cutoff : date
        The data cut-off.
    rng : Generator
        Draws who is hit.

    Returns
    -------
    tuple of DataFrame
        The sheet with the faults, and the truth: ``fault, participant_id, biopsy_id, code``, where
        `biopsy_id` is the biopsy that must be found.
    """
    visits = sheet.groupby("participant_id")["visit"].agg(set)
    whole = sorted(visits.index[[{BASELINE, ON_TREATMENT} <= seen for seen in visits]])
    hit = rng.permutation(whole)[: len(VISIT_FAULTS)].tolist()
    first = participants.set_index("participant_id")["first_dose_datetime"]
    rows = [dict(row) for row in sheet.assign(archival="no").to_dict("records")]
    truth = []
    for (fault, code), person in zip(VISIT_FAULTS.items(), hit, strict=True):
        before = fault in {"day_1_without_time", "archival", "two_in_window", "entered_twice"}
        row = next(
            r
            for r in rows
            if r["participant_id"] == person and r["visit"] == (BASELINE if before else ON_TREATMENT)
        )
        changed = _with_fault(row, fault, dt.datetime.fromisoformat(str(first[person])).date(), cutoff)
        if fault in {"two_in_window", "entered_twice"}:
            rows.append(changed)
        else:
            row.update(changed)
        found = changed["biopsy_id"]
        truth.append({"fault": fault, "participant_id": person, "biopsy_id": found, "code": code})
    return pd.DataFrame(rows, columns=[*sheet.columns, "archival"]), pd.DataFrame(truth)


def _with_fault(row: Mapping[Any, Any], fault: str, first_dose: dt.date, cutoff: dt.date) -> dict[Any, Any]:
    """The row of a biopsy with one fault."""
    out = dict(row)
    low, _ = SCREENING_WINDOW
    days = {"wrong_window": 75, "before_first_dose": -5, "day_1_without_time": 1, "archival": low - 60}
    if fault in days:
        out["study_day"] = days[fault]
        out["collection_date"] = study_date(first_dose, days[fault]).isoformat()
    if fault == "after_cutoff":
        out |= {"study_day": None, "collection_date": (cutoff + dt.timedelta(days=9)).isoformat()}
    elif fault == "wrong_visit":
        out["visit"] = BASELINE
    elif fault == "partial_date":
        out |= {"study_day": None, "collection_date": str(row["collection_date"])[:7]}
    elif fault == "day_1_without_time":
        out["visit"] = None
    elif fault == "archival":
        out["archival"] = "yes"
    elif fault == "two_in_window":
        day = max(int(row["study_day"]) - 3, low)
        out |= {"biopsy_id": f"{row['biopsy_id']}-earlier", "study_day": day, "core": 9}
        out["collection_date"] = study_date(first_dose, day).isoformat()
    elif fault == "entered_twice":
        out["biopsy_id"] = f"{row['biopsy_id']}-again"
    return out
