"""Reviewers' decisions as the report lists them: what, by whom, when, why, and what became of the item."""

from __future__ import annotations

import pandas as pd

from pdbiomarker.plot.select import Result, primary_set
from pdbiomarker.report.content import Column, Table
from pdbiomarker.report.privacy import clean

__all__ = ["overrides_table"]

_COLUMNS = (
    ("item", Column("item", "id")),
    ("what", Column("")),
    ("action", Column("decision")),
    ("reason", Column("why")),
    ("who", Column("who")),
    ("date", Column("when", "id")),
    ("outcome", Column("what became of it")),
)


def overrides_table(result: Result) -> list[Table]:
    """List the decisions of overrides.csv; nothing where there are none.

    Parameters
    ----------
    result : PDResult

    Returns
    -------
    list of Table
        One table, or none. The last column counts the analyses (assay and contrast, in the primary set) that
        use the biopsy; of a library or slide it says that it was left out.
    """
    overrides = getattr(result.study, "overrides", pd.DataFrame())
    if overrides.empty:
        return []
    rows = []
    for row in overrides.to_dict("records"):
        action = f"visit {row['visit']}" if row["visit"] else str(row["action"])
        text = {name: clean(str(row[name])) for name in ("reason", "who")}  # the date has its own column
        words = {**row, **text, "what": row["kind"], "action": action, "outcome": _outcome(result, row)}
        rows.append(tuple(str(words[name]) for name, _ in _COLUMNS))
    n = len(rows)
    caption = (
        f"Reviewers' decisions from overrides.csv ({n}): each stands in place of a rule or a sheet's entry. "
        "Without its row the analysis is as it was before."
    )
    return [Table("overrides", caption, tuple(column for _, column in _COLUMNS), tuple(rows))]


def _outcome(result: Result, row: dict[str, object] | dict[object, object]) -> str:
    kind, item = str(row["kind"]), str(row["item"])
    if kind in {"library", "slide"}:
        return "left out before measuring"
    biopsies = result.biopsies.reset_index()
    if biopsies.empty:
        return ""
    key = "participant_id" if kind == "participant" else "biopsy_id"
    mine = biopsies[(biopsies[key] == item) & (biopsies["set"] == primary_set(result.table))]
    used = int(mine["used"].astype(bool).sum())
    if kind == "participant":
        return f"{mine['biopsy_id'].nunique()} biopsies left out" if not used else f"{used} rows used"
    return f"used in {used} of {len(mine)} analyses"
