"""The panel of the report on what changed since the last cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.plot.numbers import MISSING, format_number, format_p
from pdbiomarker.plot.select import set_label
from pdbiomarker.report.blocks import cell_of
from pdbiomarker.report.content import Block, Cell, Column, Format, KeyFinding, Level, Section, Table, Text
from pdbiomarker.report.cuts import ITEM_COLUMNS, Cuts

__all__ = ["cuts_section"]

_TITLE: Final = "What changed since the last cut"
_MOST_ROWS: Final = 200
_KEY: Final = ("assay", "feature", "contrast", "set")
_OPEN_ROWS: Final = 14
_KINDS: Final[dict[str, Format]] = {
    **{"item": "id", "participant_id": "id", "feature": "name", "label": "name"},
    **{"effect_before": "number", "effect_after": "number", "moved_se": "number"},
    **{"n_pairs_before": "number", "n_pairs_after": "number", "q_before": "p", "q_after": "p"},
}


def cuts_section(cuts: Cuts, findings: Sequence[KeyFinding] = ()) -> Section:
    """Show what changed since the last cut as a section of the report.

    Parameters
    ----------
    cuts : Cuts
    findings : sequence of KeyFinding
        Of this cut: what became of each is told first, and their rows of results stand first.

    Returns
    -------
    Section
        With the facts of both cuts, and the tables of results, pairs and items.
    """
    if cuts.empty:
        told: tuple[Block, ...] = (Text(("Nothing changed since the cut that this one is compared with.",)),)
        return Section("cuts", _TITLE, told)
    items = _table(
        "cuts-items",
        f"What changed in the input (n = {len(cuts.items)}).",
        cuts.items,
        dict(
            zip(ITEM_COLUMNS, ("of", "item", "participant", "what", "column", "before", "after"), strict=True)
        ),
        level="appendix",
    )
    facts = _table(
        "cuts-facts", "The two cuts.", cuts.facts, {"fact": "", "before": "before", "after": "after"}
    )
    tables = (facts, _results(cuts, findings), _pairs(cuts), items)
    blocks: tuple[Block, ...] = (
        Text((*_of_findings(cuts, findings), *cuts.sentences())),
        *(t for t in tables if t.rows),
    )
    return Section("cuts", _TITLE, blocks)


def _table(
    key: str,
    caption: str,
    frame: pd.DataFrame,
    heads: dict[str, str],
    *,
    level: Level = "workbook",
    message: str = "",
) -> Table:
    columns = tuple(Column(label, _KINDS.get(name, "text")) for name, label in heads.items())
    rows = tuple(
        tuple(_cell(v) for v in row)
        for row in frame[list(heads)].head(_MOST_ROWS).itertuples(index=False, name=None)
    )
    total = len(frame) if len(frame) > len(rows) else None
    return Table(key, caption, columns, rows, len(rows) > _OPEN_ROWS, total, message=message, level=level)


def _cell(value: object) -> Cell:
    """A value as a cell holds it; counts that were read as text are numbers."""
    cell = cell_of(value)
    return (
        int(cell) if isinstance(cell, str) and cell.isdigit() and len(cell) < 6 and cell[0] != "0" else cell
    )


def _of_findings(cuts: Cuts, findings: Sequence[KeyFinding]) -> list[str]:
    """What became of each finding of the front page since the last cut, in one sentence each."""
    rows = {tuple(str(row[k]) for k in _KEY): row for row in cuts.results.to_dict("records")}
    told = []
    for finding in findings:
        row = rows.get(finding.row)
        if row is None:
            told.append(f"{finding.label}: not moved since the last cut; {finding.verdict.lower()}.")
            continue
        parts = [
            f"{name} {write(pd.to_numeric(row[f'{column}_before']))} before, "
            f"{write(pd.to_numeric(row[f'{column}_after']))} now"
            for name, column, write in (
                ("effect", "effect", format_number),
                ("pairs", "n_pairs", lambda n: MISSING if pd.isna(n) else f"{int(n)}"),
                ("adjusted p", "q", format_p),
            )
        ]
        told.append(f"{finding.label}: {'; '.join(parts)}. Now: {finding.verdict.lower()}.")
    return told


def _results(cuts: Cuts, findings: Sequence[KeyFinding]) -> Table:
    caption = (
        f"Results that moved by more than {cuts.tolerance:g} standard errors of the earlier cut, or whose n, "
        f"status or verdict at .05 changed (n = {len(cuts.results)})."
    )
    heads = {"label": "feature", "contrast": "contrast", "set": "analysis set", "what": "what",
             "effect_before": "effect before", "effect_after": "after", "moved_se": "moved (SE)",
             "n_pairs_before": "n before", "n_pairs_after": "n after", "q_before": "adj. p before",
             "q_after": "adj. p after", "why": "why"}  # fmt: skip
    first = {finding.row for finding in findings}
    later = [tuple(map(str, key)) not in first for key in cuts.results[list(_KEY)].itertuples(index=False)]
    frame = cuts.results.iloc[np.argsort(np.array(later, dtype=bool), kind="stable")]
    frame = frame.assign(set=[set_label(str(s)) for s in frame["set"]])
    if frame["contrast"].nunique() < 2:
        heads.pop("contrast")
    for before, after in (("n_pairs_before", "n_pairs_after"), ("effect_before", "effect_after")):
        frame = frame.assign(**{c: pd.to_numeric(frame[c], errors="coerce") for c in (before, after)})
    return _table("cuts-results", caption, frame, heads, level="main", message=_in_short(cuts))


def _in_short(cuts: Cuts) -> str:
    """What changed, in the title of a slide."""
    told = []
    for kind, one, many in (("participant", "participant", "participants"), ("biopsy", "biopsy", "biopsies")):
        mine = cuts.items[cuts.items["kind"] == kind]
        for what in ("added", "removed", "changed"):
            n = int(mine.loc[mine["what"] == what, "item"].nunique())
            if n and (kind == "participant" or what == "changed"):
                told.append(f"{n} {one if n == 1 else many} {what}")
    values = int((cuts.items["kind"] == "value").sum())
    if values:
        told.append(f"{values} value{'' if values == 1 else 's'} corrected")
    n = len(cuts.results)
    moved = f"{n} row{'' if n == 1 else 's'} of results moved"
    return f"Since the last cut: {'; '.join([*told, moved])}"


def _pairs(cuts: Cuts) -> Table:
    """Pairs of the strict set; the features of a participant that share a story share a row."""
    strict = cuts.pairs[cuts.pairs["set"] == "strict"]
    merged: dict[tuple[str, ...], list[tuple[str, float, float]]] = {}
    for row in strict.to_dict("records"):
        key = tuple(str(row[k]) for k in ("participant_id", "assay", "contrast", "what", "why"))
        merged.setdefault(key, []).append((str(row["feature"]), float(row["before"]), float(row["after"])))
    lines: list[tuple[object, ...]] = []
    for (person, assay, contrast, what, why), features in merged.items():
        single = len(features) == 1
        values: Sequence[float | None] = features[0][1:] if single else (None, None)
        named = (
            features[0][0] if single else f"{len(features)} features: {', '.join(f for f, _, _ in features)}"
        )
        lines.append((person, assay, named, contrast, what, *values, why))
    heads = {"participant_id": "participant", "assay": "assay", "feature": "feature", "contrast": "contrast",
             "what": "pair", "effect_before": "change before (model scale)", "effect_after": "after",
             "why": "why"}  # fmt: skip
    frame = pd.DataFrame(lines, columns=list(heads))
    counts = {what: strict.loc[strict["what"] == what, "participant_id"].nunique()
              for what in ("gained", "lost", "moved")}  # fmt: skip
    told = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    caption = (
        f"Pairs gained, lost or moved in panels, strict set ({told or 'none'}): each participant's "
        "change before "
        "and after, and why. A pair of several features with one reason stands in one row."
    )
    message = f"Participants whose pairs changed since the last cut: {told}" if told else ""
    return _table("cuts-pairs", caption, frame, heads, level="main", message=message)
