"""Where the numbers of the front page and of the figures stand in the workbook: sheet, row and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from pdbiomarker.report.blocks import cell_of
from pdbiomarker.report.content import Cell, Document, Figure, KeyFinding, Table, numbered, sheet_names

__all__ = ["FIRST_ROW", "Traced", "complete_names", "figures_of", "trace_rows", "used_by"]

#: Row of a spreadsheet that holds the first row of a complete result: under the heading.
FIRST_ROW = 2
_LONGEST_NAME = 31


class Traced(NamedTuple):
    """One number of the front page: what it is, as it is shown, and the cell that holds it."""

    feature: str
    what: str
    shown: str
    sheet: str
    row: int
    column: str
    value: Cell


def complete_names(results: Mapping[str, pd.DataFrame], taken: Mapping[str, str]) -> dict[str, str]:
    """Name the sheets of complete results: at most 31 characters, none twice, capital letters or not."""
    used = {name.lower() for name in taken.values()} | {"summary", "contents", "trace", "text", "columns"}
    names = {}
    for key in results:
        name, n = key[:_LONGEST_NAME], 1
        while name.lower() in used:
            n += 1
            name = f"{key[: _LONGEST_NAME - 1 - len(str(n))]}-{n}"
        used.add(name.lower())
        names[key] = name
    return names


def trace_rows(document: Document, results: Mapping[str, pd.DataFrame]) -> list[Traced]:
    """Find the cell behind every number of the front page.

    Parameters
    ----------
    document : Document
    results : mapping of name to DataFrame
        The complete results of the workbook, among them ``pd_change``, ``responder_rates`` and
        ``decisions_cohort``, as they are written: one row of the frame is one row of the sheet.
    """
    names = complete_names(results, sheet_names(document))
    found: list[Traced] = []
    for finding in document.findings:
        if len(finding.row) == 4:
            found += _effects(finding, results, names)
            found += _decided(finding, results, names)
    return found


def _places(frame: pd.DataFrame, **wanted: str) -> list[int]:
    mask = pd.Series(data=True, index=frame.index)
    for column, value in wanted.items():
        if column not in frame.columns:
            return []
        mask &= frame[column].astype(str) == value
    return [place for place, kept in enumerate(mask) if kept]


def _cells(
    finding: KeyFinding, sheet: str, frame: pd.DataFrame, place: int, wanted: Mapping[str, tuple[str, str]]
) -> Iterator[Traced]:
    """Cells of one row of a frame: column to what it is and how the front page shows it."""
    for column, (what, shown) in wanted.items():
        if column in frame.columns:
            value = cell_of(frame[column].iloc[place])
            yield Traced(finding.label, what, shown, sheet, place + FIRST_ROW, column, value)


def _effects(
    finding: KeyFinding, results: Mapping[str, pd.DataFrame], names: Mapping[str, str]
) -> Iterator[Traced]:
    frame = results.get("pd_change")
    if frame is None:
        return
    assay, feature, contrast, set_ = finding.row
    counted = "n_pairs" if finding.counted == "evaluable pairs" else "n_participants"
    wanted = {
        "effect": ("effect", finding.headline),
        "effect_low": ("95 % CI, low", finding.interval),
        "effect_high": ("95 % CI, high", finding.interval),
        counted: (finding.counted, finding.n_pairs),
        "q": ("adjusted p", finding.p),
        "p": ("p", finding.p),
    }
    for place in _places(frame, assay=assay, feature=feature, contrast=contrast, set=set_)[:1]:
        yield from _cells(finding, names["pd_change"], frame, place, wanted)


def _decided(
    finding: KeyFinding, results: Mapping[str, pd.DataFrame], names: Mapping[str, str]
) -> Iterator[Traced]:
    """Responders beyond noise, and the verdict of each rule with its chances."""
    told = {fact.name: fact.value for fact in finding.decided}
    assay, feature, _, _ = finding.row
    rates = results.get("responder_rates")
    if rates is not None and "beyond noise" in told:
        for place in _places(rates, feature=f"{assay}:{feature}"):
            if str(rates["criterion"].iloc[place]).startswith("beyond noise"):
                way = f"beyond noise, {rates['direction'].iloc[place]}"
                wanted = {"n": (way, told["beyond noise"]), "n_evaluable": ("of", told["beyond noise"])}
                wanted["chance_by_noise"] = ("chance by noise alone", told["beyond noise"])
                yield from _cells(finding, names["responder_rates"], rates, place, wanted)
    cohort = results.get("decisions_cohort")
    if cohort is not None and "decision" in told:
        for place in _places(cohort, assay=assay, feature=feature):
            rule = str(cohort["rule"].iloc[place])
            if rule in told["decision"]:
                wanted = {"verdict": (f"verdict of {rule}", told["decision"])}
                wanted["p_if_inert"] = (f"{rule}: chance if inert", told["decision"])
                wanted["p_if_target"] = (f"{rule}: chance at the true effect", told["decision"])
                yield from _cells(finding, names["decisions_cohort"], cohort, place, wanted)


def figures_of(document: Document) -> dict[str, tuple[str, ...]]:
    """Give the sources of each figure: key of the figure to keys of tables and names of complete results."""
    return {
        block.key: block.sources
        for section in document.sections
        for block in section.blocks
        if isinstance(block, Figure)
    }


def used_by(document: Document) -> dict[str, list[str]]:
    """Give what rests on each table or complete result: figures by their numbers, and the front page."""
    numbers = numbered(document)
    used: dict[str, list[str]] = {}
    for key, sources in figures_of(document).items():
        for source in sources:
            used.setdefault(source, []).append(numbers[key])
    if document.findings:
        for source in ("pd_change", "responder_rates", "decisions_cohort"):
            used.setdefault(source, []).insert(0, "front page")
    keys = [b.key for s in document.sections for b in s.blocks if isinstance(b, Table)]
    return {key: used.get(key, []) for key in [*keys, *(k for k in used if k not in keys)]}
