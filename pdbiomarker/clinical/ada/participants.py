"""From samples to participants: induced, boosted, unaffected; transient, persistent; onset and peak."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.ada.options import AdaOptions
from pdbiomarker.clinical.ada.samples import AdaSamples, linear
from pdbiomarker.clinical.people import Person

__all__ = ["PARTICIPANT_COLUMNS", "classify"]

PARTICIPANT_COLUMNS: Final = (
    "participant_id", "dose_mg", "baseline", "baseline_titre", "n_post", "evaluable", "category", "course",
    "onset_day", "onset_weeks", "duration_weeks", "peak_titre", "peak_titre_log10", "largest_fold",
    "neutralizing", "ever_positive", "note",
)  # fmt: skip
_DAYS: Final = 7.0
_SLACK: Final = 1e-9


def classify(samples: AdaSamples, *, options: AdaOptions | None = None) -> pd.DataFrame:
    """Give every participant their antibody status.

    Parameters
    ----------
    samples : AdaSamples
    options : AdaOptions, optional

    Returns
    -------
    DataFrame
        One row for each participant, by id: participant_id, dose_mg; baseline (``positive``, ``negative``,
        ``missing``), baseline_titre (linear); n_post (conclusive samples after the first dose); evaluable;
        category (``negative``, ``induced``: baseline negative or missing and positive later, ``boosted``:
        baseline positive and the titre rose by the fold, ``unaffected``: baseline positive otherwise, ``not
        evaluable``); course of induced antibodies (``transient``, ``persistent``, ``indeterminate``, else
        empty); onset_day (study day) and onset_weeks (from the first dose) of the first sample that was
        induced or boosted, duration_weeks from it to the last such sample; peak_titre, peak_titre_log10
        after the first dose; largest_fold over baseline; neutralizing (``positive``, ``negative``, ``not
        tested``; of positive samples after the first dose; empty without one); ever_positive (baseline or
        later); note.

    Notes
    -----
    Definitions of Shankar et al. 2014 (doi 10.1208/s12248-014-9599-2). Transient: one positive sample that is
    not the last, or less than `persistent_weeks` from the first to the last positive and the last sample
    negative. Persistent: at least that long. A positive last sample before that time: `last_positive`. A
    course is indeterminate when the samples after the last positive one are inconclusive.
    """
    chosen = options or AdaOptions()
    groups = {str(name): group for name, group in samples.table.groupby("participant_id", sort=False)}
    none = samples.table.iloc[:0]
    rows = [_row(p, samples.people[p], groups.get(p, none), chosen) for p in sorted(samples.people)]
    frame = pd.DataFrame(rows, columns=list(PARTICIPANT_COLUMNS))
    return frame.astype({"onset_day": "Int64", "n_post": "int64", "evaluable": bool, "ever_positive": bool})


def _row(participant: str, person: Person, own: pd.DataFrame, options: AdaOptions) -> dict[str, object]:
    base = own[own["is_baseline"]]
    status = "missing" if base.empty else str(base["status"].iloc[0])
    titre = math.nan if base.empty else float(base["titre_log10"].iloc[0])
    after = own[own["period"] == "post"]
    post = after[after["status"].isin(["positive", "negative"])]
    positive = post[post["status"] == "positive"]
    notes = []
    if base.empty:
        notes.append(_no_baseline(own))
    category, emergent = _category(status, titre, base, post, options, notes)
    peak = float(positive["titre_log10"].max()) if len(positive) else math.nan
    first, last = (int(emergent["study_day"].iloc[i]) if len(emergent) else None for i in (0, -1))
    return {
        "participant_id": participant,
        "dose_mg": person.dose_mg,
        "baseline": status,
        "baseline_titre": linear(titre),
        "n_post": len(post),
        "evaluable": category != "not evaluable",
        "category": category,
        "course": _course(emergent, after, options) if category == "induced" else "",
        "onset_day": first,
        "onset_weeks": math.nan if first is None else (first - 1) / _DAYS,
        "duration_weeks": math.nan if first is None or last is None else (last - first) / _DAYS,
        "peak_titre": linear(peak),
        "peak_titre_log10": peak,
        "largest_fold": linear(peak - titre),
        "neutralizing": _neutralizing(positive),
        "ever_positive": status == "positive" or len(positive) > 0,
        "note": "; ".join(note for note in notes if note),
    }


def _no_baseline(own: pd.DataFrame) -> str:
    before = own[own["period"] == "baseline"]
    if own.empty:
        return "no sample"
    return "no baseline sample" if before.empty else f"baseline sample {before['status'].iloc[-1]}"


def _category(
    status: str,
    titre: float,
    base: pd.DataFrame,
    post: pd.DataFrame,
    options: AdaOptions,
    notes: list[str],
) -> tuple[str, pd.DataFrame]:
    """Category, and the samples that make it: those induced or boosted."""
    none = post.iloc[:0]
    positive = post[post["status"] == "positive"]
    if post.empty:
        notes.append("no conclusive sample after the first dose")
        return "not evaluable", none
    if status == "missing" and options.missing_baseline == "exclude":
        return "not evaluable", none
    if status != "positive":
        if status == "missing":
            notes.append("counted as negative at baseline")
        return ("negative", none) if positive.empty else ("induced", positive)
    unknown = math.isnan(titre) or bool(positive["titre_log10"].isna().any())
    boosted = positive[_boosted(positive, titre, str(base["titre_scale"].iloc[0]), options)]
    if len(boosted):
        return "boosted", boosted
    if unknown and len(positive):
        notes.append("a titre is missing, so that a boost cannot be excluded")
    return "unaffected", none


def _boosted(positive: pd.DataFrame, titre: float, scale: str, options: AdaOptions) -> np.ndarray:
    """Where the titre is the fold above baseline: by 0.60 on titres stated as log10, else by the ratio."""
    change = positive["titre_log10"].to_numpy(dtype=float) - titre
    both_log10 = (positive["titre_scale"] == "log10").to_numpy() & (scale == "log10")
    threshold = np.where(both_log10, options.boost_log10, math.log10(options.boost_fold))
    return np.asarray(change >= threshold - _SLACK)


def _course(positive: pd.DataFrame, after: pd.DataFrame, options: AdaOptions) -> str:
    first, last = int(positive["study_day"].iloc[0]), int(positive["study_day"].iloc[-1])
    if (last - first) / _DAYS >= options.persistent_weeks - _SLACK:
        return "persistent"
    later = after.loc[positive.index[-1] :].iloc[1:]
    if (later["status"] == "negative").any():
        return "transient"
    return "indeterminate" if len(later) else options.last_positive


def _neutralizing(positive: pd.DataFrame) -> str:
    if positive.empty:
        return ""
    found = set(positive["neutralizing"].dropna())
    return "positive" if "positive" in found else "negative" if found else "not tested"
