"""Prevalence and incidence with their denominators, the flow of samples, and antibodies at each biopsy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.ada.samples import AdaSamples
from pdbiomarker.clinical.columns import ClinicalTable
from pdbiomarker.clinical.people import dose_label, read_people
from pdbiomarker.errors import Problems
from pdbiomarker.shares import clopper_pearson
from pdbiomarker.study.people import study_day

__all__ = ["incidence", "sample_flow", "status_at"]

_CATEGORIES: Final = ("negative", "induced", "boosted", "unaffected")
_COURSES: Final = ("transient", "persistent", "indeterminate")


def incidence(status: pd.DataFrame, *, by_dose: bool = False) -> pd.DataFrame:
    """Count participants by antibody status, each count with its denominator.

    Parameters
    ----------
    status : DataFrame
        As from :func:`classify`.
    by_dose : bool
        Also one block for each dose level.

    Returns
    -------
    DataFrame
        dose (``all``, then ``30 mg`` ...), measure, n, denominator, denominator_is (what it counts), share,
        share_low, share_high (Clopper-Pearson, 95 %).
    """
    blocks = [_block(status, "all")]
    if by_dose:
        doses = sorted(set(status["dose_mg"].dropna()))
        blocks += [_block(status[status["dose_mg"] == dose], dose_label(float(dose))) for dose in doses]
        rest = status[status["dose_mg"].isna()]
        if doses and len(rest):
            blocks.append(_block(rest, dose_label(float("nan"))))
    frame = pd.concat(blocks, ignore_index=True)
    frame["share"] = frame["n"] / frame["denominator"].where(frame["denominator"] > 0)
    frame["share_low"], frame["share_high"] = clopper_pearson(frame["n"], frame["denominator"])
    return frame


def _block(status: pd.DataFrame, dose: str) -> pd.DataFrame:
    based = status[status["baseline"] != "missing"]
    fit = status[status["evaluable"]]
    negative = fit[fit["baseline"] != "positive"]
    positive = fit[fit["baseline"] == "positive"]
    induced = fit[fit["category"] == "induced"]
    with_ada = fit[fit["neutralizing"] != ""]
    tested = with_ada[with_ada["neutralizing"] != "not tested"]
    emergent = fit["category"].isin(["induced", "boosted"])
    evaluable = "evaluable: a conclusive sample after the first dose"
    rows: list[tuple[str, int, int, str]] = [
        ("baseline prevalence", int((based["baseline"] == "positive").sum()), len(based),
         "valid baseline sample"),
        ("evaluable", len(fit), len(status), "participants"),
        *((name, int((fit["category"] == name).sum()), len(fit), evaluable) for name in _CATEGORIES),
        ("treatment-emergent incidence", int(emergent.sum()), len(fit), evaluable),
        ("overall prevalence", int(fit["ever_positive"].sum()), len(fit), evaluable),
        ("induced, of baseline negative", len(induced), len(negative),
         "evaluable, baseline negative or missing"),
        ("boosted, of baseline positive", int((positive["category"] == "boosted").sum()), len(positive),
         "evaluable, baseline positive"),
        *((name, int((induced["course"] == name).sum()), len(induced), "induced") for name in _COURSES),
        ("neutralizing", int((tested["neutralizing"] == "positive").sum()), len(tested),
         "antibody-positive after the first dose and tested"),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["measure", "n", "denominator", "denominator_is"])
    frame.insert(0, "dose", dose)
    return frame


def sample_flow(samples: AdaSamples) -> pd.DataFrame:
    """Count samples from screening to verdict.

    Returns
    -------
    DataFrame
        period (``baseline``, ``post``, ``unplaced``, ``all``), samples, screened, screen_positive, confirmed
        (positive at confirmation), titrated, positive, negative, inconclusive, unresolved. The last four add
        up to `samples`.
    """
    table = samples.table
    rows = []
    for period in ("baseline", "post", "unplaced", "all"):
        own = table if period == "all" else table[table["period"] == period]
        counts = {
            s: int((own["status"] == s).sum()) for s in ("positive", "negative", "inconclusive", "unresolved")
        }
        measured = own["titre_log10"].notna() & ~own["titre_assumed"].astype(bool)
        rows.append(
            {
                "period": period,
                "samples": len(own),
                "screened": int(own["screen"].notna().sum()),
                "screen_positive": int((own["screen"] == "positive").sum()),
                "confirmed": int((own["confirm"] == "positive").sum()),
                "titrated": int(measured.sum()),
                **counts,
            }
        )
    return pd.DataFrame(rows)


def status_at(
    samples: AdaSamples, biopsies: pd.DataFrame, participants: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Say what was known of antibodies at each biopsy.

    Parameters
    ----------
    samples : AdaSamples
    biopsies : DataFrame
        Index or column biopsy_id; participant_id; study_day or collection_date.
    participants : DataFrame, optional
        participant_id and first_dose_datetime: where biopsies have a date and no study day.

    Returns
    -------
    DataFrame
        One row for each biopsy, in their order: biopsy_id, participant_id, study_day; ada_last (``positive``,
        ``negative``: the last conclusive sample up to that day; ``none`` without one), ada_last_day,
        ada_days_before (days from it to the biopsy), ada_last_titre (linear); ada_any (a positive sample at
        any time up to that day), ada_emergent (one after the first dose), ada_note (``not placed`` without a
        day). A sample of the biopsy's day counts as up to it.
    """
    problems = Problems()
    table = ClinicalTable(biopsies, "biopsies.csv", problems, required=["biopsy_id", "participant_id"])
    people = samples.people if participants is None else read_people(participants, problems)
    ids, persons = table.ids("biopsy_id"), table.ids()
    days, dates = table.numbers("study_day"), table.dates("collection_date")
    problems.raise_if_any()
    known = samples.table[samples.table["status"].isin(["positive", "negative"])]
    known = known[known["period"] != "unplaced"]
    groups = {str(name): group for name, group in known.groupby("participant_id", sort=False)}
    rows = []
    for biopsy, person, given, date in zip(ids, persons, days, dates, strict=True):
        first = people[person].first_day if person in people else None
        day = None if np.isnan(given) else int(given)
        if day is None and date is not None and not date.missing and first is not None:
            day = study_day(date.earliest, first)
        found = _at(groups.get(person), day)
        rows.append({"biopsy_id": biopsy, "participant_id": person, "study_day": day, **found})
    frame = pd.DataFrame(rows, columns=["biopsy_id", "participant_id", "study_day", *_at(None, None)])
    return frame.astype({"study_day": "Int64", "ada_last_day": "Int64", "ada_days_before": "Int64"})


def _at(own: pd.DataFrame | None, day: int | None) -> Mapping[str, object]:
    nothing = {
        "ada_last": "none",
        "ada_last_day": None,
        "ada_days_before": None,
        "ada_last_titre": float("nan"),
        "ada_any": False,
        "ada_emergent": False,
        "ada_note": "",
    }
    if day is None:
        return {**nothing, "ada_note": "not placed: no study day"}
    if own is None:
        return {**nothing, "ada_note": "no conclusive sample"}
    before = own[own["study_day"] <= day]
    if before.empty:
        return {**nothing, "ada_note": "no conclusive sample up to the biopsy"}
    last, positive = before.iloc[-1], before[before["status"] == "positive"]
    last_day = int(last["study_day"])
    return {
        "ada_last": last["status"],
        "ada_last_day": last_day,
        # There is no day 0.
        "ada_days_before": day - last_day - (1 if last_day < 0 < day else 0),
        "ada_last_titre": float(last["titre"]),
        "ada_any": len(positive) > 0,
        "ada_emergent": bool((positive["period"] == "post").any()),
        "ada_note": "",
    }
