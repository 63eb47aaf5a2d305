"""Sections of the report on links: exposure, response, agreement of assays, blood."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker import plot
from pdbiomarker.change import PDResult
from pdbiomarker.link import Link, Links, link_study
from pdbiomarker.plot.numbers import format_interval, format_number, p_equals
from pdbiomarker.plot.select import Result
from pdbiomarker.plot.style import Hue, hue_of
from pdbiomarker.report.blocks import SLIDE, drawn
from pdbiomarker.report.content import Block, Cell, Column, Figure, Section, Table, Text
from pdbiomarker.report.privacy import clean

__all__ = ["drawn_by_dose", "link_sections"]

#: Figures of one kind; the tables have all.
_MOST_FIGURES: Final = 6
_OPEN_ROWS: Final = 14
_COLUMNS: Final = (
    ("feature", Column("feature", "name")),
    ("other", Column("with", "name")),
    ("contrast", Column("contrast", minor=True)),
    ("analysis", Column("analysis")),
    ("quantity", Column("quantity")),
    ("group", Column("of")),
    ("estimate", Column("estimate", "number")),
    ("low", Column("CI low", "number")),
    ("high", Column("CI high", "number")),
    ("unit", Column("unit", minor=True)),
    ("p", Column("p", "p")),
    ("n", Column("n", "df")),
    ("note", Column("note")),
)
_EXPLORATORY: Final = "Exploratory: nothing here was randomised, and no p is adjusted. 95 % CI."


def link_sections(result: Result, hue: str | None) -> tuple[Section, ...]:
    """Make the section of links of a result; none where it allows no link.

    Parameters
    ----------
    result : PDResult
    hue : str or None
        Column of the participants that colours them.
    """
    if not isinstance(result, PDResult) or result.table.empty:
        return ()
    links = link_study(result)
    if not links:
        return ()
    colours = hue_of(result.study.participants, hue) if hue is not None else None
    blocks: list[Block] = [Text((_EXPLORATORY,), "note")]
    blocks += _exposure(links.exposure, colours)
    blocks += _response(links.response)
    blocks += _concordance(links.concordance)
    blocks += _blood(links.blood, colours)
    if links.note:
        blocks.append(Text((links.note,), "note"))
    return (Section("links", _title(links), tuple(blocks)),)


def drawn_by_dose(result: Result, sections: Sequence[Section]) -> frozenset[str]:
    """Features (``assay:feature``) of which these sections draw the change by dose."""
    keys = [block.key for section in sections for block in section.blocks if isinstance(block, Figure)]
    rows = result.table[["assay", "feature"]].drop_duplicates()
    names = [f"{a}:{f}" for a, f in zip(rows["assay"], rows["feature"], strict=True)] if keys else []
    starts = {name: _plain_key(f"exposure-{name}-dose_mg-") for name in names}
    return frozenset(name for name, start in starts.items() if any(key.startswith(start) for key in keys))


def _title(links: Links) -> str:
    names = [
        *(["exposure"] if links.exposure else []),
        *(["response"] if links.response else []),
        *(["agreement of assays"] if links.concordance else []),
        *(["blood"] if links.blood else []),
    ]
    listed = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    return f"{listed[:1].upper()}{listed[1:]}"


def _key(kind: str, link: Link) -> str:
    return _plain_key("-".join((kind, link.feature, link.other, link.contrast)))[:120]


def _plain_key(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _figure(
    kind: str,
    link: Link,
    draw: Callable[[Axes], object],
    *,
    caption: str,
    height: float = 4.2,
    wide: tuple[float, float] = SLIDE,
) -> Figure:
    """Make the figure of a link; `wide` is its size on a slide."""
    used = link.points["used"].astype(bool)
    visits = "visit" in link.points.columns
    n = f"n = {int(used.sum())} {'participant visits' if visits else 'pairs'}"
    options = f"Options: contrast {link.contrast}; strict analysis set; p not adjusted."
    told = f"{caption[:-1]}; {n}. {link.note} {options}"
    return Figure(
        _key(kind, link),
        clean(told),
        drawn(6.2, height, draw),
        wide=False,
        message=_sentence(kind, link),
        projected=drawn(*wide, draw),
    )


def _sentence(kind: str, link: Link) -> str:
    """What a link says, with its number; nothing where it was not told."""
    rows = link.table[(link.table["status"] == "ok") & link.table["estimate"].notna()]
    if kind == "response":
        rows = rows[rows["quantity"] == "order across groups"]
    if kind == "landmark":
        rows = rows[rows["quantity"].astype(str).str.contains("hazard ratio")]
    elif kind in {"concordance", "blood"}:
        rows = rows[rows["analysis"] == "changes"]
    if rows.empty:
        return _not_judged(kind, link)
    row = rows.iloc[0]
    limits = f" ({format_interval(row['low'], row['high'])})" if pd.notna(row["low"]) else ""
    p = f", {p_equals('p', float(row['p']))}, not adjusted" if pd.notna(row["p"]) else ""
    told = f"{row['quantity']} {format_number(float(row['estimate']))}{limits}, n = {int(row['n'])}{p}"
    return f"{_pair(kind, link)}: {told}"


def _pair(kind: str, link: Link) -> str:
    return f"{link.label} and {'progression-free survival' if kind == 'landmark' else link.other_label}"


def _not_judged(kind: str, link: Link) -> str:
    """Why survival from a landmark is drawn, and nothing is said of it."""
    rows = link.table[link.table["quantity"].astype(str).str.contains("hazard ratio")]
    if kind != "landmark" or rows.empty or not str(rows["note"].iloc[0]):
        return ""
    return f"{_pair(kind, link)}: not judged, {str(rows['note'].iloc[0]).partition(';')[0]}"


def _table(kind: str, links: Sequence[Link], caption: str) -> Table:
    # In words; an outcome is named by the analysis, and the files have the names of the data.
    named = [link.table.assign(feature=link.label) for link in links]
    if kind != "response":
        named = [table.assign(other=link.other_label) for table, link in zip(named, links, strict=True)]
    frame = pd.concat(named, ignore_index=True)
    present = [
        (name, column) for name, column in _COLUMNS if column.numeric or frame[name].astype(str).ne("").any()
    ]
    rows = []
    for values in frame[[name for name, _ in present]].itertuples(index=False, name=None):
        cells: list[Cell] = [None if pd.isna(v) else v for v in values]
        rows.append(
            tuple(
                clean(c) if isinstance(c, str) and column.format in {"text", "name"} else c
                for c, (_, column) in zip(cells, present, strict=True)
            )
        )
    whole = f"{caption} {_EXPLORATORY} The complete table is results/link_{kind}.csv."
    return Table(f"link-{kind}", whole, tuple(c for _, c in present), tuple(rows), len(rows) > _OPEN_ROWS)


def _exposure(links: Sequence[Link], hue: Hue | None) -> list[Block]:
    if not links:
        return []
    caption = "Change by exposure: one point per pair; diamonds: means (interval from five pairs on)."
    blocks: list[Block] = [
        _figure(
            "exposure",
            link,
            lambda ax, own=link: plot.exposure(own, hue=hue, ax=ax),  # type: ignore[misc]
            caption=caption,
        )
        for link in links[:_MOST_FIGURES]
    ]
    said = "Change and exposure: rank correlation, slope, one test of five shapes, and curves where 12 pairs "
    said += "span a tenfold range of exposure."
    return [*blocks, _table("exposure", links, said)]


def _response(links: Sequence[Link]) -> list[Block]:
    if not links:
        return []
    blocks: list[Block] = []
    for link in links[:_MOST_FIGURES]:
        told = set(link.table.loc[link.table["status"] != "not_asked", "analysis"])
        if "best response" in told:
            caption = "Change by best response: one point per pair; diamonds: means (interval from five on). "
            caption += "Orange: CR and PR."
            blocks.append(
                _figure(
                    "response",
                    link,
                    lambda ax, own=link: plot.response(own, ax=ax),  # type: ignore[misc]
                    caption=caption,
                )
            )
        if "progression-free survival" in told:
            caption = "Progression-free survival from a fixed landmark day, by change; ticks: censored."
            blocks.append(
                _figure(
                    "landmark",
                    link,
                    lambda ax, own=link: plot.landmark(own, ax=ax),  # type: ignore[misc]
                    caption=caption,
                )
            )
    said = "Change and outcome: order across best responses (Jonckheere-Terpstra), area under the curve with "
    said += "DeLong's interval, change of size, survival from the landmark day."
    return [*blocks, _table("response", links, said)]


def _concordance(links: Sequence[Link]) -> list[Block]:
    if not links:
        return []
    caption = "Two assays of the same biopsies: levels at each visit, and changes; ringed: beyond the 99 % "
    caption += "limits from the others."
    blocks: list[Block] = [
        _figure(
            "concordance",
            link,
            lambda ax, own=link: plot.concordance(own, ax=ax),  # type: ignore[misc]
            caption=caption,
            height=7.4,
            wide=(11.4, 4.5),
        )
        for link in links[:_MOST_FIGURES]
    ]
    said = "Agreement of assays: levels at each visit, changes, correlation within participants centred by "
    said += "visit, limits of agreement on the standardised scale."
    return [*blocks, _table("concordance", links, said)]


def _blood(links: Sequence[Link], hue: Hue | None) -> list[Block]:
    if not links:
        return []
    caption = "Change in blood and in the tumour, one point per participant with both."
    blocks: list[Block] = [
        _figure(
            "blood",
            link,
            lambda ax, own=link: plot.blood(own, hue=hue, ax=ax),  # type: ignore[misc]
            caption=caption,
            height=4.6,
        )
        for link in links[:_MOST_FIGURES]
    ]
    return [*blocks, _table("blood", links, "Blood and tumour.")]
