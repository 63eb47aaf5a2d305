"""Quality by batch, with the visit marked: whether runs differ, and whether run and visit are one thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import Result, refuse
from pdbiomarker.plot.style import (
    FAINT,
    INK,
    MARKERS,
    despine,
    empty,
    linear_axis,
    log_axis,
    new_axes,
    palette,
    panels_of,
    plain,
    style,
    titles,
)

__all__ = ["batch_assays", "quality_by_batch", "quality_table"]

Floats = npt.NDArray[np.float64]
_UNKNOWN: Final = "not recorded"
_MOST_BATCHES: Final = 12
#: Metrics by column, in the order they are drawn: words with the unit, and what one unit is.
_METRICS: Final[dict[str, tuple[str, float]]] = {
    "library_size": ("library size (million reads)", 1e6),
    "genes_detected": ("genes detected", 1.0),
    "top_50_share": ("reads in the 50 largest genes (%)", 0.01),
    "handling_score": ("handling score (log2 CPM)", 1.0),
    "tissue_mm2": ("tissue (mm²)", 1.0),
    "cells_per_mm2": ("cells per mm²", 1.0),
    "focus": ("focus (sharpness)", 1.0),
    "white": ("white point (0 to 255)", 1.0),
    "artefact_share": ("artefact (% of tissue)", 0.01),
}
#: A metric that varies by less than this share of its median is not drawn.
_FLAT: Final = 0.02
_MOST_METRICS: Final = 3
_LOG_FROM: Final = 8.0


def batch_assays(result: Result) -> list[tuple[str, str]]:
    """The (quality table, assay) that can be drawn by batch: those with a metric and a batch."""
    found = []
    for name in ("slides", "rna"):
        table = result.qc.get(name)
        if table is None or not len(table) or "assay" not in table.columns:
            continue
        for assay in dict.fromkeys(table["assay"].astype(str)):
            rows = quality_table(result, name, assay)
            if (rows["batch"] != _UNKNOWN).any() and _metrics(rows):
                found.append((name, assay))
    return found


def quality_table(result: Result, name: str, assay: str) -> pd.DataFrame:
    """Quality of the biopsies (or slides) of an assay, with ``visit`` and ``batch`` of each.

    Raises
    ------
    InputError
        E-RESULT-001: the result has no such quality table.
    """
    known = [str(k) for k in result.qc]
    if name not in known:
        raise refuse(f"The result has no quality table {name!r}.", name, known, "name")
    table = result.qc[name]
    rows = table[table["assay"].astype(str) == assay] if "assay" in table.columns else table
    rows = rows.reset_index(drop=True).copy()
    biopsies, slides = result.study.biopsies, getattr(result.study, "slides", pd.DataFrame())
    if "visit" not in rows.columns:
        rows["visit"] = rows["biopsy_id"].map(biopsies["visit"].to_dict())
    if "batch" not in rows.columns:
        own = _by_slide(slides, "batch") if "slide_id" in rows.columns else {}
        whole = biopsies["batch"].to_dict() if "batch" in biopsies.columns else {}
        rows["batch"] = [
            own.get(str(s), whole.get(b))
            for s, b in zip(rows.get("slide_id", rows["biopsy_id"]), rows["biopsy_id"], strict=True)
        ]
    for column in ("visit", "batch"):
        rows[column] = [v if isinstance(v, str) and v else _UNKNOWN for v in rows[column]]
    if {"n_cells", "tissue_mm2"} <= set(rows.columns):
        area = rows["tissue_mm2"].astype(float)
        rows["cells_per_mm2"] = rows["n_cells"].astype(float) / area.where(area > 0)
    if "white_green" in rows.columns:
        rows["white"] = rows["white_green"].astype(float)
    return rows


def _by_slide(slides: pd.DataFrame, column: str) -> dict[str, Any]:
    if column not in slides.columns:
        return {}
    table = slides.reset_index()
    return dict(zip(table["slide_id"].astype(str), table[column], strict=True)) if "slide_id" in table else {}


def _metrics(rows: pd.DataFrame) -> list[str]:
    """Metrics of a table that vary, at most three."""
    found = []
    for metric in (m for m in _METRICS if m in rows.columns):
        values = rows[metric].dropna().to_numpy(dtype=float)
        if values.size and float(np.ptp(values)) > _FLAT * abs(float(np.median(values))):
            found.append(metric)
    return found[:_MOST_METRICS]


def quality_by_batch(
    result: Result, name: str, assay: str, *, metric: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw quality by batch: one point a biopsy or slide, its visit by colour and marker, medians as bars.

    Parameters
    ----------
    result : PDResult
    name : {"rna", "slides"}
        The quality table, see :func:`batch_assays`.
    assay : str
    metric : str, optional
        A column; default: the first metric of the table, and up to three beside each other where the axes
        have a place in a grid.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Of the first metric. Below each batch stand its biopsies of each visit; the grey line says whether
        batch and visit can be told apart at all: they cannot where no batch holds biopsies of two visits.

    Raises
    ------
    InputError
        E-RESULT-001: no such quality table or metric.
    """
    rows = quality_table(result, name, assay)
    known = _metrics(rows)
    if metric is not None and metric not in rows.columns:
        raise refuse(f"The quality table has no column {metric!r}.", metric, known, "metric")
    with style():
        ax = new_axes(ax, 11.0, 3.9)
        title = f"Quality by batch: {plain(assay, 40)}"
        shown = [metric] if metric is not None else known
        if not shown or (rows["batch"] == _UNKNOWN).all():
            return empty(ax, title, "No batch is recorded, or nothing was measured of quality.")
        visits = [str(v.name) for v in result.study.spec.visits]
        visits = [
            v for v in [*visits, *sorted(set(rows["visit"]) - set(visits))] if (rows["visit"] == v).any()
        ]
        panels = panels_of(ax, len(shown))
        for panel, column in zip(panels, shown, strict=True):
            _draw(panel, rows, column, visits)
        _legend(panels[-1], rows, visits)
        unit = "slides" if "slide_id" in rows.columns else "biopsies"
        titles(panels[0], title, f"{len(rows)} {unit}; {_confounding(rows)}", across=True)
        return panels[0]


