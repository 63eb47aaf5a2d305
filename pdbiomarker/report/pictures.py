"""Figures over many features or batches: the heat map of change, signatures at a glance, quality by batch."""

from __future__ import annotations

import functools
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker import plot
from pdbiomarker.decide import Review
from pdbiomarker.plot.select import Result, primary_set, set_label
from pdbiomarker.report.blocks import drawn, key_of
from pdbiomarker.report.content import Block, Figure, Section
from pdbiomarker.report.options import model_options, span_of_pairs

__all__ = ["batch_figures", "heatmap_section", "likeness_figures", "signature_figure"]

#: Participants whose names can be read in a matrix of the size of a slide.
_PROJECTED: Final = 20
#: Features of a heat map that a slide shows where there are more than its drawing for the page allows.
_FEATURES: Final = 18
_FEATURES_AS_DRAWN: Final = 12


def heatmap_section(result: Result, hue: str | None, review: Review | None) -> Section | None:
    """Make the section with one heat map for each contrast; None where no small assay has a change."""
    blocks: list[Block] = []
    table = result.table[result.table["set"] == primary_set(result.table)]
    for contrast in [c for c in dict.fromkeys(table["contrast"]) if (result.changes["contrast"] == c).any()]:
        features = plot.heatmap_features(result, str(contrast))
        if not features:
            continue
        blocks.append(_heatmap(result, str(contrast), features, hue=hue, review=review))
    return Section("heat-map", "Every participant, every feature", tuple(blocks)) if blocks else None


def _heatmap(
    result: Result, contrast: str, features: list[str], *, hue: str | None, review: Review | None
) -> Figure:
    people = len(result.study.participants)
    group = hue.replace("_mg", "").replace("_", " ") if hue else ""
    own = review if review is not None and review.contrast == contrast else None
    dots = " Dots: beyond the 95 % limits of noise." if own is not None else ""
    many = len(features) > _FEATURES_AS_DRAWN
    slide = f" A slide shows the first {min(_FEATURES, len(features))}." if many else ""
    rows = result.table[(result.table["contrast"] == contrast)]
    rows = rows[rows["set"] == primary_set(result.table)]
    rows = rows[(rows["assay"] + ":" + rows["feature"]).isin(features)]
    n = f"{len(features)} feature{'' if len(features) == 1 else 's'}"
    caption = (
        f"Change of every participant (across{', by ' + group if group else ''}, then by the first feature) "
        f"in every feature of the panels; n = {people} participants, {n}. Hatched: "
        f"missing, with the reason.{dots}{slide} {model_options(result, rows, contrast=contrast)}"
    )
    width = min(13.0, max(7.6, 4.4 + 0.17 * people))

    def paint(ax: Axes, shown: int | None = None) -> Axes:
        return plot.change_heatmap(result, features[:shown], contrast=contrast, hue=hue, review=own, ax=ax)

    draw = drawn(width, 2.7 + 0.28 * len(features), paint)
    # On a slide many features at once would be narrow, and of small words.
    first = functools.partial(paint, shown=_FEATURES)
    projected = drawn(11.6, 5.1, first) if many else None
    return Figure(key_of("heat-map", contrast), caption, draw, projected=projected)


def signature_figure(result: Result, assay: str, contrast: str) -> Figure:
    """All signatures of an assay at a glance."""
    table = result.table
    rows = table[(table["kind"] == "signature") & (table["assay"] == assay) & (table["contrast"] == contrast)]
    rows = rows[rows["set"] == primary_set(rows)]
    caption = (
        f"Signatures of {assay} at a glance, the largest rise on top: change with 95 % CI; filled: adjusted "
        f"p below 0.05; {set_label(str(rows['set'].iloc[0]), result)}; {span_of_pairs(rows)}. "
        f"{model_options(result, rows)}"
    )
    draw = drawn(
        9.6, 1.9 + 0.3 * len(rows), lambda ax: plot.signatures(result, assay, contrast=contrast, ax=ax)
    )
    return Figure(key_of("signatures", assay, contrast), caption, draw)


def batch_figures(result: Result) -> list[Figure]:
    """Quality by batch, one figure for each assay that has batches."""
    figures = []
    for name, assay in plot.batch_assays(result):
        table: pd.DataFrame = result.qc[name]
        n = int((table["assay"].astype(str) == assay).sum())
        unit = "slides" if "slide_id" in table.columns else "biopsies"
        caption = (
            f"Quality of {assay} by batch, visits marked: where a batch holds one visit only, a shift "
            f"between batches would look like an effect; n = {n} {unit}. Options: nothing is corrected here; "
            "bars are medians; metrics that do not vary are left out."
        )
        draw = drawn(11.0, 3.7, lambda ax, q=name, a=assay: plot.quality_by_batch(result, q, a, ax=ax))  # type: ignore[misc]
        figures.append(Figure(key_of("batches", assay), caption, draw))
    return figures


def likeness_figures(result: Result) -> list[Figure]:
    """Every library against every other, by count assay; an older result has no such table."""
    pairs = result.qc.get("likeness")
    if pairs is None:
        return []
    figures = []
    for assay in dict.fromkeys(pairs["assay"]):
        own = pairs[pairs["assay"] == assay]
        n = len({*own["library_a"], *own["library_b"]})
        caption = (
            f"Likeness of every library of {assay} to every other; n = {n} libraries, {len(own):,} pairs. "
            "Dark: alike. A framed block on the diagonal is one participant and should be dark; a dark cell "
            "elsewhere is a library that looks like another participant's: a swap makes a pair of them. "
            "Orange: a suspect and what it resembles most. Options: Pearson correlation over genes of the "
            "identity check; all pairs are in results/qc_likeness.csv."
        )
        paint = functools.partial(plot.likeness_matrix, result, assay=str(assay))
        people = len({*own["participant_a"], *own["participant_b"]})
        # Drawn at the size of a slide its words can be read there; many names need more room.
        size = (6.4, 4.4) if people <= _PROJECTED else (7.8, 5.2)
        projected = drawn(*size, lambda ax, p=paint: p(ax=ax))  # type: ignore[misc]
        draw = drawn(8.4, 7.2, lambda ax, p=paint: p(ax=ax))  # type: ignore[misc]
        figures.append(Figure(key_of("identity-matrix", assay), caption, draw, projected=projected))
    return figures
