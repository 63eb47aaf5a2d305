"""What cannot be told apart: staining batch and visit, dose and calendar time; and the analysis sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from pdbiomarker.decide.honesty import Check
from pdbiomarker.errors import Problems

__all__ = ["analysis_sets", "batch_and_visit", "dose_and_time"]

#: Rank correlations of dose and date beyond this leave nothing to tell them apart by.
_ALIASED: Final = 0.8
_ALPHA: Final = 0.05


def batch_and_visit(
    participants: Sequence[str], visits: Sequence[str], batches: Sequence[str | None]
) -> Check:
    """Whether the visits were stained in the same runs.

    Parameters
    ----------
    participants, visits, batches : (n,) sequences
        One entry a biopsy; None = the run is not recorded.

    Returns
    -------
    Check
        The table counts biopsies by batch and visit. ``caution`` where no batch holds two visits, or where
        most pairs cross runs.

    Raises
    ------
    InputError
        E-RULE-003: lengths that differ.
    """
    if not len(participants) == len(visits) == len(batches):
        problems = Problems()
        problems.add(
            "E-RULE-003", "Participants, visits and batches have different lengths.", column="batches"
        )
        problems.raise_if_any()
    frame = pd.DataFrame({"participant": participants, "visit": visits, "batch": batches}, dtype=object)
    known = frame.dropna(subset=["batch"])
    question, name = "Can the effect be told from a difference between staining runs?", "batch and visit"
    table = pd.crosstab(known["batch"], known["visit"]).rename_axis(columns=None).reset_index()
    lost = len(frame) - len(known)
    if known["visit"].nunique() < 2 or lost > len(known):
        said = f"The run of {lost} of {len(frame)} biopsies is not recorded."
        return Check(name, question, "not told", said, table)
    per_batch = known.groupby("batch")["visit"].nunique()
    if per_batch.max() == 1:
        said = "Not separable: no run holds both visits, so a shift between runs looks like an effect."
        return Check(name, question, "caution", said, table)
    two = known.groupby("participant").filter(lambda rows: rows["visit"].nunique() > 1)
    runs = two.groupby("participant")["batch"].nunique()
    same, pairs = int((runs == 1).sum()), len(runs)
    unknown = f"; the run of {lost} biopsies is not recorded" if lost else ""
    if same == pairs:
        return Check(
            name, question, "clear", f"All {pairs} pairs were stained in one run each{unknown}.", table
        )
    said = f"{same} of {pairs} pairs were stained in one run{unknown}; the others need batch in the model."
    return Check(name, question, "clear" if 2 * same > pairs else "caution", said, table)


def dose_and_time(doses: ArrayLike, dates: Sequence[str]) -> Check:
    """Whether dose can be told from calendar time, and with it from learning, lots and populations.

    Parameters
    ----------
    doses : (n,) array
        One a participant.
    dates : (n,) sequence of str
        ISO dates of the baseline biopsies or first doses; empty = not recorded.

    Returns
    -------
    Check
        First and last date of each dose, and the rank correlation of dose with date.

    Raises
    ------
    InputError
        E-RULE-003: lengths that differ.
    """
    dose = np.asarray(doses, dtype=float)
    if dose.shape != (len(dates),):
        problems = Problems()
        problems.add("E-RULE-003", "One date for each dose.", column="dates", value=len(dates))
        problems.raise_if_any()
    day = pd.to_datetime(pd.Series(list(dates), dtype=object), errors="coerce", format="ISO8601")
    told = np.isfinite(dose) & day.notna().to_numpy()
    frame = pd.DataFrame({"dose": dose[told], "date": day[told].to_numpy()})
    table = frame.groupby("dose")["date"].agg(["min", "max", "size"]).reset_index()
    table = table.rename(columns={"min": "first", "max": "last", "size": "n"})
    for column in ("first", "last"):
        table[column] = table[column].dt.strftime("%Y-%m-%d")
    question, name = "Can an effect of dose be told from calendar time?", "dose and calendar time"
    if len(frame) < 4 or frame["dose"].nunique() < 2 or frame["date"].nunique() < 2:
        said = f"{len(frame)} dated participants at {frame['dose'].nunique()} dose level(s) do not tell."
        return Check(name, question, "not told", said, table)
    rho = float(stats.spearmanr(frame["dose"], frame["date"].astype("int64")).statistic)
    order = frame.sort_values("dose", kind="stable")
    apart = order.groupby("dose")["date"].agg(["min", "max"])
    disjoint = bool((apart["min"].iloc[1:].to_numpy() > apart["max"].iloc[:-1].to_numpy()).all())
    numbers = f"rank correlation {rho:.2f}"
    if abs(rho) >= _ALIASED or disjoint:
        said = (
            f"Not separable ({numbers}): dose levels follow one another in time, and so do lots and learning."
        )
        return Check(name, question, "caution", said, table)
    return Check(name, question, "clear", f"Dose levels overlap in time ({numbers}).", table)


def analysis_sets(table: pd.DataFrame, assay: str, feature: str, *, contrast: str) -> Check:
    """Whether the finding is the same with complete pairs only and with inadequate biopsies.

    Parameters
    ----------
    table : DataFrame
        ``PDResult.table``. The strict set's model uses unpaired baselines (missing at random).
    assay, feature, contrast : str

    Raises
    ------
    InputError
        E-RULE-003: the result has no such row.
    """
    rows = table[(table["assay"] == assay) & (table["feature"] == feature) & (table["contrast"] == contrast)]
    if not len(rows):
        problems = Problems()
        problems.add(
            "E-RULE-003",
            "The result has no such row.",
            column="feature",
            value=f"{assay}:{feature} {contrast}",
        )
        problems.raise_if_any()
    shown = rows[["set", "estimate", "ci_low", "ci_high", "p", "n_pairs", "n_participants", "status"]]
    shown = shown.reset_index(drop=True)
    question, name = "Is the finding the same in every analysis set?", "analysis sets"
    tested = shown.dropna(subset=["p"])
    if len(tested) < 2:
        return Check(name, question, "not told", "Fewer than two sets have a test.", shown)
    numbers = "; ".join(f"{r.set}: {r.estimate:.2f}, p {r.p:.2g}" for r in tested.itertuples())
    same = (tested["p"] <= _ALPHA).nunique() == 1 and (np.sign(tested["estimate"]).nunique() == 1)
    if same:
        return Check(name, question, "clear", f"Every set says the same ({numbers}).", shown)
    return Check(name, question, "caution", f"The sets differ ({numbers}).", shown)