def _draw(ax: Axes, rows: pd.DataFrame, metric: str, visits: Sequence[str]) -> None:
    words, unit = _METRICS.get(metric, (metric.replace("_", " "), 1.0))
    counts = rows["batch"].value_counts()
    batches = sorted(counts.index, key=lambda b: (b == _UNKNOWN, b))
    batches = batches if len(batches) <= _MOST_BATCHES else sorted(counts.index[:_MOST_BATCHES])
    values = rows[metric].to_numpy(dtype=float) / unit
    width = 0.62 / max(len(visits), 1)
    for x, batch in enumerate(batches):
        for k, visit in enumerate(visits):
            own = ((rows["batch"] == batch) & (rows["visit"] == visit)).to_numpy() & np.isfinite(values)
            middle = x + (k - (len(visits) - 1) / 2) * width
            spots = middle + width * 0.55 * _fan(int(own.sum()))
            ax.plot(
                spots, np.sort(values[own]), MARKERS[k % len(MARKERS)], color=_color(visit, visits), ms=5,
                alpha=0.8, mec="white", mew=0.5, zorder=3, gid=f"batch-{k}",
            )  # fmt: skip
        all_ = values[(rows["batch"] == batch).to_numpy() & np.isfinite(values)]
        if all_.size:
            ax.plot([x - 0.4, x + 0.4], [np.median(all_)] * 2, color=INK, lw=1.8, zorder=4)
    ax.set_xticks(range(len(batches)), [_under(rows, b, visits) for b in batches])
    ax.set_xlim(-0.6, len(batches) - 0.4)
    ax.tick_params(axis="x", length=0, labelsize=8)
    finite = values[np.isfinite(values)]
    if finite.min() > 0 and finite.max() / finite.min() > _LOG_FROM:
        log_axis(ax, "y", float(finite.min()) / 1.2, float(finite.max()) * 1.2)
        words += ", log axis"
    else:
        linear_axis(ax, "y")
    ax.set_ylabel(words)
    ax.set_xlabel(f"batch; below: n at {' | '.join(plain(v, 12) for v in visits)}")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    despine(ax)


def _fan(n: int) -> Floats:
    """Places of n points within a column: ascending values step from left to right, over and over."""
    return np.asarray([((k * 7) % 9) / 8 - 0.5 for k in range(n)], dtype=float)


def _under(rows: pd.DataFrame, batch: str, visits: Sequence[str]) -> str:
    own = rows.loc[rows["batch"] == batch, "visit"]
    return f"{plain(batch, 14)}\n{' | '.join(str(int((own == v).sum())) for v in visits)}"


def _color(visit: str, visits: Sequence[str]) -> str:
    known = [v for v in visits if v != _UNKNOWN]
    return FAINT if visit == _UNKNOWN else palette(7)[known.index(visit) % 7]


def _legend(ax: Axes, rows: pd.DataFrame, visits: Sequence[str]) -> None:
    handles = [
        Line2D([], [], ls="", marker=MARKERS[k % len(MARKERS)], color=_color(v, visits), ms=6,
               label=f"{plain(v, 20)} ({int((rows['visit'] == v).sum())})")
        for k, v in enumerate(visits)
    ]  # fmt: skip
    handles.append(Line2D([], [], color=INK, lw=1.8, label="median of the batch"))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def _confounding(rows: pd.DataFrame) -> str:
    """Whether batch and visit can be told apart, in words, with Cramér's V of the two."""
    known = rows[(rows["batch"] != _UNKNOWN) & (rows["visit"] != _UNKNOWN)]
    table = pd.crosstab(known["batch"], known["visit"])
    if min(table.shape, default=0) < 2:
        one = "one batch only" if table.shape[0] < 2 else "one visit only"
        return f"{one}: a shift between batches cannot look like an effect."
    both = int(((table > 0).sum(axis=1) > 1).sum())
    if both == 0:
        return "no batch holds two visits: a shift between batches would look like an effect."
    counts = table.to_numpy(dtype=float)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / counts.sum()
    v = float(np.sqrt(((counts - expected) ** 2 / expected).sum() / counts.sum() / (min(table.shape) - 1)))
    share = f"{both} of {len(table)} batches hold more than one visit"
    return f"{share}; Cramér's V of batch and visit {format_number(v, 2)}."
